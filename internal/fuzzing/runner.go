package fuzzing

import (
	"fmt"
	"testing"
	"time"
)

// A runner checks one input after the other.
type runner struct {
	g      *Target
	t      *testing.T
	before uint64
	buf    []byte // of the input
	shown  []byte // the input before the check changed it
	trace  *trace

	wanted, done, taken int // inputs
	began, told         time.Time
}

func newRunner(t *testing.T, g *Target, wanted int) *runner {
	now := time.Now()
	return &runner{g: g, t: t, before: Allocated(), trace: newTrace(g.Name), wanted: wanted, began: now, told: now}
}

func (r *runner) run(b []byte, mode byte) {
	r.buf, r.shown = b, append(r.shown[:0], b...)
	in := Input{r.shown, mode}
	if r.g.Slow {
		r.keep(in)
	}
	defer func() {
		p := recover()
		if p == nil && !r.t.Failed() {
			return
		}
		r.keep(in)
		r.t.Logf("to check it again, put %s into testdata/fuzz/%s:\n%s", r.trace.name, r.g.Name, encode(in))
		if p != nil {
			panic(p)
		}
		r.t.FailNow()
	}()
	taken, after := r.g.check(r.t, b, mode%r.g.Modes, r.before)
	if r.before = after; taken {
		r.taken++
	}
	if r.done++; r.done%256 == 0 && time.Since(r.told) > time.Minute {
		r.say()
	}
}

func (r *runner) keep(in Input) {
	if err := r.trace.keep(in); err != nil {
		r.t.Error(err)
	}
}

// say tells how far it has come.
func (r *runner) say() {
	r.told = time.Now()
	took := r.told.Sub(r.began).Seconds()
	part := ""
	if r.done < r.wanted {
		part = fmt.Sprintf(" of %d", r.wanted)
	}
	r.t.Logf("%s: %d executions%s, %d taken, in %.1f s: %.0f/s", r.g.Name, r.done, part, r.taken, took, float64(r.done)/max(took, 1e-3))
}
