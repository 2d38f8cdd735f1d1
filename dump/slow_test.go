package dump

import (
	"sync"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A slow step is told of while it lasts, once more when it has lasted for long, and
// at its end; nothing of it is told under a lock of the dumper.
func TestSlowStepsAreTold(t *testing.T) {
	var mu sync.Mutex
	var slow []Event
	var r *rig
	r = newRig(t, 1, func(c *Config) {
		c.SlowAfter = time.Hour
		c.Event = func(e Event) {
			r.d.Stats() // takes what locks there are
			r.d.Health()
			if e.Kind == Slow && e.Op == "sync pages" {
				mu.Lock()
				slow = append(slow, e)
				mu.Unlock()
			}
		}
	})
	r.f.churn(100)
	r.flush()
	const after = 20 * time.Millisecond
	r.d.cfg.SlowAfter = after // from now on: any machine may stand still for as long
	hang := r.fs.Hang(crashfs.OpSync, "pages-")
	r.f.churn(100)
	done := make(chan struct{})
	go func() { r.flush(); close(done) }()
	told := func(n int) {
		t.Helper()
		end := time.Now().Add(time.Minute)
		for asked := 0; ; asked++ {
			mu.Lock()
			got := len(slow)
			mu.Unlock()
			if got == n || asked > 1000 && time.Now().After(end) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	told(2)
	hang.Release()
	<-done
	told(3)
	if len(slow) != 3 || slow[0].Took < after || slow[1].Took < slowLong*after || slow[2].Took < slow[1].Took {
		t.Errorf("told: %+v", slow)
	}
}

// What the rate limit has a step wait is not the disk's.
func TestRateLimitIsNotSlow(t *testing.T) {
	l := limiter{rate: 1 << 20}
	start := time.Now()
	for l.total() == 0 { // a machine that stands still has nothing to wait for
		l.next = time.Now().Add(50 * time.Millisecond)
		l.wait(1)
	}
	if took := time.Since(start); l.total() > took {
		t.Errorf("it waited %v, and says %v", took, l.total())
	}
	r := newRig(t, 1, func(c *Config) { c.SlowAfter = time.Minute })
	for rested, want := range map[time.Duration]bool{0: true, time.Hour: false} {
		r.d.limit.rested.Store(int64(rested))
		s := slowStep{d: r.d, started: time.Now().Add(-time.Hour), next: time.Minute, timer: time.NewTimer(time.Hour)}
		if took, told := s.due(); told != want {
			t.Errorf("an hour with %v of waiting: told %v after %v", rested, told, took)
		}
	}
}
