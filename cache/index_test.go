package cache

import (
	"math/rand"
	"testing"
)

// TestTheIndexGrowsEvenly: at every size between two doublings it is as full as it
// should be, no bucket has to be split out of turn, and few entries move.
func TestTheIndexGrowsEvenly(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	c, err := OpenMemory(&Options{MaxBytes: 64 << 20, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := c.shards[0]
	s.lock()
	defer s.unlock()
	defer s.sweepIndexLocked() // no record is behind the words
	first := int(s.index.buckets())*bucketSlots*loadNum/loadDen + 1
	for n := 1; n <= 48*first; n++ {
		hash := rng.Uint64()
		slot, ok := s.roomLocked(hash)
		if !ok {
			t.Fatalf("no room among %d entries in %d buckets", n, s.index.buckets())
		}
		s.index.store(slot, makeWord(smallQueue, uint64(n), tagOf(hash)))
		s.entries.Add(1)
		s.growLocked(splitsPerSet)
		if got, want := int(s.index.buckets())*bucketSlots*loadNum/loadDen, n; n > first && (got < want-bucketSlots || got > want+bucketSlots) {
			t.Fatalf("%d buckets for %d entries", s.index.buckets(), n)
		}
	}
	entries, moves := s.entries.Load(), s.index.version.Load()>>32
	t.Logf("%d entries, %d buckets, %d moves", entries, s.index.buckets(), moves)
	if moves > uint64(entries)*35/100 {
		t.Errorf("%d moves for %d entries", moves, entries)
	}
	s.entries.Store(0)
}
