package pagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// Bytes whose checksums are right and that still must be refused.

// I6: every reserved byte of every structure is checked.
func TestReservedBytes(t *testing.T) {
	header, err := sampleHeader().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	record := marshal(t, sampleRecord())
	blob := sampleBlob(t, BlobDurable)
	_, image := sampleImage(t, 3)
	recordEnd, lists := int(le32(record, recordLength)), recordHeader+2*stateSize
	meta := int(headerSize(3))
	blobFile, err := ReadBlob(blob)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		b        []byte
		from, to int
		reseal   func([]byte)
		read     func([]byte) error
	}{
		{"file header", header, fileReserved, fileID, resealFileHeader, new(FileHeader).UnmarshalBinary},
		{"file header's block", header, fileHeaderSize, FileHeaderBlock, resealFileHeader, new(FileHeader).UnmarshalBinary},
		{"geometry", header, fileGeometry + geometryReserved, fileGeometry + geometrySeed, resealFileHeader, new(FileHeader).UnmarshalBinary},
		{"record", record, recordReserved, recordHeader, resealRecord, new(Record).UnmarshalBinary},
		{"extent", record, lists + 28, lists + 32, resealRecord, new(Record).UnmarshalBinary},
		{"schema's padding", record, recordEnd - 9, recordEnd - 8, resealRecord, new(Record).UnmarshalBinary},
		{"record's padding", record, recordEnd, len(record), resealRecord, new(Record).UnmarshalBinary},
		{"blob header", blob, blobReserved, blobFixed, resealBlob, readBlobWhole},
		{"section reference", blob, blobFixed + refReserved, blobFixed + refMetaSum, resealBlob, readBlobWhole},
		{"blob header's padding", blob, blobFixed + 3*refSize + 8, meta, resealBlob, readBlobWhole},
		{"section", blob, meta + sectionReserved, meta + sectionHeader, resealBlob, readBlobWhole},
		{"section's upper flags", blob, meta + sectionFlags + 1, meta + sectionState, resealBlob, readBlobWhole},
		{"blob's padding", blob, int(blobFile.Header.end()), len(blob), resealBlob, readBlobWhole},
		{"image header", image, imageReserved, ImagePayload, resealImage, readImageParts},
		{"image index", image, 2*blockSize + BucketSize, 2*blockSize + ImagePayload, resealImage, readImageParts},
		{"shard table entry", image, 5*blockSize + shardReserved, 5*blockSize + shardSize, resealImage, readImageParts},
		{"image trailer", image, blockReserved, blockChecksum, resealImage, readImageParts},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.read(c.b); err != nil || c.from >= c.to {
				t.Fatalf("bytes %d to %d: %v", c.from, c.to, err)
			}
			for _, i := range []int{c.from, (c.from + c.to) / 2, c.to - 1} {
				b := bytes.Clone(c.b)
				b[i] = 0x80
				c.reseal(b)
				if err := c.read(b); !errors.Is(err, ErrCorrupt) {
					t.Errorf("byte %d: got %v", i, err)
				}
			}
		})
	}
}

func resealFileHeader(b []byte) {
	binary.LittleEndian.PutUint64(b[fileChecksum:], checksum(b[:fileChecksum]))
}

func readBlobWhole(b []byte) error {
	blob, err := ReadBlob(b)
	if err != nil {
		return err
	}
	return errors.Join(blob.Verify(), blob.Decode(0, new(Section)))
}

func readImageParts(b []byte) error {
	m, err := OpenImage(bytes.NewReader(b), int64(len(b)), 40)
	if err != nil {
		return err
	}
	_, err = m.Shard(0)
	var block [ImagePayload]byte
	return errors.Join(err, m.IndexBlock(0, 1, &block))
}

