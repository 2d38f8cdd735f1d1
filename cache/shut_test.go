package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
)

// A pause stops one goroutine where a write asks for the time: it has seen that the
// cache is open, and does not have the shard's lock yet.
type pause struct {
	who  atomic.Value // []byte, the goroutine's name; empty: nobody
	skip atomic.Int64 // so many times it passes first
	at   chan struct{}
	on   chan struct{}
}

func newPause() *pause { return &pause{at: make(chan struct{}), on: make(chan struct{})} }

// next has the caller stop when it next asks, but for skip times.
func (p *pause) next(skip int) {
	p.skip.Store(int64(skip))
	p.who.Store(goroutineName())
}

func (p *pause) clock() time.Time {
	if who, _ := p.who.Load().([]byte); len(who) > 0 && bytes.Equal(who, goroutineName()) && p.skip.Add(-1) < 0 {
		p.who.Store([]byte{})
		p.at <- struct{}{}
		<-p.on
	}
	return time.Now()
}

// A lateWrite is a write that stops after it has seen that the cache is open. It
// returns ErrClosed for a Delete that was refused.
type lateWrite func(c *Cache, p *pause) error

const shutKey = "key"

var lateWrites = map[string]lateWrite{
	"Set": func(c *Cache, p *pause) error {
		p.next(0)
		return c.Set([]byte(shutKey), []byte("new"))
	},
	"a large value": func(c *Cache, p *pause) error {
		p.next(0)
		return c.Set([]byte(shutKey), append([]byte("new"), make([]byte, 50_000)...))
	},
	"IfAbsent": func(c *Cache, p *pause) error {
		c.Delete([]byte(shutKey))
		p.next(0)
		return c.SetEntry([]byte(shutKey), []byte("new"), EntryOptions{IfAbsent: true})
	},
	"IfStamp": func(c *Cache, p *pause) error {
		e, _ := c.Info([]byte(shutKey))
		p.next(1)
		return c.SetEntry([]byte(shutKey), []byte("new"), EntryOptions{IfStamp: e.Stamp})
	},
	"Compute": func(c *Cache, p *pause) error {
		return c.Compute([]byte(shutKey), func([]byte, bool) ([]byte, Op) {
			p.next(0)
			return []byte("new"), OpWrite
		})
	},
	"Compute that deletes": func(c *Cache, p *pause) error {
		return c.Compute([]byte(shutKey), func([]byte, bool) ([]byte, Op) {
			p.next(0)
			return nil, OpDelete
		})
	},
	"Delete": func(c *Cache, p *pause) error {
		p.next(0)
		if !c.Delete([]byte(shutKey)) {
			return ErrClosed
		}
		return nil
	},
}

// begin has the write stop, and tells what it returns.
func (w lateWrite) begin(t *testing.T, c *Cache, p *pause) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- w(c, p) }()
	select {
	case <-p.at:
	case err := <-done:
		t.Fatalf("it did not stop: %v", err)
	}
	return done
}

// lastCut calls then behind every cut, once it is set.
type lastCut struct {
	dump.Source
	then atomic.Pointer[func()]
}

func (l *lastCut) Cut() *dump.Cut {
	cut := l.Source.Cut()
	if then := l.then.Swap(nil); then != nil {
		(*then)()
	}
	return cut
}

// TestWhatReturnedBeforeCloseIsInIt: a write that comes between the last cut and the
// end of the cache is refused: had it returned, the next Open would give back what it
// replaced.
func TestWhatReturnedBeforeCloseIsInIt(t *testing.T) {
	for name, write := range lateWrites {
		t.Run(name, func(t *testing.T) {
			p, cut, fs := newPause(), &lastCut{}, crashfs.New()
			o := quietOptions(fs, 1)
			o.Clock = p.clock
			o.hooks.source = func(s dump.Source) dump.Source { cut.Source = s; return cut }
			c := openOn(t, o)
			mustSet(t, c, []byte(shutKey), []byte("old"))
			late := write.begin(t, c, p)
			before := contents(c)
			var err error
			then := func() { close(p.on); err = <-late }
			cut.then.Store(&then)
			mustClose(t, c)
			if !errors.Is(err, ErrClosed) {
				t.Errorf("after the last cut: %v, want ErrClosed", err)
			}
			c = openOn(t, quietOptions(fs, 1))
			defer drop(c)
			sameContents(t, contents(c), before)
		})
	}
}

