package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugeMemory is zeroed memory outside Go's heap, in huge pages if there are any,
// for the life of the process.
func hugeMemory(n int) ([]byte, error) {
	const huge = 2 << 20
	b, err := unix.Mmap(-1, 0, n+huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes: %w", n, err)
	}
	b = b[-uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(huge-1):][:n]
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // small ones serve as well
	return b, nil
}