// A section is made of one thing of each kind, and then one number of it is
// changed, in the meta part.
func TestSectionHostileNumbers(t *testing.T) {
	s := sampleSection(1)
	s.Segments, s.Pages = s.Segments[:1], s.Pages[:1]
	s.Pieces, s.Died = s.Pieces[:1], s.Died[:1]
	clean, _ := encodeBlob(t, sampleBlobHeader(BlobDurable), s)
	const (
		run   = sectionHeader + segmentSize
		piece = run + runSize
		died  = piece + pieceSize
		sums  = died + diedSize
	)
	for name, c := range map[string]struct {
		at, width int
		value     uint64
	}{
		"shard 256":             {sectionShard, 4, MaxShards},
		"shard 2^32-1":          {sectionShard, 4, 1<<32 - 1},
		"an unknown flag":       {sectionFlags, 4, 3},
		"no buckets":            {sectionState + stateBuckets, 4, 0},
		"a head beyond a tail":  {sectionState + stateHeads, 8, 1 << 60},
		"a segment 0":           {sectionHeader + segmentNumber, 8, 0},
		"a queue in memory":     {sectionHeader + segmentWhere, 8, 2 << 62},
		"an overfull segment":   {sectionHeader + segmentFill, 4, 1 << 20},
		"a run of segment 0":    {run, 8, 0},
		"a run beyond page 64":  {run + 8, 4, 62},
		"a run far beyond":      {run + 8, 4, 1<<32 - 1},
		"an empty run":          {run + 12, 4, 0},
		"a run over all sums":   {run + 12, 4, 4},
		"sums of no run":        {run + 12, 4, 2},
		"a run of 2^32-1 pages": {run + 12, 4, 1<<32 - 1},
		"a piece of segment 0":  {piece, 8, 0},
		"a piece too far":       {piece + 8, 4, MaxSegmentSize - 1},
		"a piece far too far":   {piece + 8, 4, 1<<32 - 1},
		"an empty piece":        {piece + 12, 4, 0},
		"a piece over all data": {piece + 12, 4, 101},
		"data of no piece":      {piece + 12, 4, 99},
		"a dead segment 0":      {died, 8, 0},
		"a page without sum":    {sums + 8, 8, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(clean)
			at := b[int(headerSize(1))+c.at:]
			if c.width == 8 {
				binary.LittleEndian.PutUint64(at, c.value)
			} else {
				binary.LittleEndian.PutUint32(at, uint32(c.value))
			}
			resealBlob(b)
			blob, err := ReadBlob(b)
			if err != nil || blob.Verify() != nil {
				t.Fatalf("not resealed: %v", err)
			}
			got, metaErr, dataErr := blob.Section(0)
			if got != nil || !errors.Is(metaErr, ErrCorrupt) || dataErr != nil {
				t.Errorf("got %+v, %v, %v", got, metaErr, dataErr)
			}
			if err := blob.Decode(0, new(Section)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Decode: %v", err)
			}
		})
	}
}

func TestShardEntryHostileNumbers(t *testing.T) {
	_, clean := sampleImage(t, 3)
	for name, c := range map[string]struct {
		at    int
		value uint64
	}{
		"segments beyond the table":  {shardFirstSegment, 4},
		"segments far beyond":        {shardFirstSegment, 1<<64 - 1},
		"an index in the header":     {shardFirstBlock, 0},
		"an index in the tables":     {shardFirstBlock, 4},
		"an index far beyond":        {shardFirstBlock, 1<<64 - 1},
		"a head beyond a tail":       {shardHeads + 8, 1 << 60},
		"a tail beyond a lap":        {shardTails, 1 << 60},
		"too few buckets":            {shardSegments, 3 | 63<<32},
		"too many buckets":           {shardSegments, 3 | (64*MaxGrowth+1)<<32},
		"more buckets than blocks":   {shardSegments, 3 | 64*MaxGrowth<<32},
		"more segments than entries": {shardSegments, 7 | 64<<32},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(clean)
			binary.LittleEndian.PutUint64(b[5*blockSize+c.at:], c.value)
			resealImage(b)
			m := openImage(t, b)
			if s, err := m.Shard(0); !errors.Is(err, ErrCorrupt) || s != (ImageShard{}) {
				t.Errorf("got %+v, %v", s, err)
			}
			if _, err := m.Shard(1); err != nil {
				t.Errorf("its neighbour: %v", err)
			}
		})
	}
}

// An error of the disk is passed on, not taken for damage.
func TestReadErrorsAreNotDamage(t *testing.T) {
	fault := &FaultError{Path: "x"}
	r := faultyReader{fault}
	_, err1 := ReadFileHeader(r, KindPages, 1)
	_, _, err2 := ReadBlobHeader(r, 0, 1<<20)
	_, err3 := OpenImage(r, 1<<20, 1)
	blob, err := ReadBlob(sampleBlob(t, BlobDurable))
	if err != nil {
		t.Fatal(err)
	}
	_, err4, _ := ReadSection(r, 0, &blob.Header, 0)
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, ErrFault) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%d: got %v", i+1, err)
		}
	}
}

type faultyReader struct{ err error }

func (r faultyReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }
