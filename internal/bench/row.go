package main

import (
	"slices"
	"strings"
)

// A row is one question to all contestants. It has a file of its own and a line
// in rows.go.
type row struct {
	name  string
	title string
	about string // what is measured and how, in a paragraph
	// figures are the names of what the tables show, in order; children may
	// return more, which go to the samples. A name ends with its unit if it has one.
	figures  []string
	chart    []string // figures that are drawn
	unit     string   // of those
	logarith bool     // the chart's axis is logarithmic
	rounds   int      // 0: the default
	variants []variant
	derive   func(r *result) []sample // from all that was measured; nil: nothing
}

// A variant is one setting of a row.
type variant struct {
	name        string
	contestants []string // in the order of the table
	reference   string   // the contestant to whom ratios are; empty: no ratios
	goals       []goal
	// run measures one contestant, in a process of its own. What it returns are
	// the figures; an error fails the row. Nil: all of it is derived.
	run func(j *job) (figures, error)
	// lasting names the data of variants that follow each other: each contestant has
	// one directory for all their rounds, in which run finds what it left. Empty: a
	// directory for each job.
	lasting string
}

// figures are what one process measured, by name.
type figures map[string]float64

// A goal compares a contestant's figure with a limit, or with another
// contestant's figure of the same round.
type goal struct {
	figure  string
	of      string
	against []string // contestants; of several the best counts; none: the figure itself
	figure2 string   // of against; empty: figure
	how     comparison
	limit   float64
	atLeast bool // more is better: the limit is the least
}

// A comparison says what of two figures is held against the limit.
type comparison int

const (
	ratio      comparison = iota // of each round; the median counts
	difference                   // of each round; the median counts
	ofMedians                    // difference of the two medians over the rounds
	ofSums                       // ratio of the two sums over the rounds
)

// find returns the row or the variant of that name, or nil.
func findRow(list []row, name string) *row {
	i := slices.IndexFunc(list, func(r row) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func (r *row) variant(name string) *variant {
	i := slices.IndexFunc(r.variants, func(v variant) bool { return v.name == name })
	if i < 0 {
		return nil
	}
	return &r.variants[i]
}

// chosen returns the variant's contestants that o leaves in.
func (v *variant) chosen(o *options) []string {
	if o.Peers == "" {
		return v.contestants
	}
	only := strings.Split(o.Peers, ",")
	return slices.DeleteFunc(slices.Clone(v.contestants), func(c string) bool {
		return c != v.reference && !slices.Contains(only, c)
	})
}
