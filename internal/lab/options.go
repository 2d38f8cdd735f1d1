package main

import (
	"flag"
	"fmt"
	"io"
	"time"
)

// options are those of the command line.
type options struct {
	Count int    // what an experiment counts, 0: what it is meant to see
	Seed  int64  // of everything that is drawn, 0: of the clock
	Dir   string // for files; empty: the system's directory for temporary ones
	Only  string // part of the names of an experiment's parts; empty: all
	Quick bool   // as little as shows that it runs
}

// parse reads options from anywhere between the names.
func parse(args []string, usage io.Writer) (o options, names []string, err error) {
	fs := flag.NewFlagSet("lab", flag.ContinueOnError)
	fs.SetOutput(usage)
	fs.IntVar(&o.Count, "count", 0, "how many of what the experiment counts; 0: as many as it is meant to see")
	fs.Int64Var(&o.Seed, "seed", 0, "of everything that is drawn; 0: of the clock")
	fs.StringVar(&o.Dir, "dir", "", "directory for files; default the system's for temporary ones")
	fs.BoolVar(&o.Quick, "quick", false, "as little as shows that it runs")
	fs.StringVar(&o.Only, "only", "", "of fuzz and guided: the one decoder to try; of mutate: part of the names of the mutations; empty: all")
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return o, nil, err
		}
		if args = fs.Args(); len(args) > 0 {
			names, args = append(names, args[0]), args[1:]
		}
	}
	if o.Count < 0 {
		return o, nil, fmt.Errorf("-count %d: must not be negative", o.Count)
	}
	if o.Seed == 0 {
		o.Seed = time.Now().UnixNano()
	}
	return o, names, nil
}

// count is how many of something an experiment does.
func (o *options) count(quick, full int) int {
	switch {
	case o.Count > 0:
		return o.Count
	case o.Quick:
		return quick
	}
	return full
}
