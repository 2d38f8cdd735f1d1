package cache

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// The order of a read, without a lock:
//
//	slot · the segment's number · the slot again, unchanged · base · bounds ·
//	key · copy · number and base again, else start over
//
// The slot was seen unchanged after the number was read, so at that moment the
// word was live, and its record lay in the segment which had the ring's entry
// then (I13: a word never outlives its record). The number is the same after the
// copy and numbers never repeat, so the entry belonged to that segment all the
// while, its frame was its own, and what was copied is the record. Every other
// history fails one of the checks. Until they are passed the bytes may be
// anything: they are used for bounded comparisons and copies only.
//
// A frame is recycled by a writer that stores number 0, loads it once and only
// then writes; on arm64 the fence holds the reader's copy before its last check.
// Go's memory model does not cover a plain load that races with a plain store; it
// promises no more than that such a load sees some bytes, which is all that is
// asked. Under the race detector readers pin frames instead.

type outcome uint8

const (
	hit      outcome = iota
	miss             // this slot, or this key, is not it
	changed          // somebody wrote meanwhile: start over
	absent           // a page is not in memory yet: load it, then start over
	broken           // bytes that we did not write
	conflict         // a guard does not pass
	refused          // Close came first
)

// A ref is a record whose key matched, and what proves that it still stands.
type ref struct {
	tenure
	rec  []byte // from the record to the end of its segment
	head header
	w    word
	slot *uint64
	lazy bool // pages may be on file only
}

// A tenure is a segment's time under one number, in one frame.
type tenure struct {
	seg    *segment
	number uint64
	frame  uint32
}

// use counts a hit in the frequency bits, if that changes them: from the word
// that was read, so that a slot which somebody has changed since stays as it is.
func (r *ref) use() { use(r.slot, r.w) }

func use(slot *uint64, w word) {
	if f := w.freq(); f < int(freqMask) {
		atomic.CompareAndSwapUint64(slot, uint64(w), uint64(w.withFreq(f+1)))
	}
}

// guard passes while r is what is stored.
func (r *ref) guard() guard { return guard{kind: ifSame, word: r.w, number: r.number} }

// holds is the last check. Everything read from the frame before it is proved by it.
func (t *tenure) holds() bool {
	loadFence()
	return t.seg.number.Load() == t.number && t.seg.frame.Load() == t.frame
}

// find looks key up. A hit's ref has still to hold after what is read through it.
// Whether pages can be on file only is asked before the slots are read: once they
// cannot, no slot leads to a page that was lost, but one read earlier may.
func (s *shard) find(r *ref, key []byte, hash uint64) (o outcome) {
	tag := word(tagOf(hash)) << tagShift
	for {
		version := s.index.version.Load()
		a, b := s.index.candidates(hash, uint32(version))
		lazy := s.lazy.Load()
		if lazy != nil && !(lazy.hasBucket(a) && lazy.hasBucket(b)) {
			return absent
		}
		r.lazy = lazy != nil
		pair := [2]unsafe.Pointer{s.index.bucket(a), s.index.bucket(b)}
		o = miss
		for slots := matchPair(pair[0], pair[1], uint64(tag)); slots != 0 && o == miss; slots &= slots - 1 {
			i := bits.TrailingZeros32(slots)
			r.slot = (*uint64)(unsafe.Add(pair[i/bucketSlots], 8*(i%bucketSlots)))
			if w := word(atomic.LoadUint64(r.slot)); w&tagMask == tag {
				o = s.read(r, w, key)
			}
		}
		if o == changed || o == miss && s.index.version.Load() != version {
			continue
		}
		return o
	}
}

// read follows the word of r's slot to its record and compares the key.
func (s *shard) read(r *ref, w word, key []byte) outcome {
	seg := &s.segments[int(w.queue())<<s.ringBits|int(w.pos()>>s.unitBits)&s.ringMask]
	number := seg.number.Load()
	if (word(atomic.LoadUint64(r.slot))^w)&^freqMask != 0 {
		return changed
	}
	if number == 0 {
		return miss // emptied by Clear, its words not swept yet
	}
	off := int(w.pos()&uint32(s.unitMask)) * unitSize
	if r.lazy && !seg.has(off, headerSize) {
		return absent
	}
	r.w, r.seg, r.number, r.frame = w, seg, number, seg.frame.Load()
	if racing {
		return s.readPinned(r, off, key)
	}
	r.rec = s.frames.bytes(r.frame)[off:]
	fetchLines(unsafe.Pointer(unsafe.SliceData(r.rec)), int(s.lines.Load()))
	return s.compare(r, off, key)
}

// compare takes the header once and judges by it: the record's bounds, its
// pages, its key.
func (s *shard) compare(r *ref, off int, key []byte) outcome {
	r.head = readHeader(r.rec)
	same := false
	if r.head.keyLen() == len(key) {
		n := headerSize + len(key) + r.head.valueLen()
		if r.head.large() {
			n = headerSize + r.head.bodyLen(s.segmentSize)
		}
		if n <= len(r.rec) {
			if r.lazy && !r.seg.has(off, n) {
				if !r.holds() {
					return changed
				}
				return absent
			}
			same = bytes.Equal(r.rec[headerSize:headerSize+len(key)], key)
		}
	}
	switch {
	case !r.holds():
		return changed
	case !same:
		return miss
	}
	return hit
}

