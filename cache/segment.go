package cache

import "sync/atomic"

// A segment is one entry of a queue's ring, or of the table of large segments:
// a run of pages in memory for as long as its number is not 0.
//
// The number publishes: who opens a segment stores the frame first and the number
// last; who takes it away swaps it for 0, loads it once, and only then lets anybody
// write into the frame. A number never repeats, so a reader that saw number n
// before and after its copy copied bytes of segment n.
type segment struct {
	number atomic.Uint64 // 0: none
	// present has a bit for each page that is in the frame. Only pages of a
	// segment that Open found on file can be missing.
	present atomic.Uint64
	frame   atomic.Uint32
	fill    atomic.Uint32 // units used, once sealed; openFill before
	// source is where the lazyShard has the segment that Open restored here. It
	// does not change afterwards, so who uses it compares numbers.
	source uint32
	marked bool    // its frame's marks tell its live records; guarded by the shard's lock
	_      [3]byte // 32 bytes: two segments a cache line
}

const (
	segmentBytes = 32

	openFill = 1<<32 - 1
	allPages = 1<<64 - 1
	pageSize = 4096
)

// pageBits are the bits of the pages that [off, off+n) of a segment touches.
func pageBits(off, n int) uint64 {
	first, last := off/pageSize, (off+n-1)/pageSize
	return ^uint64(0) << first & (^uint64(0) >> (63 - last))
}

// open publishes the segment. The caller holds the shard's lock, or owns the
// entry of the large table.
func (s *segment) open(number uint64, frame uint32, present uint64) {
	s.frame.Store(frame)
	s.marked = false
	s.fill.Store(openFill)
	s.present.Store(present)
	s.number.Store(number)
}

// retire takes the segment out of readers' sight, if it still has that number. Its
// frame must not be written before retire has returned. // I13
func (s *segment) retire(number uint64) bool {
	ended := s.number.CompareAndSwap(number, 0)
	s.number.Load() // arm64: holds back the stores of the frame's next owner
	return ended
}
