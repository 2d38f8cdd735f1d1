package cache

import (
	"slices"
	"sync/atomic"
	"time"
)

// A Histogram has cumulative counts for fixed upper bounds, as Prometheus wants:
// Counts[i] is of what took Bounds[i] or less, and Counts has one more than
// Bounds, of all. Sum is of all, too. The bounds are 1, 2.5, 5, 10, 25, 50, 100,
// 250 and 500 ms, and 1, 2.5, 5, 10, 30 and 60 s.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

var histogramBounds = []time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// sub is what h grew by since t; t may be the zero Histogram.
func (h Histogram) sub(t Histogram) Histogram {
	h.Counts = slices.Clone(h.Counts)
	for i := range min(len(h.Counts), len(t.Counts)) {
		h.Counts[i] -= t.Counts[i]
	}
	h.Sum -= t.Sum
	return h
}

// A tally counts durations for a Histogram, without a lock.
type tally struct {
	counts [16]atomic.Uint64 // one a bound, and one beyond; not cumulative
	sum    atomic.Int64
}

func (t *tally) add(d time.Duration) {
	i, _ := slices.BinarySearch(histogramBounds, d)
	t.counts[i].Add(1)
	t.sum.Add(int64(d))
}

func (t *tally) histogram() Histogram {
	h := Histogram{Bounds: slices.Clone(histogramBounds), Counts: make([]uint64, len(t.counts)), Sum: time.Duration(t.sum.Load())}
	n := uint64(0)
	for i := range t.counts {
		n += t.counts[i].Load()
		h.Counts[i] = n
	}
	return h
}
