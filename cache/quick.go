package cache

import (
	"bytes"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// quick is get for what is common: every page is in memory, the first slot that has
// the tag has the key, the value lies in its record and has no options but an expiry.
// It reads in the order that get.go argues for, with one last check for header, key and
// value together: until then they are used for bounded comparisons and a bounded copy
// only. Whatever else it meets it leaves to get, as changed.
//
// A processor has some 500 instructions under way, half of that where two threads
// share it. What a Get does between its two cache misses and those of the next Get
// is to fit into that: then they overlap. So all is in one piece here.
func (s *shard) quick(dst, key []byte, hash uint64) ([]byte, outcome) {
	x := &s.index
	version := x.version.Load()
	a, b := x.candidates(hash, uint32(version))
	if racing || s.lazy.Load() != nil {
		return nil, changed
	}
	tag := word(tagOf(hash)) << tagShift
	slots := matchPair(x.bucket(a), x.bucket(b), uint64(tag))
	if slots == 0 {
		if x.version.Load() != version {
			return nil, changed
		}
		s.stats.misses.Add(1)
		return dst, miss
	}
	at := uint32(bits.TrailingZeros32(slots))
	slot := x.slot((a^(a^b)&-(at/bucketSlots))*bucketSlots | at%bucketSlots) // without a branch
	w := word(atomic.LoadUint64(slot))
	seg := &s.segments[int(w.queue())<<(s.ringBits&63)|int(w.pos())>>(s.unitBits&63)&s.ringMask]
	t := tenure{seg: seg, number: seg.number.Load()}
	if (word(atomic.LoadUint64(slot))^w)&^freqMask != 0 || t.number == 0 || w&tagMask != tag {
		return nil, changed
	}
	t.frame = seg.frame.Load()
	off := int(w.pos()&uint32(s.unitMask)) * unitSize
	rec := unsafe.Add(s.frames.arena.base, int(t.frame)*s.segmentSize+off)
	head := readHeader((*[headerSize]byte)(rec)[:])
	n, from := head.valueLen(), headerSize+len(key)
	if head.keyLen() != len(key) || head.flags() != 0 || from+n > s.segmentSize-off || !sameKey(unsafe.Add(rec, headerSize), key) {
		return nil, changed
	}
	if e := head.expiry(); e != 0 && e <= s.cache.now() {
		return nil, changed
	}
	if cap(dst)-len(dst) < n {
		if !t.holds() {
			return nil, changed // before its length is allocated
		}
		dst = append(make([]byte, 0, len(dst)+n), dst...)
	}
	if n != 0 { // else dst may end where its memory does
		copyFront(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), len(dst)), unsafe.Add(rec, from), n)
	}
	if !t.holds() {
		return nil, changed
	}
	use(slot, w)
	s.stats.hits.Add(1) // the last use of s, which keeps the memory
	return dst[:len(dst)+n], hit
}

func load8(p unsafe.Pointer, off int) uint64 { return *(*uint64)(unsafe.Add(p, off)) }

// sameKey reports whether key stands at p. Keys of 16 to 32 bytes are compared by
// their ends, without a call.
func sameKey(p unsafe.Pointer, key []byte) bool {
	n, q := len(key), unsafe.Pointer(unsafe.SliceData(key))
	if uint(n-16) > 16 {
		return bytes.Equal(unsafe.Slice((*byte)(p), n), key)
	}
	d := load8(p, 0) ^ load8(q, 0)
	d |= load8(p, 8) ^ load8(q, 8)
	d |= load8(p, n-16) ^ load8(q, n-16)
	d |= load8(p, n-8) ^ load8(q, n-8)
	return d == 0
}

// copyFront copies n bytes between memory that does not overlap. Up to frontBytes it
// does so from the front on, not from both ends as copy does: where it stores does not
// follow from n then, for which the processor may still wait. Loads that come after a
// store to where it does not know yet are often done twice.
func copyFront(d, s unsafe.Pointer, n int) {
	if n < 16 || n > frontBytes {
		copy(unsafe.Slice((*byte)(d), n), unsafe.Slice((*byte)(s), n))
		return
	}
	for ; n > 64; n -= 64 { // something is left: d and s stay within what they point into
		*(*[16]byte)(d) = *(*[16]byte)(s)
		*(*[16]byte)(unsafe.Add(d, 16)) = *(*[16]byte)(unsafe.Add(s, 16))
		*(*[16]byte)(unsafe.Add(d, 32)) = *(*[16]byte)(unsafe.Add(s, 32))
		*(*[16]byte)(unsafe.Add(d, 48)) = *(*[16]byte)(unsafe.Add(s, 48))
		d, s = unsafe.Add(d, 64), unsafe.Add(s, 64)
	}
	if n > 32 {
		*(*[16]byte)(d) = *(*[16]byte)(s)
		*(*[16]byte)(unsafe.Add(d, 16)) = *(*[16]byte)(unsafe.Add(s, 16))
		d, s, n = unsafe.Add(d, 32), unsafe.Add(s, 32), n-32
	}
	if n > 16 {
		*(*[16]byte)(d) = *(*[16]byte)(s)
		d, s, n = unsafe.Add(d, 16), unsafe.Add(s, 16), n-16
	}
	if n == 16 { // without n in where
		*(*[16]byte)(d) = *(*[16]byte)(s)
		return
	}
	*(*[16]byte)(unsafe.Add(d, n-16)) = *(*[16]byte)(unsafe.Add(s, n-16)) // the bytes before are the value's as well
}

const frontBytes = 1024
