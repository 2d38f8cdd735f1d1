package cache

import (
	"sync/atomic"
	"unsafe"
)

// match is matchPair of two buckets, without the words.
func (x *index) match(a, b, tag uint32) (slots uint32) {
	return matchPair(x.bucket(a), x.bucket(b), uint64(tag)<<tagShift)
}

// slotOf is the slot of bit i of what match returns.
func slotOf(a, b uint32, i int) uint32 {
	if i >= bucketSlots {
		return b*bucketSlots + uint32(i-bucketSlots)
	}
	return a*bucketSlots + uint32(i)
}

// fetch asks for the buckets of a hash; see fetchLines.
func (x *index) fetch(hash uint64) {
	a, b := x.candidates(hash, x.buckets())
	fetchLines(x.bucket(a), 1)
	fetchLines(x.bucket(b), 1)
}

// matchEach returns a bit for each slot of the buckets at p (bits 0 to 7) and q
// (bits 8 to 15) that had this tag, which is shifted as in a word. It tells where
// to look: who reads a slot that matched loads it again.
func matchEach(p, q unsafe.Pointer, tag uint64) (slots uint32) {
	for i := range uintptr(bucketSlots) {
		if atomic.LoadUint64((*uint64)(unsafe.Add(p, 8*i)))&uint64(tagMask) == tag {
			slots |= 1 << i
		}
		if atomic.LoadUint64((*uint64)(unsafe.Add(q, 8*i)))&uint64(tagMask) == tag {
			slots |= 1 << (bucketSlots + i)
		}
	}
	return slots
}
