package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/embercache/ember/internal/demo"
)

func printHeader(w io.Writer, cfg *config, dir string) {
	fmt.Fprintf(w, "warmrestart %s\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(w, "%s %s/%s, %d processors, seed %d, in %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), cfg.Seed, dir)
	fmt.Fprintf(w, "%s entries of %d + %d B, %s in all; MaxBytes %s\n",
		demo.Count(cfg.Entries), cfg.KeySize, cfg.ValueSize, demo.Bytes(cfg.payload()), demo.Bytes(cfg.MaxBytes))
	fmt.Fprintf(w, "%s Sets/s for %v, an interval of %v, then %s\n\n", demo.Count(cfg.Rate), cfg.run, cfg.Interval, cfg.how)
}

// printRound prints what one restart gave.
func printRound(w io.Writer, cfg *config, i int, r *round) {
	fmt.Fprintf(w, "round %d of %d\n", i+1, cfg.rounds)
	if r.filled != nil {
		fmt.Fprintf(w, "  filled in %s, flushed in %s\n", demo.Time(r.filled.Took), demo.Time(r.filled.Flush))
	}
	fmt.Fprintf(w, "  %s entries, %s, before the end\n", demo.Count(r.entries), demo.Bytes(r.bytes))
	if r.closed != nil {
		fmt.Fprintf(w, "  closed in %s, %s written since Open\n", demo.Time(r.closed.Took), demo.Bytes(r.closed.Written))
	}
	if r.dropped != "" {
		fmt.Fprintf(w, "  page cache dropped: %s\n", r.dropped)
	}
	o := &r.opened
	fmt.Fprintf(w, "  %s, generation %d and %d weak ones, %s entries, %s dropped", o.Outcome, o.Generation, o.Weak, demo.Count(o.Entries), demo.Count(o.Dropped))
	if o.Reason != "" {
		fmt.Fprintf(w, " (%s)", o.Reason)
	}
	fmt.Fprintf(w, "\n  Open %s, %s, all hits in %s, verified after %s\n",
		demo.Time(o.Open), firstHit(o), demo.Time(r.check.AllHits), demo.Time(r.check.Verified))
	fmt.Fprintf(w, "  lost %s writes, those of the last %s; %s missing, %s outdated, %s wrong\n",
		demo.Count(r.lostWrites), demo.Time(r.lostTime), demo.Count(r.check.Missing), demo.Count(r.check.Outdated), demo.Count(r.check.Wrong))
}

func firstHit(o *opened) string {
	if o.FirstHit == 0 {
		return fmt.Sprintf("no hit in %d Gets", o.Tries)
	}
	return fmt.Sprintf("first hit %s (Get number %d)", demo.Time(o.FirstHit), o.Tries)
}

// A figure is one line of the summary.
type figure struct {
	label string
	show  func(float64) string
	value func(*round) (x float64, ok bool)
}

// timeOf makes a figure of a time.
func timeOf(label string, d func(*round) time.Duration) figure {
	return figure{label, func(x float64) string { return demo.Time(time.Duration(x)) },
		func(r *round) (float64, bool) { return float64(d(r)), true }}
}

// timeIf makes a figure of a time that some rounds do not have.
func timeIf(label string, d func(*round) time.Duration, has func(*round) bool) figure {
	f := timeOf(label, d)
	f.value = func(r *round) (float64, bool) {
		if !has(r) {
			return 0, false
		}
		return float64(d(r)), true
	}
	return f
}

// countOf makes a figure of a number.
func countOf(label string, n func(*round) int) figure {
	return figure{label, func(x float64) string { return demo.Count(int64(x)) },
		func(r *round) (float64, bool) { return float64(n(r)), true }}
}

var figures = []figure{
	timeIf("fill", func(r *round) time.Duration { return r.filled.Took }, func(r *round) bool { return r.filled != nil }),
	timeIf("Flush after it", func(r *round) time.Duration { return r.filled.Flush }, func(r *round) bool { return r.filled != nil }),
	timeIf("Close", func(r *round) time.Duration { return r.closed.Took }, func(r *round) bool { return r.closed != nil }),
	timeOf("Open", func(r *round) time.Duration { return r.opened.Open }),
	timeIf("Open to the first hit", func(r *round) time.Duration { return r.opened.FirstHit }, func(r *round) bool { return r.opened.FirstHit > 0 }),
	timeOf("start of the process to that", func(r *round) time.Duration { return r.fromStart }),
	timeOf("all hits, each value compared", func(r *round) time.Duration { return r.check.AllHits }),
	timeOf("Open to all pages verified", func(r *round) time.Duration { return r.check.Verified }),
	timeOf("lost: writes of the last", func(r *round) time.Duration { return r.lostTime }),
	countOf("lost: acknowledged writes", func(r *round) int { return int(r.lostWrites) }),
	countOf("entries before the end", func(r *round) int { return r.entries }),
	countOf("entries missing", func(r *round) int { return r.check.Missing }),
	countOf("values outdated or wrong", func(r *round) int { return r.check.Outdated + r.check.Wrong }),
}

// manyRounds are enough to speak of the slowest of them as a share.
const manyRounds = 20

func printSummary(w io.Writer, cfg *config, all []round) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "\tmedian\tmin\tmax\t"
	quantiles := []float64{0.5, 0, 1}
	if len(all) >= manyRounds {
		head += "95 %\t99 %\t"
		quantiles = append(quantiles, 0.95, 0.99)
	}
	fmt.Fprintf(w, "\nrounds: %d, each after a %s\n", len(all), cfg.how)
	fmt.Fprintf(t, "%-32s%s\n", "", head)
	for _, f := range figures {
		var xs []float64
		for i := range all {
			if x, ok := f.value(&all[i]); ok {
				xs = append(xs, x)
			}
		}
		if len(xs) == 0 {
			continue
		}
		fmt.Fprintf(t, "%-32s\t", f.label)
		for _, q := range quantiles {
			fmt.Fprintf(t, "%s\t", f.show(demo.Quantile(xs, q)))
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}
