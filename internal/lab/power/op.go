package power

import (
	"encoding/binary"
	"fmt"
	"time"
)

const (
	plainKeys = 40 // of each writer
	largeKeys = 4  // the last ones, with values of several segments
	keys      = plainKeys + largeKeys

	shortTTL = 400 * time.Millisecond
)

type opKind uint8

const (
	opSet opKind = iota
	opLong
	opShort // is over before long
	opMemoryOnly
	opDelete
	opBatch // sets two keys, deletes a third
)

// A write is what a writer does, which follows from the run's seed, the writer and
// the write's number.
type write struct {
	kind opKind
	keys [3]int // opBatch; else the first
	size int
}

// mix is splitmix64's finaliser.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func writeOf(seed int64, writer int, number uint64) (o write) {
	z := uint64(seed) ^ mix(number<<8|uint64(writer))
	intn := func(n uint64) int { z = mix(z + 0x9e3779b97f4a7c15); return int(z % n) }
	first := intn(plainKeys)
	o.keys, o.size = [3]int{first, (first + 1) % plainKeys, (first + 2) % plainKeys}, 16+intn(900)
	switch n := intn(100); {
	case n < 55:
		if o.kind = opSet; n < 15 {
			o.size = 16 + intn(9000)
		}
	case n < 60:
		o.kind = opLong
	case n < 65:
		o.kind = opShort
	case n < 70:
		o.kind = opMemoryOnly
	case n < 84:
		o.kind = opDelete
	case n < 94:
		o.kind = opBatch
	default:
		o.keys[0] = plainKeys + intn(largeKeys)
		if o.size = 8<<10 + intn(80<<10); n == 99 {
			o.kind = opDelete
		}
	}
	return o
}

// sets reports whether a write stores a value under a key that may be on a disk.
func (o write) sets(key int) bool {
	switch o.kind {
	case opSet, opLong, opShort:
		return key == o.keys[0]
	case opBatch:
		return key == o.keys[0] || key == o.keys[1]
	}
	return false
}

func keyOf(writer, key int) []byte { return fmt.Appendf(nil, "writer-%d-key-%02d", writer, key) }

// valueOf is what a write stores under a key: no other has these bytes.
func valueOf(writer, key int, number uint64, size int) []byte {
	v := make([]byte, 0, size+24)
	v = binary.LittleEndian.AppendUint64(v, number)
	v = binary.LittleEndian.AppendUint64(v, uint64(writer)<<32|uint64(key))
	for z := mix(number ^ uint64(key)<<40); len(v) < size; z = mix(z + 0x9e3779b97f4a7c15) {
		v = binary.LittleEndian.AppendUint64(v, z)
	}
	return v[:size]
}

// numberOf tells which write stored a value, and whether it stored just that.
func numberOf(seed int64, writer, key int, v []byte) (number uint64, ok bool) {
	if len(v) < 16 {
		return 0, false
	}
	number = binary.LittleEndian.Uint64(v)
	o := writeOf(seed, writer, number)
	return number, number != 0 && o.sets(key) && string(v) == string(valueOf(writer, key, number, o.size))
}
