// Warmrestart measures how soon a cache is warm again after a restart.
//
// Each round runs in fresh processes: one fills a cache, goes on writing at a
// steady rate, and is closed or killed in the middle of that; another opens the
// same directory, gets the first hit, and then every entry. Medians are printed
// with the smallest and the largest.
//
//	go run ./examples/warmrestart -how close
//	go run ./examples/warmrestart -how kill
//	go run ./examples/warmrestart -how kill -ci
//
// Writes are numbered, and every value says which write it comes from; so the
// next process must find exactly what one writer had stored after some write:
// no value that differs in a byte, none that is older or newer than that write.
// Anything else is an error, and so are entries missing beyond -missing; except
// those that the first process had evicted while more than half of MaxBytes was
// in use, which a cache may. What the writer had been told was stored and is not
// there is lost; it is reported as time, from the first lost write to the kill.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// A config is what the flags say.
type config struct {
	load                  // what is written, as the child is told
	rounds  int           // how many restarts
	how     string        // kill or close
	missing float64       // share of the entries that may be missing
	run     time.Duration // of writing before the end
	dir     string        // where the folder of this run is made
	keep    bool
	chain   bool // fill once
	cold    bool // drop the page cache
}

func main() {
	if demo.IsChild() {
		os.Exit(runChild())
	}
	cfg := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "warmrestart:", err)
		stop()
		os.Exit(1)
	}
}

// What -ci stands for, unless another flag says otherwise.
var ciFlags = map[string]string{"entries": "262144", "rounds": "3", "run": "1s"}

func parseFlags() *config {
	cfg := new(config)
	flag.IntVar(&cfg.Entries, "entries", 4<<20, "number of entries")
	flag.IntVar(&cfg.ValueSize, "value", 256, "bytes of a value, at least 8")
	flag.IntVar(&cfg.KeySize, "key", 24, "bytes of a key, at least 8")
	flag.Int64Var(&cfg.MaxBytes, "maxbytes", 0, "Options.MaxBytes (default twice keys and values)")
	flag.DurationVar(&cfg.Interval, "interval", time.Second, "Durability.Interval")
	flag.IntVar(&cfg.Rate, "rate", 100_000, "Sets a second before the end, to keys chosen uniformly")
	flag.DurationVar(&cfg.run, "run", 3*time.Second, "write that long before the end; a kill comes up to an interval later")
	flag.StringVar(&cfg.how, "how", "close", "how the first process ends: close or kill")
	flag.IntVar(&cfg.rounds, "rounds", 5, "number of restarts")
	flag.Float64Var(&cfg.missing, "missing", 1e-5, "share of the entries that may be missing after the restart")
	flag.BoolVar(&cfg.chain, "chain", false, "fill once; each round goes on with what the one before has left")
	flag.BoolVar(&cfg.cold, "cold", false, "drop the page cache before the second process opens the directory")
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "where to make the folder of this run")
	flag.BoolVar(&cfg.keep, "keep", false, "leave that folder and say where it is")
	flag.Uint64Var(&cfg.Seed, "seed", 0, "seed of keys, values and the moments of kills (default: chosen, and printed)")
	ci := flag.Bool("ci", false, "64 MiB of values, 3 rounds, unless said otherwise")
	flag.Parse()
	if *ci {
		useCIFlags()
	}
	if err := cfg.check(); err != nil {
		fmt.Fprintln(flag.CommandLine.Output(), "warmrestart:", err)
		flag.Usage()
		os.Exit(2)
	}
	return cfg
}

func useCIFlags() {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range ciFlags {
		if !given[name] {
			flag.Set(name, value)
		}
	}
}

// check completes cfg and finds what makes no sense.
func (cfg *config) check() error {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 2 * cfg.payload()
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case cfg.how != "close" && cfg.how != "kill":
		return fmt.Errorf("-how is close or kill, not %q", cfg.how)
	case cfg.Entries < 1 || cfg.rounds < 1:
		return errors.New("-entries and -rounds start at 1")
	case cfg.ValueSize < minSize || cfg.KeySize < minSize:
		return fmt.Errorf("-key and -value start at %d", minSize)
	case cfg.Rate < 0 || cfg.run < 0 || cfg.missing < 0:
		return errors.New("-rate, -run and -missing are not negative")
	}
	return nil
}

// run makes the folder, runs the rounds and prints what they gave.
func run(ctx context.Context, cfg *config, out *os.File) (err error) {
	dir, err := os.MkdirTemp(cfg.dir, "ember-warmrestart-")
	if err != nil {
		return err
	}
	if cfg.keep {
		defer fmt.Fprintln(out, "left in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	printHeader(out, cfg, dir)
	b := &bench{cfg: cfg, dir: dir, progress: demo.NewProgress(os.Stderr), rand: rand.New(rand.NewPCG(cfg.Seed, 1))}
	defer b.progress.Clear()
	var all []round
	for i := range cfg.rounds {
		r, err := b.round(ctx, i)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, errors.Join(err, ctx.Err()))
		}
		b.progress.Clear()
		printRound(out, cfg, i, r)
		all = append(all, *r)
	}
	printSummary(out, cfg, all)
	return verdict(cfg, all)
}

// verdict is an error if a round broke the promise.
func verdict(cfg *config, all []round) error {
	var faults []string
	for i, r := range all {
		if n := r.check.Wrong + r.check.Outdated; n > 0 {
			faults = append(faults, fmt.Sprintf("round %d: %s values with a wrong byte, %s of another write than the last",
				i+1, demo.Count(r.check.Wrong), demo.Count(r.check.Outdated)))
		}
		if r.check.Missing > cfg.mayMiss(&r) {
			faults = append(faults, fmt.Sprintf("round %d: %s of %s entries missing, of which %s before the restart",
				i+1, demo.Count(r.check.Missing), demo.Count(cfg.Entries), demo.Count(cfg.evicted(&r))))
		}
		if cfg.how == "close" && r.lostWrites > 0 {
			faults = append(faults, fmt.Sprintf("round %d: %s writes lost by a close", i+1, demo.Count(r.lostWrites)))
		}
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// evicted is how many entries the first process had no more.
func (cfg *config) evicted(r *round) int { return cfg.Entries - r.entries }

// mayMiss is how many entries the second process may miss: a small share, and,
// if the first process has had to evict, what that has cost by the last
// acknowledgement. A lost write may have brought an entry back.
func (cfg *config) mayMiss(r *round) int {
	n := int(cfg.missing * float64(cfg.Entries))
	if evicted := cfg.evicted(r); evicted > 0 && r.peak > cfg.MaxBytes/2 {
		n += evicted + int(r.lostWrites)
	}
	return n
}
