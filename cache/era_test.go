package cache

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

func handAt(t time.Time) *handClock {
	k := newHandClock()
	k.at.Store(t.UnixNano())
	return k
}

// TestOneRunUnderAWallClockThatIsFarOff: it is not believed, and says so. Times to live
// work in that run and in those that follow, and nothing is back that was over.
func TestOneRunUnderAWallClockThatIsFarOff(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for year, believed := range map[int]bool{1901: false, 1970: false, 2019: false, 2021: true, 2053: true, 2055: false, 2099: false, 2261: false} {
		var log lockedBuffer
		o := quietOptions(crashfs.New(), 1)
		o.Freshness.Jitter, o.Logger = -1, log.logger()
		k := handAt(now)
		run := func(at time.Time) *Cache {
			k = handAt(at)
			o.Clock = k.now
			c := openOn(t, o)
			if r := c.Recovery(); r.Reason != nil {
				t.Errorf("%d: %+v", year, r)
			}
			return c
		}
		hour := func(c *Cache, key string) {
			t.Helper()
			must(t, c.SetWithTTL([]byte(key), nil, time.Hour))
			k.pass(time.Hour - time.Millisecond)
			e, ok := c.Info([]byte(key))
			if k.pass(time.Millisecond); !ok || !e.Expires.Equal(k.now()) {
				t.Errorf("%d: %s: %v, ends %v, want %v", year, key, ok, e.Expires, k.now())
			}
			wantNothing(t, c, []byte(key))
		}
		c := run(now)
		mustSet(t, c, []byte("stays"), nil)
		must(t, c.SetWithTTL([]byte("old"), nil, 2*time.Hour))
		mustClose(t, c)
		c = run(time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC))
		hour(c, "wrong")
		k.pass(time.Hour)
		wantNothing(t, c, []byte("old"))
		mustClose(t, c)
		if got := strings.Contains(log.String(), "event=wall_clock"); got == believed {
			t.Errorf("%d: it is told of: %v", year, got)
		}
		for day := range 3 {
			c = run(now.Add(time.Duration(day*24) * time.Hour))
			for _, key := range []string{"old", "wrong", "right"} {
				wantNothing(t, c, []byte(key))
			}
			wantValue(t, c, []byte("stays"), nil)
			hour(c, "before")
			must(t, c.SetWithTTL([]byte("right"), nil, time.Hour))
			mustClose(t, c)
		}
	}
}

// TestADirectoryBeyondTheRangeOfTimes, as a build that believed every wall clock left it:
// it begins anew, says why, and works from then on.
func TestADirectoryBeyondTheRangeOfTimes(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	k := handAt(now)
	o := quietOptions(crashfs.New(), 1)
	o.Clock, o.Freshness.Jitter = k.now, -1
	c := openOn(t, o)
	k.pass(30 * 365 * 24 * time.Hour) // without a monotonic clock: as if it had begun so
	must(t, c.SetWithTTL([]byte("over"), nil, time.Hour))
	wantNothing(t, c, []byte("over"))
	beyond := mustFlush(t, c)
	drop(c)
	k.at.Store(now.UnixNano())
	o.Recovery.Generation = beyond
	if _, err := Open(context.Background(), worldDir, o); err == nil || !strings.Contains(err.Error(), "beyond the year 2053") {
		t.Errorf("by number: %v", err)
	}
	o.Recovery.Generation = 0
	for run := range 3 {
		c = openOn(t, o)
		r := c.Recovery()
		if cold := run == 0; cold != (r.Outcome == OutcomeCold) || cold != (r.Reason != nil) {
			t.Errorf("run %d: %+v", run, r)
		}
		wantNothing(t, c, []byte("over"))
		wantNothing(t, c, []byte("hour"))
		must(t, c.SetWithTTL([]byte("hour"), nil, time.Hour))
		k.pass(time.Hour - time.Millisecond)
		wantValue(t, c, []byte("hour"), nil)
		mustClose(t, c)
		k.pass(time.Hour)
	}
}
