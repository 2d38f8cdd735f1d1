package cache

import (
	"math/bits"
	"unsafe"
)

// Marks tell the cleaner which records of a segment can be live, so that it passes
// the dead ones, and whole runs of them, without reading them or looking them up: a
// bit for each unit of a frame, set where a record begins when its room is
// reserved, and cleared when the record's word has left its slot. A word that was
// replaced or cleared never comes back, so a record without its mark is dead. One
// with it may be dead as well: the index decides.
//
// What Open or a change of shape put into a segment has no marks: there all is read
// and looked up. Marks are guarded by the lock of the shard that has the frame.
const markedBytes = 8 * unitSize // bytes of a frame for each of its marks

// marksOf are a frame's marks.
func (f *frames) marksOf(frame uint32) []uint64 {
	n := f.segmentSize / markedBytes
	return unsafe.Slice(f.marks.word(int(frame)*n), n/8)
}

// markLocked marks the record that is to begin at pos.
func (s *shard) markLocked(seg *segment, pos uint64) {
	if u := pos & s.unitMask; seg.marked {
		s.frames.marksOf(seg.frame.Load())[u/64] |= 1 << (u % 64)
	}
}

// unmarkLocked is for a record whose word has left its slot, or does so before the
// lock is let go.
func (s *shard) unmarkLocked(q uint8, pos uint64) {
	if seg, u := s.segmentAt(q, pos), pos&s.unitMask; seg.marked {
		s.frames.marksOf(seg.frame.Load())[u/64] &^= 1 << (u % 64)
	}
}

// nextMark is the first unit of a marked segment from unit u on that has a mark;
// end if none before end has.
func (f *frames) nextMark(seg *segment, u, end uint64) uint64 {
	marks := f.marksOf(seg.frame.Load())
	for rest := ^uint64(0) << (u % 64); u < end; rest = ^uint64(0) {
		if m := marks[u/64] & rest; m != 0 {
			return min(u&^63+uint64(bits.TrailingZeros64(m)), end)
		}
		u = u&^63 + 64
	}
	return end
}

// passDeadLocked moves q's head, in seg, to the next record that can be live, or to
// end, where seg's records end, in bytes.
func (s *shard) passDeadLocked(q uint8, seg *segment, end int) (units int) {
	if !seg.marked {
		return 0
	}
	qu := &s.queues[q]
	u := qu.head & s.unitMask
	units = int(s.frames.nextMark(seg, u, uint64(end/unitSize)) - u)
	qu.head += uint64(units)
	return units
}

// askedLocked reports whether the record at q's head was asked for.
func (s *shard) askedLocked(q uint8) bool {
	return s.asked.queue == q && s.queues[q].head < s.asked.pos
}

// fetchAheadLocked asks for where the index has the records of q that the cleaner is
// about to look up, holdRecords of them, and for the records after those: each would
// cost it a wait otherwise, with the lock in its hand. So in the course of a segment
// it asks for a record first, and for its bucket when the record has come.
func (s *shard) fetchAheadLocked(q uint8) {
	head := s.queues[q].head
	seg := s.segmentAt(q, head)
	if !seg.marked {
		return
	}
	if !s.askedLocked(q) {
		s.asked = location{q, head}
	}
	var at [2 * holdRecords]uint32
	n, lines := 0, int(s.lines.Load())
	u, end := head&s.unitMask, uint64(s.endLocked(q, head)/unitSize)
	b, first := s.frames.bytes(seg.frame.Load()), head-head&s.unitMask
	for ; n < len(at); n++ {
		if u = s.frames.nextMark(seg, u, end); u >= end {
			break
		}
		at[n] = uint32(u) * unitSize
		if u++; first+u > s.asked.pos {
			fetchLines(unsafe.Pointer(&b[at[n]]), lines)
			s.asked.pos = first + u
		}
	}
	for _, off := range at[:min(n, holdRecords)] {
		rec := b[off:]
		if k := readHeader(rec).keyLen(); headerSize+k <= min(len(rec), pageSize) {
			s.index.fetch(s.cache.hash.sum(rec[headerSize : headerSize+k]))
		}
	}
}
