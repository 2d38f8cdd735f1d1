package main

import (
	"encoding/binary"
	"math/rand/v2"
)

const (
	keySize = 24
	skew    = 1.01 // of dist=zipf, as in rand.NewZipf
	seed    = 1

	leastDraws = 1 << 20
)

// A shape is the data of a variant: so many entries with values of one size.
type shape struct {
	value   int // bytes
	entries int // a power of two
}

// shapes have about 290 MiB each, so that no processor's cache holds them.
var shapes = []shape{{64, 1 << 22}, {256, 1 << 20}, {4096, 1 << 16}}

// scaled is the shape that o wants measured.
func (s shape) scaled(o *options) shape {
	if o.Quick {
		s.entries = max(s.entries>>8, 1<<8)
	}
	return s
}

// bytes is the data's size.
func (s shape) bytes() int64 { return int64(s.entries) * int64(keySize+s.value) }

// putKey writes the key of entry i: its number and what only depends on it, so
// that no table of all keys has to be in memory.
func putKey(key []byte, i uint64) {
	binary.LittleEndian.PutUint64(key, i)
	binary.LittleEndian.PutUint64(key[8:], mixed(i+seed<<32))
	binary.LittleEndian.PutUint64(key[16:], mixed(i+seed<<33))
}

// mixed is the finalizer of splitmix64.
func mixed(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// putValue marks a value as that of key: the first eight bytes are the key's, the
// last is the length of both, modulo 256.
func putValue(value, key []byte) {
	copy(value, key[:8])
	value[len(value)-1] = byte(len(value) + len(key))
}

// owns reports whether value is key's, with all its bytes.
func owns(key, value []byte, size int) bool {
	return len(value) == size && binary.LittleEndian.Uint64(value) == binary.LittleEndian.Uint64(key) &&
		value[size-1] == byte(size+len(key))
}

// draws are keys in the order of their use, a power of two of them, one after the
// other: neither a generator of random numbers nor a cache miss on the key is
// measured with the cache.
type draws []byte

// newDraws draws keys of n entries, uniformly or by Zipf's law. The entries used
// most lie scattered among the rest.
func newDraws(n int, zipf bool) draws {
	d := make(draws, max(n, min(4*n, leastDraws))*keySize)
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	z := rand.NewZipf(r, skew, 1, uint64(n-1))
	for at := 0; at < len(d); at += keySize {
		i := r.Uint64()
		if zipf {
			i = z.Uint64() * 0x9e3779b97f4a7c15 // odd: scatters, and leaves none out
		}
		putKey(d[at:], i&uint64(n-1))
	}
	return d
}

// len is a power of two.
func (d draws) len() int { return len(d) / keySize }

// key returns draw i, counted round.
func (d draws) key(i int) []byte {
	return d[(i&(d.len()-1))*keySize:][:keySize:keySize]
}
