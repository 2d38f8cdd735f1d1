//go:build linux && !race && !emberheap

package cache

import "golang.org/x/sys/unix"

const mapNoReserve = unix.MAP_NORESERVE

// adviseHuge asks for 2 MiB pages; a kernel that has none keeps small ones.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

func populate(b []byte) { _ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) }
