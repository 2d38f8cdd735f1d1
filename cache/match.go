package cache

import (
	"sync/atomic"
	"unsafe"
)

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
