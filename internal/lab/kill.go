package main

import (
	"context"
	"io"
	"strconv"
)

var killExperiment = experiment{
	name:  "kill",
	title: "processes killed by SIGKILL at any moment",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		s := suite{"./cache", "^TestKilledProcess", []string{"-kills", strconv.Itoa(o.count(10, 1000))}}
		return s.run(ctx, o, w)
	},
}
