package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// An asking context tells when somebody waits for its end, who asked for it once
// before.
type asking struct {
	context.Context
	asked  atomic.Int64
	waited chan struct{}
}

func newAsking(ctx context.Context) *asking {
	return &asking{Context: ctx, waited: make(chan struct{})}
}

func (w *asking) Done() <-chan struct{} {
	if w.asked.Add(1) == 2 {
		close(w.waited)
	}
	return w.Context.Done()
}

// TestCloseAgainWaits: whoever closes while another does may go on as after a Close:
// what is stored is in files, and the directory is free.
func TestCloseAgainWaits(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.CloseTimeout = time.Minute
	c := openOn(t, o)
	fill(t, c, 100)
	hang := fs.Hang(crashfs.OpSync, "blobs-")
	defer hang.Release()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- c.Close() }()
	soon(t, "Close is under way", c.closed.Load)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown while Close runs, without time: %v, want context.Canceled", err)
	}
	w := newAsking(context.Background())
	go func() { second <- c.Shutdown(w) }()
	<-w.waited
	select {
	case err := <-second:
		t.Fatalf("Shutdown did not wait for Close: %v", err)
	default:
	}
	hang.Release()
	if err := <-second; err != nil {
		t.Error(err)
	}
	again := openOn(t, quietOptions(fs, 1))
	wantFilled(t, again, 100)
	mustClose(t, again)
	if err := <-first; err != nil {
		t.Error(err)
	}
	mustClose(t, c)
}

// TestCloseAgainTellsOfFailure, while the first runs; once that has told of it itself
// it is nil.
func TestCloseAgainTellsOfFailure(t *testing.T) {
	fs := crashfs.New()
	c := openOn(t, quietOptions(fs, 1))
	fill(t, c, 100)
	hang := fs.Hang(crashfs.OpSync, "blobs-")
	defer hang.Release()
	ctx, cancel := context.WithCancel(context.Background())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- c.Shutdown(ctx) }()
	soon(t, "Close is under way", c.closed.Load)
	w := newAsking(context.Background())
	go func() { second <- c.Shutdown(w) }()
	<-w.waited
	cancel()
	for name, err := range map[string]error{"first": <-first, "second": <-second} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the %s: %v, want context.Canceled", name, err)
		}
	}
	mustClose(t, c)
	hang.Release()
	<-c.persist.dumper.Done()
}

// TestCallbacksMayCloseAgain: Close waits for them, so they do not wait for its end.
func TestCallbacksMayCloseAgain(t *testing.T) {
	for _, name := range []string{"OnEvict", "Events", "a load"} {
		o := quietOptions(crashfs.New(), 1)
		o.CloseTimeout = time.Hour // a deadlock would show
		var c *Cache
		called, closed := make(chan struct{}), make(chan error, 2)
		closes := sync.OnceFunc(func() {
			close(called)
			for !c.closed.Load() {
				time.Sleep(time.Millisecond)
			}
			closed <- c.Shutdown(context.Background())
		})
		switch name {
		case "OnEvict":
			o.OnEvict = func([]byte, []byte, Cause) { closes() }
		case "Events":
			o.Events = &Events{FlushDone: func(uint64, int, time.Duration, error) { closes() }}
		}
		c = openOn(t, o)
		switch mustSet(t, c, []byte("k"), []byte("v")); name {
		case "OnEvict":
			c.Delete([]byte("k"))
		case "Events":
			mustFlush(t, c)
		case "a load":
			start(context.Background(), c, "other", func(context.Context) ([]byte, error) { closes(); return nil, nil })
		}
		<-called
		go func() { closed <- c.Shutdown(context.Background()) }()
		for range 2 {
			select {
			case err := <-closed:
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: Close waits for the callback, and the callback for Close", name)
			}
		}
	}
}

// TestACacheThatOpenRefusedIsClosed: who has kept it from Validate waits for nothing.
func TestACacheThatOpenRefusedIsClosed(t *testing.T) {
	o := testOptions(4 << 20)
	dir := warmDir(t, o, 10)
	var kept *Cache
	o.Recovery.Validate = func(c *Cache) error { kept = c; return errors.New("no") }
	c := open(t, dir, o)
	if err := kept.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	mustClose(t, c)
}
