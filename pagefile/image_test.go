package pagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
)

func openImage(t testing.TB, b []byte) *ImageReader {
	t.Helper()
	m, err := OpenImage(bytes.NewReader(b), int64(len(b)), sampleImageHeader().ID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// An imageDamage counts what could not be read. What could is compared.
type imageDamage struct{ shards, index, segments, sums int }

// readImage reads all of an image that was made of want.
func readImage(t testing.TB, m *ImageReader, want *imageContent) (d imageDamage) {
	t.Helper()
	for shard, index := range want.index {
		s, err := m.Shard(shard)
		if err != nil {
			d.shards++
			if list, _, err := listSegments(m, shard); len(list) > 0 || err == nil || m.IndexBlocks(shard) != 0 {
				t.Fatalf("shard %d: something is left of a damaged entry", shard)
			}
			continue
		}
		table := want.tables[shard]
		if s.Heads != table.Heads || s.Tails != table.Tails || int(s.Buckets)*BucketSize != len(index) || s.Segments != len(table.Segments) {
			t.Fatalf("shard %d: got %+v", shard, s)
		}
		d.index += readIndex(t, m, shard, index)
		list, bad, err := listSegments(m, shard)
		if err != nil || len(list)+bad != len(table.Segments) {
			t.Fatalf("shard %d: %d segments and %d bad of %d: %v", shard, len(list), bad, len(table.Segments), err)
		}
		d.segments += bad
		for i, seg := range list {
			if seg != table.Segments[i] {
				t.Fatalf("shard %d: segment %d: got %+v", shard, i, seg)
			}
		}
		for i := range table.Segments {
			d.sums += readSums(t, m, want, shard, i, s.FirstEntry+i)
		}
	}
	return d
}

// listSegments has the segments that verify, by their place in the table.
func listSegments(m *ImageReader, shard int) (list map[int]Segment, bad int, err error) {
	list = make(map[int]Segment)
	bad, err = m.Segments(shard, func(i int, seg Segment) { list[i] = seg })
	return list, bad, err
}

func readIndex(t testing.TB, m *ImageReader, shard int, index []byte) (damaged int) {
	var block [ImagePayload]byte
	for i := range m.IndexBlocks(shard) {
		err := m.IndexBlock(shard, i, &block)
		part := index[i*ImagePayload : min((i+1)*ImagePayload, len(index))]
		if err != nil {
			damaged++
			part = nil
		}
		if !bytes.Equal(block[:len(part)], part) || !allZero(block[len(part):]) {
			t.Fatalf("shard %d: index block %d differs", shard, i)
		}
	}
	return damaged
}

func readSums(t testing.TB, m *ImageReader, want *imageContent, shard, i, entry int) (damaged int) {
	pages := sampleGeometry().PagesPerSegment()
	got, sums := make([]uint64, pages), make([]uint64, pages)
	want.sums(shard, i, sums)
	err := m.Sums(entry, got)
	for p := range got {
		if got[p] == 0 && err != nil {
			damaged++
		} else if got[p] != sums[p] {
			t.Fatalf("shard %d: segment %d: page %d: got %x, want %x", shard, i, p, got[p], sums[p])
		}
	}
	return damaged
}

func TestImageRoundTrip(t *testing.T) {
	for _, segments := range []int{0, 1, 3, 100, 500} {
		want, b := sampleImage(t, segments)
		m := openImage(t, b)
		if d := readImage(t, m, want); d != (imageDamage{}) {
			t.Errorf("%d segments: damage %+v", segments, d)
		}
		if m.Header() != sampleImageHeader() || m.Size() != int64(len(b)) {
			t.Errorf("%d segments: header %+v, size %d of %d", segments, m.Header(), m.Size(), len(b))
		}
	}
}

func TestImageFlips(t *testing.T) {
	want, b := sampleImage(t, 3)
	flips(b, func(i int, b []byte) {
		m, err := OpenImage(bytes.NewReader(b), int64(len(b)), sampleImageHeader().ID)
		if i < blockSize {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d of the header: %v", i, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if d := readImage(t, m, want); d == (imageDamage{}) {
			t.Fatalf("byte %d: the flip is not noticed", i)
		}
	})
}

// Each damaged block costs what lies on it and nothing else.
func TestImageDamagedBlocks(t *testing.T) {
	want, b := sampleImage(t, 200)
	for block, cost := range map[int]imageDamage{
		1: {index: 1}, // 64 buckets in two blocks, 65 in two
		4: {index: 1},
		5: {shards: 2},
		6: {segments: 168}, // 400 in three blocks
		8: {segments: 64},
		9: {sums: 504}, // 1600 in four blocks
	} {
		damaged := bytes.Clone(b)
		damaged[block*blockSize+100] ^= 4
		if got := readImage(t, openImage(t, damaged), want); got != cost {
			t.Errorf("block %d: got %+v, want %+v", block, got, cost)
		}
	}
}

// A block of another image, or from elsewhere in this one, verifies by itself
// but does not count.
func TestImageMisdirectedBlocks(t *testing.T) {
	want, b := sampleImage(t, 200)
	blocks := len(b) / blockSize
	for to := range blocks {
		from := to - 1
		if to == 0 {
			from = 1
		}
		moved := bytes.Clone(b)
		copy(moved[to*blockSize:(to+1)*blockSize], b[from*blockSize:])
		m, err := OpenImage(bytes.NewReader(moved), int64(len(moved)), sampleImageHeader().ID)
		if to == 0 && errors.Is(err, ErrCorrupt) {
			continue
		}
		if err != nil || readImage(t, m, want) == (imageDamage{}) {
			t.Errorf("block %d in the place of %d: %v", from, to, err)
		}
	}
	for name, change := range map[string]func(block []byte){
		"another image":       func(block []byte) { block[blockImage]++ },
		"another directory":   func(block []byte) { block[blockDir]++ },
		"another kind":        func(block []byte) { block[blockKind]++ },
		"another version":     func(block []byte) { block[blockVersion]++ },
		"a reserved byte set": func(block []byte) { block[blockReserved+31]++ },
	} {
		for block := range blocks {
			moved := bytes.Clone(b)
			change(moved[block*blockSize:])
			resealImage(moved)
			m, err := OpenImage(bytes.NewReader(moved), int64(len(moved)), sampleImageHeader().ID)
			if block > 0 && (err != nil || readImage(t, m, want) == (imageDamage{})) || block == 0 && err == nil {
				t.Errorf("%s: block %d counts: %v", name, block, err)
			}
		}
	}
	if _, err := OpenImage(bytes.NewReader(b), int64(len(b)), 41); !errors.Is(err, ErrCorrupt) {
		t.Errorf("image 40 as image 41: %v", err)
	}
}

func TestImageTruncations(t *testing.T) {
	want, b := sampleImage(t, 100)
	for n := 0; n <= len(b); n += blockSize / 8 {
		m, err := OpenImage(bytes.NewReader(b[:n]), int64(n), sampleImageHeader().ID)
		if n < blockSize {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%d bytes: %v", n, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if d := readImage(t, m, want); (d == imageDamage{}) != (n == len(b)) {
			t.Errorf("%d bytes of %d: %+v", n, len(b), d)
		}
	}
}

func TestImageNewerVersion(t *testing.T) {
	_, b := sampleImage(t, 3)
	binary.LittleEndian.PutUint16(b[fileVersion:], Version+1)
	resealImage(b)
	if _, err := OpenImage(bytes.NewReader(b), int64(len(b)), 40); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

func TestImageBoundsOfArguments(t *testing.T) {
	_, b := sampleImage(t, 3)
	m := openImage(t, b)
	var block [ImagePayload]byte
	for _, i := range []int{-1, 2} {
		if _, err := m.Shard(i); err == nil {
			t.Errorf("Shard(%d): accepted", i)
		}
		block[0] = 1
		if err := m.IndexBlock(0, i, &block); err == nil || block[0] != 0 {
			t.Errorf("IndexBlock(0, %d): %v", i, err)
		}
		if err := m.IndexBlock(i, 0, &block); err == nil {
			t.Errorf("IndexBlock(%d, 0): accepted", i)
		}
	}
	for _, entry := range []int{-1, 6} {
		if err := m.Sums(entry, make([]uint64, 4)); err == nil {
			t.Errorf("Sums(%d): accepted", entry)
		}
	}
	if err := m.Sums(0, make([]uint64, 3)); err == nil {
		t.Error("Sums into 3 pages: accepted")
	}
}

// Counts that verify but are not there cost neither memory nor time.
func TestImageHostileCounts(t *testing.T) {
	_, b := sampleImage(t, 3)
	const many = 1 << 30
	binary.LittleEndian.PutUint64(b[imageSegments:], many)
	binary.LittleEndian.PutUint32(b[5*blockSize+shardSegments:], many)
	resealImage(b)
	used := allocated(func() {
		m := openImage(t, b)
		list, bad, err := listSegments(m, 0)
		if len(list) != 6 || bad != many-6 || err != nil {
			t.Errorf("%d segments, %d bad: %v", len(list), bad, err)
		}
		if n := m.SegmentsInFile(0); n < 6 || n > len(b)/segmentSize {
			t.Errorf("room for %d segments in %d bytes", n, len(b))
		}
	})
	if used > 256<<10 {
		t.Errorf("%d bytes allocated", used)
	}
	for _, field := range []int{imageSegments, imageIndexBlocks} {
		for _, n := range []uint64{1 << 32, 1 << 60, 1<<64 - 1} {
			_, b := sampleImage(t, 3)
			binary.LittleEndian.PutUint64(b[field:], n)
			resealImage(b)
			if _, err := OpenImage(bytes.NewReader(b), int64(len(b)), 40); !errors.Is(err, ErrCorrupt) {
				t.Errorf("field at %d = %d: %v", field, n, err)
			}
		}
	}
}

func TestImageWriterRefusals(t *testing.T) {
	begin := func() *ImageWriter {
		w, err := NewImageWriter(new(memFile), sampleImageHeader(), []uint32{64, 65})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	bucket := make([]byte, BucketSize)
	for name, write := range map[string]func(w *ImageWriter) error{
		"a bucket left out":    func(w *ImageWriter) error { return w.WriteIndex(0, 1, bucket) },
		"a shard left out":     func(w *ImageWriter) error { return w.WriteIndex(1, 0, bucket) },
		"half a bucket":        func(w *ImageWriter) error { return w.WriteIndex(0, 0, bucket[:32]) },
		"too many buckets":     func(w *ImageWriter) error { return w.WriteIndex(0, 0, make([]byte, 65*BucketSize)) },
		"a negative shard":     func(w *ImageWriter) error { return w.WriteIndex(-1, 0, bucket) },
		"the end without data": func(w *ImageWriter) error { _, err := w.Finish(make([]ImageTable, 2), nil); return err },
	} {
		w := begin()
		if write(w) == nil {
			t.Errorf("%s: accepted", name)
		}
		if w.WriteIndex(0, 0, bucket) == nil {
			t.Errorf("%s: the writer goes on", name)
		}
	}
	for name, buckets := range map[string][]uint32{"one shard": {64}, "too few": {64, 63}, "too many": {64, 64*MaxGrowth + 1}} {
		if _, err := NewImageWriter(new(memFile), sampleImageHeader(), buckets); err == nil {
			t.Errorf("buckets of %s: accepted", name)
		}
	}
	for name, table := range map[string]ImageTable{
		"a bad segment": {Segments: []Segment{{}}},
		"a bad queue":   {Heads: [2]uint64{1, 0}},
	} {
		f := new(memFile)
		w, _ := NewImageWriter(f, sampleImageHeader(), []uint32{64, 64})
		w.WriteIndex(0, 0, make([]byte, 64*BucketSize))
		w.WriteIndex(1, 0, make([]byte, 64*BucketSize))
		_, err := w.Finish([]ImageTable{{}, table}, func(int, int, []uint64) {})
		if err == nil || !allZero(f.b[:blockSize]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImageWriteErrors(t *testing.T) {
	fault := errors.New("EIO")
	finish := func(f *memFile) error {
		w, err := NewImageWriter(f, sampleImageHeader(), []uint32{64, 64})
		if err != nil {
			t.Fatal(err)
		}
		w.WriteIndex(0, 0, make([]byte, 64*BucketSize))
		w.WriteIndex(1, 0, make([]byte, 64*BucketSize))
		_, err = w.Finish(make([]ImageTable, 2), func(int, int, []uint64) {})
		return err
	}
	if err := finish(&memFile{writeErr: fault}); !errors.Is(err, fault) {
		t.Errorf("a failed write: %v", err)
	}
	if err := finish(&memFile{sync: fault}); !errors.Is(err, fault) {
		t.Errorf("a failed sync: %v", err)
	}
}

func TestImageWritesInRuns(t *testing.T) {
	g := sampleGeometry()
	g.Shards = 1
	g.BaseBuckets = 1 << 15 // 2 MiB
	f := new(memFile)
	w, err := NewImageWriter(f, ImageHeader{ID: 1, Geometry: g}, []uint32{1 << 15})
	if err != nil {
		t.Fatal(err)
	}
	index := pattern(1<<21, 3)
	for at := 0; at < len(index); at += 1 << 14 {
		w.WriteIndex(0, at/BucketSize, index[at:at+1<<14])
	}
	size, err := w.Finish(make([]ImageTable, 1), nil)
	if err != nil || f.writes != 10 || f.largest != imageRun {
		t.Errorf("%d writes of up to %d bytes: %v", f.writes, f.largest, err)
	}
	m, err := OpenImage(f, size, 1)
	if err != nil || readIndex(t, m, 0, index) != 0 {
		t.Errorf("read: %v", err)
	}
}

func TestImageReadersShare(t *testing.T) {
	want, b := sampleImage(t, 50)
	m := openImage(t, b)
	done := make(chan imageDamage)
	for range 4 {
		go func() { done <- readImage(t, m, want) }()
	}
	var got []imageDamage
	for range 4 {
		got = append(got, <-done)
	}
	if want := slices.Repeat([]imageDamage{{}}, 4); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
