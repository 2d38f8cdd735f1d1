package cache

import (
	"runtime"
	"testing"
)

// overwriteUntil overwrites n keys of a cache, one after the other, until done.
func overwriteUntil(t *testing.T, c *Cache, n int, done func() bool) {
	t.Helper()
	for i := 0; !done(); i++ {
		if i > 100*n {
			t.Fatal("it does not come to that")
		}
		mustSet(t, c, testKey(i%n), testValue(i%n, 200))
	}
}

// TestTheBackgroundCleansBeforeWritersMust: it is woken while writers need not clean
// yet, and when it has cleaned they need not for a while. A writer whom nobody helps
// does it all. Either way nothing that is live is forgotten.
func TestTheBackgroundCleansBeforeWritersMust(t *testing.T) {
	alone(t)
	o := testOptions(16 << 20)
	o.Shards, o.hooks.alone = 4, true
	c := openMemory(t, o)
	const n = 30_000 // a little under half
	free := func() int64 { return c.frames.free.Load() }
	overwriteUntil(t, c, n, func() bool { return free() < c.early })
	if len(c.wake) == 0 {
		mustSet(t, c, testKey(0), testValue(0, 1000)) // it is told with the next KiB
	}
	if free() < c.quiet || c.walkedSoFar().bytes > 0 || len(c.wake) == 0 {
		t.Fatalf("%d frames free, %d bytes walked, %d wakes: want under %d, at least %d; none; one",
			free(), c.walkedSoFar().bytes, len(c.wake), c.early, c.quiet)
	}
	for round := range 50 {
		c.cleanEarly()
		if free() < c.early {
			t.Fatalf("%d frames are free after cleaning, want %d", free(), c.early)
		}
		w := walkedBy(c, func() {
			overwriteUntil(t, c, n, func() bool { return free() < c.early })
		})
		if w.bytes > 0 {
			t.Fatalf("round %d: writers walked %d bytes while the background keeps up", round, w.bytes)
		}
	}
	w := walkedBy(c, func() {
		for i := range 4 * n {
			mustSet(t, c, testKey(i%n), testValue(i%n, 200))
		}
	})
	if least := c.quiet - 1; w.bytes == 0 || free() < least {
		t.Errorf("alone: %d bytes walked, %d frames free, want at least %d", w.bytes, free(), least)
	}
	if st := c.Stats(); st.Evictions != 0 || st.Rejected != 0 || st.Entries != n {
		t.Errorf("%d entries, %d evicted and %d rejected, want %d, 0, 0", st.Entries, st.Evictions, st.Rejected, n)
	}
	checkInvariants(t, c)
}

// TestOneProcessorKeepsWhatIsUnderHalf: there the background only runs when a writer
// lets it.
func TestOneProcessorKeepsWhatIsUnderHalf(t *testing.T) {
	alone(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	o := testOptions(8 << 20)
	o.Shards = 2
	c := openMemory(t, o)
	const n = 15_000 // a little under half
	for i := range 10 * n {
		mustSet(t, c, testKey(i*7919%n), testValue(i*7919%n, 200))
	}
	for i := range n {
		wantValue(t, c, testKey(i), testValue(i, 200))
	}
	if st := c.Stats(); st.Evictions != 0 || st.Rejected != 0 {
		t.Errorf("%d evicted and %d rejected", st.Evictions, st.Rejected)
	}
	checkInvariants(t, c)
}

// TestTheLockIsHeldForAFewRecords: however small they are, and whatever happens to
// them.
func TestTheLockIsHeldForAFewRecords(t *testing.T) {
	for name, p := range map[string]pressure{
		"moved on":           {keep: true, due: true},
		"evicted for frames": {due: true},
		"evicted for bytes":  {due: true, need: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(1 << 20)
			o.Shards, o.hooks.alone = 1, true
			c := openMemory(t, o)
			for i := range 14_000 {
				mustSet(t, c, testKey(i), nil)
			}
			s := c.shards[0]
			if p.need > 0 {
				c.most = 0
			}
			for range 100 {
				w := walkedBy(c, func() {
					s.lock()
					s.cleanLocked(&p, cleanBytes)
					s.unlock()
				})
				if w.records > holdRecords || w.bytes > cleanBytes+uint64(c.segmentSize) {
					t.Fatalf("%d records and %d bytes were walked, want at most %d", w.records, w.bytes, holdRecords)
				}
			}
			if got := c.walkedSoFar().records; got < 100 {
				t.Errorf("%d records were walked in all", got)
			}
			w := walkedBy(c, func() { s.clean(&p) })
			if most := uint64(cleanHolds * holdRecords); w.records > most || w.records <= holdRecords {
				t.Errorf("a step walked %d records, want over %d, at most %d", w.records, holdRecords, most)
			}
			checkInvariants(t, c)
		})
	}
}

// TestTwoCleanersTakeTwoShards: whatever is wanted, and where all are being cleaned
// one is taken all the same.
func TestTwoCleanersTakeTwoShards(t *testing.T) {
	for name, entries := range map[string]int{"moved on": 20_000, "evicted for frames": 44_000, "evicted for bytes": 80_000} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(16 << 20)
			o.Shards, o.hooks.alone = 4, true
			c := openMemory(t, o)
			for i := range entries {
				mustSet(t, c, testKey(i), testValue(i, 200))
			}
			seen := make(map[*shard]bool)
			for range c.shards {
				s := c.pressure().shard
				s.cleaning.Store(true)
				seen[s] = true
			}
			if len(seen) != len(c.shards) {
				t.Errorf("%d cleaners took %d shards", len(c.shards), len(seen))
			}
			if c.pressure().shard == nil {
				t.Error("the next one finds none")
			}
			p := c.pressure()
			if p.shard.clean(&p); p.shard.cleaning.Load() {
				t.Error("a shard is being cleaned by nobody")
			}
		})
	}
}
