package main

import (
	"encoding/binary"
	"math/bits"
)

// floor is no cache but what none can go under that is told a key: one load from
// a table of 8 bytes an entry, then one of what it points at, and the copy. It
// knows the keys of this program (entry i has the number i), so it hashes and
// compares nothing, and it evicts nothing.
type floor struct {
	slots, data []byte // in huge pages where the kernel has them
	mask        uint64
	value       int
}

func newFloor(s sizing) (peer, error) {
	n := 1 << bits.Len(uint(s.entries-1))
	f := &floor{mask: uint64(n - 1), value: s.value}
	var err error
	if f.slots, err = hugeMemory(8 * n); err != nil {
		return nil, err
	}
	f.data, err = hugeMemory(n * s.value)
	return f, err
}

// slot is where an entry has its 8 bytes, place where it has its value: entries
// that follow one another lie apart, as with a hash.
func (f *floor) slot(key []byte) []byte {
	return f.slots[binary.LittleEndian.Uint64(key)*0x9e3779b97f4a7c15&f.mask*8:][:8]
}

func (f *floor) place(key []byte) uint64 {
	return binary.LittleEndian.Uint64(key) * 0xbf58476d1ce4e5b9 & f.mask
}

func (f *floor) get(dst, key []byte) ([]byte, bool) {
	at := int(binary.LittleEndian.Uint64(f.slot(key))) * f.value
	return append(dst, f.data[at:at+f.value]...), true
}

func (f *floor) set(key, value []byte) bool {
	at := f.place(key)
	binary.LittleEndian.PutUint64(f.slot(key), at)
	copy(f.data[int(at)*f.value:], value)
	return true
}

func (f *floor) close() error { return nil }
