package dump

import (
	"context"
	"fmt"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// An ack is a promise that was made: from so many operations on, a recovery
// finds that cut or a later one.
type ack struct {
	ops     int
	clock   int64
	durable bool // else it holds for a killed process only
}

// A story is what a rig did, for visiting its crash points afterwards.
type story struct {
	*rig
	acks []ack
}

func (s *story) weak() {
	links := s.d.chain.links
	if err := s.d.Weak(); err == nil && s.d.Stats().WeakUp && s.d.chain.links > links {
		s.acks = append(s.acks, ack{s.fs.Ops(), s.f.clock, false})
	}
}

// flush makes a promise only if it succeeds: faults may be injected.
func (s *story) flush() {
	if _, err := s.d.Flush(context.Background()); err == nil {
		s.acks = append(s.acks, ack{s.fs.Ops(), s.d.base.record.Clock, true})
	}
}

// owed is the oldest cut that a recovery after n operations may find.
func (s *story) owed(n int, killed bool) (clock int64) {
	for _, a := range s.acks {
		if a.ops <= n && (a.durable || killed) {
			clock = max(clock, a.clock)
		}
	}
	return clock
}

// live is a random life of n steps.
func (s *story) live(n int) {
	for range n {
		s.f.churn(1 + s.f.rng.IntN(60))
		switch s.f.rng.IntN(6) {
		case 0, 1:
			s.flush()
		case 2:
			s.d.needFull = true
			s.flush()
		case 3:
			s.f.grow()
		default:
			s.weak()
		}
	}
}

// visit crashes the story at every operation, or at every step-th of them. What is
// looked at is a copy, alone: the race detector sees nothing there, ten times slower.
func (s *story) visit(step int) {
	s.t.Helper()
	if racing {
		step *= 8
	}
	for n := 0; n <= s.fs.Ops(); n++ {
		if n%step != int(s.seed)%step && n != s.fs.Ops() {
			continue
		}
		for fate := range crashfs.Fate(3) {
			cut := crashfs.Cut{Seed: s.seed, Fate: fate, Garbage: true}
			s.visitCrash(n, s.fs.Crash(n, cut), fmt.Sprintf("power cut after %d operations, fate %d", n, fate))
		}
		s.arrive(n, s.fs.Kill(n), true, true, fmt.Sprintf("killed after %d operations", n))
	}
}

// visitCrash looks at the durable state, at what the chain adds, and at what is
// retained. A torn record leaves the other ring in charge.
func (s *story) visitCrash(n int, fsys *crashfs.FS, where string) {
	s.t.Helper()
	got := s.arrive(n, fsys, false, false, where)
	s.arrive(n, fsys, true, false, where)
	if got.record != nil {
		s.verifyRetained(fsys, got)
	}
}

func (s *story) arrive(n int, fsys *crashfs.FS, weak, killed bool, where string) *replayed {
	s.t.Helper()
	got, err := s.f.recover(fsys, weak)
	if err != nil {
		s.t.Fatalf("seed %d, %s: %v", s.seed, where, err)
	}
	if owed := s.owed(n, killed); got.clock < owed {
		s.t.Fatalf("seed %d, %s: got cut %d, %d was acknowledged", s.seed, where, got.clock, owed)
	}
	return got
}

func TestCrashAtAnyOperation(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		s := &story{rig: newRig(t, seed, nil)}
		if seed%2 == 0 {
			s.f.limit = 1000 // nothing is evicted: nothing may be missing
		}
		s.live(16)
		s.visit(7)
	})
}

func TestCrashAmongWriters(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		s := &story{rig: newRig(t, seed, nil)}
		s.f.during = func() { s.f.churn(1) }
		s.live(10)
		s.visit(5)
	})
}

func TestRingWraps(t *testing.T) {
	eachSeed(t, 4, func(t *testing.T, seed uint64) {
		s := &story{rig: newRig(t, seed, func(c *Config) { c.WeakBytes = minRing })}
		s.f.churn(20)
		s.flush()
		for i := range 80 {
			s.f.churn(1 + s.f.rng.IntN(12))
			s.weak()
			if i%4 == 3 {
				s.flush()
			}
		}
		if bytes := s.d.chain.bytes; bytes < 3*minRing {
			t.Fatalf("got %d bytes of links, want some laps", bytes)
		}
		s.visit(37)
	})
}

// A process is killed or loses power again and again; each one goes on with what
// it found.
func TestRestarts(t *testing.T) {
	eachSeed(t, 8, func(t *testing.T, seed uint64) {
		s := &story{rig: newRig(t, seed, func(c *Config) { c.WeakBytes = 4 * minRing })}
		for range 10 {
			s.live(s.f.rng.IntN(8))
			s.restart(seed%2 == 0)
		}
		s.flush()
		s.verify()
	})
}

// restart ends the process somewhere in the last operations and opens what is
// left.
func (s *story) restart(killed bool) {
	s.t.Helper()
	n := s.fs.Ops()
	n -= s.f.rng.IntN(min(n, 12) + 1)
	fsys := s.fs.Kill(n)
	if !killed {
		fsys = s.fs.Crash(n, crashfs.Cut{Seed: s.seed})
	}
	owed := s.owed(n, killed)
	got := s.reopen(fsys)
	if got.clock < owed {
		s.t.Fatalf("seed %d: got cut %d after a restart, %d was acknowledged", s.seed, got.clock, owed)
	}
	s.acks = []ack{{0, got.clock, !killed}}
	// After a kill the log goes on, and with it what was owed durably.
	if killed {
		s.acks = nil
	}
}

// A link of a process that was killed is not written over by the next, which is
// killed too; the third finds both.
func TestSecondKill(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	for i := range 5 {
		r.f.churn(20)
		if err := r.d.Weak(); err != nil {
			t.Fatal(err)
		}
		want := r.f.clock
		got := r.reopen(r.fs.Kill(r.fs.Ops()))
		if got.clock != want {
			t.Fatalf("kill %d: got cut %d, want %d", i, got.clock, want)
		}
	}
	r.f.churn(5)
	r.flush()
	r.verify()
}
