package cache

import (
	"math/rand"
	"testing"
	"unsafe"
)

// TestMatchPairIsMatchEach over buckets of few tags, so that all kinds of masks
// occur, with every frequency and with upper halves that look like tags.
func TestMatchPairIsMatchEach(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	masks := map[uint32]bool{}
	for n := range 100_000 {
		var buckets [2 * bucketSlots]uint64
		tag := func() uint64 { return uint64(rng.Intn(3)+1) << (tagShift + rng.Intn(2)*(tagBits-2)) }
		for i := range buckets {
			buckets[i] = tag() | uint64(rng.Intn(4)) | tag()<<32
			if rng.Intn(4) == 0 {
				buckets[i] = rng.Uint64()
			}
		}
		p, q, want := unsafe.Pointer(&buckets[0]), unsafe.Pointer(&buckets[bucketSlots]), tag()
		got := matchPair(p, q, want)
		if each := matchEach(p, q, want); got != each {
			t.Fatalf("seed %d, pair %d: got %016b of %x for tag %x, want %016b", *seedFlag, n, got, buckets, want, each)
		}
		masks[got] = true
	}
	if len(masks) < 1000 {
		t.Errorf("got %d different masks, want over 1,000", len(masks))
	}
}

// TestLocateSplitsInOrder: with n buckets a key lies in bucket full modulo the
// next power of two if that is there, else modulo half of it.
func TestLocateSplitsInOrder(t *testing.T) {
	for n := uint32(1); n < 600; n++ {
		size := uint32(1)
		for size < n {
			size *= 2
		}
		if n&(n-1) == 0 {
			size = 2 * n
		}
		for full := range uint32(2048) {
			want := full % size
			if want >= n {
				want = full % (size / 2)
			}
			if got := locate(full, n); got != want {
				t.Fatalf("got bucket %d of %d with %d buckets, want %d", got, full, n, want)
			}
		}
	}
}
