package cache

import (
	"context"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// usesOf are all reads that count as a use.
var usesOf = map[string]func(c *Cache, key []byte) bool{
	"Get":     func(c *Cache, key []byte) bool { _, ok := c.Get(key); return ok },
	"GetMany": func(c *Cache, key []byte) bool { _, ends := c.GetMany(nil, nil, [][]byte{key}); return ends[0] >= 0 },
	"View":    func(c *Cache, key []byte) bool { return c.View(key, func([]byte) error { return nil }) == nil },
	"GetOrLoad": func(c *Cache, key []byte) bool {
		_, err := c.GetOrLoad(context.Background(), key, fails(ErrNotFound))
		return err == nil
	},
}

// TestUseRestartsTheTime of an entry with the default time to live, in its last
// half; of no other. The value, and when it was stored, stay as they were.
func TestUseRestartsTheTime(t *testing.T) {
	const ttl = time.Hour
	for name, use := range usesOf {
		for _, size := range []int{0, 100, 6000, 100 << 10} {
			o, k := freshOptions(Freshness{TTL: ttl, Sliding: true, Jitter: -1})
			o.MaxBytes = 4 << 20
			c := openMemory(t, o)
			key, value := []byte("slides"), testValue(size, size)
			mustSet(t, c, key, value)
			must(t, c.SetWithTTL([]byte("own"), value, ttl))
			must(t, c.SetEntry([]byte("memory"), value, EntryOptions{MemoryOnly: true}))
			before, _ := c.Info(key)
			expires := func(key string) time.Time { e, _ := c.Info([]byte(key)); return e.Expires }
			k.pass(ttl/2 - time.Millisecond)
			if !use(c, key) || len(c.slides) != 0 || !expires("slides").Equal(before.Expires) {
				t.Errorf("%s of %d bytes: the first half restarts it", name, size)
			}
			k.pass(2 * time.Millisecond)
			if !use(c, key) || !use(c, []byte("own")) || !use(c, []byte("memory")) {
				t.Fatalf("%s of %d bytes: missing", name, size)
			}
			want := k.now().Add(ttl)
			soon(t, "the time is restarted", func() bool { return expires("slides").Equal(want) && expires("memory").Equal(want) })
			after, ok := c.Info(key)
			if !ok || !after.Stored.Equal(before.Stored) || after.Stamp != before.Stamp || !expires("own").Equal(before.Expires) {
				t.Errorf("%s of %d bytes: %+v, was %+v; own time ends %v", name, size, after, before, expires("own"))
			}
			wantValue(t, c, key, value)
			k.pass(ttl - time.Millisecond)
			if !use(c, key) || use(c, []byte("own")) {
				t.Errorf("%s of %d bytes: the restarted time does not count, or its own does not", name, size)
			}
			want = k.now().Add(ttl)
			soon(t, "the time is restarted again", func() bool { return expires("slides").Equal(want) })
			checkInvariants(t, c)
		}
	}
}

// TestRestartedTimeLasts: it is in the next generation, and counts in the next
// process, whose own hits restart it too.
func TestRestartedTimeLasts(t *testing.T) {
	k, fs := newHandClock(), crashfs.New()
	o := quietOptions(fs, 1)
	o.Clock, o.Freshness = k.now, Freshness{TTL: time.Hour, Sliding: true, Jitter: -1}
	c := openOn(t, o)
	value := testValue(1, 20<<10)
	mustSet(t, c, []byte("k"), value)
	for range 3 {
		k.pass(50 * time.Minute)
		wantValue(t, c, []byte("k"), value)
		soon(t, "the time is restarted", func() bool { e, _ := c.Info([]byte("k")); return e.Expires.Equal(k.now().Add(time.Hour)) })
		mustClose(t, c)
		c = openOn(t, o)
	}
	if r := reopened(t, c); r.Dropped != 0 {
		t.Errorf("%d dropped", r.Dropped)
	}
	checkInvariants(t, c)
	mustClose(t, c)
}

// TestSlideYieldsToWrites: what was asked of a record that is no longer the key's
// does nothing, and a time that jitter makes shorter is not taken.
func TestSlideYieldsToWrites(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Hour, Sliding: true, Jitter: -1})
	c := openMemory(t, o)
	key := []byte("k")
	ask := func() slide {
		t.Helper()
		hash := c.hash.sum(key)
		var r ref
		ok := c.shardOf(hash).find(&r, key, hash)
		if ok != hit {
			t.Fatal("missing")
		}
		return slide{c.shardOf(hash), r.slot, r.w, &c.terms}
	}
	mustSet(t, c, key, []byte("1"))
	a := ask()
	mustSet(t, c, key, []byte("2"))
	k.pass(40 * time.Minute)
	before, _ := c.Info(key)
	a.s.slide(&a, c.now())
	if after, _ := c.Info(key); after != before {
		t.Errorf("%+v, was %+v", after, before)
	}
	a = ask()
	c.terms.jitter = 1
	for range 100 {
		k.pass(time.Second)
		a := ask()
		a.s.slide(&a, c.now())
		after, _ := c.Info(key)
		if after.Expires.Before(before.Expires) {
			t.Fatalf("ends %v, was %v", after.Expires, before.Expires)
		}
		before = after
	}
	must(t, c.SetWithTTL(key, []byte("own"), time.Minute))
	before, _ = c.Info(key)
	own := ask()
	own.s.slide(&own, c.now())
	if after, _ := c.Info(key); after != before {
		t.Errorf("a time of its own is restarted: %+v, was %+v", after, before)
	}
	c.Delete(key)
	a.s.slide(&a, c.now())
	if c.Has(key) {
		t.Error("a deleted entry is back")
	}
	checkInvariants(t, c)
}

