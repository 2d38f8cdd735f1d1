package power

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/embercache/ember/internal/draw"
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

func writeOf(seed int64, writer int, number uint64) (o write) {
	intn := draw.Of(seed, writer, number).Intn
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

// numberOf tells which write stored a value, and whether it stored just that.
func numberOf(seed int64, writer, key int, v []byte) (number uint64, ok bool) {
	if len(v) < 16 {
		return 0, false
	}
	number = binary.LittleEndian.Uint64(v)
	o := writeOf(seed, writer, number)
	return number, number != 0 && o.sets(key) && string(v) == string(draw.Value(writer, key, number, o.size))
}
