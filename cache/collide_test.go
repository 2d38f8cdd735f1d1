package cache

import (
	"maps"
	"slices"
	"testing"
)

// Keys that all collide cost forgetting, not time: whatever the hash, a Set splits a
// bounded number of buckets, forgets an entry at the most, has the cleaner walk what
// any Set may, and is there.
func TestKeysThatCollideCostForgetting(t *testing.T) {
	const (
		sets   = 3000
		splits = 64 + 2 // of a Set: for room in a bucket, and to grow
	)
	for _, hash := range slices.Sorted(maps.Keys(badHashes)) {
		t.Run("hash="+hash, func(t *testing.T) {
			o := testOptions(4 << 20)
			o.Shards, o.hooks.alone, o.hooks.hash = 1, true, badHashes[hash]
			c := openMemory(t, o)
			s := c.shards[0]
			mostSplits := uint32(0)
			for i := range sets {
				key, value := testKey(i), testValue(i, 100)
				limit, buckets, evicted := mostWalked(c, key, value), s.index.buckets(), c.Stats().Evictions
				w := walkedBy(c, func() { mustSet(t, c, key, value) })
				if w.records > limit.records || w.bytes > limit.bytes || w.moved > limit.moved {
					t.Fatalf("Set %d: %+v, the most is %+v", i, w, limit)
				}
				mostSplits = max(mostSplits, s.index.buckets()-buckets)
				if n := c.Stats().Evictions - evicted; n > 1 {
					t.Fatalf("Set %d forgot %d entries", i, n)
				}
				if got, ok := c.Get(key); !ok || string(got) != string(value) {
					t.Fatalf("Set %d is not there", i)
				}
			}
			if mostSplits > splits {
				t.Errorf("a Set split %d buckets, the most is %d", mostSplits, splits)
			}
			if c.Len() < 1 || hash == "good" && c.Len() != sets {
				t.Errorf("%d of %d entries are left", c.Len(), sets)
			}
			t.Logf("%d of %d kept, up to %d buckets split by one Set, %d in all", c.Len(), sets, mostSplits, s.index.buckets())
			checkInvariants(t, c)
		})
	}
}
