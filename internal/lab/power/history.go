package power

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clockSlack is how far the clock that a cache tests expiry with may be behind.
const clockSlack = 250 * time.Millisecond

// A floor is what was acknowledged as durable when the disk had been asked so much.
type floor struct {
	at         int   // operations of the disk
	counts     []int // events, by writer
	generation uint64
}

// A history is what the lives on one disk did.
type history struct {
	seed  int64
	lossy bool // entries may be missing: memory is little, or nothing was synced
	// A cut could not hold all that was evicted or cleared before it was written, and
	// said so: then entries may be missing as well.
	leftOut bool

	base   [][]uint64 // by writer and key: what was there before the first event
	events [][]event
	floors []floor
	expiry map[[2]uint64]event // of what expires soon, by writer and number
	clock  uint64              // beyond all times in it
}

func newHistory(seed int64, writers int, lossy bool) *history {
	h := &history{seed: seed, lossy: lossy, expiry: make(map[[2]uint64]event)}
	for range writers {
		h.base, h.events = append(h.base, make([]uint64, keys)), append(h.events, nil)
	}
	return h
}

// after is the history of a disk on which found is all that there is, and durable.
func (h *history) after(found [][]uint64, generation uint64) *history {
	n := newHistory(h.seed, len(found), h.lossy)
	n.base, n.clock, n.leftOut = found, h.clock, h.leftOut
	for k, e := range h.expiry {
		n.expiry[k] = e
	}
	n.floors = []floor{{counts: make([]int, len(found)), generation: generation}}
	return n
}

func (h *history) append(events [][]event) {
	for w, list := range events {
		for _, e := range list {
			h.events[w] = append(h.events[w], e)
			h.clock = max(h.clock, e.To)
			if e.Born != 0 {
				h.expiry[[2]uint64{uint64(w), e.Number}] = e
			}
		}
	}
}

func (h *history) counts() (n []int) {
	for _, list := range h.events {
		n = append(n, len(list))
	}
	return n
}

// floor is the newest one at a position of the disk; its counts are 0 if there was none.
func (h *history) floor(at int) floor {
	best := floor{counts: make([]int, len(h.events))}
	for _, f := range h.floors {
		if f.at <= at {
			best = f
		}
	}
	return best
}

// apply does to a writer's keys what an event did.
func (h *history) apply(state []uint64, w int, e event) {
	if e.Clear {
		clear(state)
		return
	}
	switch o := writeOf(h.seed, w, e.Number); o.kind {
	case opSet, opLong, opShort:
		state[o.keys[0]] = e.Number
	case opMemoryOnly, opDelete:
		state[o.keys[0]] = 0
	case opBatch:
		state[o.keys[0]], state[o.keys[1]], state[o.keys[2]] = e.Number, e.Number, 0
	}
}

// A division is where a writer's events are divided in those that are in a state and
// those that are not: at one of [least, most].
type division struct{ least, most int }

// A verdict is what is wrong with a state, if anything.
type verdict struct {
	wrong []string // a value, a mixture, an effect without its cause, or too little
	lost  []string // the state is older than one that was acknowledged
	cut   []int    // events that are in it, by writer
}

func (v *verdict) ok() bool { return len(v.wrong)+len(v.lost) == 0 }

// judge holds what an Open found to the law: each writer's keys are as some of its
// events left them, none of which is missing that was acknowledged, or that had
// returned before another that is there was called.
func (h *history) judge(m *message, f floor) (v verdict) {
	v.wrong = append(v.wrong, m.Wrong...)
	h.judgeReport(m, f, &v)
	h.judgeExpiry(m, &v)
	divisions, text := h.divideAll(m, f.counts)
	if divisions == nil {
		var older string
		if divisions, older = h.divideAll(m, make([]int, len(h.events))); divisions == nil {
			v.wrong = append(v.wrong, older)
			return v
		}
		v.lost = append(v.lost, text)
	}
	for _, d := range divisions {
		v.cut = append(v.cut, d.most)
	}
	h.judgeCause(divisions, &v)
	return v
}

