package cache

import (
	"bytes"
	"testing"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
)

func openPinned(t *testing.T) *Cache {
	o := quietOptions(crashfs.New(), 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	t.Cleanup(func() { c.Close() })
	return c
}

// newestPiece is what shard 0 has of the segment with the newest record.
func newestPiece(c *Cache) (id dump.SegmentID, n int) {
	s := c.shards[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for q := range uint8(fileQueues) {
		if s.queues[q].tail == 0 {
			continue
		}
		pos := s.queues[q].tail - 1
		number := s.segmentAt(q, pos).number.Load()
		if number > id.Number {
			id, n = dump.SegmentID{Queue: q, Seq: s.seqOf(pos), Number: number}, s.offsetOf(pos)+unitSize
		}
	}
	return id, n
}

// TestAPinnedPieceStays: whatever becomes of its segment, nobody writes to the bytes
// that the dumper has pinned; and what has ended cannot be pinned any more.
func TestAPinnedPieceStays(t *testing.T) {
	c := openPinned(t)
	k := cutter{c}
	fill := func(from, n int) {
		for i := range n {
			mustSet(t, c, testKey(from+i), bytes.Repeat([]byte{byte(i)}, 1000))
		}
	}
	fill(0, 20)
	id, n := newestPiece(c)
	b, pin, ok := k.Pin(0, id, 0, n)
	if !ok {
		t.Fatal("a piece of the open segment is not pinned")
	}
	want := bytes.Clone(b)
	fill(20, 20_000)
	if got := c.shards[0].segmentAt(id.Queue, c.shards[0].startOf(id.Seq)).number.Load(); got == id.Number {
		t.Fatal("the segment has not ended")
	}
	if !bytes.Equal(b, want) {
		t.Error("a pinned piece has changed")
	}
	if _, _, ok := k.Pin(0, id, 0, n); ok {
		t.Error("a segment that has ended is pinned")
	}
	k.Unpin([]dump.Pin{pin})
	if got := c.frames.pins[pin].Load(); got != 0 || c.filePins.count != 0 || len(c.filePins.frames) != 0 {
		t.Errorf("%d pins are left", got)
	}
}

// TestPinsAreBounded: a disk that hangs keeps what a link has pinned, which is a
// sixteenth of the frames at most.
func TestPinsAreBounded(t *testing.T) {
	c := openPinned(t)
	mustSet(t, c, testKey(0), make([]byte, 1000))
	k := cutter{c}
	id, n := newestPiece(c)
	var pins []dump.Pin
	for range c.frames.count {
		if _, pin, ok := k.Pin(0, id, 0, n); ok {
			pins = append(pins, pin)
		}
	}
	if got, want := len(pins), c.frames.count/16; got != want || want == 0 {
		t.Errorf("%d pins, want %d", got, want)
	}
	k.Unpin(pins[1:])
	if _, pin, ok := k.Pin(0, id, 0, n); !ok || pin != pins[0] {
		t.Error("nothing is pinned after pins ended")
	}
}

// TestCloseDoesNotWaitForTheDisk: a write that hangs keeps its pins, and Close gives
// the memory back all the same. It waits for Views.
func TestCloseDoesNotWaitForTheDisk(t *testing.T) {
	c := openPinned(t)
	mustSet(t, c, testKey(0), bytes.Repeat([]byte{1}, 1000))
	id, n := newestPiece(c)
	b, pin, ok := cutter{c}.Pin(0, id, 0, n)
	if !ok {
		t.Fatal("nothing is pinned")
	}
	if got := c.filePins.others(c.frames, uint32(pin)); got != 0 {
		t.Errorf("%d pins of others", got)
	}
	c.frames.pins[pin].Add(1) // a View
	if got := c.filePins.others(c.frames, uint32(pin)); got != 1 {
		t.Errorf("%d pins of others, want 1", got)
	}
	c.frames.pins[pin].Add(^uint32(0))
	if err := c.Close(); err != nil || !racing && !allZeroes(b) { // the heap is not given back
		t.Errorf("Close returned %v, memory is given back: %v", err, allZeroes(b))
	}
	cutter{c}.Unpin([]dump.Pin{pin})
}

func allZeroes(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
