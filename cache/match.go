package cache

import (
	"math/bits"
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

// loneMatch finds the only slot in both buckets of a hash that has its tag: miss if
// there is none, absent if there are more.
func (x *index) loneMatch(hash uint64) (slot uint32, w word, o outcome) {
	a, b := x.candidates(hash, x.buckets())
	slots := x.match(a, b, tagOf(hash))
	if slots == 0 {
		return 0, 0, miss
	}
	if slots&(slots-1) != 0 {
		return 0, 0, absent
	}
	slot = slotOf(a, b, bits.TrailingZeros32(slots))
	return slot, x.load(slot), hit
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
