//go:build !unix || race || emberheap

package cache

import (
	"unsafe"
)

const racing = true

func newArena(size int, _ bool) (*arena, error) {
	mem := make([]byte, size+64)
	base := unsafe.Pointer(unsafe.SliceData(mem))
	base = unsafe.Add(base, int(-uintptr(base)&63))
	return &arena{base: base, size: size, mem: mem}, nil
}

func (a *arena) populate(int, int) {}

func (a *arena) giveBack(int, int) {}

// clear keeps the memory: the collector takes it once the Cache is unreachable.
func (a *arena) clear() {}

func (a *arena) release() {}
