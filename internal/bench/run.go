package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
		if v.run == nil || !strings.Contains(v.name, o.Only) || o.Prepare && v.lasting == "" {
			continue
		}
		res.err = res.measureVariant(ctx, o, v, progress)
		if last := i+1 == len(r.variants) || r.variants[i+1].lasting != v.lasting; !o.Keep && (last || res.err != nil) {
			res.err = errors.Join(res.err, o.removeLasting(r, v))
		}
		if res.err != nil {
			return res
		}
	}
	if r.derive != nil {
		res.samples = append(res.samples, r.derive(res)...)
	}
	return res
}

func (r *result) measureVariant(ctx context.Context, o *options, v *variant, progress io.Writer) error {
	rounds := o.rounds(r.row.rounds)
	for round := range rounds {
		for _, who := range rotated(v.chosen(o), round) {
			fmt.Fprintf(progress, "%s %s, round %d of %d: %s\n", r.row.name, v.name, round+1, rounds, who)
			j := job{Options: *o, Row: r.row.name, Variant: v.name, Contestant: who, Round: round, Dir: o.lastingDir(r.row, v, who)}
			start := time.Now()
			got, err := measure(ctx, j)
			if err != nil {
				return err
			}
			r.samples = append(r.samples, sample{r.row.name, v.name, who, round, time.Since(start), got})
		}
	}
	return nil
}

// removeLasting removes what a variant's contestants have left.
func (o *options) removeLasting(r *row, v *variant) (err error) {
	for _, who := range v.contestants {
		if dir := o.lastingDir(r, v, who); dir != "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
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
