package cache

import (
	"fmt"
	"math/rand"
	"testing"
)

// walkedBy is what the cleaner did while do ran.
func walkedBy(c *Cache, do func()) (w walked) {
	before := c.walkedSoFar()
	do()
	after := c.walkedSoFar()
	return walked{after.records - before.records, after.bytes - before.bytes, after.moved - before.moved}
}

func (c *Cache) walkedSoFar() (sum walked) {
	for _, s := range c.shards {
		s.mu.Lock()
		sum.records += s.walked.records
		sum.bytes += s.walked.bytes
		sum.moved += s.walked.moved
		s.mu.Unlock()
	}
	return sum
}

// mostWalked is what DESIGN.md allows a Set: for each byte stored, a KiB at least,
// nine walked, eight of them moved, and once more for what lies in segments of the
// value's own; a step and a record beyond; and the search for a frame, if there is
// none for the record or one of those segments.
func mostWalked(c *Cache, key, value []byte) (most walked) {
	h := makeHeader(len(key), len(value), 0, 0, 0)
	if headerSize+len(key)+len(value) > c.segmentSize/2 {
		h = makeHeader(len(key), len(value), flagLarge, 0, 0)
	}
	own, _ := h.layout(c.segmentSize)
	n := max(h.size(c.segmentSize), 1024) + own*c.segmentSize
	step := 8<<10 + c.segmentSize/2
	most.moved = uint64(8*n + (own+1)*(1+4)*step)
	most.bytes = uint64(n+(own+1)*(step+2*c.segmentSize*4/3)) + most.moved
	most.records = (most.bytes/(8<<10) + 1) * 128
	return most
}

// TestASetWalksABoundedPiece: whatever lies in the cache, and however it is used.
func TestASetWalksABoundedPiece(t *testing.T) {
	alone(t)
	uniform := func(n int) func(*rand.Rand) int { return func(*rand.Rand) int { return n } }
	for _, c := range []struct {
		name   string
		shards int
		keys   int                  // that are set, again and again
		size   func(*rand.Rand) int // of a value
		hot    bool                 // everything is read all the time
	}{
		{"everything is in use", 1, 1 << 30, uniform(200), true},
		{"everything is in use, in small pieces", 4, 1 << 30, uniform(60), true},
		{"one key is overwritten", 1, 1, uniform(200), false},
		{"one key is overwritten, of many shards", 16, 1, uniform(3000), false},
		{"all sizes", 1, 1 << 30, func(r *rand.Rand) int { return r.Intn(30 << 10) }, false},
		{"all sizes, in use", 4, 1 << 30, func(r *rand.Rand) int { return r.Intn(30 << 10) }, true},
		{"just under what is kept", 1, 4 << 20 * 5 / 8 / 256, uniform(200), false},
		{"just under what is evicted", 1, 4 << 20 * 63 / 64 / 256, uniform(200), false},
		{"large values", 1, 1 << 30, func(r *rand.Rand) int { return 1 << r.Intn(19) }, false},
		{"large values, in use", 1, 40, func(r *rand.Rand) int { return 1 << r.Intn(19) }, true},
	} {
		t.Run(c.name, func(t *testing.T) { testBounded(t, c.shards, c.keys, c.size, c.hot) })
	}
}

func testBounded(t *testing.T, shards, keys int, size func(*rand.Rand) int, hot bool) {
	maxBytes := max(shards, 4) << 20
	rng := newRand(t)
	o := testOptions(int64(maxBytes))
	o.Shards, o.hooks.alone = shards, true
	c := openMemory(t, o)
	set, lap := 0, 0
	var most walked
	for written := 0; written < fewer(3*maxBytes); {
		key, value := testKey(set%keys), testValue(set, size(rng))
		limit := mostWalked(c, key, value)
		w := walkedBy(c, func() { mustSet(t, c, key, value) })
		if w.records > limit.records || w.bytes > limit.bytes || w.moved > limit.moved {
			t.Fatalf("Set %d of %d bytes: %+v, the most is %+v", set, len(value), w, limit)
		}
		most = walked{max(most.records, w.records), max(most.bytes, w.bytes), max(most.moved, w.moved)}
		set++
		if written += len(value) + 48; hot && written > (lap+1)*maxBytes/4 {
			lap++
			for i := range min(set, keys) {
				for range 3 {
					c.AppendGet(nil, testKey(i))
				}
			}
		}
	}
	t.Logf("%d Sets, %d of %d bytes live, %d evictions, at most %+v", set, c.Bytes(), maxBytes, c.Stats().Evictions, most)
	if c.Bytes() > o.MaxBytes+int64(c.segmentSize/2) || c.Stats().Rejected > 0 { // what is dead at the heads hides the rest
		t.Errorf("%d bytes live, MaxBytes is %d; %d rejected", c.Bytes(), maxBytes, c.Stats().Rejected)
	}
	checkInvariants(t, c)
}

// TestASetFindsAFrame: where none is left, since something holds what the writers
// leave free, a Set walks two segments more, at most, and stores.
func TestASetFindsAFrame(t *testing.T) {
	alone(t)
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprint("shards=", shards), func(t *testing.T) {
			o := testOptions(4 << 20)
			o.Shards, o.hooks.alone = shards, true
			c := openMemory(t, o)
			for i := range 25_000 {
				mustSet(t, c, testKey(i), testValue(i, 200))
			}
			for i := range 25_000 {
				for range 3 {
					c.AppendGet(nil, testKey(i))
				}
			}
			for i := 25_000; i < 35_000; i++ {
				for {
					if _, ok := c.frames.take(c.reserve); !ok {
						break
					}
				}
				key, value := testKey(i), testValue(i, 200)
				limit := mostWalked(c, key, value)
				if w := walkedBy(c, func() { mustSet(t, c, key, value) }); w.bytes > limit.bytes || w.moved > limit.moved {
					t.Fatalf("Set %d: %+v, the most is %+v", i, w, limit)
				}
				if !c.Has(key) {
					t.Fatalf("Set %d stored nothing", i)
				}
				if c.Bytes() < o.MaxBytes*5/8+1<<20 {
					break
				}
			}
			if c.Stats().Rejected > 0 {
				t.Errorf("%d rejected", c.Stats().Rejected)
			}
		})
	}
}
