package cache

import (
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/dump"
)

// heldSegments are segments that ended after a cut of which not everything is
// written yet. Their frames stay until the dumper lets go of its cuts, so that a
// generation lacks nothing that was overwritten, evicted or cleared meanwhile. A
// disk that hangs never lets go: beyond limit a segment is not held, and what
// nobody has copied by then is left out.
//
// Every cut is held from before its epoch: who ends a segment after its shard's
// part of the cut was noted has seen that epoch, and so sees the hold.
type heldSegments struct {
	limit int
	// newest is the highest number that a segment of a held cut can have, 0 if none
	// is held: what was opened later need not stay.
	newest atomic.Uint64
	count  atomic.Int64 // segments, for who only wants to know

	mu       sync.Mutex
	cuts     map[uint64]uint64 // held ones: epoch to newest
	segments map[heldKey]heldSegment
}

// A heldKey says which segment of its queue it is; pagefile.QueueLarge and the number
// for one of a large value.
type heldKey struct {
	shard int
	queue uint8
	seq   uint64
}

type heldSegment struct {
	number  uint64
	present uint64
	frame   uint32
	fill    uint32
}

// hold begins a cut. Until taken says which segments it can have it may have any.
func (h *heldSegments) hold(epoch uint64) { h.taken(epoch, ^uint64(0)) }

func (h *heldSegments) taken(epoch, newest uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cuts == nil {
		h.cuts, h.segments = make(map[uint64]uint64), make(map[heldKey]heldSegment)
	}
	h.cuts[epoch] = newest
	h.countLocked()
}

func (h *heldSegments) countLocked() {
	newest := uint64(0)
	for _, n := range h.cuts {
		newest = max(newest, n)
	}
	h.newest.Store(newest)
}

// keep takes a segment that has lost its number, and says whether it did: else its
// frame is free. The caller holds the shard's lock.
func (h *heldSegments) keep(key heldKey, s heldSegment) bool {
	if s.number > h.newest.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.number > h.newest.Load() || len(h.segments) >= h.limit {
		return false
	}
	h.segments[key] = s
	h.count.Store(int64(len(h.segments)))
	return true
}

// pressed reports whether half of what may be held is: who writes has to hurry.
func (h *heldSegments) pressed() bool { return int(h.count.Load()) >= (h.limit+1)/2 }

// release lets go of a cut, and gives back the frames that no other needs.
func (h *heldSegments) release(epoch uint64, f *frames) {
	for _, frame := range h.ended(epoch) { // who ends a segment waits for the mutex
		f.give(frame)
	}
}

// ended forgets a cut and what no other has, and returns the frames.
func (h *heldSegments) ended(epoch uint64) (list []uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.cuts, epoch)
	h.countLocked()
	for key, s := range h.segments {
		if s.number > h.newest.Load() {
			delete(h.segments, key)
			list = append(list, s.frame)
		}
	}
	h.count.Store(int64(len(h.segments)))
	return list
}

// find finds a held segment.
func (h *heldSegments) find(key heldKey) (heldSegment, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.segments[key]
	return s, ok
}

// copy copies bytes of a held segment. Nobody writes its frame before the caller,
// who holds the cut, lets go.
func (h *heldSegments) copy(dst []byte, s *shard, id dump.SegmentID, off int) bool {
	s.mu.Lock() // who took the number away keeps the lock until the frame is held
	seg, ok := h.find(heldKey{s.id, id.Queue, id.Seq})
	s.mu.Unlock()
	if bits := pageBits(off, len(dst)); !ok || seg.number != id.Number || seg.present&bits != bits {
		return false
	}
	copy(dst, s.frames.bytes(seg.frame)[off:])
	return true
}

// retireLocked ends a segment: no reader finds it any more, and its frame is free,
// or held if files may have it. Where files lie two shards may list one segment of a
// large value: one of them ends it, the other gets false. // I13
func (s *shard) retireLocked(key heldKey, seg *segment, onFile bool) bool {
	number := key.seq // of a large value's segment, as its list has it
	if key.queue < queues {
		s.settleReplacedLocked()
		number = seg.number.Load()
	}
	h := heldSegment{number: number, present: seg.present.Load(), fill: seg.fill.Load(), frame: seg.frame.Load()}
	if !seg.retire(number) {
		return false
	}
	s.used.Add(-1)
	// The cleaner's frames are its own: without them nothing could be moved on.
	spare := s.frames.free.Load() > int64(s.cache.reserve)
	home := key.queue < fileQueues && key.seq < s.home[key.queue].Load()
	if !onFile || !spare || home || !s.cache.held.keep(key, h) {
		s.frames.give(h.frame)
	}
	return true
}
