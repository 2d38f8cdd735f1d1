package dump

import (
	"time"

	"github.com/embercache/ember/pagefile"
)

// fileQueues is how many queues of a shard files know.
const fileQueues = 2

// A SegmentID names a segment for [Source.Copy].
type SegmentID struct {
	Queue  uint8
	Seq    uint64 // position / units per segment; the number for pagefile.QueueLarge
	Number uint64
}

// A Source is the cache, as its dumper sees it. None of its methods touches a
// file of the directory except CopyIndex and Copy, which may have to load a page
// that is not in memory yet.
type Source interface {
	// Cut advances the epoch, touches every shard, and returns each shard's cut.
	// The dumper calls it from one goroutine at a time and may keep what it
	// returns. Until Release, segments of the cut can be copied also when they end
	// meanwhile, as far as the cache has memory to spare.
	Cut() *Cut
	// Release says that all of a cut is written, or given up.
	Release(*Cut)
	// Drop gives journals of cuts back: nobody reads them any more.
	Drop(journals [][]byte)
	// Home says that a generation with this cut is durable: of the segments that
	// were sealed at it, all pages are home, and none is copied again but for one
	// that failed.
	Home(*Cut)
	// Segment tells the number and the fill of the segment that is now at seq of
	// a queue, or was when it ended; fill is in units, pagefile.OpenFill while it
	// is open. ok is false if it was evicted and is not held, or never was.
	Segment(shard int, queue uint8, seq uint64) (number uint64, fill uint32, ok bool)
	// Copy copies bytes [off, off+len(dst)) of a segment. It returns false, and
	// dst is then garbage, if the segment was evicted meanwhile or a page of it is
	// damaged.
	Copy(dst []byte, shard int, id SegmentID, off int) bool
	// Pin lends bytes [off, off+n) of a segment, which belong to a cut, where they
	// lie: nobody changes them until Unpin, and nobody else may. ok is false, and
	// nothing is pinned, if they are not all there, or too much is pinned already;
	// Copy may still have them. Once Close ran out of time they may turn to zeroes.
	Pin(shard int, id SegmentID, off, n int) (b []byte, pin Pin, ok bool)
	// Unpin ends pins.
	Unpin(pins []Pin)
	// CopyIndex copies whole buckets from first on, words of MemoryOnly entries as
	// 0, each at some instant after the newest Cut.
	CopyIndex(shard, first int, dst []byte) error
	// Ghosts copies a shard's ghosts, but for those of MemoryOnly entries.
	Ghosts(shard int) pagefile.Ghosts
}

// A Pin keeps memory from being used for anything else.
type Pin uint32

// A Cut divides the writes that a generation contains from the rest.
type Cut struct {
	Epoch  uint64
	Clock  int64     // the cache's clock, ms
	Wall   time.Time // the wall clock at the same moment
	Shards []ShardCut
}

// A ShardCut is one shard's part of a cut, taken at one instant under its lock.
type ShardCut struct {
	State pagefile.ShardState
	// Journal holds the slot stores since the cut before, 12 bytes each, in
	// order. Nobody writes these slices until Drop.
	Journal [][]byte
	// Lost says that the journal overflowed since the cut before and was
	// discarded: only a full generation can follow, and the weak chain ends.
	Lost bool
	// Since is when the first of them was stored, in ms of the cache's clock; 0:
	// nothing was, or nobody knows.
	Since int64
	// Digest sums up, in any order, the slots' words that files are told of: the same
	// words in the same slots have the same digest. Digested is false while it does
	// not have all of them, Counted while State's Entries and Live are estimates.
	Digest            uint64
	Digested, Counted bool

	Born []Large  // large segments published since the cut before
	Died []uint64 // numbers of large segments that ended since
}

// A Large is a large segment that was published.
type Large struct {
	Number uint64
	Fill   uint32 // units
}
