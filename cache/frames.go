package cache

import (
	"sync"
	"sync/atomic"
)

// Frames are the memory behind segments: one range, cut into pieces of the
// segment size, and the stack of those that are free.
type frames struct {
	arena       *arena
	marks       *arena // by frame, a bit a unit; see marks.go
	segmentSize int
	count       int
	pins        []atomic.Uint32 // by frame: Views and, under the race detector, copies
	free        atomic.Int64    // frames on the stack, for who only wants to know

	mu     sync.Mutex
	stack  []uint32
	pinned []uint32 // retired while a View held them
	fresh  int      // frames from here on were never used and lie on no stack
	warm   int      // frames below this are populated
	seen   int      // fresh when tick last looked
}

func newFrames(count, segmentSize int) (*frames, error) {
	a, err := newArena(count*segmentSize, hugePages)
	if err != nil {
		return nil, err
	}
	m, err := newArena(count*segmentSize/markedBytes, hugePages)
	if err != nil {
		a.release()
		return nil, err
	}
	f := &frames{arena: a, marks: m, segmentSize: segmentSize, count: count}
	f.pins = make([]atomic.Uint32, count)
	f.stack = make([]uint32, 0, count)
	f.free.Store(int64(count))
	return f, nil
}

func (f *frames) bytes(frame uint32) []byte {
	return f.arena.bytes(int(frame)*f.segmentSize, f.segmentSize)
}

// take returns a free frame; ok is false if fewer than leave would stay.
// Recently used frames go first: they are in memory, and in the processor's
// caches.
func (f *frames) take(leave int) (frame uint32, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reclaimPinned()
	if int(f.free.Load()) <= leave {
		return 0, false
	}
	f.free.Add(-1)
	if n := len(f.stack); n > 0 {
		frame = f.stack[n-1]
		f.stack = f.stack[:n-1]
		return frame, true
	}
	frame = uint32(f.fresh)
	f.fresh++
	return frame, true
}

// takeRun takes n frames that were never used, one after the other. Only Open
// calls it, which knows how many there are.
func (f *frames) takeRun(n int) (first uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = uint32(f.fresh)
	f.fresh += n
	f.seen += n
	f.free.Add(-int64(n))
	return first
}

// give takes back a frame whose segment is retired. A frame that a View pins is
// kept aside until it is let go: the pin was set before the number was checked,
// and the number was taken away before the pins are looked at here, so one of
// the two sees the other.
func (f *frames) give(frame uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins[frame].Load() != 0 {
		f.pinned = append(f.pinned, frame)
		return
	}
	f.stack = append(f.stack, frame)
	f.free.Add(1)
}

// short reports whether fewer than n frames are free.
func (f *frames) short(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reclaimPinned()
	return int(f.free.Load()) < n
}

func (f *frames) reclaimPinned() {
	for i := 0; i < len(f.pinned); {
		frame := f.pinned[i]
		if f.pins[frame].Load() != 0 {
			i++
			continue
		}
		last := len(f.pinned) - 1
		f.pinned[i] = f.pinned[last]
		f.pinned = f.pinned[:last]
		f.stack = append(f.stack, frame)
		f.free.Add(1)
	}
}

// leastWarm is how many frames are ready where few are taken, mostWarm how many huge
// pages where many are.
const (
	leastWarm = 4
	mostWarm  = 16
)

// tick has frames ready for what the next tick may take, twice what the last one took.
// What nobody takes is memory for nothing.
func (f *frames) tick() {
	f.mu.Lock()
	taken := f.fresh - f.seen
	f.seen = f.fresh
	f.mu.Unlock()
	for ahead := leastWarm + min(2*taken, mostWarm*hugePage/f.segmentSize); f.warmUp(ahead); {
	}
}

// warmUp populates the next huge page of frames while fewer than ahead populated
// ones are unused, so that a Set does not meet memory that the kernel has yet to
// clear. It reports whether there may be more to do.
func (f *frames) warmUp(ahead int) bool {
	f.mu.Lock()
	if f.warm < f.fresh {
		f.warm = f.fresh
	}
	start := f.warm
	need := len(f.stack)+start-f.fresh < ahead && start < f.count
	f.mu.Unlock()
	if !need {
		return false
	}
	per := max(hugePage/f.segmentSize, 1)
	n := min(per-start%per, f.count-start)
	f.arena.populate(start*f.segmentSize, n*f.segmentSize)
	f.mu.Lock()
	f.warm = start + n
	f.mu.Unlock()
	return true
}
