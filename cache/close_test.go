package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// TestClosed: Close again is nil, reads miss, writes say ErrClosed, and nothing
// panics.
func TestClosed(t *testing.T) {
	dir := t.TempDir()
	file := open(t, dir, testOptions(4<<20))
	memory := openMemory(t, testOptions(4<<20))
	for name, c := range map[string]*Cache{"files": file, "memory": memory} {
		key, ctx := testKey(1), context.Background()
		fill(t, c, 100)
		mustClose(t, c)
		for range 2 {
			if err := errors.Join(c.Close(), c.Shutdown(ctx)); err != nil {
				t.Errorf("%s: Close again: %v", name, err)
			}
		}
		_, flushErr := c.Flush(ctx)
		for what, err := range map[string]error{
			"Set": c.Set(key, nil), "SetWithTTL": c.SetWithTTL(key, nil, 1), "SetEntry": c.SetEntry(key, nil, EntryOptions{MemoryOnly: true}),
			"Batch": c.Batch([]BatchOp{{Key: key}}), "no Batch": c.Batch(nil), "Clear": c.Clear(), "Flush": flushErr,
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %s after Close: %v", name, what, err)
			}
		}
		if v, ok := c.Get(key); ok || v != nil || c.Has(key) || c.Delete(key) {
			t.Errorf("%s: key 1 is there after Close: %v", name, v)
		}
		if v, ok := c.AppendGet([]byte("dst"), key); ok || string(v) != "dst" {
			t.Errorf("%s: AppendGet after Close: %q", name, v)
		}
		if err := c.View(key, func([]byte) error { return nil }); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: View after Close: %v", name, err)
		}
		if dst, ends := c.GetMany(nil, nil, [][]byte{key, key}); dst != nil || fmt.Sprint(ends) != "[-1 -1]" {
			t.Errorf("%s: GetMany after Close: %v %v", name, dst, ends)
		}
		if _, ok := c.Info(key); ok {
			t.Errorf("%s: Info after Close", name)
		}
		_, _, _, _, _ = c.Len(), c.Bytes(), c.Stats(), c.Health(), c.Recovery()
		if _, err := c.WaitVerified(ctx); err != nil {
			t.Errorf("%s: WaitVerified after Close: %v", name, err)
		}
	}
	c := open(t, dir, testOptions(4<<20))
	wantFilled(t, c, 100)
}

// TestCloseWaitsForViews: what a View shows stays as it is until its function
// returns, and Close with it; or until the time of Close is over.
func TestCloseWaitsForViews(t *testing.T) {
	c := open(t, t.TempDir(), testOptions(4<<20))
	fill(t, c, 100)
	inside, leave, left, closed := make(chan struct{}), make(chan struct{}), make(chan error), make(chan error)
	go func() {
		left <- c.View(testKey(7), func(v []byte) error {
			close(inside)
			<-leave
			if string(v) != string(testValue(7, 107)) {
				return errors.New("the value changed under View")
			}
			return nil
		})
	}()
	<-inside
	ctx, cancel := context.WithCancel(context.Background())
	go func() { closed <- c.Shutdown(ctx) }()
	soon(t, "Close has written its generation and taken everything away", func() bool { return !c.Has(testKey(8)) })
	select {
	case err := <-closed:
		t.Fatalf("Close did not wait for a View: %v", err)
	default:
	}
	cancel()
	if err := <-closed; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "View") {
		t.Errorf("Shutdown with a View that stays: %v", err)
	}
	close(leave)
	if err := <-left; err != nil {
		t.Error(err)
	}

	c = open(t, t.TempDir(), testOptions(4<<20))
	fill(t, c, 100)
	returned := false
	inside, leave = make(chan struct{}), make(chan struct{})
	go func() {
		_ = c.View(testKey(7), func([]byte) error { close(inside); <-leave; returned = true; return nil })
	}()
	<-inside
	go func() { closed <- c.Close() }()
	soon(t, "Close is under way", func() bool { return !c.Has(testKey(8)) })
	close(leave)
	if err := <-closed; err != nil || !returned {
		t.Errorf("Close returned %v; the View had ended: %v", err, returned)
	}
}

// TestNoGoroutineStays: after Close, however the cache was opened and used, none
// is left over.
func TestNoGoroutineStays(t *testing.T) {
	before := runtime.NumGoroutine()
	ended := func(what string) {
		t.Helper()
		soon(t, what+": the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	}
	dir := t.TempDir()
	for i := range 10 {
		o := testOptions(4 << 20)
		if i%2 == 1 {
			o.Recovery.Verify = VerifyEager
		}
		c := open(t, dir, o)
		fill(t, c, 100*i)
		_, _ = c.Flush(context.Background())
		if _, err := Open(context.Background(), dir, o); !errors.Is(err, ErrLocked) {
			t.Errorf("a second Open: %v", err)
		}
		mustClose(t, c)
	}
	ended("files")
	c := openMemory(t, testOptions(1<<20))
	fill(t, c, 100)
	mustClose(t, c)
	ended("memory")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(gone, dir, testOptions(4<<20)); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended: %v", err)
	}
	if _, err := Open(context.Background(), dir+"/LOCK", testOptions(4<<20)); err == nil {
		t.Error("Open of a file succeeded")
	}
	ended("Open that failed")
	fs := crashfs.New()
	hung := quietOptions(fs, 1)
	hung.Recovery.Timeout = time.Millisecond
	hang := fs.Hang(crashfs.OpReadDir, "")
	mustClose(t, openOn(t, hung))
	hang.Release()
	ended("a disk that hung")
	if handles := fs.OpenHandles(); len(handles) > 0 {
		t.Errorf("files are open: %v", handles)
	}
	c = open(t, dir, testOptions(4<<20))
	if c.Recovery().Outcome != OutcomeWarm {
		t.Errorf("report %+v", c.Recovery())
	}
	mustClose(t, c)
	ended("at last")
	if _, err := os.Stat(dir + "/LOCK"); err != nil {
		t.Error(err)
	}
}
