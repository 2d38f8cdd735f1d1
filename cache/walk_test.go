package cache

import (
	"bytes"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A census counts how often each key of a cache is seen.
type census map[string]int

// wantOnce: each of n keys that are there was seen once.
func (seen census) wantOnce(t testing.TB, c *Cache, n int) {
	t.Helper()
	there := 0
	for i := range n {
		key := testKey(i)
		if !c.Has(key) {
			continue
		}
		if there++; seen[string(key)] != 1 {
			t.Fatalf("%q was seen %d times, want once", key, seen[string(key)])
		}
	}
	if there == 0 {
		t.Fatal("nothing was left to be seen")
	}
	t.Logf("%d of %d keys were there all the while", there, n)
}

// trouble does what moves entries: it stores new keys so that the index grows,
// entries are displaced, and the cleaner comes by; it deletes some again.
func trouble(t testing.TB, c *Cache, rng *rand.Rand, from, keys int) {
	key := fmt.Appendf(nil, "churn-%d", from+rng.Intn(keys))
	if rng.Intn(3) == 0 {
		c.Delete(key)
	} else {
		mustSet(t, c, key, testValue(1, rng.Intn(60)))
	}
}

// straying is how many slots the walks of a cache keep.
func straying(c *Cache) (n int) {
	for _, s := range c.shards {
		s.mu.Lock()
		for _, w := range s.walks {
			n += len(w.strays)
		}
		s.mu.Unlock()
	}
	return n
}

// TestWhatStaysIsSeenOnce while the index grows by splits, displaces entries, and
// the cleaner moves their records on.
func TestWhatStaysIsSeenOnce(t *testing.T) {
	for _, still := range []int{200, 3000, 8000} {
		if racing && still > 3000 {
			continue // the detector has nothing to say of one goroutine
		}
		t.Run(fmt.Sprint("keys=", still), func(t *testing.T) {
			rng := newRand(t)
			c := oneShard(t, 1<<20)
			for i := range still {
				mustSet(t, c, testKey(i), testValue(i, 8))
			}
			before, splits, strays := c.Stats(), c.shards[0].index.buckets(), 0
			seen := make(census)
			for key, value := range c.All() {
				if seen[string(key)]++; bytes.HasPrefix(key, []byte("key")) && len(value) != 8 {
					t.Fatalf("%q has a value of %d bytes", key, len(value))
				}
				for range 20 {
					trouble(t, c, rng, 0, still)
				}
				strays = max(strays, straying(c))
			}
			seen.wantOnce(t, c, still)
			t.Logf("%d splits, %d slots kept at most, %+v", c.shards[0].index.buckets()-splits, strays, c.Stats().Sub(before))
			if still == 8000 && strays == 0 {
				t.Error("nothing was displaced: the law was not put to the test")
			}
			checkInvariants(t, c)
		})
	}
}

// TestWhatStaysIsSeenOnceAmongWriters is the same with writers that run along.
func TestWhatStaysIsSeenOnceAmongWriters(t *testing.T) {
	o := testOptions(4 << 20)
	o.Shards = 2
	c := openMemory(t, o)
	still, rounds := 10_000, 5
	if racing {
		still, rounds = 1000, 2
	}
	for i := range still {
		mustSet(t, c, testKey(i), testValue(i, 8))
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	for g := range 2 {
		rng := rand.New(rand.NewSource(*seedFlag + int64(g)))
		wg.Go(func() {
			for !done.Load() {
				trouble(t, c, rng, 0, still)
			}
		})
	}
	for range rounds {
		seen := make(census)
		for key := range c.Keys() {
			seen[string(key)]++
		}
		seen.wantOnce(t, c, still)
	}
	done.Store(true)
	wg.Wait()
	checkInvariants(t, c)
}

// TestADisplacedEntryIsSeenOnce puts a walk between the two candidates of each
// entry, moves it there and back, and up.
func TestADisplacedEntryIsSeenOnce(t *testing.T) {
	for _, moves := range []int{1, 2, 3} {
		c := oneShard(t, 1<<20)
		s := c.shards[0]
		for i := range 500 {
			mustSet(t, c, testKey(i), []byte("v"))
		}
		seen, strays := make(census), 0
		for key := range c.Keys() {
			if seen[string(key)]++; len(seen) == 100 { // of the first piece, which has half of them
				for range moves {
					displaceAll(s)
					strays = max(strays, straying(c))
				}
			}
		}
		seen.wantOnce(t, c, 500)
		if strays < 50 {
			t.Errorf("%d slots were kept, over 50 are to be expected", strays)
		}
		checkInvariants(t, c)
	}
}

// displaceAll moves each entry, whose other candidate has room, there.
func displaceAll(s *shard) {
	s.lock()
	defer s.unlock()
	n := s.index.buckets()
	moved := make(map[uint32]bool)
	for from := range n * bucketSlots {
		w := s.index.load(from)
		if w == 0 || moved[from] {
			continue
		}
		other := s.index.otherBucket(from/bucketSlots, w, n)
		if to, _, ok := s.index.emptySlot(other); ok && other != from/bucketSlots {
			s.moveSlotLocked(from, to, w, 1<<32)
			moved[to] = true
		}
	}
}

// TestAWalkKeepsABoundedNumberOfSlots: then nothing is displaced until it goes on.
func TestAWalkKeepsABoundedNumberOfSlots(t *testing.T) {
	c := oneShard(t, 1<<20)
	s := c.shards[0]
	w := walk{}
	w.enter(s)
	for slot := range uint32(walkStrays) {
		w.strays[1<<20+slot] = struct{}{}
	}
	for i := range uint32(bucketSlots) { // both candidates of a hash are full
		a, b := s.index.candidates(7, s.index.buckets())
		s.index.store(a*bucketSlots+i, makeWord(0, 0, 11+i))
		s.index.store(b*bucketSlots+i, makeWord(0, 0, 11+i))
	}
	if _, ok := s.roomLocked(7); ok {
		t.Error("an entry was displaced for a walk that keeps all it may")
	}
	w.leave()
	if _, ok := s.roomLocked(7); !ok {
		t.Error("nothing was displaced after the walk ended")
	}
	s.sweepIndexLocked()
}

// TestAllReadsWhatOpenLeftOnFile: index blocks and pages come in as the walk goes,
// and entries whose page is bad are left out.
func TestAllReadsWhatOpenLeftOnFile(t *testing.T) {
	rng := newRand(t)
	dir, o := t.TempDir(), stepOptions(4<<20)
	o.Shards = 2
	o.hooks.lazily = true
	still := 8000
	if racing {
		still = 1500
	}
	c := open(t, dir, o)
	for i := range still {
		mustSet(t, c, testKey(i), testValue(i, 40))
	}
	large := testValue(-1, 300_000)
	mustSet(t, c, []byte("large"), large)
	mustClose(t, c)
	c = open(t, dir, o)
	seen := make(census)
	for key, value := range c.All() {
		if seen[string(key)]++; string(key) == "large" && !bytes.Equal(value, large) {
			t.Error("the large value is not what was stored")
		}
		trouble(t, c, rng, 0, 4000)
	}
	seen.wantOnce(t, c, still)
	if seen["large"] != 1 || c.Stats().Faults == 0 {
		t.Errorf("the large value was seen %d times, with %d faults", seen["large"], c.Stats().Faults)
	}
	checkInvariants(t, c)
	mustClose(t, c)
}

// TestAStepMayDoAnything that a caller may, and the iteration ends.
func TestAStepMayDoAnything(t *testing.T) {
	n := 3000
	if racing {
		n = 600
	}
	fill := func() *Cache {
		c := oneShard(t, 1<<20)
		for i := range n {
			mustSet(t, c, testKey(i), testValue(i, 8))
		}
		return c
	}
	for name, step := range map[string]func(c *Cache, key []byte){
		"delete it":         func(c *Cache, key []byte) { c.Delete(key) },
		"set it":            func(c *Cache, key []byte) { mustSet(t, c, key, testValue(1, 100)) },
		"delete and set it": func(c *Cache, key []byte) { c.Delete(key); mustSet(t, c, key, key) },
		"set another":       func(c *Cache, key []byte) { mustSet(t, c, append(bytes.Clone(key), '+'), nil) },
		"compute": func(c *Cache, key []byte) {
			_ = c.Compute(key, func([]byte, bool) ([]byte, Op) { return nil, OpDelete })
		},
		"clear":       func(c *Cache, key []byte) { _ = c.Clear() },
		"write on it": func(_ *Cache, key []byte) { clear(key); _ = append(key, "overflow"...) },
		"iterate": func(c *Cache, _ []byte) {
			for range c.Keys() {
				break
			}
		},
	} {
		c, steps := fill(), 0
		for key := range c.Keys() {
			step(c, key)
			steps++
		}
		least := map[string]int{"clear": 1}[name]
		if least == 0 {
			least = n
		}
		if steps < least || steps > 40*n {
			t.Errorf("%s: %d steps over %d entries", name, steps, n)
		}
		if name == "delete it" && c.Len() != 0 {
			t.Errorf("%d entries are left of those that were deleted", c.Len())
		}
		if got := len(c.shards[0].walks); got != 0 {
			t.Errorf("%s: %d walks are under way after it", name, got)
		}
		checkInvariants(t, c)
	}
}

// TestAnIterationThatEndsEarlyLeavesNothing behind: by break, panic or Close.
func TestAnIterationThatEndsEarlyLeavesNothing(t *testing.T) {
	c := oneShard(t, 1<<20)
	for i := range 1000 {
		mustSet(t, c, testKey(i), testValue(i, 8))
	}
	for range c.All() {
		break
	}
	func() {
		defer func() { _ = recover() }()
		for range c.Keys() {
			panic("in a step")
		}
	}()
	if got := len(c.shards[0].walks); got != 0 {
		t.Errorf("%d walks are under way, want none", got)
	}
	nested := 0
	for range c.Keys() {
		for range c.All() {
			nested++
		}
		if nested >= 3000 {
			break
		}
	}
	if nested != 3000 {
		t.Errorf("three inner iterations saw %d entries, want 3000", nested)
	}
	steps := 0
	for range c.Keys() {
		if steps++; steps == 10 {
			mustClose(t, c)
		}
	}
	if steps != 10 {
		t.Errorf("%d steps with a Close after 10", steps)
	}
	for key := range c.All() {
		t.Errorf("%q is seen after Close", key)
	}
}

func TestWhatExpiredIsNotSeen(t *testing.T) {
	var now atomic.Int64
	o := testOptions(1 << 20)
	o.Clock = func() time.Time { return time.UnixMilli(1_700_000_000_000 + now.Load()) }
	c := openMemory(t, o)
	for i := range 10 {
		if err := c.SetWithTTL(testKey(i), nil, time.Duration(i)*time.Second); err != nil { // 0: none
			t.Fatal(err)
		}
	}
	now.Add(5000)
	got := 0
	for range c.Keys() {
		got++
	}
	for range c.All() {
		got++
	}
	if got != 2*5 {
		t.Errorf("both iterations saw %d entries, want 10", got)
	}
}
