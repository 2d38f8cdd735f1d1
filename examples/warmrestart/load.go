package main

import "encoding/binary"

// minSize is the least size of a key, which begins with the entry's number in
// disguise, and of a value, which begins with the number of its write.
const minSize = 8

// mix is the finaliser of SplitMix64, a bijection.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

// appendStream appends n bytes that follow from seed.
func appendStream(dst []byte, seed uint64, n int) []byte {
	for ; n >= 8; n -= 8 {
		seed += golden
		dst = binary.LittleEndian.AppendUint64(dst, mix(seed))
	}
	for ; n > 0; n-- {
		seed += golden
		dst = append(dst, byte(mix(seed)))
	}
	return dst
}

// appendKey appends the key of entry i.
func (l *load) appendKey(dst []byte, i int) []byte {
	id := mix(uint64(i) ^ l.Seed)
	return appendStream(binary.LittleEndian.AppendUint64(dst, id), id, l.KeySize-8)
}

// appendValue appends the value that write w gives to entry i. The fill is
// write 0.
func (l *load) appendValue(dst []byte, i int, w uint64) []byte {
	seed := mix(uint64(i)^l.Seed) ^ mix(w+golden)
	return appendStream(binary.LittleEndian.AppendUint64(dst, w), seed, l.ValueSize-8)
}

// writeOf returns the number of the write that made value.
func writeOf(value []byte) uint64 { return binary.LittleEndian.Uint64(value) }

// target returns the entry that write w changes.
func (l *load) target(w uint64) int {
	return int(mix(w^mix(l.Seed)) % uint64(l.Entries))
}

// expected returns for each entry the last of the writes that changed it.
func (l *load) expected(writes []span) []uint64 {
	last := make([]uint64, l.Entries)
	for _, s := range writes {
		for w := s.First; w <= s.Last; w++ {
			last[l.target(w)] = w
		}
	}
	return last
}
