package pagefile

import (
	"encoding/binary"
	"fmt"
)

// The queues of a shard that files know. Entries that are MemoryOnly have
// queues of their own, in no file.
const (
	QueueSmall = 0
	QueueMain  = 1
	QueueLarge = 3 // of Segment: a segment of a large value, its seq is its number
)

// A ShardState is what a cut says of one shard: a word is live only if its
// position lies from Heads to before Tails of its queue.
//
//	 0  heads    2 u64  small, main; positions
//	16  tails    2 u64
//	32  buckets  u32
//	36  entries  u32
//	40  live     u64    bytes; odd: an estimate
//	48
type ShardState struct {
	Heads, Tails [2]uint64 // positions, by queue
	Buckets      uint32    // in use: the split pointer of the index
	Entries      uint32
	Live         uint64 // bytes of live entries, a multiple of UnitSize; LiveEstimate besides
}

// LiveEstimate is set in Live where entries had ended whose sizes were unknown and
// nobody had counted again: who opens the state counts.
const LiveEstimate = 1

const stateSize = 48

const (
	stateHeads   = 0
	stateTails   = 16
	stateBuckets = 32
	stateEntries = 36
	stateLive    = 40
)

// Validate reports a state that no shard of a directory with this geometry has.
func (s ShardState) Validate(g Geometry) error {
	if s.Buckets < uint32(g.BaseBuckets) || s.Buckets > g.MaxBuckets() {
		return fmt.Errorf("%d buckets, want %d to %d", s.Buckets, g.BaseBuckets, g.MaxBuckets())
	}
	return s.check()
}

// check is the part of Validate that needs no geometry.
func (s ShardState) check() error {
	for q := range s.Heads {
		if s.Heads[q] > s.Tails[q] || s.Tails[q]-s.Heads[q] > Lap {
			return fmt.Errorf("queue %d from %d to %d", q, s.Heads[q], s.Tails[q])
		}
	}
	if s.Buckets == 0 || s.Buckets > MaxBuckets {
		return fmt.Errorf("%d buckets", s.Buckets)
	}
	if uint64(s.Entries) > uint64(s.Buckets)*BucketSlots {
		return fmt.Errorf("%d entries in %d buckets", s.Entries, s.Buckets)
	}
	return nil
}

func (s ShardState) append(b []byte) []byte {
	b = appendWords(b, s.Heads[0], s.Heads[1], s.Tails[0], s.Tails[1])
	b = binary.LittleEndian.AppendUint32(b, s.Buckets)
	b = binary.LittleEndian.AppendUint32(b, s.Entries)
	return binary.LittleEndian.AppendUint64(b, s.Live)
}

// parseState reads the first 48 bytes of b, which has as many.
func parseState(b []byte) (ShardState, error) {
	s := ShardState{
		Heads:   [2]uint64{le64(b, stateHeads), le64(b, stateHeads+8)},
		Tails:   [2]uint64{le64(b, stateTails), le64(b, stateTails+8)},
		Buckets: le32(b, stateBuckets),
		Entries: le32(b, stateEntries),
		Live:    le64(b, stateLive),
	}
	if err := s.check(); err != nil {
		return ShardState{}, corrupt("shard state: %v", err)
	}
	return s, nil
}
