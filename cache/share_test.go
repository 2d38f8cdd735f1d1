package cache

import (
	"math/rand"
	"testing"

	"github.com/embercache/ember/internal/hitratio"
)

// shareOf is small's share of the bytes, in percent.
func shareOf(c *Cache) float64 {
	s := c.shards[0]
	s.lock()
	defer s.unlock()
	return 100 * float64(s.small) / float64(s.spansLocked())
}

// sharePlayed plays accesses on a cache of one shard, of some 4700 entries.
func sharePlayed(t *testing.T, next func(i int) uint32) (share float64, hits int) {
	t.Helper()
	alone(t)
	o := testOptions(minBytes)
	o.Shards = 1
	c := openMemory(t, o)
	defer c.Close()
	accesses := make([]uint32, 200_000)
	for i := range accesses {
		accesses[i] = next(i)
	}
	playCache(t, c, accesses[:len(accesses)/2])
	hits = playCache(t, c, accesses[len(accesses)/2:])
	checkInvariants(t, c)
	return shareOf(c), 200 * hits / len(accesses)
}

// TestSmallHasWhatMissesAskFor: next to nothing where favourites are fixed, much
// where what is new is what is used.
func TestSmallHasWhatMissesAskFor(t *testing.T) {
	rng := newRand(t)
	fixed := drawn(t, hitratio.Stream{Alpha: 0.8}, 50_000, 200_000)
	share, _ := sharePlayed(t, func(i int) uint32 { return fixed.Accesses[i] })
	if share > 3 {
		t.Errorf("fixed favourites: small has %.1f %%, want about the least", share)
	}
	recent := rand.NewZipf(rng, 1.01, 100, 50_000)
	share, _ = sharePlayed(t, func(i int) uint32 { return uint32(50_000 + i/3 - int(recent.Uint64())) })
	if share < 15 {
		t.Errorf("favourites that change: small has %.1f %%, want much more than at first", share)
	}
}

// TestALoopThatDoesNotFitHasHits: a part of it stays; where small were all there
// is, nothing would.
func TestALoopThatDoesNotFitHasHits(t *testing.T) {
	const room, loop = minBytes / ratioEntry, 3 * minBytes / ratioEntry
	_, hits := sharePlayed(t, func(i int) uint32 { return uint32(i % loop) })
	if most := 100 * room / loop; hits < most*8/10 {
		t.Errorf("%d %% hits in a loop of which %d %% fit", hits, most)
	}
}

// TestClearFillsMainAnew: what was learned of a share is of entries that are gone.
func TestClearFillsMainAnew(t *testing.T) {
	c := openMemory(t, testOptions(minBytes))
	overfilled(t, c, EntryOptions{})
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		mustSet(t, c, testKey(1_000_000+i), testValue(i, 200))
	}
	in := [2]int{}
	for i := range 1000 {
		in[wordOf(t, c, testKey(1_000_000+i)).queue()&1]++
	}
	if in[0] < 40 || in[0] > 80 {
		t.Errorf("of 1000 entries small has %d and main %d, want a twentieth in small", in[0], in[1])
	}
}

// TestAVictimInTheMidstOfClearSetsNoShare: the cleaner may ask for one while the
// segments are not given back yet.
func TestAVictimInTheMidstOfClearSetsNoShare(t *testing.T) {
	c := openMemory(t, testOptions(minBytes))
	overfilled(t, c, EntryOptions{})
	s := c.shards[0]
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	heads, tails := s.passAll(underWay{slot: -1})
	s.lock()
	s.victimLocked()
	s.unlock()
	s.sweepCleared(heads, tails)
	s.lock()
	defer s.unlock()
	if s.small != 0 {
		t.Errorf("small has a share of %d bytes right after Clear, want none", s.small)
	}
}

// TestAStepFromBeforeClearSetsNoShare: the cleaner had asked how short frames were,
// and goes on.
func TestAStepFromBeforeClearSetsNoShare(t *testing.T) {
	c := openMemory(t, testOptions(minBytes))
	overfilled(t, c, EntryOptions{})
	s, p := c.shards[0], c.pressure()
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	p.shard = s
	s.clean(&p)
	s.lock()
	defer s.unlock()
	if s.small != 0 {
		t.Errorf("small has a share of %d bytes of an empty shard, want none", s.small)
	}
}

// TestMainForgetsAsFastAsSmallsShareSays: of a hundred passed, one use from each
// while small has four times the least share, from half of them at half of it, from
// a quarter at the least.
func TestMainForgetsAsFastAsSmallsShareSays(t *testing.T) {
	c := openMemory(t, testOptions(minBytes))
	overfilled(t, c, EntryOptions{})
	s := c.shards[0]
	s.lock()
	defer s.unlock()
	least := s.spansLocked() / leastShare
	for share, want := range map[int64]int{9 * least: 100, 4 * least: 100, 2 * least: 50, least: 25} {
		s.small, s.tired = share, 0
		got := 0
		for range 100 {
			got += s.tireLocked()
		}
		if got < want-1 || got > want {
			t.Errorf("small has %d of %d bytes at least: %d uses of 100, want %d", share, least, got, want)
		}
	}
}

// TestSharesStepGrowsWithTheCache: an entry's size where that is much, else a part
// of the cache, both ways, within the bounds.
func TestSharesStepGrowsWithTheCache(t *testing.T) {
	c := openMemory(t, testOptions(minBytes))
	overfilled(t, c, EntryOptions{})
	s := c.shards[0]
	s.lock()
	defer s.unlock()
	all := s.spansLocked()
	step := all / leastStep
	for _, tc := range []struct {
		way, size   int
		share, want int64
	}{
		{1, 16, all / 4, all/4 + step},
		{-1, 16, all / 4, all/4 - step},
		{1, int(3 * step), all / 4, all/4 + 3*step},
		{-1, int(3 * step), all / 4, all/4 - 3*step},
		{1, int(all), all / 4, all - all/mainShare},
		{-1, int(all), all / 4, all / leastShare},
	} {
		s.small = tc.share
		if s.shiftLocked(tc.way, tc.size); s.small != tc.want {
			t.Errorf("%d of %d bytes, way %d for %d: got %d, want %d", tc.share, all, tc.way, tc.size, s.small, tc.want)
		}
	}
}
