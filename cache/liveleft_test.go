package cache

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// withoutLive are options of the same cache that has no log.
func withoutLive(fs *crashfs.FS) *Options {
	o := liveOptions(fs, nil, 2)
	o.Durability.Live, o.hooks.live = "", nil
	return o
}

// TestTokenIsTouchedOnlyIfItIsThere: a cache that has no log looks for one of before,
// once, and no more.
func TestTokenIsTouchedOnlyIfItIsThere(t *testing.T) {
	k := liveCrashed(t, 2)
	for _, there := range []bool{true, false} {
		var touched []crashfs.Kind
		remove := k.fs.Inject(func(op crashfs.Op) error {
			if strings.HasSuffix(op.Path, "/"+liveToken) && (op.Kind == crashfs.OpOpen || op.Kind == crashfs.OpRemove) {
				touched = append(touched, op.Kind)
			}
			return nil
		})
		drop(openOn(t, withoutLive(k.fs)))
		remove()
		if want := map[bool]int{true: 2, false: 1}[there]; len(touched) != want || touched[0] != crashfs.OpOpen {
			t.Errorf("a token is there: %t; touched: %v, want %d", there, touched, want)
		}
	}
}

// TestATokenThatStaysHoldsNobodyUp: neither Open nor Shutdown waits beyond its context
// for a disk to forget the log; but nobody else has the directory before it has.
func TestATokenThatStaysHoldsNobodyUp(t *testing.T) {
	for _, opening := range []bool{true, false} {
		k := liveCrashed(t, 2)
		want, o := k.all, liveOptions(k.fs, k.m, 2)
		if opening {
			want, o = k.linked, withoutLive(k.fs)
		}
		var c *Cache
		if !opening {
			c = openOn(t, o)
		}
		hang := k.fs.Hang(crashfs.OpRemove, liveToken)
		defer hang.Release()
		if opening {
			c = openUntil(t, o, hang.Blocked)
			sameContents(t, contents(c), want)
			mustClose(t, c)
		} else {
			shutUntil(c, hang.Blocked)
		}
		if _, err := Open(context.Background(), worldDir, o); !errors.Is(err, ErrLocked) {
			t.Errorf("while the disk hangs Open returns %v", err)
		}
		hang.Release()
		soon(t, "the directory is free", func() bool {
			again, err := Open(context.Background(), worldDir, liveOptions(k.fs, k.m, 2))
			if err == nil {
				sameContents(t, contents(again), want)
				mustClose(t, again)
			}
			return err == nil
		})
	}
}

// An unreadableLive has a log that cannot be read.
type unreadableLive struct{ *memLive }

func (unreadableLive) Read(string) ([]byte, error) { return nil, syscall.EIO }

// TestALogThatIsLostIsTold: where what had returned is missing, the report says so.
func TestALogThatIsLostIsTold(t *testing.T) {
	k := liveCrashed(t, 2)
	for what, change := range map[string]func(o *Options, m *memLive){
		"gone": func(_ *Options, m *memLive) { clear(m.files) },
		"another process'": func(_ *Options, m *memLive) {
			pagefile.NewLive(m.only(t), 2, 1, 2)
		},
		"unreadable": func(o *Options, m *memLive) { o.hooks.live = unreadableLive{m} },
		"unwanted":   func(o *Options, _ *memLive) { o.Durability.Live, o.hooks.live = "", nil },
		"elsewhere":  func(o *Options, _ *memLive) { o.Durability.Live, o.hooks.live = "/dev/null", nil },
	} {
		kill := *k
		c := kill.open(t, func(o *Options) { change(o, kill.m) })
		sameContents(t, contents(c), k.linked)
		if r := c.Recovery(); r.Reason == nil || !strings.HasPrefix(r.Reason.Error(), loader.LiveEnded) {
			t.Errorf("%s: the report says %v", what, r.Reason)
		}
		mustClose(t, c)
		c = kill.open(t, nil)
		if r := c.Recovery(); r.Reason != nil {
			t.Errorf("%s, and then a Close: the report says %v", what, r.Reason)
		}
		drop(c)
	}
}

// TestALogThatClosedIsNotMissed: a token that the disk did not remove after Close is
// for a log that had nothing more.
func TestALogThatClosedIsNotMissed(t *testing.T) {
	k := liveCrashed(t, 2)
	c := openOn(t, liveOptions(k.fs, k.m, 2))
	defer k.fs.Fail(crashfs.Rule{Kind: crashfs.OpRemove, Path: liveToken, Err: syscall.EIO})()
	mustClose(t, c)
	o := liveOptions(k.fs, k.m, 2)
	o.Recovery.Unclean = UncleanDiscard
	c = openOn(t, o)
	defer drop(c)
	sameContents(t, contents(c), k.all)
	if r := c.Recovery(); r.Reason != nil {
		t.Errorf("the report says %v", r.Reason)
	}
}

// A closedLive counts how often the folder was given back.
type closedLive struct {
	*memLive
	closed atomic.Int32
}

func (m *closedLive) Close() { m.closed.Add(1) }

// TestFolderOfALateLoadIsGivenBack: who gave up waiting for the disk serves, and what
// it brings after that touches nothing that it has.
func TestFolderOfALateLoadIsGivenBack(t *testing.T) {
	k := liveCrashed(t, 2)
	for timeout := 50 * time.Millisecond; ; timeout *= 4 { // of which the lock may take all
		m := &closedLive{memLive: k.m}
		o := liveOptions(k.fs, k.m, 2)
		o.hooks.live, o.Recovery.Timeout = m, timeout
		hang := k.fs.Hang(crashfs.OpOpen, liveToken)
		c := openOn(t, o)
		if c.Health() == nil {
			t.Error("nothing is said")
		}
		_ = c.Close()
		early := m.closed.Load()
		hang.Release()
		// Whoever loads has ended then, or never began.
		soon(t, "the folder is given back", func() bool { return m.closed.Load() == 1 })
		select {
		case <-hang.Blocked:
		default:
			continue
		}
		if early != 0 {
			t.Error("the folder of who loads was given back by another")
		}
		break
	}
	o := liveOptions(k.fs, k.m, 2)
	c := openOn(t, o)
	defer drop(c)
	sameContents(t, contents(c), k.all)
}
