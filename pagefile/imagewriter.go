package pagefile

import (
	"fmt"
)

// imageRun is how much of an image is written at once: long for a disk, short for
// who waits for the processor meanwhile.
const imageRun = 256 << 10

// An ImageTable is what an image says of one shard, besides its index.
type ImageTable struct {
	Heads, Tails [2]uint64 // when the image was begun
	Segments     []Segment
}

// An ImageWriter writes an image: the index of one shard after the other, then
// the tables. How many buckets a shard has is settled at the start; buckets that
// an index gets later are not in the image. After an error the file is of no use
// and is removed (I8). Not safe for concurrent use.
type ImageWriter struct {
	file    File
	header  ImageHeader
	buckets []uint32
	err     error // the first, sticky

	shard  int    // whose index is being written
	bucket uint32 // its next bucket
	firsts []uint64

	block uint64 // number of the block that is being filled
	fill  int    // bytes of its payload
	run   []byte // blocks not written yet, the one being filled last
	off   int64  // where run belongs
}

// NewImageWriter begins an image in an empty file and allocates the index, so
// that a full disk shows before much is written. buckets has the number of
// buckets of each shard.
func NewImageWriter(f File, h ImageHeader, buckets []uint32) (*ImageWriter, error) {
	if err := h.Validate(); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	if len(buckets) != h.Geometry.Shards {
		return nil, fmt.Errorf("image: buckets of %d shards, want %d", len(buckets), h.Geometry.Shards)
	}
	w := &ImageWriter{file: f, header: h, buckets: buckets, block: 1, off: blockSize}
	next := uint64(1)
	for i, n := range buckets {
		if n < uint32(h.Geometry.BaseBuckets) || n > h.Geometry.MaxBuckets() {
			return nil, fmt.Errorf("image: shard %d: %d buckets", i, n)
		}
		w.firsts = append(w.firsts, next)
		next += blocksFor(uint64(n), BucketsPerBlock)
	}
	if err := f.Allocate(0, int64(next)*blockSize); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	w.run = make([]byte, 0, min(imageRun, next*blockSize))
	return w, nil
}

// WriteIndex appends buckets of a shard, 64 bytes each, beginning with bucket
// first. Shards and buckets come in order, none left out.
func (w *ImageWriter) WriteIndex(shard, first int, buckets []byte) error {
	if w.err != nil {
		return w.err
	}
	n := len(buckets) / BucketSize
	if shard != w.shard || shard >= len(w.buckets) || int64(first) != int64(w.bucket) ||
		len(buckets)%BucketSize != 0 || int64(n) > int64(w.buckets[shard]-w.bucket) {
		return w.fail(fmt.Errorf("image: %d bytes from bucket %d of shard %d, want bucket %d of shard %d",
			len(buckets), first, shard, w.bucket, w.shard))
	}
	w.put(blockIndex, buckets)
	w.bucket += uint32(n)
	if w.bucket == w.buckets[shard] {
		w.endTable(blockIndex)
		w.shard, w.bucket = w.shard+1, 0
	}
	return w.err
}

// Finish writes the tables, with the header last, and syncs. sums fills dst, as
// long as a segment has pages and zeroed, with the PageSums of segment i of a
// shard; 0 stays for a page that is not home. It returns the file's length.
func (w *ImageWriter) Finish(shards []ImageTable, sums func(shard, i int, dst []uint64)) (size int64, err error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.shard != len(w.buckets) || len(shards) != len(w.buckets) {
		return 0, w.fail(fmt.Errorf("image: %d indexes and %d tables of %d shards", w.shard, len(shards), len(w.buckets)))
	}
	indexBlocks, segments := w.block-1, uint64(0)
	for _, t := range shards {
		segments += uint64(len(t.Segments))
	}
	layout, err := layoutImage(w.header.Geometry, indexBlocks, segments)
	if err != nil {
		return 0, w.fail(fmt.Errorf("image: %w", err))
	}
	w.putShards(shards)
	w.putSegments(shards)
	w.putSums(shards, sums)
	w.flush()
	w.writeHeader(layout)
	if w.err == nil {
		w.err = w.file.Sync()
	}
	return int64(layout.blocks) * blockSize, w.err
}

func (w *ImageWriter) putShards(shards []ImageTable) {
	entry, first := make([]byte, 0, shardSize), uint64(0)
	for i, t := range shards {
		state := ShardState{Heads: t.Heads, Tails: t.Tails, Buckets: w.buckets[i]}
		if err := state.check(); err != nil {
			w.fail(fmt.Errorf("image: shard %d: %w", i, err))
		}
		entry = append32(entry[:0], uint32(len(t.Segments)), w.buckets[i])
		entry = appendWords(entry, first, w.firsts[i], t.Heads[0], t.Heads[1], t.Tails[0], t.Tails[1], 0)
		w.put(blockShards, entry)
		first += uint64(len(t.Segments))
	}
	w.endTable(blockShards)
}

func (w *ImageWriter) putSegments(shards []ImageTable) {
	entry := make([]byte, 0, segmentSize)
	for i, t := range shards {
		for _, s := range t.Segments {
			if err := s.Validate(); err != nil {
				w.fail(fmt.Errorf("image: shard %d: %w", i, err))
			}
			entry = s.append(entry[:0])
			w.put(blockSegments, entry)
		}
	}
	w.endTable(blockSegments)
}

func (w *ImageWriter) putSums(shards []ImageTable, sums func(shard, i int, dst []uint64)) {
	dst := make([]uint64, w.header.Geometry.PagesPerSegment())
	entry := make([]byte, 0, len(dst)*sumSize)
	for shard, t := range shards {
		for i := range t.Segments {
			clear(dst)
			sums(shard, i, dst)
			entry = appendWords(entry[:0], dst...)
			w.put(blockSums, entry)
		}
	}
	w.endTable(blockSums)
}

func (w *ImageWriter) writeHeader(l imageLayout) {
	if w.err != nil {
		return
	}
	b := w.header.file().append(make([]byte, 0, blockSize))
	b = appendWords(b, w.header.Lineage, l.indexBlocks, l.segments)
	b = b[:blockSize]
	sealBlock(b, &w.header, 0, blockHeader)
	_, w.err = w.file.WriteAt(b, 0)
}

// put appends to the payload of the block that is being filled, and begins
// others as needed.
func (w *ImageWriter) put(kind uint16, b []byte) {
	for len(b) > 0 && w.err == nil {
		n := min(len(b), ImagePayload-w.fill)
		w.run, b = append(w.run, b[:n]...), b[n:]
		if w.fill += n; w.fill == ImagePayload {
			w.endTable(kind)
		}
	}
}

// endTable completes the block that is being filled, if any of it is.
func (w *ImageWriter) endTable(kind uint16) {
	if w.fill == 0 || w.err != nil {
		return
	}
	w.run = appendZeroes(w.run, blockSize-w.fill)
	sealBlock(w.run[len(w.run)-blockSize:], &w.header, w.block, kind)
	w.block, w.fill = w.block+1, 0
	if len(w.run) >= imageRun {
		w.flush()
	}
}

func (w *ImageWriter) flush() {
	if w.err != nil || len(w.run) == 0 {
		return
	}
	if _, err := w.file.WriteAt(w.run, w.off); err != nil {
		w.fail(fmt.Errorf("image: %w", err))
		return
	}
	w.off += int64(len(w.run))
	w.run = w.run[:0]
}

func (w *ImageWriter) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}
