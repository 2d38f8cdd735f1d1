package pagefile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// Samples that use every field, and a file in memory. TestGolden holds their
// bytes.

var update = flag.Bool("update", false, "write the golden files of this format version")

func sampleGeometry() Geometry {
	return Geometry{Shards: 2, SegmentSize: MinSegmentSize, BaseBuckets: MinBaseBuckets, Seed: 0x5eed, DirID: 0xd1ec7041}
}

func sampleHeader() FileHeader {
	return FileHeader{Kind: KindPages, ID: 7, Geometry: sampleGeometry()}
}

func sampleState(shard int) ShardState {
	k := uint64(shard)
	return ShardState{
		Heads:   [2]uint64{1000 + k, 70000 + k},
		Tails:   [2]uint64{3000 + k, 90000 + k},
		Buckets: uint32(MinBaseBuckets + shard),
		Entries: uint32(300 + shard),
		Live:    123456 + k,
	}
}

// pattern is n bytes that differ by salt.
func pattern(n int, salt byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*31 ^ byte(i>>8) ^ salt
	}
	return b
}

func sampleJournal(n int) []byte {
	var b []byte
	for i := range n {
		b = append32(b, uint32(i*3))
		b = appendWords(b, 0x4000000123456780+uint64(i))
	}
	return b
}

// sampleSection uses every field.
func sampleSection(shard int) *Section {
	return &Section{
		Shard:   shard,
		State:   sampleState(shard),
		Journal: [][]byte{sampleJournal(5)},
		Segments: []Segment{
			{Number: 1<<32 | 9, Queue: QueueMain, Seq: 88, Place: 3, Fill: 1000},
			{Number: 1<<32 | 10, Queue: QueueSmall, Seq: 2, Place: NoPlace, Fill: OpenFill},
			{Number: 1<<32 | 11, Queue: QueueLarge, Seq: 1<<32 | 11, Place: 4, Fill: 1024},
		},
		Pages: []PageRun{
			{Number: 1<<32 | 9, First: 1, Sums: []uint64{0xaaaa, 0xbbbb, 0xcccc}},
			{Number: 1<<32 | 11, First: 0, Sums: []uint64{0xdddd}},
		},
		Pieces: []Piece{
			{Number: 1<<32 | 10, Offset: 4096, Bytes: pattern(100, byte(shard))},
			{Number: 1<<32 | 12, Offset: 0, Bytes: pattern(333, byte(shard+1))},
		},
		Died:       []uint64{1<<32 | 4, 1<<32 | 5},
		ImageReset: shard == 1,
	}
}

func sampleBlobHeader(kind BlobKind) BlobHeader {
	return BlobHeader{Kind: kind, Number: 42, Lineage: 3, Opens: 1, Prev: 0xfeed, Clock: -5}
}

func sampleSections() []*Section {
	return []*Section{
		sampleSection(0),
		sampleSection(1),
		{Shard: 7, State: sampleState(7)}, // empty parts
	}
}

