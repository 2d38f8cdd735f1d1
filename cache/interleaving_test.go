package cache

import (
	"testing"
)

// Each of these is one order of events that a rule is there for.

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
	heads, tails := s.passAll()
	for i := range 400 {
		mustSet(t, c, testKey(1000+i), testValue(i, 300))
	}
	for range 400 {
		s.clean(false)
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
