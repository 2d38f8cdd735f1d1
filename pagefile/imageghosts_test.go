package pagefile

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// ghostTable is the table of a shard in sampleGhosts: the second's takes two blocks.
func ghostTable(shard int) Ghosts {
	g := Ghosts{Shard: shard, Stamp: 0xfffe, Window: 257, Words: make([]uint32, 32+shard*1008)}
	for i := range g.Words {
		g.Words[i] = uint32(i*0x10001 + shard)
	}
	g.Total = len(g.Words)
	return g
}

// sampleGhosts is sampleImage with ghosts behind it.
func sampleGhosts(t testing.TB) []byte {
	t.Helper()
	_, f, w := writeSample(t, 3)
	for shard := range sampleGeometry().Shards {
		if err := w.WriteGhosts(ghostTable(shard)); err != nil {
			t.Fatal(err)
		}
	}
	return f.b
}

// readGhosts adds up the blocks that verify and compares each with its table.
func readGhosts(t testing.TB, m *ImageReader) (words int) {
	t.Helper()
	g := Ghosts{Words: make([]uint32, 0, GhostsPerBlock)}
	for i := range m.GhostBlocks() {
		if err := m.Ghosts(i, &g); err != nil {
			if len(g.Words) != 0 {
				t.Fatalf("block %d: %d ghosts after %v", i, len(g.Words), err)
			}
			continue
		}
		want := ghostTable(g.Shard)
		if g.Stamp != want.Stamp || g.Window != want.Window || g.Total != len(want.Words) ||
			!slices.Equal(g.Words, want.Words[g.First:min(g.First+GhostsPerBlock, g.Total)]) {
			t.Fatalf("block %d: got ghosts %d of %d of shard %d", i, g.First, g.Total, g.Shard)
		}
		words += len(g.Words)
	}
	return words
}

func TestGhostsRoundTrip(t *testing.T) {
	image := sampleGhosts(t)
	m := openImage(t, image)
	want := len(ghostTable(0).Words) + len(ghostTable(1).Words)
	if got := readGhosts(t, m); got != want || m.GhostBlocks() != 3 {
		t.Errorf("%d ghosts in %d blocks, want %d in 3", got, m.GhostBlocks(), want)
	}
	if m.Size() != int64(len(image))-3*blockSize {
		t.Errorf("Size is %d: ghosts count as part of the image", m.Size())
	}
	if none := openImage(t, image[:m.Size()]); none.GhostBlocks() != 0 {
		t.Errorf("%d blocks of ghosts in an image without", none.GhostBlocks())
	}
}

// A damaged block of ghosts costs its ghosts, and nothing of the image.
func TestDamagedGhosts(t *testing.T) {
	content, _ := sampleImage(t, 3)
	b := sampleGhosts(t)
	from := len(b) - 3*blockSize
	all := readGhosts(t, openImage(t, b))
	for i := from; i < len(b); i += 7 {
		b[i] ^= 0x40
		m := openImage(t, b)
		if d := readImage(t, m, content); d != (imageDamage{}) {
			t.Fatalf("byte %d: damage %+v", i, d)
		}
		if got := readGhosts(t, m); got >= all {
			t.Fatalf("byte %d: the flip is not noticed", i)
		}
		b[i] ^= 0x40
	}
	for end := from; end < len(b); end += 1000 {
		if got := readGhosts(t, openImage(t, b[:end])); got >= all {
			t.Fatalf("cut off at %d: %d ghosts", end, got)
		}
	}
}

func TestHostileGhosts(t *testing.T) {
	clean := sampleGhosts(t)
	at := len(clean) - 3*blockSize // of shard 0
	for name, c := range map[string]struct {
		off   int
		value uint32
	}{
		"a shard that is not there": {ghostsShard, 2},
		"no words":                  {ghostsWords, 0},
		"part of a bucket":          {ghostsWords, 33},
		"too many words":            {ghostsWords, 1 << 31},
		"words beyond the table":    {ghostsFirst, GhostsPerBlock},
		"half a block":              {ghostsFirst, 16},
		"a long stamp":              {ghostsStamp, 1 << 16},
		"a long window":             {ghostsWindow, 1 << 16},
		"reserved bytes":            {ghostsReserved, 1},
		"the last reserved byte":    {ghostsHeader - 4, 1 << 31},
		"a word beyond the last":    {ghostsHeader + 32*ghostWordSize, 1},
	} {
		b := slices.Clone(clean)
		binary.LittleEndian.PutUint32(b[at+c.off:], c.value)
		resealImage(b[at:])
		g := Ghosts{Words: make([]uint32, 0, GhostsPerBlock)}
		if err := openImage(t, b).Ghosts(0, &g); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What cannot be written leaves the image as it was.
func TestGhostsThatCannotBeWritten(t *testing.T) {
	content, f, w := writeSample(t, 3)
	if err := w.WriteGhosts(Ghosts{Shard: 0, Words: make([]uint32, 15)}); err == nil {
		t.Error("part of a bucket was written")
	}
	if d := readImage(t, openImage(t, f.b), content); d != (imageDamage{}) {
		t.Errorf("damage %+v", d)
	}
	_, f, w = writeSample(t, 3)
	f.writeErr = errors.New("full")
	if err := w.WriteGhosts(ghostTable(0)); !errors.Is(err, f.writeErr) {
		t.Errorf("got %v, want %v", err, f.writeErr)
	}
	if d := readImage(t, openImage(t, f.b), content); d != (imageDamage{}) {
		t.Errorf("damage %+v", d)
	}
}
