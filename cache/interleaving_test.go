package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// Each of these is one order of events that a rule is there for.

// wordOf is the word that a key's slot holds.
func wordOf(t testing.TB, c *Cache, key []byte) word {
	t.Helper()
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, w, _, o := s.findLocked(key, hash)
	if o != hit {
		t.Fatalf("%q is not there", key)
	}
	return w
}

// TestARingSpansALapAtMost: a word has a position modulo a lap. Were the ring of
// a queue longer, two of its segments would answer to the same word.
func TestARingSpansALapAtMost(t *testing.T) {
	for _, shards := range []int{1, 2, 4, 8, 64, 256} {
		for _, segment := range []int{minSegment, 64 << 10, maxSegment} {
			for maxBytes := int64(1 << 30); maxBytes <= 8<<40; maxBytes *= 2 {
				g := geometry{shards: shards, segmentSize: segment}
				ring := ringSize(int(maxBytes/int64(segment))+reserveFor(g), g)
				if got := ring * (segment / unitSize); got > lap {
					t.Errorf("%d GiB, %d shards, segments of %d KiB: a ring of %d units, a lap has %d", maxBytes>>30, shards, segment>>10, got, lap)
				}
			}
		}
	}
}

// TestClearedSegmentsOutliveTheirWords: Clear has moved head, writers fill what
// was the open segment and have it cleaned, and only then is the index swept.
func TestClearedSegmentsOutliveTheirWords(t *testing.T) {
	o := testOptions(1 << 20)
	o.Shards = 1
	c := openMemory(t, o)
	for i := range 20 {
		mustSet(t, c, testKey(i), testValue(i, 100))
	}
	s := c.shards[0]
	before := s.queues[smallQueue]
	number := s.segmentAt(smallQueue, before.head).number.Load()
	s.sweepMu.Lock()
	heads, tails := s.passAll(underWay{slot: -1})
	for i := range 400 {
		mustSet(t, c, testKey(1000+i), testValue(i, 300))
	}
	for range 400 {
		s.clean(&pressure{force: true})
	}
	if got := s.segmentAt(smallQueue, before.head).number.Load(); got != number {
		t.Errorf("the segment under words that are not swept yet has number %d, want %d", got, number)
	}
	for i := range 400 {
		mustSet(t, c, testKey(i), testValue(i, 300)) // some of them find a dead word
	}
	s.sweepCleared(heads, tails)
	s.sweepMu.Unlock()
	for i := range 400 {
		wantValue(t, c, testKey(i), testValue(i, 300))
	}
	checkInvariants(t, c)
}