// TestWhatReturnedIsInTheLog, which is all that the next process has where Close fails,
// or has no time to wait for a Batch before it shuts: a write that comes when the log
// has ended is refused.
func TestWhatReturnedIsInTheLog(t *testing.T) {
	for name, write := range lateWrites {
		t.Run(name, func(t *testing.T) {
			p, fs, m := newPause(), crashfs.New(), newMemLive()
			o := liveOptions(fs, m, 1)
			o.Clock = p.clock
			c := openOn(t, o)
			mustSet(t, c, []byte(shutKey), []byte("old"))
			late := write.begin(t, c, p)
			before := contents(c)
			c.livelog.end(context.Background(), false)
			close(p.on)
			if err := <-late; !errors.Is(err, ErrClosed) {
				t.Errorf("after the log's end: %v, want ErrClosed", err)
			}
			drop(c)
			c = openOn(t, liveOptions(fs, m.clone(), 1))
			defer drop(c)
			sameContents(t, contents(c), before)
		})
	}
}

// TestNothingIsStoredAfterClose: without files, too, a write that comes too late says
// so.
func TestNothingIsStoredAfterClose(t *testing.T) {
	for name, write := range lateWrites {
		p := newPause()
		o := testOptions(1 << 20)
		o.Clock = p.clock
		c := openMemory(t, o)
		mustSet(t, c, []byte(shutKey), []byte("old"))
		late := write.begin(t, c, p)
		mustClose(t, c)
		close(p.on)
		if err := <-late; !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

// TestCloseCutsNoBatchInTwo: it waits for one that runs; and where it has no time for
// that, the next process has all of it, from the live log, or nothing and ErrClosed.
func TestCloseCutsNoBatchInTwo(t *testing.T) {
	for _, live := range []bool{false, true} {
		for _, hurried := range []bool{false, true} {
			t.Run(fmt.Sprintf("live=%v hurried=%v", live, hurried), func(t *testing.T) { closeDuringBatch(t, live, hurried) })
		}
	}
}

func closeDuringBatch(t *testing.T, live, hurried bool) {
	p, fs, m := newPause(), crashfs.New(), newMemLive()
	o := quietOptions(fs, 2)
	if live {
		o = liveOptions(fs, m, 2)
	}
	o.Clock = p.clock
	c := openOn(t, o)
	const steps = 20
	var ops []BatchOp
	for i := range steps {
		mustSet(t, c, testKey(i), []byte("old"))
		ops = append(ops, BatchOp{Key: testKey(i), Value: []byte("new")})
	}
	mustFlush(t, c)
	late := lateWrite(func(c *Cache, p *pause) error {
		p.next(steps + steps/2) // the log's part asks as often
		if !live {
			p.next(steps / 2)
		}
		return c.Batch(ops)
	}).begin(t, c, p)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- c.Shutdown(ctx) }()
	soon(t, "Close is under way", c.closed.Load)
	if hurried {
		cancel()
		if err := <-closed; !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v, want context.Canceled", err)
		}
	}
	close(p.on)
	if err := <-late; errors.Is(err, ErrClosed) != (hurried && !live) {
		t.Errorf("Batch: %v", err)
	}
	if !hurried {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	<-c.persist.dumper.Done()
	next := quietOptions(fs, 2)
	if live {
		next = liveOptions(fs, m.clone(), 2)
	}
	soon(t, "the directory is free", func() bool {
		again, err := Open(context.Background(), worldDir, next)
		c = again
		return err == nil
	})
	defer drop(c)
	count := make(map[string]int)
	for i := range steps {
		v, _ := c.Get(testKey(i))
		count[string(v)]++
	}
	want := "new"
	if hurried && !live {
		want = "old"
	}
	if count[want] != steps {
		t.Errorf("the next process has %v, want %d of %s", count, steps, want)
	}
}

// TestClearThatCloseDidNotAwait has returned, so the next process does it.
func TestClearThatCloseDidNotAwait(t *testing.T) {
	p, fs, m := newPause(), crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	for i := range 20 {
		mustSet(t, c, testKey(i), []byte("old"))
	}
	c.opts.hooks.killable = func() { p.clock() }
	late := lateWrite(func(c *Cache, p *pause) error {
		p.next(0)
		return c.Clear()
	}).begin(t, c, p)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want context.Canceled", err)
	}
	close(p.on)
	if err := <-late; err != nil {
		t.Errorf("Clear: %v", err)
	}
	<-c.persist.dumper.Done()
	c = openOn(t, liveOptions(fs.Clone(), m.clone(), 2))
	defer drop(c)
	sameContents(t, contents(c), nil)
}
