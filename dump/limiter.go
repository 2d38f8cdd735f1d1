package dump

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A limiter spreads writes over time, so that a dump leaves the disk to others.
// Only the goroutine that writes a durable generation uses it.
type limiter struct {
	rate int64 // bytes per second; 0: no limit
	next time.Time
	quit <-chan struct{} // ends the waiting: the last generation is in a hurry
	// pressed ends rests, not the waiting for the rate; see Config.
	pressed func() bool

	rester
	rested atomic.Int64 // all rests, in ns, with the one that the rate makes last
}

// longestRest bounds one wait, and how much a pause saves up.
const longestRest = time.Second

// total is how long everybody has waited, and will for what was begun.
func (l *limiter) total() time.Duration { return time.Duration(l.rested.Load()) }

// wait waits until n more bytes are due.
func (l *limiter) wait(n int) {
	if l.rate <= 0 {
		l.rest()
		return
	}
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	rest := min(l.next.Sub(now), longestRest)
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	if rest <= 0 {
		return
	}
	l.rested.Add(int64(rest))
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.quit:
		l.rate = 0
	}
}

// A throttled file waits before each write, and refuses to write once the dumper
// was told to stop.
type throttled struct {
	pagefile.File
	limit *limiter
	stop  func() error
	bytes int64
}

// WriteAt writes b when it is due.
func (t *throttled) WriteAt(b []byte, off int64) (int, error) {
	if err := t.stop(); err != nil {
		return 0, err
	}
	t.limit.wait(len(b))
	t.bytes += int64(len(b))
	n, err := t.File.WriteAt(b, off)
	if err == nil {
		err = pagefile.Push(t.File, off, int64(n))
	}
	return n, err
}

// WriteVAt writes parts when they are due.
func (t *throttled) WriteVAt(parts [][]byte, off int64) (int, error) {
	return t.WriteAt(slices.Concat(parts...), off)
}