// encodeBlob returns the bytes and the hash of a blob.
func encodeBlob(t testing.TB, h BlobHeader, sections ...*Section) ([]byte, uint64) {
	t.Helper()
	var b BlobBuilder
	b.Reset(h)
	for _, s := range sections {
		if err := b.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	f := new(memFile)
	hash, n, err := b.WriteTo(f, 0)
	if err != nil || n != b.Len() || n != int64(len(f.b)) {
		t.Fatalf("WriteTo: %d bytes of %d, Len %d: %v", n, len(f.b), b.Len(), err)
	}
	return f.b, hash
}

func sampleBlob(t testing.TB, kind BlobKind) []byte {
	b, _ := encodeBlob(t, sampleBlobHeader(kind), sampleSections()...)
	return b
}

func sampleRecord() *Record {
	return &Record{
		Geometry:   sampleGeometry(),
		Generation: 42,
		Lineage:    3,
		Parent:     0x1234567890abcdef,
		Opens:      6,
		PageFile:   7,
		Places:     64,
		Image:      40,
		Blobs: []Extent{
			{File: 8, Offset: 4096, Length: 640, Hash: 0x11},
			{File: 8, Offset: 4096 + 640, Length: 64, Hash: 0x12},
			{File: 9, Offset: 4096, Length: 128, Hash: 0x13},
		},
		Weak:     WeakPos{File: 5, Offset: 8192, Number: 77, Hash: 0x99},
		Retained: []uint64{40, 41, 42},
		Entries:  601,
		Live:     246913,
		Stores:   1000,
		Clock:    123456,
		Wall:     1700000000000000000,
		BootID:   [16]byte(pattern(16, 1)),
		Clean:    true,
		Schema:   "user/v3",
		Shards:   []ShardState{sampleState(0), sampleState(1)},
	}
}

// An imageContent holds what an image was made of.
type imageContent struct {
	index  [][]byte // by shard
	tables []ImageTable
}

func (c *imageContent) sums(shard, i int, dst []uint64) {
	for p := range dst {
		dst[p] = uint64(shard)<<32 | uint64(i)<<8 | uint64(p)
	}
}

func sampleImageHeader() ImageHeader {
	return ImageHeader{ID: 40, Lineage: 3, Geometry: sampleGeometry()}
}

// sampleImage has segments tables that need more than one block of checksums.
func sampleImage(t testing.TB, segments int) (*imageContent, []byte) {
	t.Helper()
	c, f, _ := writeSample(t, segments)
	return c, f.b
}

func writeSample(t testing.TB, segments int) (*imageContent, *memFile, *ImageWriter) {
	t.Helper()
	c, f := new(imageContent), new(memFile)
	var buckets []uint32
	for shard := range sampleGeometry().Shards {
		state := sampleState(shard)
		buckets = append(buckets, state.Buckets)
		c.index = append(c.index, pattern(int(state.Buckets)*BucketSize, byte(shard)))
		table := ImageTable{Heads: state.Heads, Tails: state.Tails}
		for i := range segments {
			number := uint64(shard+1)<<32 | uint64(i+1)
			table.Segments = append(table.Segments, Segment{Number: number, Queue: QueueMain, Seq: uint64(i), Place: uint32(i), Fill: 77})
		}
		c.tables = append(c.tables, table)
	}
	w, err := NewImageWriter(f, sampleImageHeader(), buckets)
	if err != nil {
		t.Fatal(err)
	}
	for shard, index := range c.index {
		for at := 0; at < len(index); at += 10 * BucketSize {
			part := index[at:min(at+10*BucketSize, len(index))]
			if err := w.WriteIndex(shard, at/BucketSize, part); err != nil {
				t.Fatal(err)
			}
		}
	}
	size, err := w.Finish(c.tables, c.sums)
	if err != nil || size != int64(len(f.b)) || f.syncs != 1 {
		t.Fatalf("Finish: size %d of %d, %d syncs: %v", size, len(f.b), f.syncs, err)
	}
	return c, f, w
}

// A memFile is a file in memory that counts writes and fails on request.
type memFile struct {
	File
	b              []byte
	writes, syncs  int
	largest        int
	writeErr, sync error
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(p, off)
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WriteVAt([][]byte{p}, off)
}

func (f *memFile) WriteVAt(parts [][]byte, off int64) (n int, err error) {
	if f.writeErr != nil {
		return 0, f.writeErr
	}
	if err := f.Allocate(off, int64(size(parts))); err != nil {
		return 0, err
	}
	f.writes++
	f.largest = max(f.largest, size(parts))
	for _, p := range parts {
		n += copy(f.b[off+int64(n):], p)
	}
	return n, nil
}

func (f *memFile) Allocate(off, n int64) error {
	if need := off + n - int64(len(f.b)); need > 0 {
		f.b = append(f.b, make([]byte, need)...)
	}
	return nil
}

func (f *memFile) Size() (int64, error) { return int64(len(f.b)), nil }

func (f *memFile) Sync() error {
	f.syncs++
	return f.sync
}

// resealRecord, resealBlob and resealImage make checksums right again, as an
// attacker or a faulty writer would.
func resealRecord(b []byte) {
	if len(b) >= recordHeader+8 {
		if n := int(le32(b, recordLength)); n >= recordHeader+8 && n <= len(b) {
			binary.LittleEndian.PutUint64(b[n-8:], checksum(b[:n-8]))
		}
	}
}

func resealBlob(b []byte) {
	if len(b) < blobFixed {
		return
	}
	n := int(le16(b, blobSections))
	if n > MaxShards || headerSize(n) > int64(len(b)) {
		return
	}
	at := headerSize(n)
	for _, part := range []struct{ length, sum int }{{refMetaLen, refMetaSum}, {refDataLen, refDataSum}} {
		for i := range n {
			ref := b[blobFixed+i*refSize:]
			end := at + int64(le32(ref, part.length))
			if end > int64(len(b)) {
				break
			}
			binary.LittleEndian.PutUint64(ref[part.sum:], checksum(b[at:end]))
			at = end
		}
	}
	sum := blobFixed + n*refSize
	binary.LittleEndian.PutUint64(b[sum:], checksum(b[:sum]))
}

func resealImage(b []byte) {
	if len(b) >= fileHeaderSize {
		binary.LittleEndian.PutUint64(b[fileChecksum:], checksum(b[:fileChecksum]))
	}
	for ; len(b) >= blockSize; b = b[blockSize:] {
		binary.LittleEndian.PutUint64(b[blockChecksum:], checksum(b[:blockChecksum]))
	}
}

// flips calls test with every byte of b changed in turn.
func flips(b []byte, test func(i int, flipped []byte)) {
	f := bytes.Clone(b)
	for i := range f {
		for _, mask := range []byte{1 << (i % 8), 0xff} {
			f[i] ^= mask
			test(i, f)
			f[i] ^= mask
		}
	}
}

// TestGolden holds the bytes of format version 1. A change here is a change of
// the format: it takes a new version, and the old files stay readable.
func TestGolden(t *testing.T) {
	header, err := sampleHeader().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	record, err := sampleRecord().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	_, image := sampleImage(t, 3)
	for name, want := range map[string][]byte{
		"header":       header,
		"blob-durable": sampleBlob(t, BlobDurable),
		"blob-weak":    sampleBlob(t, BlobWeak),
		"record":       record,
		"image":        image,
		"image-ghosts": sampleGhosts(t),
		"live":         sampleLive().b,
		"pagesum":      appendWords(nil, PageSum(1<<32|9, 3, pattern(PageSize, 0))),
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, want) })
	}
}

func golden(t *testing.T, name string, encoded []byte) {
	path := filepath.Join("testdata", "format1", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, encoded, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encoded, want) {
		t.Errorf("%d bytes differ from the %d of %s", len(encoded), len(want), path)
	}
}
