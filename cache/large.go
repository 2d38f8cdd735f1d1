package cache

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// Large values lie in segments of their own, which a record in a queue lists by
// number. largeTable finds such a segment: entry number modulo the table's size,
// and a number is only given out while its entry is free.
type largeTable struct {
	mask    uint64
	entries []segment

	mu sync.Mutex // orders who claims entries
}

// A numberSource gives out segment numbers, which never repeat: it begins with the
// directory's count of opens in the upper half, and may run into the next ones, which
// the loader counts as well.
type numberSource struct{ last atomic.Uint64 }

func (n *numberSource) next() uint64 { return n.last.Add(1) }

// largeSize is how many entries the table has for that many frames.
func largeSize(frames int) int { return ceilPow2(2 * frames) }

func newLargeTable(entries []segment) *largeTable {
	return &largeTable{mask: uint64(len(entries) - 1), entries: entries}
}

// at finds the entry of a number, which has it only while the segment is there: who
// read the number from a file has to compare. Free entries have number 0, so a list
// that has a 0 leads to none.
func (t *largeTable) at(number uint64) *segment {
	if number == 0 {
		return &noSegment
	}
	return &t.entries[number&t.mask]
}

// noSegment has a number that no list leads to.
var noSegment = func() (s segment) { s.number.Store(1<<64 - 1); return }()

// claim publishes a new large segment over frame. Nobody knows its number yet.
func (t *largeTable) claim(numbers *numberSource, frame uint32, units int) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		number := numbers.next()
		if seg := t.at(number); seg.number.Load() == 0 {
			seg.open(number, frame, allPages)
			seg.fill.Store(uint32(units))
			return number
		}
	}
}

// place publishes a recovered segment under the number that it has; false if the
// table is smaller than the one it came from and the entry is taken.
func (t *largeTable) place(number uint64, frame, fill uint32, present uint64, source uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seg := t.at(number)
	if seg.number.Load() != 0 {
		return false
	}
	seg.source = source
	seg.open(number, frame, present)
	seg.fill.Store(fill)
	return true
}

// fillLarge copies the first part of value into own segments, whose frames take
// gives, outside every lock, and returns the record's body: their list and the
// rest. ok is false if there are not enough frames; nothing is kept then.
func (c *Cache) fillLarge(value []byte, own int, take func() (frame uint32, ok bool)) (body []byte, ok bool) {
	body = make([]byte, 0, 8*own+max(len(value)-own*c.segmentSize, 0))
	for range own {
		frame, ok := take()
		if !ok {
			c.freeLarge(body)
			return nil, false
		}
		n := min(len(value), c.segmentSize)
		b := c.frames.bytes(frame)
		copy(b, value[:n])
		clear(b[n : (n+pageSize-1)&^(pageSize-1)])
		number := c.large.claim(&c.numbers, frame, (n+unitSize-1)/unitSize)
		body = binary.LittleEndian.AppendUint64(body, number)
		value = value[n:]
	}
	return append(body, value...), true
}

// freeLarge gives back segments that no record lists.
func (c *Cache) freeLarge(list []byte) {
	for ; len(list) >= 8; list = list[8:] {
		n := binary.LittleEndian.Uint64(list)
		seg := c.large.at(n)
		if frame := seg.frame.Load(); seg.retire(n) {
			c.frames.give(frame)
		}
	}
}

// bearLocked tells the next cut of segments that are published with the record
// that lists them.
func (s *shard) bearLocked(q uint8, list []byte) {
	s.used.Add(int64(len(list) / 8))
	s.ownLocked(q, len(list)/8)
	if q >= fileQueues || s.journal.limit == 0 {
		return
	}
	for ; len(list) >= 8; list = list[8:] {
		n := binary.LittleEndian.Uint64(list)
		s.born = append(s.born, dump.Large{Number: n, Fill: s.large.at(n).fill.Load()})
	}
}

// retireLargeLocked frees the segments of a large value whose record ends. The
// record's slot was cleared or overwritten before, in the same critical section;
// a reader in between sees that a number changed and starts over. // I13
func (s *shard) retireLargeLocked(w word, h header) {
	s.retireListLocked(w.queue(), listOf(s.recordAt(w.queue(), s.positionLocked(w)), h, s.segmentSize))
}

// retireListLocked frees the segments that a list of queue q names.
func (s *shard) retireListLocked(q uint8, list []byte) {
	s.ownLocked(q, -len(list)/8)
	if s.log != nil && q < fileQueues {
		s.logDiedLocked(list)
	}
	for ; len(list) >= 8; list = list[8:] {
		n := binary.LittleEndian.Uint64(list)
		seg := s.large.at(n)
		if seg.number.Load() != n || !s.retireLocked(heldKey{s.id, pagefile.QueueLarge, n}, seg, q < fileQueues) {
			continue // lost with a damaged file
		}
		if q < fileQueues && s.journal.limit != 0 && !s.unbearLocked(n) {
			s.died = append(s.died, n)
		}
	}
}

// unbearLocked forgets a birth that no cut has seen, so that what is noted
// between two cuts is bounded by the segments there are.
func (s *shard) unbearLocked(number uint64) bool {
	for i := len(s.born) - 1; i >= 0; i-- {
		if s.born[i].Number == number {
			s.born = append(s.born[:i], s.born[i+1:]...)
			return true
		}
	}
	return false
}

// listOf is the list of numbers in a large value's record; empty if the record
// does not fit where it is said to lie.
func listOf(rec []byte, h header, segmentSize int) []byte {
	from := headerSize + h.keyLen()
	own, _ := h.layout(segmentSize)
	to := from + 8*own
	if !h.large() || to > len(rec) {
		return nil
	}
	return rec[from:to]
}
