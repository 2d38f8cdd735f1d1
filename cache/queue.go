package cache

import "unsafe"

// The queues of a shard. Files know the first two; MemoryOnly entries live in
// the others, which no file ever holds.
const (
	smallQueue = iota
	mainQueue
	memorySmall
	memoryMain
	queues

	fileQueues = 2
)

// A queue is a FIFO of records in a ring of segments. Positions count units
// since the directory was made and never go back; a record is live only if
// head <= position < tail.
type queue struct {
	head, tail uint64
}

func (s *shard) seqOf(pos uint64) uint64 { return pos >> s.unitBits }

// startOf is the first position of segment seq.
func (s *shard) startOf(seq uint64) uint64 { return seq << s.unitBits }

func (s *shard) offsetOf(pos uint64) int { return int(pos&s.unitMask) * unitSize }

func (s *shard) segmentAt(q uint8, pos uint64) *segment {
	return &s.segments[int(q)<<s.ringBits|int(s.seqOf(pos))&s.ringMask]
}

// ringSpare is how many segments of a ring are the cleaner's own. It moves a
// segment's live records into what is left of the open one and one more, then
// frees it: with two to open, a full ring can always be cleaned.
const ringSpare = 2

// roomInRing is how many more segments q's ring can take.
func (s *shard) roomInRing(q uint8) int {
	qu := &s.queues[q]
	return s.ringMask + 1 - int(s.seqOf(qu.tail+s.unitMask)-s.seqOf(qu.head))
}

// reserveLocked makes room for n units at the tail of q, opening a segment if
// the open one is too full, and returns the position. Who leaves frames to the
// cleaner leaves it ringSpare as well, and what it opened of those; ok is false if
// there is no frame or the ring is full.
func (s *shard) reserveLocked(q uint8, n, leave int) (pos uint64, ok bool) {
	if leave > 0 && (s.roomInRing(q) < ringSpare || s.indebtedLocked(leave)) {
		return 0, false
	}
	tail := s.queues[q].tail
	used := tail & s.unitMask
	if used == 0 || used+uint64(n) > s.unitMask+1 {
		if !s.openSegmentLocked(q, leave) {
			return 0, false
		}
		tail = s.queues[q].tail
	}
	s.queues[q].tail = tail + uint64(n)
	seg := s.segmentAt(q, tail)
	s.markLocked(seg, tail)
	s.fetchNext(seg, tail+2*uint64(n))
	if s.queues[q].tail&s.unitMask == 0 {
		seg.fill.Store(uint32(s.unitMask + 1))
	}
	return tail, true
}

// fetchNext asks for the lines that the record at pos will take, the one after the
// next: its copy does not wait for them then.
func (s *shard) fetchNext(seg *segment, pos uint64) {
	if pos&s.unitMask != 0 {
		b := s.frames.bytes(seg.frame.Load())
		fetchToWrite(unsafe.Pointer(&b[s.offsetOf(pos)]), int(s.lines.Load()))
	}
}

// indebtedLocked reports whether the cleaner opened a segment here with a frame that
// was its own, and has not freed as much since. What that segment has room for is
// the cleaner's too: writers who filled it would leave it no frame to move anything
// to, and it would stand still before live records.
func (s *shard) indebtedLocked(reserve int) bool {
	s.indebted = s.indebted && s.frames.short(reserve)
	return s.indebted
}

// openSegmentLocked seals q's open segment and opens the next.
func (s *shard) openSegmentLocked(q uint8, leave int) bool {
	qu := &s.queues[q]
	next := s.startOf(s.seqOf(qu.tail + s.unitMask))
	if room := s.roomInRing(q); room == 0 || leave > 0 && room <= ringSpare {
		return false
	}
	seg := s.segmentAt(q, next)
	if seg.number.Load() != 0 {
		return false // Clear has not given it back yet
	}
	frame, ok := s.frames.take(leave)
	if !ok {
		return false
	}
	s.indebted = s.indebted || leave == 0 && int(s.frames.free.Load()) < s.cache.reserve
	s.sealLocked(q)
	qu.tail = next
	seg.open(s.numbers.next(), frame, allPages)
	seg.marked = true
	clear(s.frames.marksOf(frame))
	s.used.Add(1)
	s.gaugeLinesLocked()
	return true
}

// mostLines are fetched ahead of a record; the processor sees by itself that what
// is longer is read from end to end.
const mostLines = 8

// gaugeLinesLocked sets how many cache lines a record of the average size touches.
func (s *shard) gaugeLinesLocked() {
	size := s.live.Load() / max(s.entries.Load(), 1)
	s.lines.Store(uint32(min(max(size+2*64-unitSize, 64)/64, mostLines)))
}

// sealLocked ends q's open segment, if there is one: what follows the last
// record is zeroed up to the end of its page, since the memory may hold bytes of
// an earlier owner, and the pages after it are never written.
func (s *shard) sealLocked(q uint8) {
	qu := &s.queues[q]
	if qu.tail&s.unitMask == 0 {
		return
	}
	seg := s.segmentAt(q, qu.tail)
	off := s.offsetOf(qu.tail)
	end := (off + pageSize - 1) &^ (pageSize - 1)
	clear(s.frames.bytes(seg.frame.Load())[off:end])
	seg.fill.Store(uint32(off / unitSize))
	s.logSealLocked(q, seg, s.seqOf(qu.tail), off/unitSize)
	qu.tail = s.startOf(s.seqOf(qu.tail) + 1)
}

// writeLocked writes a record of n units into the reserved position.
func (s *shard) writeLocked(q uint8, pos uint64, h header, key, body []byte) {
	b := s.frames.bytes(s.segmentAt(q, pos).frame.Load())[s.offsetOf(pos):]
	h.put(b)
	n := headerSize + copy(b[headerSize:], key)
	n += copy(b[n:], body)
	clear(b[n : (n+unitSize-1)&^(unitSize-1)])
}
