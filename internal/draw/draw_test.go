package draw

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// What is drawn follows from seed, writer and number; each of them makes a difference.
func TestDrawsFollowFromTheirNumbers(t *testing.T) {
	first := func(s *Source) (list [8]int) {
		for i := range list {
			if list[i] = s.Intn(1000); list[i] < 0 || list[i] > 999 {
				t.Errorf("drew %d of 1000", list[i])
			}
		}
		return list
	}
	want := first(Of(1, 2, 3))
	if got := first(Of(1, 2, 3)); got != want {
		t.Errorf("got %v, then %v", want, got)
	}
	for _, s := range []*Source{Of(2, 2, 3), Of(1, 3, 3), Of(1, 2, 4)} {
		if first(s) == want {
			t.Errorf("other numbers draw %v as well", want)
		}
	}
}

// No two values are alike, and each says whose it is.
func TestValuesTellTheirWriter(t *testing.T) {
	for _, size := range []int{0, ValueHead, 17, 900} {
		v := Value(5, 6, 7, size)
		if len(v) != max(size, ValueHead) || binary.LittleEndian.Uint64(v) != 7 || binary.LittleEndian.Uint64(v[8:]) != 5<<32|6 {
			t.Errorf("%d bytes, %x", len(v), v[:ValueHead])
		}
		for _, other := range [][]byte{Value(4, 6, 7, size), Value(5, 5, 7, size), Value(5, 6, 8, size)} {
			if bytes.Equal(v, other) {
				t.Errorf("two values of %d bytes are alike", size)
			}
		}
	}
}
