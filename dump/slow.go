package dump

import (
	"sync"
	"time"
)

// A slow step is told of when it has taken Config.SlowAfter, once more when it has
// taken slowLong of those, and when it ends at last. What the rate limit has it
// wait does not count: that is not the disk's.
type slowStep struct {
	d       *Dumper
	op      string
	locked  bool // it ends under a lock
	started time.Time
	rested  time.Duration // of the limiter, at the start

	mu    sync.Mutex
	timer *time.Timer
	next  time.Duration // when it is told of; 0: no more before its end
	told  bool
	ended bool
}

// slowLong makes a minute of the default of a second.
const slowLong = 60

// watchStep begins to watch a step; the function that it returns ends it, which is
// locked if it is called under a lock.
func (d *Dumper) watchStep(op string, locked bool) (done func()) {
	if d.cfg.Event == nil {
		return func() {}
	}
	s := &slowStep{d: d, op: op, locked: locked, started: time.Now(), rested: d.limit.total(), next: d.cfg.SlowAfter}
	s.mu.Lock()
	s.timer = time.AfterFunc(s.next, s.look)
	s.mu.Unlock()
	return s.end
}

func (s *slowStep) took() time.Duration {
	return time.Since(s.started) - (s.d.limit.total() - s.rested)
}

// look is called when the step may have taken long.
func (s *slowStep) look() {
	if took, ok := s.due(); ok {
		s.d.cfg.event(Event{Kind: Slow, Op: s.op, Took: took})
	}
}

func (s *slowStep) due() (took time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	took = s.took()
	switch {
	case s.ended || s.next == 0:
		return 0, false
	case took < s.next:
		s.timer.Reset(s.next - took)
		return 0, false
	}
	s.told = true
	if s.next = slowLong * s.d.cfg.SlowAfter; took < s.next {
		s.timer.Reset(s.next - took)
	} else {
		s.next = 0
	}
	return took, true
}

func (s *slowStep) end() {
	s.mu.Lock()
	s.ended = true
	s.timer.Stop()
	took := s.took()
	told := s.told || took >= s.d.cfg.SlowAfter
	s.mu.Unlock()
	switch {
	case told && s.locked:
		go s.d.cfg.event(Event{Kind: Slow, Op: s.op, Took: took})
	case told:
		s.d.cfg.event(Event{Kind: Slow, Op: s.op, Took: took})
	}
}