// TestNothingSlidesOverAClear: a hit asked before Clear, and it is done when Clear
// has moved the heads and not yet swept the index.
func TestNothingSlidesOverAClear(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Hour, Sliding: true, Jitter: -1})
	o.Shards = 1
	c := openMemory(t, o)
	s, key := c.shards[0], []byte("k")
	mustSet(t, c, key, []byte("value"))
	k.pass(40 * time.Minute)
	var r ref
	o2 := s.find(&r, key, c.hash.sum(key))
	if o2 != hit {
		t.Fatal("missing")
	}
	s.sweepMu.Lock()
	heads, tails := s.passAll(underWay{slot: -1})
	a := slide{s, r.slot, r.w, &c.terms}
	s.slide(&a, c.now())
	s.sweepCleared(heads, tails)
	s.sweepMu.Unlock()
	if c.Has(key) {
		t.Error("the key is there after Clear")
	}
	checkInvariants(t, c)
}

// TestSlidingHitsAllocateNothing, whether or not there is room to ask.
func TestSlidingHitsAllocateNothing(t *testing.T) {
	if racing {
		t.Skip("readers copy")
	}
	o, k := freshOptions(Freshness{TTL: time.Hour, Sliding: true, Jitter: -1})
	c := openMemory(t, o)
	key, buf := []byte("k"), make([]byte, 0, 100)
	mustSet(t, c, key, []byte("value"))
	c.shards[0].mu.Lock() // nothing is done meanwhile
	for _, s := range c.shards[1:] {
		s.mu.Lock()
	}
	k.pass(40 * time.Minute)
	allocs := testing.AllocsPerRun(2*slidesWaiting, func() {
		if _, ok := c.AppendGet(buf, key); !ok {
			t.Fatal("missing")
		}
	})
	if allocs != 0 || len(c.slides) < slidesWaiting-1 { // one may be in hand
		t.Errorf("%v allocations, %d of %d wait", allocs, len(c.slides), slidesWaiting)
	}
	for _, s := range c.shards {
		s.mu.Unlock()
	}
}
