package power

import (
	"bytes"
	"math/rand"
	"testing"
)

func TestMain(m *testing.M) {
	Child()
	m.Run()
}

func filled(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// testDisk asks a disk for a write, a flush, and two writes that nothing covers.
func testDisk() *disk {
	d := newDisk(&image{make([]*[pageSize]byte, 8)})
	d.write(filled(8192, 1), 0)
	d.flush()
	d.write(filled(4096, 2), 4096)
	d.write(filled(1024, 3), 8192+512)
	return d
}

func (m *image) bytes() []byte {
	b := make([]byte, m.size())
	m.read(b, 0)
	return b
}

func TestACutKeepsWhatAFlushCovers(t *testing.T) {
	d := testDisk()
	covered := make([]byte, 8*pageSize)
	copy(covered, filled(8192, 1))
	now := d.now.bytes()
	for f := range fates {
		for seed := range int64(200) {
			m, loose := newCutter(d).after(cut{4, f, seed})
			if loose != 2 {
				t.Fatalf("%s: %d loose writes, not 2", f, loose)
			}
			got := m.bytes()
			for i := range got {
				if got[i] != covered[i] && got[i] != now[i] {
					t.Fatalf("%s, seed %d: byte %d is %d, neither old nor new", f, seed, i, got[i])
				}
			}
			if !bytes.Equal(got[:4096], covered[:4096]) || f == fateLost && !bytes.Equal(got, covered) || f == fateKept && !bytes.Equal(got, now) {
				t.Fatalf("%s, seed %d: not what it should be", f, seed)
			}
		}
	}
	for f := range fates {
		m, loose := newCutter(d).after(cut{3, f, 1})
		if got := m.bytes(); loose != 1 || !bytes.Equal(got[8192:], covered[8192:]) {
			t.Errorf("%s: %d loose writes, and something of what came after the cut", f, loose)
		}
	}
	if m, loose := newCutter(d).after(cut{1, fateLost, 1}); loose != 1 || !bytes.Equal(m.bytes(), make([]byte, 8*pageSize)) {
		t.Errorf("before the flush, %d loose writes, and something was kept of them", loose)
	}
}

// Each fate leaves what no other fate but a looser one does.
func TestFatesDiffer(t *testing.T) {
	d := testDisk()
	kept, torn := make(map[fate]int), make(map[fate]int)
	for f := range fates {
		for seed := range int64(200) {
			m, _ := newCutter(d).after(cut{4, f, seed})
			got := m.bytes()
			switch page := got[4096:8192]; {
			case bytes.Equal(page, filled(4096, 2)):
				kept[f]++
			case !bytes.Equal(page, filled(4096, 1)):
				torn[f]++
			}
			if last := got[8192+512 : 8192+1536]; last[0] != last[1023] {
				torn[f]++
			}
		}
	}
	for f := range fates {
		wantTorn := f == fateTorn || f == fateSector
		if (torn[f] > 0) != wantTorn {
			t.Errorf("%s: %d torn", f, torn[f])
		}
		if some := kept[f] > 0 && kept[f] < 200; some != (f == fateSome || f == fateSector && kept[f] > 0 || f == fatePage) {
			t.Errorf("%s: %d of 200 kept", f, kept[f])
		}
	}
}

// Writes of any size and place are read as they were written, and an image does not
// change with its clone.
func TestImage(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	m := &image{make([]*[pageSize]byte, 16)}
	want := make([]byte, m.size())
	for range 500 {
		p := make([]byte, 1+rng.Intn(3*pageSize))
		rng.Read(p)
		off := rng.Intn(len(want) - len(p))
		before, old := m.clone(), bytes.Clone(want)
		m.write(p, int64(off))
		copy(want[off:], p)
		if !bytes.Equal(m.bytes(), want) || !bytes.Equal(before.bytes(), old) {
			t.Fatalf("%d bytes at %d", len(p), off)
		}
		if got := make([]byte, 1+rng.Intn(9000)); m.read(got, int64(off)) > 0 && !bytes.Equal(got[:min(len(got), len(want)-off)], want[off:min(off+len(got), len(want))]) {
			t.Fatalf("read %d bytes at %d", len(got), off)
		}
	}
	if n := m.read(make([]byte, 100), m.size()-40); n != 40 {
		t.Errorf("read %d bytes of the last 40", n)
	}
}
