package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// A sample is what one process measured.
type sample struct {
	Row, Variant, Contestant string
	Round                    int
	Took                     time.Duration // the process, preparation included
	Figures                  figures
}

// A result is all that was measured of one row.
type result struct {
	row     *row
	samples []sample
	took    time.Duration
	err     error // of the process that failed the row
}

// measureRow measures a row: per variant and round every contestant once.
func measureRow(ctx context.Context, o *options, r *row, progress io.Writer) *result {
	res := &result{row: r}
	began := time.Now()
	defer func() { res.took = time.Since(began) }()
	for i := range r.variants {
		v := &r.variants[i]
		if !strings.Contains(v.name, o.Only) {
			continue
		}
		rounds := o.rounds(r.rounds)
		for round := range rounds {
			for _, who := range rotated(v.chosen(o), round) {
				fmt.Fprintf(progress, "%s %s, round %d of %d: %s\n", r.name, v.name, round+1, rounds, who)
				j := job{Options: *o, Row: r.name, Variant: v.name, Contestant: who, Round: round}
				start := time.Now()
				got, err := measure(ctx, j)
				if err != nil {
					res.err = err
					return res
				}
				res.samples = append(res.samples, sample{r.name, v.name, who, round, time.Since(start), got})
			}
		}
	}
	return res
}

// rotated returns the list, begun at another place each round, so that nobody is
// always measured after the same one.
func rotated(list []string, round int) []string {
	if len(list) == 0 {
		return nil
	}
	n := round % len(list)
	return append(append([]string(nil), list[n:]...), list[:n]...)
}
