package fuzzing

import (
	"encoding/binary"
	"math/rand/v2"
)

// A mutator makes inputs out of those of a corpus: a few changes each, of bits,
// numbers, lengths and order.
type mutator struct {
	rng    *rand.Rand
	corpus []Input
	modes  byte
	most   int
}

// telling are numbers at which decoders go wrong.
var telling = []uint64{
	0, 1, 2, 3, 7, 8, 12, 16, 24, 63, 64, 65, 96, 255, 256, 4095, 4096, 1<<14 - 1, 1 << 14, 1<<15 - 1, 1 << 15, 1<<16 - 1,
	1 << 18, 1<<18 + 1, 1 << 24, 1<<30 - 1, 1 << 30, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1 << 40, 1<<62 - 1, 1 << 62,
	1<<63 - 1, 1 << 63, 1<<64 - 64, 1<<64 - 1,
}

// next appends an input to b.
func (m *mutator) next(b []byte) ([]byte, byte) {
	if len(m.corpus) == 0 {
		m.corpus = []Input{{}}
	}
	in := m.corpus[m.rng.IntN(len(m.corpus))]
	b = append(b, in.Bytes...)
	mode := in.Mode
	if m.rng.IntN(8) == 0 {
		mode = byte(m.rng.UintN(uint(m.modes)))
	}
	for range 1 + m.rng.IntN(1<<m.rng.IntN(4)) {
		b = m.change(b)
	}
	return b[:min(len(b), m.most)], mode
}

// at draws an offset in b, most often near one of its ends: headers are short.
func (m *mutator) at(n int) int {
	switch m.rng.IntN(4) {
	case 0:
		return m.rng.IntN(min(n, 64))
	case 1:
		return m.rng.IntN(min(n, 512))
	case 2:
		return n - 1 - m.rng.IntN(min(n, 64))
	}
	return m.rng.IntN(n)
}

func (m *mutator) change(b []byte) []byte {
	if len(b) == 0 {
		return m.number(append(b, make([]byte, 1+m.rng.IntN(64))...))
	}
	switch m.rng.IntN(12) {
	case 0, 1:
		b[m.at(len(b))] ^= 1 << m.rng.IntN(8)
	case 2:
		b[m.at(len(b))] = byte(m.rng.Uint32())
	case 3:
		b[m.at(len(b))] += byte(m.rng.IntN(9) - 4)
	case 4, 5, 6:
		return m.number(b)
	case 7:
		from, n := m.piece(b)
		return append(b[:from], b[from+n:]...)
	case 8:
		from, n := m.piece(b)
		copy(b[m.at(len(b)):], b[from:from+n])
	case 9:
		from, n := m.piece(b)
		clear(b[from : from+n])
	case 10:
		return m.insert(b)
	case 11:
		return m.splice(b)
	}
	return b
}

// number stores a telling number, or one next to what was there, where numbers of
// its width lie.
func (m *mutator) number(b []byte) []byte {
	width := 1 << m.rng.IntN(4)
	if len(b) < width {
		width = 1
	}
	at := m.at(len(b)-width+1) &^ (min(width, 4) - 1)
	v := telling[m.rng.IntN(len(telling))]
	var word [8]byte
	copy(word[:], b[at:at+width])
	old := binary.LittleEndian.Uint64(word[:])
	switch m.rng.IntN(4) {
	case 0:
		v = old + uint64(m.rng.IntN(5)) - 2
	case 1:
		v += old
	}
	binary.LittleEndian.PutUint64(word[:], v)
	copy(b[at:at+width], word[:])
	return b
}

func (m *mutator) piece(b []byte) (from, n int) {
	from = m.at(len(b))
	return from, 1 + m.rng.IntN(min(len(b)-from, 1<<m.rng.IntN(10)))
}

// insert repeats a piece, so that counts can be right of what is longer.
func (m *mutator) insert(b []byte) []byte {
	from, n := m.piece(b)
	if len(b)+n > m.most {
		return b
	}
	b = append(b, b[len(b)-n:]...)
	copy(b[from+n:], b[from:len(b)-n])
	return b
}

// splice goes on as another input does.
func (m *mutator) splice(b []byte) []byte {
	other := m.corpus[m.rng.IntN(len(m.corpus))].Bytes
	at := m.at(len(b))
	if at >= len(other) {
		return b[:at]
	}
	if m.rng.IntN(2) == 0 {
		copy(b[at:], other[at:])
		return b
	}
	return append(b[:at], other[at:]...)
}
