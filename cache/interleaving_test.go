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
