package cache

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/embercache/ember/internal/crashfs"
)

// A wallClock is a machine's: a wall clock that somebody sets, and a monotonic one that
// goes on all the same. Both are in what time.Now returns.
type wallClock struct {
	start time.Time
	went  atomic.Int64 // of the monotonic clock, ns
	set   atomic.Int64 // by how much the wall clock was, s
}

func newWallClock() *wallClock { return &wallClock{start: time.Now()} }

func (k *wallClock) pass(d time.Duration) { k.went.Add(int64(d)) }
func (k *wallClock) jump(d time.Duration) { k.set.Add(int64(d / time.Second)) }

// now is a Time whose wall clock was set: package time makes none, so its seconds are
// changed in place.
func (k *wallClock) now() time.Time {
	const secondsAt = 30 // above the nanoseconds, where there is a monotonic clock
	set := k.set.Load()
	straight := k.start.Add(time.Duration(k.went.Load()))
	jumped := straight
	*(*uint64)(unsafe.Pointer(&jumped)) += uint64(set) << secondsAt
	wall := jumped.Round(0).Sub(straight.Round(0))
	if jumped.Sub(straight) != 0 || wall != time.Duration(set)*time.Second {
		panic(fmt.Sprintf("time.Time is laid out in another way: %v after %v", jumped, straight))
	}
	return jumped
}

var wallJumps = []time.Duration{-10 * 365 * 24 * time.Hour, -2 * time.Hour, -time.Second, time.Second, 2 * time.Hour, 10 * 365 * 24 * time.Hour}

// TestTheWallClockIsSetWhileServing: what was stored before and after ends by the time
// that has passed, as if nothing had happened; so do times that use restarts, results
// that are stale, and absence.
func TestTheWallClockIsSetWhileServing(t *testing.T) {
	for _, jump := range wallJumps {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			k := newWallClock()
			o := testOptions(1 << 20)
			o.Clock = k.now
			o.Freshness = Freshness{TTL: time.Hour, Sliding: true, StaleFor: time.Minute, NegativeTTL: time.Minute, Jitter: -1}
			c := openMemory(t, o)
			there := func(key string, want bool) {
				t.Helper()
				if got := c.Has([]byte(key)); got != want {
					t.Errorf("%s is there: %v, want %v", key, got, want)
				}
			}
			set := func(key string, ttl time.Duration) { must(t, c.SetWithTTL([]byte(key), nil, ttl)) }
			mustSet(t, c, []byte("slides"), nil)
			set("before", 10*time.Minute)
			if _, err := c.GetOrLoad(context.Background(), []byte("absent"), fails(ErrNotFound)); err == nil {
				t.Fatal("found")
			}
			k.pass(time.Minute - time.Millisecond)
			k.jump(jump)
			set("after", 10*time.Minute)
			if e, _ := c.Info([]byte("after")); e.Expires.Sub(e.Stored) != 10*time.Minute {
				t.Errorf("stored %v, ends %v", e.Stored, e.Expires)
			}
			loaded := 0
			load := func(context.Context) ([]byte, error) { loaded++; return nil, ErrNotFound }
			_, _ = c.GetOrLoad(context.Background(), []byte("absent"), load)
			k.pass(time.Millisecond)
			_, _ = c.GetOrLoad(context.Background(), []byte("absent"), load)
			if loaded != 1 {
				t.Errorf("absence was asked for %d times, want once, a minute after it was found", loaded)
			}
			k.pass(9*time.Minute - time.Millisecond)
			there("before", true)
			k.jump(-jump / 2)
			k.pass(time.Millisecond)
			there("before", false)
			if e, ok := c.Info([]byte("before")); !ok || !e.Stale {
				t.Errorf("right after its time: %+v, %v, want stale", e, ok)
			}
			there("after", true)
			k.pass(time.Minute)
			there("after", false)
			if e, ok := c.Info([]byte("before")); ok {
				t.Errorf("it is stale for longer than a minute: %+v", e)
			}
			k.pass(40 * time.Minute) // 51 in all
			ends := func() time.Time { e, _ := c.Info([]byte("slides")); return e.Expires }
			first := ends()
			wantValue(t, c, []byte("slides"), nil)
			soon(t, "its time is restarted", func() bool { return ends().Equal(first.Add(51 * time.Minute)) })
			k.jump(jump)
			k.pass(time.Hour - time.Millisecond)
			there("slides", true)
			k.pass(time.Millisecond)
			there("slides", false)
		})
	}
}

