package pagefile

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// le64 and its like read a number at an offset that the caller has checked.
func le64(b []byte, off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
func le32(b []byte, off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
func le16(b []byte, off int) uint16 { return binary.LittleEndian.Uint16(b[off:]) }

func append16(b []byte, words ...uint16) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint16(b, w)
	}
	return b
}

func append32(b []byte, words ...uint32) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

func appendWords(b []byte, words ...uint64) []byte {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// zeroes is longer than any gap in a structure.
var zeroes [PageSize]byte

func appendZeroes(b []byte, n int) []byte { return append(b, zeroes[:n]...) }

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeroes))
		if string(b[:n]) != string(zeroes[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// roundUp returns the next multiple of to, a power of two.
func roundUp[T int | int64 | uint64](n, to T) T { return (n + to - 1) &^ (to - 1) }

// checksum is xxHash64, never 0: a checksum of 0 says that there is none.
func checksum(b []byte) uint64 { return nonZero(xxhash.Sum64(b)) }

func nonZero(sum uint64) uint64 {
	if sum == 0 {
		return 1
	}
	return sum
}

// corrupt is the error for bytes that fail verification.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
}
