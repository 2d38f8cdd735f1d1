package cache

import (
	"sync"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// filePins are the frames that the dumper writes in place. Each counts in
// frames.pins too, as one of a View does. A disk that hangs keeps them, so there
// are no more than limit, and who closes the cache does not wait for them.
type filePins struct {
	limit int

	mu     sync.Mutex
	count  int
	frames map[uint32]uint32 // pins by frame
}

// pin pins frame, unless too much is pinned.
func (p *filePins) pin(f *frames, frame uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count >= p.limit {
		return false
	}
	if p.frames == nil {
		p.frames = make(map[uint32]uint32)
	}
	p.count++
	p.frames[frame]++
	f.pins[frame].Add(1)
	return true
}

func (p *filePins) unpin(f *frames, frame uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	if p.frames[frame]--; p.frames[frame] == 0 {
		delete(p.frames, frame)
	}
	f.pins[frame].Add(^uint32(0))
}

// others is how many pins of a frame are not the dumper's.
func (p *filePins) others(f *frames, frame uint32) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return f.pins[frame].Load() - p.frames[frame]
}

// Pin pins as a View does: first the pin, then the segment's number again. Who ends
// the segment takes the number away, then looks at the pins. The bytes are before a
// tail of a cut, which was noted under the shard's lock, and nobody writes there
// while the segment has its frame: records are appended behind it, pages that were
// loaded are present already.
func (k cutter) Pin(shard int, id dump.SegmentID, off, n int) (b []byte, pin dump.Pin, ok bool) {
	s := k.c.shards[shard]
	if s.frames.free.Load() <= int64(k.c.reserve) {
		return nil, 0, false // those are the cleaner's
	}
	seg := s.large.at(id.Number)
	if id.Queue != pagefile.QueueLarge {
		seg = s.segmentAt(id.Queue, s.startOf(id.Seq))
	}
	frame := seg.frame.Load()
	if !k.c.filePins.pin(s.frames, frame) {
		return nil, 0, false
	}
	if seg.number.Load() != id.Number || seg.frame.Load() != frame || !seg.has(off, n) {
		k.c.filePins.unpin(s.frames, frame)
		return nil, 0, false
	}
	return s.frames.bytes(frame)[off : off+n : off+n], dump.Pin(frame), true
}

// Unpin lets go of frames.
func (k cutter) Unpin(pins []dump.Pin) {
	for _, pin := range pins {
		k.c.filePins.unpin(k.c.frames, uint32(pin))
	}
}
