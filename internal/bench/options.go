package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// options say how much is measured and where.
type options struct {
	Out     string        // directory for table, charts and samples; empty: the table to standard output
	Rounds  int           // 0: as many as the row asks for
	Quick   bool          // tiny sizes and short times, to see that everything runs
	Traces  string        // directory of traces for hit ratios
	Dir     string        // where the caches' files go; empty: os.TempDir()
	Length  time.Duration // of each load that says so; 0: what the row takes
	Only    string        // part of the names of the variants to measure; empty: all
	Peers   string        // names of contestants, with commas; empty: all; the reference is always in
	Limit   time.Duration // for one process
	Prepare bool          // only fill the directories of variants that last, and keep them
	Keep    bool          // do not remove those directories, and use what is there
	With    string        // command that starts each process, with its arguments; empty: none
}

const (
	defaultRounds = 5
	quickRounds   = 1
	defaultLimit  = 15 * time.Minute
)

// parse reads flags that stand anywhere among the names.
func parse(args []string, errw io.Writer) (o options, names []string, err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errw)
	var seconds float64
	f.StringVar(&o.Out, "out", "", "write table, charts and samples to this directory")
	f.IntVar(&o.Rounds, "rounds", 0, "rounds of each variant; 0: 5, or what the row asks for")
	f.BoolVar(&o.Quick, "quick", false, "tiny sizes: proves that all rows run, measures nothing")
	f.StringVar(&o.Traces, "traces", "", "directory of traces for hit ratios")
	f.StringVar(&o.Dir, "dir", "", "directory for the caches' files; default the system's for temporary ones")
	f.Float64Var(&seconds, "seconds", 0, "length of each load, in seconds; 0: what the row asks for")
	f.StringVar(&o.Only, "only", "", "measure variants whose name contains this")
	f.StringVar(&o.Peers, "peers", "", "measure these contestants only, with commas between them")
	f.BoolVar(&o.Prepare, "prepare", false, "only fill the directories of restart, and keep them")
	f.BoolVar(&o.Keep, "keep", false, "use the directories that -prepare filled, and keep them")
	f.StringVar(&o.With, "with", "", "start each process through this command, taskset or nice for example")
	f.DurationVar(&o.Limit, "limit", defaultLimit, "time for one process")
	for {
		if err := f.Parse(args); err != nil {
			return o, nil, err
		}
		if args = f.Args(); len(args) == 0 {
			break
		}
		names, args = append(names, args[0]), args[1:]
	}
	if o.Rounds < 0 || seconds < 0 {
		return o, nil, fmt.Errorf("-rounds and -seconds must not be negative")
	}
	if o.Prepare {
		o.Keep, o.Rounds = true, 1
	}
	o.Length = time.Duration(seconds * float64(time.Second))
	return o, names, o.makePaths()
}

// makePaths makes the paths absolute, for children, and the directories.
func (o *options) makePaths() (err error) {
	for _, p := range []*string{&o.Out, &o.Traces, &o.Dir} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	for _, dir := range []string{o.Out, o.Dir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// rounds is how often a row that asks for n, or for 0, is measured.
func (o *options) rounds(n int) int {
	switch {
	case o.Rounds > 0:
		return o.Rounds
	case o.Quick:
		return quickRounds
	case n > 0:
		return n
	}
	return defaultRounds
}

// length is how long a load lasts that should take normal.
func (o *options) length(normal time.Duration) time.Duration {
	switch {
	case o.Quick:
		return min(normal, 10*time.Millisecond)
	case o.Length > 0:
		return o.Length
	}
	return normal
}

// lastingDir is the directory of a contestant in a variant that lasts, else empty.
func (o *options) lastingDir(r *row, v *variant, who string) string {
	if v.lasting == "" {
		return ""
	}
	dir := o.Dir
	if dir == "" {
		dir = os.TempDir()
	}
	name := strings.NewReplacer("/", "-", "=", "-", " ", "-").Replace(r.name + "-" + v.lasting + "-" + who)
	return filepath.Join(dir, "ember-bench-"+name)
}
