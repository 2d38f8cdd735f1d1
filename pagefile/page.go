package pagefile

import (
	"encoding/binary"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// PageSum is the checksum of a page of a segment, never 0: 0 says that a page
// has none and cannot be proved. It covers the bytes and the pair (number,
// page), so that a page of another segment, or another use of the same place,
// does not verify (I10). page counts from 0 within the segment.
//
//	 0  xxHash64 of the 4096 bytes  u64
//	 8  segment number              u64
//	16  page                        u64
//	24  PageSum is the xxHash64 of these 24 bytes, 1 for 0
func PageSum(number uint64, page int, b []byte) uint64 {
	var pair [24]byte
	binary.LittleEndian.PutUint64(pair[0:], xxhash.Sum64(b))
	binary.LittleEndian.PutUint64(pair[8:], number)
	binary.LittleEndian.PutUint64(pair[16:], uint64(page))
	return checksum(pair[:])
}

// AlignedPages is memory for n pages at an address that is a multiple of
// PageSize, as reads past the page cache ask for.
func AlignedPages(n int) []byte {
	b := make([]byte, (n+1)*PageSize)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (PageSize - 1))
	return b[skip : skip+n*PageSize : skip+n*PageSize]
}
