package pagefile

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/embercache/ember/internal/fuzzing"
)

// imageTarget: patches of an image. Whatever they say, each part is what its block
// holds, or refused; and the bytes read are those of the file, once for each shard.
func imageTarget(tb testing.TB) *fuzzing.Target {
	_, file := sampleImage(tb, 3)
	var buf []byte
	check := func(t testing.TB, script []byte, mode byte) bool {
		var touched uint64 // blocks
		buf = fuzzing.Patch(buf[:0], file, script, func(off, n int) {
			touched |= 1<<(off/blockSize) | 1<<((off+n-1)/blockSize)
		})
		for i := 0; mode == sealed && (i+1)*blockSize <= len(buf); i++ {
			if touched>>i&1 != 0 {
				resealBlock(buf[i*blockSize:][:blockSize], i)
			}
		}
		r := &countingReader{ReaderAt: bytes.NewReader(buf)}
		m, err := OpenImage(r, int64(len(buf)), sampleImageHeader().ID)
		if err != nil {
			return refused(t, err)
		}
		for shard := range m.Header().Geometry.Shards {
			checkImageShard(t, m, shard)
		}
		if shards := m.Header().Geometry.Shards; r.asked > (2+shards)*len(buf)+shards*6*blockSize {
			t.Errorf("%d bytes read of %d, for %d shards", r.asked, len(buf), shards)
		}
		return true
	}
	block := func(i, n int) []byte { return fuzzing.Same(file, i*blockSize, n) }
	list := [][]byte{block(0, 128), block(1, 64), block(5, 2*shardSize), block(6, 4*segmentSize), block(7, 128), nil, fuzzing.Short(6*blockSize + 100)}
	for i := range len(file) / blockSize {
		list = append(list, fuzzing.Same(file, i*blockSize+blockImage, blockSize-blockImage))
	}
	return &fuzzing.Target{Name: "FuzzImage", Seeds: fuzzing.Inputs(sealings, list...), Modes: sealings, Most: 1 << 10,
		Memory: func(int) int64 { return 8 << 20 }, Check: check}
}

func resealBlock(b []byte, i int) {
	if i == 0 {
		resealFileHeader(b)
	}
	binary.LittleEndian.PutUint64(b[blockChecksum:], checksum(b[:blockChecksum]))
}

func checkImageShard(t testing.TB, m *ImageReader, shard int) {
	var block [ImagePayload]byte
	n := m.IndexBlocks(shard)
	for _, i := range []int{0, 1, n - 1, n, -1} {
		err := m.IndexBlock(shard, i, &block)
		if (i < 0 || i >= n) && err == nil || err != nil && !allZero(block[:]) {
			t.Fatalf("index block %d of %d of shard %d: %v, zeroes %v", i, n, shard, err, allZero(block[:]))
		}
	}
	s, err := m.Shard(shard)
	yielded, last := 0, -1
	bad, listErr := m.Segments(shard, func(i int, seg Segment) {
		if i <= last || i >= s.Segments || seg.Validate() != nil {
			t.Fatalf("shard %d: segment %d of %d after %d: %v", shard, i, s.Segments, last, seg.Validate())
		}
		yielded, last = yielded+1, i
	})
	if (err == nil) != (listErr == nil) || yielded+bad != s.Segments && err == nil || yielded > m.SegmentsInFile(shard) {
		t.Fatalf("shard %d: %d segments, %d bad of %d: %v", shard, yielded, bad, s.Segments, listErr)
	}
	if err == nil {
		checkSums(t, m, s)
	}
}

// checkSums: checksums are zero after an error.
func checkSums(t testing.TB, m *ImageReader, s ImageShard) {
	var room [maxPages]uint64
	sums := room[:m.Header().Geometry.PagesPerSegment()]
	for _, entry := range []int{s.FirstEntry, s.FirstEntry + s.Segments - 1, int(m.layout.segments), -1} {
		sums[0] = 1
		err := m.Sums(entry, sums)
		if (entry < 0 || uint64(entry) >= m.layout.segments) && err == nil {
			t.Fatalf("checksums of entry %d of %d", entry, m.layout.segments)
		}
		if err != nil && len(sums) <= 4 && sums[0] != 0 && sums[len(sums)-1] != 0 {
			t.Fatalf("entry %d has checksums after %v", entry, err)
		}
	}
}

// A twoReaders is a file and one block behind it.
type twoReaders struct{ file, block []byte }

func (r *twoReaders) ReadAt(p []byte, off int64) (int, error) {
	if off == int64(len(r.file)) {
		return copy(p, r.block), nil
	}
	return bytes.NewReader(r.file).ReadAt(p, off)
}

// ghostsTarget: the beginning of a block of ghosts.
func ghostsTarget(tb testing.TB) *fuzzing.Target {
	whole := sampleGhosts(tb)
	size := openImage(tb, whole).Size()
	file := &twoReaders{whole[:size], make([]byte, blockSize)}
	m, err := OpenImage(file, size+blockSize, sampleImageHeader().ID)
	if err != nil {
		tb.Fatal(err)
	}
	g := Ghosts{Words: make([]uint32, 0, GhostsPerBlock)}
	check := func(t testing.TB, b []byte, mode byte) bool {
		clear(file.block)
		copy(file.block[:ImagePayload], b)
		if mode == sealed {
			h := m.Header()
			sealBlock(file.block, &h, uint64(size)/blockSize, blockGhosts)
		} else {
			copy(file.block[blockImage:], whole[size+blockImage:][:blockSize-blockImage])
		}
		if err := m.Ghosts(0, &g); err != nil {
			refused(t, err)
			if len(g.Words) != 0 {
				t.Fatalf("%d ghosts after %v", len(g.Words), err)
			}
			return false
		}
		again := append32(nil, uint32(g.Shard), uint32(g.Total), uint32(g.First), uint32(g.Stamp), g.Window, 0, 0, 0)
		again = append32(again, g.Words...)
		if len(g.Words) != min(GhostsPerBlock, g.Total-g.First) || !bytes.HasPrefix(file.block, again) || !allZero(file.block[len(again):ImagePayload]) {
			t.Fatalf("accepted bytes that are not those of %d ghosts from %d of %d", len(g.Words), g.First, g.Total)
		}
		return true
	}
	head := func(off int) []byte { return whole[size:][off*blockSize : off*blockSize+ghostsHeader+32*ghostWordSize] }
	return &fuzzing.Target{Name: "FuzzGhosts", Seeds: fuzzing.Inputs(sealings, head(0), head(1), head(2)), Modes: sealings, Most: ImagePayload, Check: check}
}
