// Package draw is what two processes draw alike without telling each other: what a
// writer does and stores follows from the run's seed, the writer and the number of
// what it does. It is for tests that look at what is left of a writer.
package draw

import "encoding/binary"

// A Source draws numbers.
type Source struct{ z uint64 }

// Of is the source of what a writer does at a number.
func Of(seed int64, writer int, number uint64) *Source {
	return &Source{uint64(seed) ^ Mix(number<<8|uint64(writer))}
}

// Intn draws from 0 to n-1.
func (s *Source) Intn(n int) int {
	s.z = Mix(s.z + golden)
	return int(s.z % uint64(n))
}

const golden = 0x9e3779b97f4a7c15

// Mix is splitmix64's finaliser.
func Mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// ValueHead is how many bytes begin each value: number, key and writer.
const ValueHead = 16

// Value is what a writer stores under a key: size bytes, ValueHead at least. Nothing
// else has them.
func Value(writer, key int, number uint64, size int) []byte {
	v := make([]byte, 0, size+ValueHead+8)
	v = binary.LittleEndian.AppendUint64(v, number)
	v = binary.LittleEndian.AppendUint64(v, uint64(writer)<<32|uint64(key))
	for z := Mix(number ^ uint64(key)<<40); len(v) < size; z = Mix(z + golden) {
		v = binary.LittleEndian.AppendUint64(v, z)
	}
	return v[:max(size, ValueHead)]
}
