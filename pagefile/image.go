package pagefile

import (
	"encoding/binary"
	"fmt"
)

// An image is a copy of all indexes and tables of a directory, so that the blobs
// before it are not needed. It is a sequence of blocks, each verified by itself:
//
//	   0  payload   4032 bytes
//	4032  image id  u64
//	4040  dir id    u64
//	4048  block     u32  counts from 0, the block's offset / 4096
//	4052  kind      u16
//	4054  version   u16
//	4056  reserved  32 bytes
//	4088  checksum  u64  of bytes 0 to 4087
//	4096
//
// Block 0 is the header. Then come the index, the shard table, the segment table
// and the checksums of pages, each beginning with a block of its own:
//
//	index     buckets of 64 bytes, 63 a block; each shard begins a block
//	shards    64 bytes each, 63 a block
//	segments  24 bytes each, 168 a block, shard by shard
//	sums      u64 each, 504 a block: for each segment, in the order of the
//	          segment table, one for each page, 0 for a page that is not home
//
// The header, whose first 64 bytes are a FileHeader:
//
//	  0  file header   64 bytes
//	 64  lineage       u64
//	 72  index blocks  u64
//	 80  segments      u64, of all shards
//	 88  zeroes
//
// where each table begins follows from these. An entry of the shard table:
//
//	 0  segments       u32
//	 4  buckets        u32
//	 8  first segment  u64, in the segment table
//	16  first block    u64, of the shard's index
//	24  heads          2 u64, when the image was begun
//	40  tails          2 u64
//	56  reserved       u64
//	64

// ImagePayload is how many bytes of a block are not trailer.
const ImagePayload = 4032

// BucketsPerBlock is how many buckets of an index lie in a block of an image.
const BucketsPerBlock = ImagePayload / BucketSize

const (
	blockImage    = ImagePayload
	blockDir      = 4040
	blockNumber   = 4048
	blockKind     = 4052
	blockVersion  = 4054
	blockReserved = 4056
	blockChecksum = 4088
	blockSize     = 4096
)

// Kinds of blocks.
const (
	blockHeader   = 1
	blockIndex    = 2
	blockShards   = 3
	blockSegments = 4
	blockSums     = 5
	blockGhosts   = 6 // behind the tables: see imageghosts.go
)

const (
	imageLineage     = 64
	imageIndexBlocks = 72
	imageSegments    = 80
	imageReserved    = 88

	shardSegments     = 0
	shardBuckets      = 4
	shardFirstSegment = 8
	shardFirstBlock   = 16
	shardHeads        = 24
	shardTails        = 40
	shardReserved     = 56
	shardSize         = 64

	shardsPerBlock   = ImagePayload / shardSize
	segmentsPerBlock = ImagePayload / segmentSize
	sumsPerBlock     = ImagePayload / sumSize
)

// An ImageHeader says what an image is of.
type ImageHeader struct {
	ID       uint64 // of the file: the generation that it was written for
	Lineage  uint64
	Geometry Geometry
}

// Validate reports a header that no image can have.
func (h ImageHeader) Validate() error {
	if h.ID == 0 {
		return fmt.Errorf("image without an id")
	}
	return h.file().Validate()
}

func (h ImageHeader) file() FileHeader { return FileHeader{KindImage, h.ID, h.Geometry} }

// An imageLayout says where the tables of an image begin, in blocks.
type imageLayout struct {
	indexBlocks, segments       uint64
	shards, table, sums, blocks uint64
}

// maxBlocks is bounded by a block's number.
const maxBlocks = 1 << 32

// layoutImage computes where everything is. It fails for an image that cannot
// be, before anything could overflow.
func layoutImage(g Geometry, indexBlocks, segments uint64) (imageLayout, error) {
	if indexBlocks >= maxBlocks || segments >= maxBlocks {
		return imageLayout{}, fmt.Errorf("%d index blocks, %d segments", indexBlocks, segments)
	}
	l := imageLayout{indexBlocks: indexBlocks, segments: segments}
	l.shards = 1 + indexBlocks
	l.table = l.shards + blocksFor(uint64(g.Shards), shardsPerBlock)
	l.sums = l.table + blocksFor(segments, segmentsPerBlock)
	l.blocks = l.sums + blocksFor(segments*uint64(g.PagesPerSegment()), sumsPerBlock)
	if l.blocks >= maxBlocks {
		return imageLayout{}, fmt.Errorf("%d blocks", l.blocks)
	}
	return l, nil
}

// blocksFor is how many blocks n things take.
func blocksFor(n, perBlock uint64) uint64 { return (n + perBlock - 1) / perBlock }

// sealBlock fills the trailer of a block.
func sealBlock(b []byte, h *ImageHeader, number uint64, kind uint16) {
	binary.LittleEndian.PutUint64(b[blockImage:], h.ID)
	binary.LittleEndian.PutUint64(b[blockDir:], h.Geometry.DirID)
	binary.LittleEndian.PutUint32(b[blockNumber:], uint32(number))
	binary.LittleEndian.PutUint16(b[blockKind:], kind)
	binary.LittleEndian.PutUint16(b[blockVersion:], Version)
	clear(b[blockReserved:blockChecksum])
	binary.LittleEndian.PutUint64(b[blockChecksum:], checksum(b[:blockChecksum]))
}

// checkBlock proves that b is that block of that image.
func checkBlock(b []byte, h *ImageHeader, number uint64, kind uint16) error {
	switch {
	case le64(b, blockChecksum) != checksum(b[:blockChecksum]):
		return corrupt("block %d: checksum", number)
	case le64(b, blockImage) != h.ID || le64(b, blockDir) != h.Geometry.DirID:
		return corrupt("block %d: of image %d of directory %x", number, le64(b, blockImage), le64(b, blockDir))
	case uint64(le32(b, blockNumber)) != number || le16(b, blockKind) != kind:
		return corrupt("block %d: it is block %d of kind %d", number, le32(b, blockNumber), le16(b, blockKind))
	case le16(b, blockVersion) != Version || !allZero(b[blockReserved:blockChecksum]):
		return corrupt("block %d: trailer", number)
	}
	return nil
}
