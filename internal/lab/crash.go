package main

import (
	"context"
	"io"
	"strconv"
)

var crashExperiment = experiment{
	name:  "crash",
	title: "power cuts and kills after every operation on a simulated disk",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		n := o.count(500, 200_000)
		s := suite{"./cache", "^TestCrashAnywhere", []string{
			"-crashstates", strconv.Itoa(n), "-historystates", strconv.Itoa(max(n/4, 100)), "-evictstates", strconv.Itoa(max(n/8, 100)),
		}}
		return s.run(ctx, o, w)
	},
}
