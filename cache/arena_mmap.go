//go:build unix && !race && !emberheap

package cache

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// racing is set where the race detector, or who builds with the tag emberheap,
// wants the memory in Go slices. Readers then pin what they copy, since the
// detector cannot follow the argument of get.go.
const racing = false

func newArena(size int, huge bool) (*arena, error) {
	n := size
	if huge && size >= 4*hugePage {
		n += hugePage // room to align
	}
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve)
	if err != nil {
		return nil, fmt.Errorf("cache: reserve %d bytes of memory: %w", n, err)
	}
	base := unsafe.Pointer(unsafe.SliceData(mem))
	if n != size {
		base = unsafe.Add(base, int(-uintptr(base)&(hugePage-1)))
		adviseHuge(unsafe.Slice((*byte)(base), size&^(hugePage-1)))
	}
	return &arena{base: base, size: size, mem: mem}, nil
}

// populate touches [off, off+n) so that who stores there first does not wait for
// the kernel to clear a page. Failing is harmless: the store then waits.
func (a *arena) populate(off, n int) { populate(a.bytes(off, n)) }

// giveBack gives [off, off+n) back to the kernel; whole pages read as zeroes then.
func (a *arena) giveBack(off, n int) { _ = unix.Madvise(a.bytes(off, n), unix.MADV_DONTNEED) }

// clear gives the memory back to the kernel; a reader that is still there sees
// zeroes.
func (a *arena) clear() { _ = unix.Madvise(a.mem, unix.MADV_DONTNEED) }

// release unmaps the range. Nobody may read it any more.
func (a *arena) release() {
	if a != nil {
		_ = unix.Munmap(a.mem)
	}
}