// divideAll divides the events of all writers, or says why it cannot.
func (h *history) divideAll(m *message, least []int) (all []division, why string) {
	for w := range h.events {
		d, ok := h.divide(w, m, least[w])
		if !ok {
			return nil, h.explain(w, m, least[w])
		}
		all = append(all, d)
	}
	return all, ""
}

func (h *history) judgeReport(m *message, f floor, v *verdict) {
	r := m.Report
	if r.Generation < f.generation || f.generation > 0 && r.Outcome == "cold" {
		v.lost = append(v.lost, fmt.Sprintf("generation %d was acknowledged; %s at generation %d: %s", f.generation, r.Outcome, r.Generation, r.Reason))
	}
	if h.lossy {
		return
	}
	if r.Dropped != 0 || r.Stale || r.Generation != 0 && r.Outcome != "warm" {
		v.wrong = append(v.wrong, fmt.Sprintf("nothing was damaged, and the report is %+v", r))
	}
}

// judgeExpiry wants nothing found that had expired before.
func (h *history) judgeExpiry(m *message, v *verdict) {
	for w, found := range m.Found {
		for key, number := range found {
			e, ok := h.expiry[[2]uint64{uint64(w), number}]
			if ok && m.Report.Before > e.Done+int64(shortTTL+clockSlack) {
				v.wrong = append(v.wrong, fmt.Sprintf("key %d of writer %d expired %v before Open", key, w, time.Duration(m.Report.Before-e.Done)-shortTTL))
			}
		}
	}
}

// judgeCause wants no event without what had returned before it was called.
func (h *history) judgeCause(divisions []division, v *verdict) {
	for w, out := range divisions {
		for x, in := range divisions {
			if out.most == len(h.events[w]) || in.least == 0 {
				continue
			}
			e, f := h.events[w][out.most], h.events[x][in.least-1]
			if e.To < f.From || e.Clear && f.Clear && e.Number == f.Number {
				v.wrong = append(v.wrong, fmt.Sprintf("%+v of writer %d is there; %+v of writer %d, which had returned before, is not", f, x, e, w))
				return
			}
		}
	}
}

// divide finds the events, at least so many, after which a writer's keys are as found.
func (h *history) divide(w int, m *message, least int) (d division, ok bool) {
	state := slices.Clone(h.base[w])
	for i := 0; i <= len(h.events[w]); i++ {
		if i >= least && h.same(w, state, m) {
			if !ok {
				d.least = i
			}
			d.most, ok = i, true
		}
		if i < len(h.events[w]) {
			h.apply(state, w, h.events[w][i])
		}
	}
	return d, ok
}

// same reports that a state was found.
func (h *history) same(w int, state []uint64, m *message) bool {
	for key, number := range m.Found[w] {
		if number != state[key] && (number != 0 || !h.lossy && !h.leftOut && !h.mayHaveExpired(w, state[key], m.Time)) {
			return false
		}
	}
	return true
}

func (h *history) mayHaveExpired(w int, number uint64, now int64) bool {
	e, ok := h.expiry[[2]uint64{uint64(w), number}]
	return ok && now >= e.Born+int64(shortTTL*9/10)
}

// explain names what is wrong with the state that comes closest.
func (h *history) explain(w int, m *message, least int) (text string) {
	state, best := slices.Clone(h.base[w]), keys+1
	for i := 0; i <= len(h.events[w]); i++ {
		var diff []string
		for key, number := range m.Found[w] {
			if number != state[key] {
				diff = append(diff, fmt.Sprintf("key %d is of write %#x, not %#x", key, number, state[key]))
			}
		}
		if len(diff) <= best {
			best = len(diff)
			text = fmt.Sprintf("writer %d: closest is what %d of %d events left (acknowledged %d): %s", w, i, len(h.events[w]), least, strings.Join(diff, ", "))
		}
		if i < len(h.events[w]) {
			h.apply(state, w, h.events[w][i])
		}
	}
	return text
}

// truncate forgets the events that a state does not have. What was acknowledged of
// those it has stays so.
func (h *history) truncate(counts []int) {
	for w, n := range counts {
		h.events[w] = h.events[w][:n]
	}
}
