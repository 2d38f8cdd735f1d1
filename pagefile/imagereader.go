package pagefile

import (
	"fmt"
	"io"
	"sync"
)

// An ImageReader reads an image block by block; nothing but the header and the
// shard table is read before it is asked for. Each block is copied, then
// verified (I3), and one that fails costs what lies on it. Safe for concurrent
// use.
type ImageReader struct {
	r      io.ReaderAt
	blocks uint64 // whole ones in the file: what is beyond is damaged
	header ImageHeader
	layout imageLayout
	shards []ImageShard
	errs   []error // by shard
}

// An ImageShard is what an image says of one shard.
type ImageShard struct {
	Heads, Tails [2]uint64 // when the image was begun
	Buckets      uint32    // of the index in the image
	Segments     int
	FirstEntry   int // of its segments in the image's segment table

	firstBlock uint64
}

// OpenImage verifies the header of the image of that id in a file of size bytes,
// and reads the shard table. A file that is too short is not refused: what is
// left of it is good.
func OpenImage(r io.ReaderAt, size int64, id uint64) (*ImageReader, error) {
	m := &ImageReader{r: r, blocks: uint64(max(size, 0)) / blockSize}
	b := make([]byte, blockSize)
	if err := readFull(r, b, 0); err != nil {
		return nil, fmt.Errorf("image %d: %w", id, err)
	}
	if err := m.parseHeader(b, id); err != nil {
		return nil, fmt.Errorf("image %d: %w", id, err)
	}
	m.shards = make([]ImageShard, m.header.Geometry.Shards)
	m.errs = make([]error, len(m.shards))
	for first := 0; first < len(m.shards); first += shardsPerBlock {
		err := m.readBlock(b, m.layout.shards+uint64(first/shardsPerBlock), blockShards)
		for i := first; i < min(first+shardsPerBlock, len(m.shards)); i++ {
			if m.errs[i] = err; err == nil {
				m.errs[i] = m.parseShard(i, b[i%shardsPerBlock*shardSize:])
			}
		}
	}
	return m, nil
}

func (m *ImageReader) parseHeader(b []byte, id uint64) error {
	file, err := parseFileHeader(b) // first: it knows a newer version
	if err != nil {
		return err
	}
	if file.Kind != KindImage || file.ID != id {
		return corrupt("it is %s", FileName(file.Kind, file.ID))
	}
	m.header = ImageHeader{ID: id, Lineage: le64(b, imageLineage), Geometry: file.Geometry}
	if err := m.header.Validate(); err != nil {
		return corrupt("%v", err)
	}
	if err := checkBlock(b, &m.header, 0, blockHeader); err != nil {
		return err
	}
	if !allZero(b[imageReserved:ImagePayload]) {
		return corrupt("reserved bytes are set")
	}
	m.layout, err = layoutImage(file.Geometry, le64(b, imageIndexBlocks), le64(b, imageSegments))
	if err != nil {
		return corrupt("%v", err)
	}
	return nil
}

// parseShard reads an entry of the shard table; its neighbours may be lost, so
// it is compared with the header only.
func (m *ImageReader) parseShard(i int, b []byte) error {
	state := ShardState{
		Heads:   [2]uint64{le64(b, shardHeads), le64(b, shardHeads+8)},
		Tails:   [2]uint64{le64(b, shardTails), le64(b, shardTails+8)},
		Buckets: le32(b, shardBuckets),
	}
	if err := state.Validate(m.header.Geometry); err != nil {
		return corrupt("shard %d: %v", i, err)
	}
	segments, firstSegment := uint64(le32(b, shardSegments)), le64(b, shardFirstSegment)
	if firstSegment > m.layout.segments || segments > m.layout.segments-firstSegment {
		return corrupt("shard %d: segments %d+%d of %d", i, firstSegment, segments, m.layout.segments)
	}
	block, n := le64(b, shardFirstBlock), blocksFor(uint64(state.Buckets), BucketsPerBlock)
	if block < 1 || block > m.layout.shards || n > m.layout.shards-block {
		return corrupt("shard %d: index blocks %d+%d", i, block, n)
	}
	if le64(b, shardReserved) != 0 {
		return corrupt("shard %d: reserved bytes are set", i)
	}
	if int64(int(segments)) != int64(segments) || int64(int(firstSegment)) != int64(firstSegment) {
		return corrupt("shard %d: too many segments for this machine", i)
	}
	m.shards[i] = ImageShard{
		Heads:      state.Heads,
		Tails:      state.Tails,
		Buckets:    state.Buckets,
		Segments:   int(segments),
		FirstEntry: int(firstSegment),
		firstBlock: block,
	}
	return nil
}

// Header is what the image is of.
func (m *ImageReader) Header() ImageHeader { return m.header }

// Size is how long the file should be, at least: ghosts may follow.
func (m *ImageReader) Size() int64 { return int64(m.layout.blocks) * blockSize }

