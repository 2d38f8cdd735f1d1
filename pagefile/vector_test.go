package pagefile

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// sampleParts are more parts than one call takes, some of them empty.
func sampleParts() (parts [][]byte, all []byte) {
	for i := range 2*maxVector + 100 {
		p := pattern(i*7%61, byte(i))
		parts, all = append(parts, p), append(all, p...)
	}
	return append(parts, nil, pattern(1<<20, 3), nil), append(all, pattern(1<<20, 3)...)
}

func TestVectorIsOneWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	f := createFile(t, path)
	parts, want := sampleParts()
	if n, err := f.WriteVAt(parts, 5); n != len(want) || err != nil {
		t.Fatalf("got %d, %v, want %d", n, err, len(want))
	}
	got := make([]byte, len(want)+5)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got[5:], want) {
		t.Errorf("the file differs from the parts: %v", err)
	}
	for _, none := range [][][]byte{nil, {nil}, {nil, {}}} {
		if n, err := f.WriteVAt(none, 1<<40); n != 0 || err != nil {
			t.Errorf("nothing to write: got %d, %v", n, err)
		}
	}
	f.Close()
	if n, err := f.WriteVAt([][]byte{want}, 0); n != 0 || err == nil {
		t.Errorf("closed: got %d, %v", n, err)
	}
}

// Wherever calls stop short, what was written is what begins the parts.
func TestVectorGoesOnAfterAShortWrite(t *testing.T) {
	for _, step := range []int{1, 59, 60, 4096, 1 << 30} {
		var f memFile
		write := func(parts [][]byte, off int64) (int, error) {
			if len(parts) == 0 || len(parts[0]) == 0 || len(parts) > maxVector {
				t.Fatalf("a call of %d parts", len(parts))
			}
			b := slices.Concat(parts[:min(len(parts), 1+step/61)]...)
			return f.WriteAt(b[:min(len(b), step)], off)
		}
		parts, want := sampleParts()
		if step < 4096 {
			parts, want = parts[:300], want[:size(parts[:300])]
		}
		if n, err := writeParts(write, parts, 0); n != len(want) || err != nil || !bytes.Equal(f.b, want) {
			t.Errorf("steps of %d: got %d, %v, want %d", step, n, err, len(want))
		}
	}
	calls := 0
	fails := func([][]byte, int64) (int, error) {
		if calls++; calls == 3 {
			return 1, syscall.EIO
		}
		return 2, nil
	}
	if n, err := writeParts(fails, [][]byte{{1, 2, 3}, {4, 5, 6}}, 0); n != 5 || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %d, %v, want 5 and EIO", n, err)
	}
	stuck := func([][]byte, int64) (int, error) { return 0, nil }
	if n, err := writeParts(stuck, [][]byte{{1}}, 0); n != 0 || err != io.ErrUnexpectedEOF {
		t.Errorf("a call that does nothing: got %d, %v", n, err)
	}
}

// Long parts that are written in place and short ones that are joined stay in order.
func TestGatherKeepsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var g gather
	for range 50 {
		var f memFile
		var want []byte
		g.reset(&f, 0)
		g.begin(func(b []byte) []byte { return append(b, "header"...) })
		want = append(want, "header"...)
		for range rng.IntN(200) {
			p := pattern(rng.IntN([]int{20, 2 * leastPart, gatherBuf}[rng.IntN(3)]), byte(rng.Int()))
			g.write(p)
			want = append(want, p...)
		}
		g.flush()
		if g.err != nil || !bytes.Equal(f.b, want) || g.off != int64(len(want)) {
			t.Fatalf("%d bytes at %d, want %d: %v", len(f.b), g.off, len(want), g.err)
		}
		if n := len(want)/gatherSize + 1; f.largest > gatherSize || f.writes > n+len(want)/gatherBuf {
			t.Errorf("%d bytes took %d writes of up to %d", len(want), f.writes, f.largest)
		}
	}
}