// TestABatchIsNotHalved by a Close that begins in its midst: the last generation
// waits for it.
func TestABatchIsNotHalved(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	plain := newHasher(1)
	var c *Cache
	var armed atomic.Bool
	closed := make(chan error, 1)
	o.hooks.hash = func(key []byte) uint64 {
		if string(key) == "first" && armed.Swap(false) {
			go func() { closed <- c.Shutdown(context.Background()) }()
			soon(t, "Close has begun", c.closed.Load)
		}
		return plain.sum(key)
	}
	c = openOn(t, o)
	mustSet(t, c, []byte("third"), []byte("old"))
	armed.Store(true)
	err := c.Batch([]BatchOp{{Key: []byte("first"), Value: []byte("1")}, {Key: []byte("second"), Value: []byte("2")}, {Key: []byte("third")}})
	if err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("Batch: %v", err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	c = openOn(t, o)
	defer drop(c)
	first, second, third := c.Has([]byte("first")), c.Has([]byte("second")), c.Has([]byte("third"))
	if first != second || first == third || first != (err == nil) {
		t.Errorf("Batch returned %v; after Open first %v, second %v, the deleted third %v", err, first, second, third)
	}
}

// haunt leaves a ghost of a key that is not there: its next Set goes to main.
func haunt(c *Cache, key []byte) {
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	s.lock()
	defer s.unlock()
	if g := &s.ghosts[0]; len(g.table) == 0 {
		g.grow(make([]uint32, leastGhosts))
	}
	s.ghosts[0].add(hash, leastGhosts/2)
}

// TestAHotKeyPushesNothingOut: overwrites of one key fill its queue's ring, and at
// the ring's head lies another key, too large for what is left of the open
// segment.
func TestAHotKeyPushesNothingOut(t *testing.T) {
	for queue, name := range map[uint8]string{smallQueue: "small", mainQueue: "main"} {
		t.Run("queue="+name, func(t *testing.T) { testHotKey(t, queue) })
	}
}

func testHotKey(t *testing.T, queue uint8) {
	const size = 6000
	o := testOptions(16 << 20)
	o.Shards = 16
	c := openMemory(t, o)
	cold, hot := keyOn(c, "cold", 0, 3), keyOn(c, "hot", 0, 3)
	ring := c.shards[3].ringMask + 1
	for _, key := range [][]byte{cold, hot} {
		if queue == mainQueue {
			haunt(c, key)
		} else {
			c.shards[3].small = 1 // main is filled: what is new goes to small
		}
		mustSet(t, c, key, testValue(1, size))
		if got := wordOf(t, c, key).queue(); got != queue {
			t.Fatalf("%q is in queue %d, want %d", key, got, queue)
		}
	}
	for i := range 8 * ring {
		mustSet(t, c, hot, testValue(i, size))
		if !c.Has(cold) {
			t.Fatalf("after %d writes of the hot key the cold one is gone, with %d of %d bytes live", i, c.Bytes(), o.MaxBytes)
		}
	}
	wantValue(t, c, cold, testValue(1, size))
	if st := c.Stats(); st.Evictions != 0 || st.Rejected != 0 {
		t.Errorf("%d evictions, %d rejected", st.Evictions, st.Rejected)
	}
	checkInvariants(t, c)
}

// TestSetReturnsThoughViewsHoldEverything: it forgets what it cannot store, and
// what was stored before.
func TestSetReturnsThoughViewsHoldEverything(t *testing.T) {
	o := testOptions(1 << 20)
	o.Shards = 1
	c := openMemory(t, o)
	mustSet(t, c, []byte("outdated"), []byte("1"))
	var hold func(i int)
	hold = func(i int) {
		if c.Stats().Rejected == 0 && i < 500 {
			mustSet(t, c, testKey(i), testValue(i, 8000))
			if c.View(testKey(i), func([]byte) error { hold(i + 1); return nil }) != nil {
				hold(i + 1)
			}
			return
		}
		mustSet(t, c, []byte("outdated"), testValue(i, 8000))
		if got, ok := c.Get([]byte("outdated")); ok && string(got) == "1" {
			t.Error("a value that was overwritten is still there")
		}
	}
	hold(0)
	if c.Stats().Rejected == 0 {
		t.Error("nothing was rejected: Views did not hold everything")
	}
	mustSet(t, c, testKey(1), testValue(1, 8000))
	wantValue(t, c, testKey(1), testValue(1, 8000))
	checkInvariants(t, c)
}

// A lockProbe is a logger and a clock whose owner looks at the cache: it may be
// called under none of its locks.
type lockProbe struct {
	slog.Handler
	c      atomic.Pointer[Cache]
	logged atomic.Int64
}

func (p *lockProbe) look() {
	if c := p.c.Load(); c != nil {
		_ = c.Recovery()
		for _, s := range c.shards {
			s.mu.Lock()
			_ = s.epoch
			s.mu.Unlock()
		}
	}
}

func (p *lockProbe) Enabled(context.Context, slog.Level) bool { return true }

func (p *lockProbe) Handle(context.Context, slog.Record) error {
	p.look()
	if p.c.Load() != nil {
		p.logged.Add(1)
	}
	return nil
}

func (p *lockProbe) WithAttrs([]slog.Attr) slog.Handler { return p }

// TestCallbacksHoldNoLock: who logs, or tells the time, may use the cache. // I7
func TestCallbacksHoldNoLock(t *testing.T) {
	p := &lockProbe{}
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Logger = slog.New(p)
	var now atomic.Int64
	o.Clock = func() time.Time { p.look(); return time.Unix(1_800_000_000+now.Load(), 0) }
	c := openOn(t, o)
	mustFlush(t, c)
	p.c.Store(c)
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Err: errors.New("bad disk")})
	for i := range 6000 {
		key := testKey(i) // 300 that nobody overwrites, then 400 over and over
		if i >= 300 {
			key = testKey(300 + i%400)
		}
		if err := c.SetWithTTL(key, testValue(i, 700), time.Minute); err != nil {
			t.Fatal(err)
		}
		now.Store(int64(i / 5))
	}
	if _, err := c.Flush(context.Background()); err == nil {
		t.Error("Flush did not fail")
	}
	remove()
	soon(t, "the failure is logged", func() bool { return p.logged.Load() > 0 })
	if c.Stats().Evictions == 0 {
		t.Error("nothing expired was evicted")
	}
	p.c.Store(nil)
	drop(c)
}
