package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// stalls is longer than any machine that tests run on stands still: who takes that
// long waits for what does not come.
const stalls = time.Minute

// soon waits until what is asked for is so: background work ends when it ends. A
// machine that stood still has had no time for it.
func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	end := time.Now().Add(stalls)
	for asked := 0; !is(); asked++ {
		if asked > 1000 && time.Now().After(end) {
			t.Fatalf("%v later it is still not so: %s", stalls, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// backgroundOptions are those of a cache that writes all the time.
func backgroundOptions(fs *crashfs.FS) *Options {
	o := quietOptions(fs, 1)
	o.hooks.step = false
	o.Durability.Interval, o.Durability.Weak = 5*time.Millisecond, time.Millisecond
	o.CloseTimeout = 50 * time.Millisecond
	return o
}

// TestHungDisk hangs one kind of operation at a time under a cache that writes
// in the background: one that turns over hundreds of times meanwhile, and one that
// has room for all that is written, so that nothing may be left out.
func TestHungDisk(t *testing.T) {
	for _, at := range []struct {
		kind crashfs.Kind
		path string
	}{
		{crashfs.OpSync, "pages-"}, {crashfs.OpSync, "blobs-"}, {crashfs.OpSync, "records.0"}, {crashfs.OpSync, "records.1"},
		{crashfs.OpWrite, "pages-"}, {crashfs.OpWrite, "weak-"}, {crashfs.OpWrite, ""}, {crashfs.OpAllocate, ""}, {0, ""},
	} {
		for _, maxBytes := range []int64{minBytes, 64 << 20} {
			if racing && maxBytes > minBytes {
				continue
			}
			t.Run(fmt.Sprintf("%v of %q, %d MiB", at.kind, at.path, maxBytes>>20), func(t *testing.T) {
				hangAndGoOn(t, at.kind, at.path, maxBytes)
			})
		}
	}
}

func hangAndGoOn(t *testing.T, kind crashfs.Kind, path string, maxBytes int64) {
	fs := crashfs.New()
	o := backgroundOptions(fs)
	o.MaxBytes = maxBytes
	c := openOn(t, o)
	mustSet(t, c, []byte("before"), []byte("1"))
	mustFlush(t, c)
	hang := fs.Hang(kind, path)
	defer hang.Release()
	writes := serveWhileHung(t, c, hang)
	if path != "weak-" {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if _, err := c.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush returned %v while the disk hung", err)
		}
	}
	start := time.Now()
	err := c.Close()
	if took := time.Since(start); took > stalls {
		t.Errorf("Close took %v, its timeout is %v", took, o.CloseTimeout)
	}
	if path != "weak-" && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v while the disk hung", err)
	}
	if kind != 0 {
		if _, err := Open(context.Background(), worldDir, o); !errors.Is(err, ErrLocked) {
			t.Errorf("Open returned %v while the disk hung: the directory is not free", err)
		}
	}
	hang.Release()
	var again *Cache
	soon(t, "the directory is free again", func() bool {
		again, err = Open(context.Background(), worldDir, o)
		return err == nil
	})
	defer again.Close()
	report, err := again.WaitVerified(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if maxBytes > minBytes && report.Dropped > 0 {
		t.Errorf("%d entries were left out", report.Dropped)
	}
	if report.Dropped == 0 {
		wantValue(t, again, []byte("before"), []byte("1"))
	}
	for i := range 400 { // a cut has the newest or an older value, never one of another key
		if v, ok := again.Get(testKey(i)); ok && !oneOf(v, i, writes) {
			t.Fatalf("key %d has a value that it never had", i)
		}
	}
	mustFlush(t, again)
	if err := again.Health(); err != nil {
		t.Errorf("Health is %v after the disk answered", err)
	}
}

// serveWhileHung writes 400 keys over and over and looks at the clock and at
// memory.
func serveWhileHung(t *testing.T, c *Cache, hang *crashfs.Hang) (rounds int) {
	t.Helper()
	serve := func() { serveRound(t, c, rounds); rounds++ }
	soon(t, "the disk hangs", func() bool {
		serve()
		select {
		case <-hang.Blocked:
			return true
		default:
			return false
		}
	})
	for range 50 {
		serve()
	}
	before := heapInUse()
	rest := 500
	if racing {
		rest = 50
	}
	for range rest {
		serve()
	}
	if more := heapInUse() - before; more > 8<<20+c.opts.MaxBytes/4 && !racing { // whose own memory counts too
		t.Errorf("%d writes while the disk hung took %d bytes of heap", rest*400, more)
	}
	return rounds
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func serveRound(t *testing.T, c *Cache, round int) {
	t.Helper()
	start := time.Now()
	for i := range 400 {
		mustSet(t, c, testKey(i), testValue(i+400*round, 100))
		if _, ok := c.Get(testKey(i)); !ok {
			t.Fatalf("key %d is not there right after Set", i)
		}
	}
	_, _, _ = c.Stats(), c.Health(), c.Len()
	if took := time.Since(start); took > stalls {
		t.Errorf("400 Sets and Gets took %v while the disk hung", took)
	}
}

// oneOf reports whether v was key i's value in some round.
func oneOf(v []byte, i, rounds int) bool {
	for r := range rounds {
		if string(v) == string(testValue(i+400*r, 100)) {
			return true
		}
	}
	return false
}
