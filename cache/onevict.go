package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime/debug"
	"sync/atomic"
)

// A Cause says why an entry left the cache.
type Cause uint8

const (
	CauseReplaced Cause = iota // another value was stored under its key
	CauseDeleted               // Delete, Batch or Clear
	CauseExpired               // its time was over when it was met by one of the others
	CauseEvicted               // its room was needed
	CauseCorrupt               // whole itself, it went with a segment that is damaged
)

var causeNames = [...]string{CauseReplaced: "replaced", CauseDeleted: "deleted", CauseExpired: "expired",
	CauseEvicted: "evicted", CauseCorrupt: "corrupt"}

// String is the cause's name in lower case.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// Bounds of what waits for OnEvict.
const (
	mostLeavers     = 16 << 10 // entries
	mostLeaverBytes = 16 << 20 // of keys and of values that lie in one record
	// mostPinned is how many frames of large values wait, and an eighth of all at
	// most. Who takes a frame looks through those that are pinned.
	mostPinned = 1024
)

// A leaver is an entry that has left, on its way to OnEvict. What it has of a
// record was copied under the shard's lock; the segments of a large value are
// pinned as by a View, and are copied when it is delivered.
type leaver struct {
	data   []byte   // key, then the end of the value
	frames []uint32 // pinned: the value's own segments
	keyLen int
	length int // of the value
	why    Cause
}

// leavers is what a cache with Options.OnEvict has.
type leavers struct {
	*courier[leaver]
	cache  *Cache
	call   func(key, value []byte, why Cause)
	pinned atomic.Int64 // frames
	most   int64        // of them
	logged atomic.Bool  // that a call panicked
}

func newLeavers(c *Cache) *leavers {
	l := &leavers{cache: c, call: c.opts.OnEvict, most: int64(min(c.frames.count/8, mostPinned))}
	l.courier = newCourier(mostLeavers, mostLeaverBytes, l.deliver, l.unpin, l.panicked)
	return l
}

func (l *leavers) deliver(e leaver) {
	key, rest := e.data[:e.keyLen:e.keyLen], e.data[e.keyLen:]
	value := rest
	if len(e.frames) > 0 {
		value = make([]byte, 0, e.length)
		for _, frame := range e.frames {
			value = append(value, l.cache.frames.bytes(frame)[:min(e.length-len(value), l.cache.segmentSize)]...)
		}
		value = append(value, rest...)
		l.unpin(e)
	}
	l.call(key, value, e.why)
}

// unpin lets go of a large value's frames.
func (l *leavers) unpin(e leaver) {
	for _, frame := range e.frames {
		l.cache.frames.pins[frame].Add(^uint32(0))
	}
	l.pinned.Add(-int64(len(e.frames)))
}

func (l *leavers) panicked(v any) {
	if !l.logged.Swap(true) {
		l.cache.notices.logPanic("OnEvict", v, debug.Stack())
	}
}

// leaveLocked notes that the entry at pos leaves; kept absence is none. Its slot is
// the caller's to clear or to overwrite, in the same critical section; its segments
// stand still. There is an OnEvict.
func (s *shard) leaveLocked(q uint8, pos uint64, h header, why Cause) {
	l := s.cache.leavers
	if h.hidden() {
		return
	}
	if h.expired(s.cache.clock.last()) {
		why = CauseExpired
	}
	rec := s.recordAt(q, pos)
	key := headerSize + h.keyLen()
	if end := headerSize + h.bodyLen(s.segmentSize); end <= len(rec) {
		l.noteLocked(s, h, rec[headerSize:key], rec[key:end], why)
	} else {
		l.dropped.Add(1)
	}
}

// noteLocked queues a copy of an entry: body is what its record has of the value.
func (l *leavers) noteLocked(s *shard, h header, key, body []byte, why Cause) {
	own, rest := h.layout(s.segmentSize)
	size := len(key) + rest
	if !l.reserve(size) {
		return
	}
	e := leaver{keyLen: len(key), length: h.valueLen(), why: why}
	if own > 0 && !l.pinLocked(s, &e, body[:8*own]) {
		l.cancel(size)
		return
	}
	e.data = append(append(make([]byte, 0, size), key...), body[8*own:]...)
	l.add(e, size)
}

// refuse tells of a value that was never stored, for want of room. Nothing of it
// lies in a segment; one that is longer than what may wait is dropped.
func (l *leavers) refuse(key, value []byte) {
	if size := len(key) + len(value); l.reserve(size) {
		data := append(append(make([]byte, 0, size), key...), value...)
		l.add(leaver{data: data, keyLen: len(key), length: len(value), why: CauseEvicted}, size)
	}
}

// unseenLocked counts an entry that leaves before its page was read.
func (s *shard) unseenLocked() {
	if l := s.cache.leavers; l != nil {
		l.dropped.Add(1)
	}
}

// valueAbsentLocked says that a large value has a page on file only. OnEvict is to
// have it.
func (s *shard) valueAbsentLocked(w word, h header) bool {
	if !h.large() || s.lazy.Load() == nil {
		return false
	}
	_, missing := s.wantLocked(w)
	return missing
}

// tellLeavers wakes who calls OnEvict, if somebody left. The caller holds no lock.
func (c *Cache) tellLeavers() {
	if c.leavers != nil {
		c.leavers.rouse()
	}
}

// pinLocked pins the segments of a list; false if that would be too much, or if
// one of them is lost or still on file only. The segments have their numbers:
// who takes those away looks at the pins afterwards. // I13
func (l *leavers) pinLocked(s *shard, e *leaver, list []byte) bool {
	n := int64(len(list) / 8)
	if s.frames.free.Load() <= int64(s.cache.reserve) {
		return false // those are the cleaner's
	}
	left := e.length
	for i := 0; i < len(list); i += 8 {
		number := binary.LittleEndian.Uint64(list[i:])
		seg := s.large.at(number)
		if seg.number.Load() != number || !seg.has(0, min(left, s.segmentSize)) {
			return false
		}
		left -= s.segmentSize
	}
	if l.pinned.Add(n) > l.most {
		l.pinned.Add(-n)
		return false
	}
	for ; len(list) >= 8; list = list[8:] {
		frame := s.large.at(binary.LittleEndian.Uint64(list)).frame.Load()
		s.frames.pins[frame].Add(1)
		e.frames = append(e.frames, frame)
	}
	return true
}

// awaitLeavers has OnEvict called for everybody who left. If ctx ends first, or if
// it is OnEvict that closes the cache, the rest is dropped.
func (c *Cache) awaitLeavers(ctx context.Context) error {
	if c.leavers == nil {
		return nil
	}
	left, err := c.leavers.close(ctx)
	if left {
		c.leavers.discard()
	}
	if err != nil {
		return fmt.Errorf("cache: close: OnEvict is still running: %w", err)
	}
	return nil
}
