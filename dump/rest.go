package dump

import (
	"time"

	"github.com/embercache/ember/pagefile"
)

// Who writes a generation competes with the cache's callers for a processor: for a
// core of the machine, and for one of GOMAXPROCS, which a goroutine keeps for 10 ms
// if it is let. So it works for a moment and then rests, for as long at least; a
// timer often makes a millisecond of it. How long it rests in a step has no hard
// bound, but once it has rested for what the step may lose its stretches grow with
// each rest, so that a step of n times the work rests about the root of n times as
// long, and no generation is held up for long, however much is stored. There is no
// rest at all while the cache is pressed: what it cannot hold is left out.
const (
	stretch    = 100 * time.Microsecond // of work
	longStep   = 5 * time.Millisecond   // of rest, by which stretches grow by another
	easeImage  = 250 * time.Millisecond // what the step may lose before they do
	easeOthers = 20 * time.Millisecond
)

// A rester is that goroutine's rests within a step.
type rester struct {
	ease    time.Duration
	resumed time.Time     // the step began, or the last rest ended
	spent   time.Duration // resting
	asked   uint64        // how often it was asked to rest
}

// begin begins a step.
func (l *limiter) begin(ease time.Duration) {
	l.rester = rester{ease: ease, resumed: time.Now(), asked: l.asked}
}

// stretch is for how long it works at once by now.
func (r *rester) stretch() time.Duration {
	return stretch + stretch*max(r.spent-r.ease, 0)/longStep
}

// rest is called after every bounded piece of work, and rests now and then: not for
// one that is in a hurry.
func (l *limiter) rest() {
	l.asked++
	worked := time.Since(l.resumed)
	if worked < l.stretch() || l.hurried() {
		return
	}
	before := time.Now()
	time.Sleep(min(worked, time.Millisecond))
	l.resumed = time.Now()
	l.spent += l.resumed.Sub(before)
	l.rested.Add(int64(l.resumed.Sub(before)))
}

func (l *limiter) hurried() bool {
	select {
	case <-l.quit:
		return true
	default:
		return l.pressed()
	}
}

// A rested file rests before each vector.
type rested struct {
	pagefile.File
	limit *limiter
}

// WriteVAt writes parts.
func (r rested) WriteVAt(parts [][]byte, off int64) (int, error) {
	r.limit.rest()
	return r.File.WriteVAt(parts, off)
}