// TestTheCoarseClockIgnoresTheWallClock: it goes by the monotonic clock, in steps, and
// never back, whatever its source tells.
func TestTheCoarseClockIgnoresTheWallClock(t *testing.T) {
	k := newWallClock()
	var c clock
	c.init(k.now)
	c.manual = false // as time.Now is: read by tick
	began := c.now()
	for i, jump := range wallJumps {
		k.jump(jump)
		k.pass(time.Second)
		if got, want := c.now()-began, int64(i)*1000; got != want {
			t.Errorf("before a tick: %d ms went by, want %d", got, want)
		}
		c.tick()
		if got, want := c.now()-began, int64(i+1)*1000; got != want {
			t.Errorf("after a jump of %v: %d ms went by, want %d", jump, got, want)
		}
	}
	k.pass(-time.Hour) // no monotonic clock does that; a source without one may
	c.tick()
	if got, want := c.now()-began, int64(len(wallJumps))*1000; got != want {
		t.Errorf("it went back: %d ms, want %d", got, want)
	}
}

// TestTheWallClockIsSetBeforeTheNextOpen: while a process runs, which then ends in
// either way. The next one gives nothing more time than it had left, and takes off what
// it can tell to have passed. A record has the time by the wall clock when it was
// written.
func TestTheWallClockIsSetBeforeTheNextOpen(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for _, jump := range wallJumps {
			t.Run(fmt.Sprintf("killed %v, jump %v", killed, jump), func(t *testing.T) { setBeforeOpen(t, killed, jump) })
		}
	}
}

func setBeforeOpen(t *testing.T, killed bool, jump time.Duration) {
	k := newWallClock()
	o := quietOptions(crashfs.New(), 1)
	o.Clock, o.Freshness.Jitter = k.now, -1
	c := openOn(t, o)
	const n = 200 // entry i ends i+1 minutes after it was stored
	store := func(kind string) {
		for i := range n {
			must(t, c.SetWithTTL(fmt.Appendf(nil, "%s-%d", kind, i), nil, time.Duration(i+1)*time.Minute))
		}
	}
	served := func(kind string, passed time.Duration) {
		t.Helper()
		for i := range n {
			left := time.Duration(i+1)*time.Minute - passed
			if got := c.Has(fmt.Appendf(nil, "%s-%d", kind, i)); got != (left > 0) {
				t.Fatalf("%s-%d, with %v left: there: %v", kind, i, left, got)
			}
		}
	}
	store("before")
	k.pass(10 * time.Minute)
	k.jump(jump)
	store("after")
	k.pass(10 * time.Minute)
	written := k.now()
	mustFlush(t, c)
	if killed {
		drop(c)
	} else {
		mustClose(t, c)
	}
	k.pass(10 * time.Minute)
	c = openOn(t, o)
	defer drop(c)
	if got := c.Recovery().WrittenAt; !got.Equal(written.Round(0)) {
		t.Errorf("written at %v, want %v", got, written)
	}
	down := max(10*time.Minute+jump, 0) // as far as the wall clock tells
	served("before", 20*time.Minute+down)
	served("after", 10*time.Minute+down)
	k.pass(5 * time.Minute)
	served("before", 25*time.Minute+down)
	served("after", 15*time.Minute+down)
}

// TestMaxAgeWhileTheWallClockIsSet: a process that ran to a minute ago, and whose clock
// was set meanwhile, has left nothing that is too old, changed or not: Close says when
// the state was last true.
func TestMaxAgeWhileTheWallClockIsSet(t *testing.T) {
	for _, changed := range []bool{false, true} {
		for _, jump := range wallJumps {
			k := newWallClock()
			o := quietOptions(crashfs.New(), 1)
			o.Clock, o.Recovery.MaxAge = k.now, time.Hour
			c := openOn(t, o)
			mustSet(t, c, []byte("k"), []byte("v"))
			for range 2 { // the first Open seals a segment, which is a change
				mustClose(t, c)
				k.pass(time.Minute)
				c = openOn(t, o)
			}
			k.jump(jump)
			if changed {
				mustSet(t, c, []byte("k"), []byte("w"))
			}
			mustClose(t, c)
			k.pass(time.Minute)
			c = openOn(t, o)
			if r := c.Recovery(); r.Outcome != OutcomeWarm {
				t.Errorf("changed %v, jump %v: %+v", changed, jump, r)
			}
			drop(c)
		}
	}
}
