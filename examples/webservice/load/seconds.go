package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// A Second sums up the requests that were due in it.
type Second struct {
	Counts   [results]int
	Outdated int
	P50, P99 time.Duration // of those that were answered; 0 if none was
}

// Sum sums up samples due from from on, for n times step.
func Sum(samples []Sample, from time.Time, step time.Duration, n int) []Second {
	seconds := make([]Second, n)
	latencies := make([][]time.Duration, n)
	for _, s := range samples {
		i := int(math.Floor(float64(s.At.Sub(from)) / float64(step)))
		if i < 0 || i >= n {
			continue
		}
		seconds[i].Counts[s.Result]++
		if s.Outdated {
			seconds[i].Outdated++
		}
		if !s.Result.IsError() {
			latencies[i] = append(latencies[i], s.Latency)
		}
	}
	for i, l := range latencies {
		slices.Sort(l)
		seconds[i].P50, seconds[i].P99 = quantile(l, 0.5), quantile(l, 0.99)
	}
	return seconds
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}

// HitRatio is hits over reads that were answered; NaN without any.
func (s *Second) HitRatio() float64 {
	hits, misses := float64(s.Counts[Hit]), float64(s.Counts[Miss])
	return hits / (hits + misses)
}

// Errors are the requests without an answer.
func (s *Second) Errors() (n int) {
	for r := Refused; r < results; r++ {
		n += s.Counts[r]
	}
	return n
}

// Print runs a load and prints a line for each second, once no answer to it can
// come any more.
func Print(ctx context.Context, w io.Writer, o Options) error {
	l := New(o)
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	fmt.Fprintf(w, "%6s %7s %9s %9s %8s %8s %8s %8s\n", "second", "hits", "p50", "p99", "writes", "refused", "5xx", "failed")
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for printed, ended := 0, false; !ended; {
		last := 0
		select {
		case now := <-tick.C:
			last = int((now.Sub(start) - timeout) / time.Second)
		case <-done:
			ended, last = true, int(math.Ceil(time.Since(start).Seconds()))
		}
		for seconds := Sum(l.Samples(), start, time.Second, max(last, 0)); printed < len(seconds); printed++ {
			printSecond(w, printed, seconds[printed])
		}
	}
	return nil
}

func printSecond(w io.Writer, i int, s Second) {
	fmt.Fprintf(w, "%6d %6.1f%% %9v %9v %8d %8d %8d %8d\n", i, 100*s.HitRatio(), s.P50.Round(10*time.Microsecond), s.P99.Round(10*time.Microsecond),
		s.Counts[Write], s.Counts[Refused], s.Counts[Unavailable], s.Counts[Failed]+s.Counts[Overrun])
	if s.Outdated > 0 {
		fmt.Fprintf(w, "       %d answers were outdated\n", s.Outdated)
	}
}
