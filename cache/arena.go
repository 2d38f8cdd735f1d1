package cache

import "unsafe"

// An arena is one range of zeroed memory that Go's collector neither scans nor
// counts. Its pages cost nothing until they are touched.
type arena struct {
	base unsafe.Pointer // aligned to 2 MiB where the size makes that worthwhile
	size int
	mem  []byte // what was allocated, for release
}

const (
	hugePage  = 2 << 20
	hugePages = true // for newArena: the range is filled densely
)

func (a *arena) bytes(off, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(a.base, off)), n)
}

var _ [segmentBytes]byte = [unsafe.Sizeof(segment{})]byte{} // tables are cut by it

// table is n segments at off. A segment holds no pointers.
func (a *arena) table(off, n int) []segment {
	return unsafe.Slice((*segment)(unsafe.Add(a.base, off)), n)
}

// word addresses the 8 bytes at off, which is a multiple of 8.
func (a *arena) word(off int) *uint64 {
	return (*uint64)(unsafe.Add(a.base, off))
}