// Shard is what the image says of a shard; it fails if the entry is damaged, and
// then so does everything else for that shard.
func (m *ImageReader) Shard(shard int) (ImageShard, error) {
	if shard < 0 || shard >= len(m.shards) {
		return ImageShard{}, corrupt("shard %d of %d", shard, len(m.shards))
	}
	return m.shards[shard], m.errs[shard]
}

// Segments calls yield for each of a shard's segments that verifies, in order;
// segment i has entry FirstEntry+i. bad counts the others.
func (m *ImageReader) Segments(shard int, yield func(i int, seg Segment)) (bad int, err error) {
	s, err := m.Shard(shard)
	if err != nil {
		return 0, err
	}
	buf := getBlock()
	defer putBlock(buf)
	first, end := s.FirstEntry, s.FirstEntry+s.Segments
	for entry := first; entry < end; {
		block := m.layout.table + uint64(entry/segmentsPerBlock)
		if block >= m.blocks {
			return bad + end - entry, nil
		}
		stop := min(end, entry-entry%segmentsPerBlock+segmentsPerBlock)
		readErr := m.readBlock(buf[:], block, blockSegments)
		for ; entry < stop; entry++ {
			var seg Segment
			if readErr == nil {
				seg, _ = parseSegment(buf[entry%segmentsPerBlock*segmentSize:])
			}
			if seg.Number == 0 {
				bad++
			} else {
				yield(entry-first, seg)
			}
		}
	}
	return bad, nil
}

// SegmentsInFile is at least how often Segments calls yield, and no more than a
// file of its length has room for.
func (m *ImageReader) SegmentsInFile(shard int) int {
	s, err := m.Shard(shard)
	if err != nil {
		return 0
	}
	return int(min(uint64(s.Segments), m.blocks*segmentsPerBlock))
}

// Sums reads the PageSums of the segment with that entry into dst, which is as
// long as a segment has pages. Those that are damaged are 0, like those of pages
// that are not home; the error says that there are some.
func (m *ImageReader) Sums(entry int, dst []uint64) error {
	pages := m.header.Geometry.PagesPerSegment()
	clear(dst)
	if entry < 0 || uint64(entry) >= m.layout.segments || len(dst) != pages {
		return corrupt("checksums of entry %d of %d, %d pages", entry, m.layout.segments, len(dst))
	}
	buf := getBlock()
	defer putBlock(buf)
	var firstErr error
	for at := uint64(entry) * uint64(pages); len(dst) > 0; {
		i := int(at % sumsPerBlock)
		n := min(len(dst), sumsPerBlock-i)
		if err := m.readBlock(buf[:], m.layout.sums+at/sumsPerBlock, blockSums); err == nil {
			for k := range dst[:n] {
				dst[k] = le64(buf[:], (i+k)*sumSize)
			}
		} else if firstErr == nil {
			firstErr = err
		}
		dst, at = dst[n:], at+uint64(n)
	}
	return firstErr
}

// IndexBlocks is how many blocks a shard's index has, 0 if its entry is damaged.
func (m *ImageReader) IndexBlocks(shard int) int {
	s, err := m.Shard(shard)
	if err != nil {
		return 0
	}
	return int(blocksFor(uint64(s.Buckets), BucketsPerBlock))
}

// IndexBlock reads block i of a shard's index: buckets from i*BucketsPerBlock
// on, zeroes beyond the last. After an error dst is zeroes: empty slots.
func (m *ImageReader) IndexBlock(shard, i int, dst *[ImagePayload]byte) error {
	s, err := m.Shard(shard)
	if err == nil && (i < 0 || i >= m.IndexBlocks(shard)) {
		err = corrupt("index block %d of shard %d", i, shard)
	}
	if err != nil {
		clear(dst[:])
		return err
	}
	buf := getBlock()
	defer putBlock(buf)
	err = m.readBlock(buf[:], s.firstBlock+uint64(i), blockIndex)
	used := min(int(s.Buckets)-i*BucketsPerBlock, BucketsPerBlock) * BucketSize
	if err == nil && !allZero(buf[used:ImagePayload]) {
		err = corrupt("index block %d of shard %d: bytes beyond its buckets", i, shard)
	}
	if err != nil {
		clear(dst[:])
		return err
	}
	copy(dst[:], buf[:])
	return nil
}

// readBlock reads and verifies a block into b.
func (m *ImageReader) readBlock(b []byte, number uint64, kind uint16) error {
	if number >= m.blocks {
		return corrupt("block %d: beyond the end of the file", number)
	}
	if err := readFull(m.r, b, int64(number)*blockSize); err != nil {
		return fmt.Errorf("block %d: %w", number, err)
	}
	return checkBlock(b, &m.header, number, kind)
}

// blocks are scratch for reads: they would escape through io.ReaderAt.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

func getBlock() *[blockSize]byte  { return blocks.Get().(*[blockSize]byte) }
func putBlock(b *[blockSize]byte) { blocks.Put(b) }
