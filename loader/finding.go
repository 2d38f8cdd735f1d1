package loader

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// A Finding says that a case of the recovery table was met.
type Finding struct {
	Case  string // label in Table
	File  string // name in the directory, "" if it is of none
	Shard int    // -1: of none
	Count int    // how often: slots, segments, blobs, links
	Err   error  // of the first, nil if there is nothing to add
}

func (f Finding) String() string {
	text := f.Case
	if f.Count > 1 {
		text += fmt.Sprintf(" (%d)", f.Count)
	}
	if f.File != "" {
		text += " in " + f.File
	}
	if f.Shard >= 0 {
		text += fmt.Sprintf(", shard %d", f.Shard)
	}
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

const noShard = -1

// findings collects what was met. Safe for concurrent use; what one shard or
// file gives must come from one goroutine at a time, so that the same files give
// the same findings.
type findings struct {
	mu   sync.Mutex
	list []Finding
	at   map[findingKey]int
}

type findingKey struct {
	label, file string
	shard       int
}

func (f *findings) add(label, file string, shard, n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := findingKey{label, file, shard}
	if i, met := f.at[key]; met {
		f.list[i].Count += n
		return
	}
	if f.at == nil {
		f.at = make(map[findingKey]int)
	}
	f.at[key] = len(f.list)
	f.list = append(f.list, Finding{Case: label, File: file, Shard: shard, Count: n, Err: err})
}

// has reports whether a case was met.
func (f *findings) has(label string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.list, func(f Finding) bool { return f.Case == label })
}

// sorted returns the findings in the order of the table, file and shard.
func (f *findings) sorted() []Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.SortFunc(f.list, func(a, b Finding) int {
		_, i := lookup(a.Case)
		_, j := lookup(b.Case)
		return cmp.Or(cmp.Compare(i, j), cmp.Compare(a.File, b.File), cmp.Compare(a.Shard, b.Shard))
	})
	return f.list
}

// worst returns the finding that costs most, the first of several, and how many
// cost anything at all.
func worst(list []Finding) (w Finding, cost Cost, n int) {
	for _, f := range list {
		c, _ := lookup(f.Case)
		if c.Cost > CostNothing {
			n++
		}
		if c.Cost > cost {
			w, cost = f, c.Cost
		}
	}
	return w, cost, n
}

// A ReasonError is why a start was cold or partial: the finding that cost most.
// It wraps the finding's error.
type ReasonError struct {
	Finding
	Others int // findings that cost something too
}

func (e *ReasonError) Error() string {
	text := e.Finding.String()
	if e.Finding.Err == nil {
		c, _ := lookup(e.Case)
		text += ": " + c.Condition
	}
	if e.Others > 0 {
		text += fmt.Sprintf(" (and %d more)", e.Others)
	}
	return text
}

func (e *ReasonError) Unwrap() error { return e.Finding.Err }

// reason is the error for a list of findings, nil if none of them cost anything.
func reason(list []Finding) error {
	w, cost, n := worst(list)
	if cost == CostNothing {
		return nil
	}
	return &ReasonError{Finding: w, Others: n - 1}
}
