package pagefile

import (
	"encoding/binary"
	"fmt"
)

// Sizes that are the same in every directory.
const (
	PageSize    = 4096 // bytes of a page: the unit of checksum and write
	UnitSize    = 16   // bytes of a unit: what a position counts
	SlotSize    = 8    // bytes of a slot word
	BucketSlots = 8    // slots of a bucket
	BucketSize  = SlotSize * BucketSlots
	MaxGrowth   = 64 // how many times its base an index may grow

	JournalEntrySize = 12 // bytes: slot u32, word u64

	// Lap is how many units a queue's slot words can tell apart: their position
	// has 30 bits. No queue is longer.
	Lap = 1 << 30
)

// Limits of a Geometry.
const (
	MaxShards      = 256
	MinSegmentSize = 16 << 10
	MaxSegmentSize = 256 << 10 // 64 pages: one bit each in a word
	MinBaseBuckets = 64
	MaxBaseBuckets = 1 << 26

	// MaxBuckets is where a shard's index stops growing whatever its base: a
	// slot number, bucket*8 + i, has 32 bits.
	MaxBuckets = 1 << 29
)

// A Geometry is what a directory keeps from its first day on. It is part of
// every file header and every record.
//
//	 0  shards        u32
//	 4  segment size  u32  bytes
//	 8  base buckets  u32
//	12  reserved      u32
//	16  seed          u64
//	24  directory id  u64
//	32
type Geometry struct {
	Shards      int    // a power of two, 1 to 256
	SegmentSize int    // bytes, a power of two, 16 KiB to 256 KiB
	BaseBuckets int    // buckets of a shard's index before it grows, a power of two
	Seed        uint64 // of the hash of keys
	DirID       uint64 // random, tells directories apart
}

const geometrySize = 32

const (
	geometryShards      = 0
	geometrySegmentSize = 4
	geometryBaseBuckets = 8
	geometryReserved    = 12
	geometrySeed        = 16
	geometryDirID       = 24
)

// Validate reports a geometry that no directory can have.
func (g Geometry) Validate() error {
	switch {
	case !powerOfTwo(g.Shards, 1, MaxShards):
		return fmt.Errorf("%d shards, want a power of two up to %d", g.Shards, MaxShards)
	case !powerOfTwo(g.SegmentSize, MinSegmentSize, MaxSegmentSize):
		return fmt.Errorf("segments of %d bytes, want a power of two from %d to %d", g.SegmentSize, MinSegmentSize, MaxSegmentSize)
	case !powerOfTwo(g.BaseBuckets, MinBaseBuckets, MaxBaseBuckets):
		return fmt.Errorf("%d base buckets, want a power of two from %d to %d", g.BaseBuckets, MinBaseBuckets, MaxBaseBuckets)
	}
	return nil
}

// PagesPerSegment is at most 64.
func (g Geometry) PagesPerSegment() int { return g.SegmentSize / PageSize }

// UnitsPerSegment divides a position into seq and offset.
func (g Geometry) UnitsPerSegment() uint64 { return uint64(g.SegmentSize / UnitSize) }

// MaxBuckets is how many buckets a shard's index may have in this directory.
func (g Geometry) MaxBuckets() uint32 {
	return uint32(min(uint64(g.BaseBuckets)*MaxGrowth, MaxBuckets))
}

// PlaceOffset is where a place begins in a page file.
func (g Geometry) PlaceOffset(place uint32) int64 {
	return FileHeaderBlock + int64(place)*int64(g.SegmentSize)
}

// PlacesIn is how many places a page file of that size has, with one that is cut
// short.
func (g Geometry) PlacesIn(size int64) uint32 {
	n := (size - FileHeaderBlock + int64(g.SegmentSize) - 1) / int64(g.SegmentSize)
	return uint32(min(max(n, 0), NoPlace-1))
}

func (g Geometry) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(g.Shards))
	b = binary.LittleEndian.AppendUint32(b, uint32(g.SegmentSize))
	b = binary.LittleEndian.AppendUint32(b, uint32(g.BaseBuckets))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, g.Seed)
	return binary.LittleEndian.AppendUint64(b, g.DirID)
}

// parseGeometry reads the first 32 bytes of b, which has as many.
func parseGeometry(b []byte) (Geometry, error) {
	if !allZero(b[geometryReserved:geometrySeed]) {
		return Geometry{}, corrupt("geometry: reserved bytes are set")
	}
	shards, size := le32(b, geometryShards), le32(b, geometrySegmentSize)
	base := le32(b, geometryBaseBuckets)
	// Checked as unsigned: int has 32 bits on some machines.
	if shards > MaxShards || size > MaxSegmentSize || base > MaxBaseBuckets {
		return Geometry{}, corrupt("geometry: %d shards, segments of %d bytes, %d base buckets", shards, size, base)
	}
	g := Geometry{
		Shards:      int(shards),
		SegmentSize: int(size),
		BaseBuckets: int(base),
		Seed:        le64(b, geometrySeed),
		DirID:       le64(b, geometryDirID),
	}
	if err := g.Validate(); err != nil {
		return Geometry{}, corrupt("geometry: %v", err)
	}
	return g, nil
}

func powerOfTwo(n, low, high int) bool { return n >= low && n <= high && n&(n-1) == 0 }
