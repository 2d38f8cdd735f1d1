package cache

import (
	"encoding/binary"
	"math/bits"
)

// A hasher maps keys to 64 bits. It folds 128-bit products, after wyhash (Wang
// Yi, 2019), with both factors masked by secrets, so that who does not know the
// directory's seed can neither aim keys at a bucket nor make a factor zero.
//
// The 64 bits are spent as: 30 tag | 26 bucket | 8 shard. Tags lie in files, so
// a change of this function is a change of the format.
type hasher struct {
	a, b, c uint64
	// degenerate, for tests only, replaces the hash: nothing about correctness
	// may rest on a good one.
	degenerate func(key []byte) uint64
}

func newHasher(seed uint64) hasher {
	next := func() uint64 { // splitmix64 (Steele, Lea, Flood, 2014)
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	return hasher{a: next(), b: next(), c: next()}
}

func fold(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

func (h *hasher) sum(key []byte) uint64 {
	if h.degenerate != nil {
		return h.degenerate(key)
	}
	n := len(key)
	state := h.c
	var x, y uint64
	switch {
	case n > 16:
		for p := key; len(p) > 16; p = p[16:] {
			state = fold(binary.LittleEndian.Uint64(p)^h.a, binary.LittleEndian.Uint64(p[8:])^state)
		}
		x = binary.LittleEndian.Uint64(key[n-16:])
		y = binary.LittleEndian.Uint64(key[n-8:])
	case n >= 8:
		x = binary.LittleEndian.Uint64(key)
		y = binary.LittleEndian.Uint64(key[n-8:])
	case n >= 4:
		x = uint64(binary.LittleEndian.Uint32(key))
		y = uint64(binary.LittleEndian.Uint32(key[n-4:]))
	case n > 0:
		x = uint64(key[0])<<16 | uint64(key[n/2])<<8 | uint64(key[n-1])
	}
	return fold(h.b^uint64(n), fold(x^h.a, y^state))
}

func tagOf(hash uint64) uint32 {
	t := uint32(hash) & (1<<tagBits - 1)
	if t == 0 {
		t = 1 // 0 is the empty slot's
	}
	return t
}

func shardOf(hash uint64) uint32 { return uint32(hash >> 56) }
