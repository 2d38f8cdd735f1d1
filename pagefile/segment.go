package pagefile

import (
	"encoding/binary"
	"fmt"
)

// Sentinels of a Segment.
const (
	NoPlace  = 1<<32 - 1 // Place of a segment none of whose pages went home
	OpenFill = 1<<32 - 1 // Fill of a segment that is still appended to
)

// maxSeq bounds what shares a word with the queue.
const maxSeq = 1 << 62

// A Segment is a line of the segment table: a use of a segment, and where its
// pages lie.
//
//	 0  number  u64
//	 8  queue   2 bits (62, 63), seq 62 bits (0 to 61)
//	16  place   u32
//	20  fill    u32
//	24
type Segment struct {
	Number uint64 // opens<<32 | counter, never 0, never used twice
	Queue  uint8  // QueueSmall, QueueMain or QueueLarge
	Seq    uint64 // position / units of a segment; Number for QueueLarge
	Place  uint32 // NoPlace
	Fill   uint32 // units used; OpenFill while open
}

const segmentSize = 24

const (
	segmentNumber = 0
	segmentWhere  = 8
	segmentPlace  = 16
	segmentFill   = 20
)

// Validate reports a segment that no table can have.
func (s Segment) Validate() error {
	switch {
	case s.Number == 0:
		return fmt.Errorf("segment without a number")
	case s.Queue != QueueSmall && s.Queue != QueueMain && s.Queue != QueueLarge:
		return fmt.Errorf("segment %x: queue %d", s.Number, s.Queue)
	case s.Seq >= maxSeq:
		return fmt.Errorf("segment %x: seq %d", s.Number, s.Seq)
	case s.Queue == QueueLarge && s.Seq != s.Number:
		return fmt.Errorf("segment %x of a large value: seq %x", s.Number, s.Seq)
	case s.Fill > MaxSegmentSize/UnitSize && s.Fill != OpenFill:
		return fmt.Errorf("segment %x: fill %d", s.Number, s.Fill)
	}
	return nil
}

func (s Segment) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, s.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Queue)<<62|s.Seq)
	b = binary.LittleEndian.AppendUint32(b, s.Place)
	return binary.LittleEndian.AppendUint32(b, s.Fill)
}

// parseSegment reads the first 24 bytes of b, which has as many.
func parseSegment(b []byte) (Segment, error) {
	where := le64(b, segmentWhere)
	s := Segment{
		Number: le64(b, segmentNumber),
		Queue:  uint8(where >> 62),
		Seq:    where &^ (3 << 62),
		Place:  le32(b, segmentPlace),
		Fill:   le32(b, segmentFill),
	}
	if err := s.Validate(); err != nil {
		return Segment{}, corrupt("%v", err)
	}
	return s, nil
}
