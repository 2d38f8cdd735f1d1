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
		if v.run == nil || !strings.Contains(v.name, o.Only) || o.Prepare && !v.lasting {
			continue
		}
		if res.err = res.measureVariant(ctx, o, v, progress); res.err != nil {
			return res
		}
	}
	if r.derive != nil {
		res.samples = append(res.samples, r.derive(res)...)
	}
	return res
}

func (r *result) measureVariant(ctx context.Context, o *options, v *variant, progress io.Writer) (err error) {
	dirs := map[string]string{}
	if v.lasting {
		for _, who := range v.chosen(o) {
			dirs[who] = o.lastingDir(r.row.name, v.name, who)
			if !o.Keep {
				defer func() { err = errors.Join(err, os.RemoveAll(dirs[who])) }()
			}
		}
	}
	rounds := o.rounds(r.row.rounds)
	for round := range rounds {
		for _, who := range rotated(v.chosen(o), round) {
			fmt.Fprintf(progress, "%s %s, round %d of %d: %s\n", r.row.name, v.name, round+1, rounds, who)
			start := time.Now()
			got, err := measure(ctx, job{Options: *o, Row: r.row.name, Variant: v.name, Contestant: who, Round: round, Dir: dirs[who]})
			if err != nil {
				return err
			}
			r.samples = append(r.samples, sample{r.row.name, v.name, who, round, time.Since(start), got})
		}
	}
	return nil
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