// has reports whether the pages of [off, off+n) are in the frame.
func (s *segment) has(off, n int) bool {
	bits := pageBits(off, n)
	return s.present.Load()&bits == bits
}

// readPinned copies the record while its frame is pinned, so that the race
// detector finds the order that it asks for.
func (s *shard) readPinned(r *ref, off int, key []byte) outcome {
	s.frames.pins[r.frame].Add(1)
	defer s.frames.pins[r.frame].Add(^uint32(0))
	if !r.holds() {
		return changed
	}
	b := s.frames.bytes(r.frame)[off:]
	h := readHeader(b)
	n := min(headerSize+h.bodyLen(s.segmentSize), len(b))
	if r.lazy && !r.seg.has(off, n) {
		return absent
	}
	r.rec = append(make([]byte, 0, len(b)), b[:n]...)[:len(b)]
	return s.compare(r, off, key)
}

// Get returns a copy of the value. It never waits for a lock, and for a disk
// only on the first touch of a page after Open.
func (c *Cache) Get(key []byte) (value []byte, ok bool) {
	return c.AppendGet(nil, key)
}

// AppendGet appends the value to dst. It does not allocate if dst has room. On a
// miss it returns dst.
func (c *Cache) AppendGet(dst, key []byte) (value []byte, ok bool) {
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	if value, o := s.quick(dst, key, hash); o <= miss {
		return value, o == hit
	}
	return s.get(dst, key, hash, &c.terms)
}

// get is AppendGet of whatever there is; see quick.
func (s *shard) get(dst, key []byte, hash uint64, t *terms) (value []byte, ok bool) {
	for {
		var r ref
		o := s.find(&r, key, hash)
		if o == hit {
			now := s.cache.now()
			if r.head.gone(now) {
				s.stats.passOver(r.head)
				o = miss
			} else if value, o = s.copyValue(dst, &r); o == hit {
				r.use() // before the last use of s: it keeps the memory
				if r.head.slides() {
					t.slide(s, &r, now)
				}
				s.stats.hits.Add(1)
				return value, true
			} else if o == miss {
				s.lose(&r)
			}
		}
		switch o {
		case absent:
			s.loadFor(key, hash)
		case miss:
			s.stats.misses.Add(1)
			return dst, false
		}
	}
}

// lose forgets an entry whose value cannot be had, unless somebody has changed it.
func (s *shard) lose(r *ref) {
	s.lock()
	defer s.unlock()
	if (word(atomic.LoadUint64(r.slot))^r.w)&^freqMask == 0 {
		s.loseEntryLocked(s.index.slotNumber(r.slot), r.w, r.head)
	}
}

// loseEntryLocked drops an entry of whose own segments one is gone.
func (s *shard) loseEntryLocked(slot uint32, w word, h header) {
	s.logDyingLocked(w, h)
	s.putLocked(slot, 0)
	s.buryLocked(w, h) // what is left of them
	s.stats.corrupt.Add(1)
	s.stats.dropped.Add(1)
}

// copyValue appends the value of r to dst. The header was proved when the key
// matched, so its length may be allocated, unless there is not that much memory for
// all values: then it is a file's lie, and the entry is lost.
func (s *shard) copyValue(dst []byte, r *ref) ([]byte, outcome) {
	n := r.head.valueLen()
	if cap(dst)-len(dst) < n {
		if n > s.frames.count*s.segmentSize {
			return dst, miss
		}
		dst = append(make([]byte, 0, len(dst)+n), dst...)
	}
	out := dst[len(dst) : len(dst)+n]
	body := r.rec[headerSize+r.head.keyLen():]
	if r.head.large() {
		if o := s.copyLarge(out, body, r); o != hit {
			return dst, o
		}
	} else {
		copy(out, body)
	}
	if !r.holds() {
		return dst, changed
	}
	return dst[:len(dst)+n], hit
}

// copyLarge copies a large value out of its segments and rechecks every number.
// The record's slot is cleared before its segments are retired: a number that is
// gone under a slot that stands was lost with a damaged file.
func (s *shard) copyLarge(out, list []byte, r *ref) outcome {
	own, _ := r.head.layout(s.segmentSize)
	for ; own > 0; own-- {
		number := binary.LittleEndian.Uint64(list)
		n := min(len(out), s.segmentSize)
		seg := s.large.at(number)
		if r.lazy && seg.number.Load() == number && !seg.has(0, n) {
			return absent
		}
		if !s.copySegment(seg, number, 0, out[:n]) {
			if r.holds() && (word(atomic.LoadUint64(r.slot))^r.w)&^freqMask == 0 {
				return miss
			}
			return changed
		}
		out, list = out[n:], list[8:]
	}
	copy(out, list)
	return hit
}

// copySegment copies bytes of a segment if it has this number before and after.
func (s *shard) copySegment(seg *segment, number uint64, off int, dst []byte) bool {
	r := tenure{seg: seg, number: number, frame: seg.frame.Load()}
	if racing {
		s.frames.pins[r.frame].Add(1)
		defer s.frames.pins[r.frame].Add(^uint32(0))
		if !r.holds() {
			return false
		}
	}
	copy(dst, s.frames.bytes(r.frame)[off:])
	return r.holds()
}
