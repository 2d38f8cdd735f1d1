// Package pagefile is the file format of Ember: every byte of every file of a
// cache directory, and the seam through which files are reached. It knows
// nothing of keys, values or caches.
//
// # Words
//
// A page is 4096 bytes. A segment is a run of pages in memory, appended to and
// then sealed; each use has a number that never repeats. A place is where a
// segment's pages lie in a page file. A position counts 16-byte units appended
// to a queue of a shard since the directory was made; seq is a position divided
// by the units of a segment. A cut is an instant of all shards; a [Blob] carries
// what changed up to a cut, a section for each shard. A [Record] names the files
// that together are the state at a cut: a durable generation. An image is a copy
// of all indexes and tables, so that the blobs before it are not needed.
//
// # Structures
//
//	[FileHeader]  64 B   what a file is, first block of pages, blobs, weak and image files
//	[PageSum]      8 B   the checksum of a page, kept in blobs and images
//	[Segment]     24 B   a segment and its place
//	[ShardState]  48 B   what a cut says of one shard
//	[Blob]               header block, then sections' meta and data; also a weak link
//	image                blocks of 4 KiB, see [ImageWriter] and [ImageReader]
//	[Record]             4 to 16 KiB, in a [Ring]
//
// All numbers are little-endian and of fixed width. Reserved bytes are written
// as zero and checked as zero (I6). docs/FORMAT.md has all offsets, and what
// each checksum covers.
//
// # The rule that bites
//
// What is read is hostile until it is proved: every decoder checks a checksum,
// then every length against what it read, and only then allocates. None panics,
// whatever the bytes. A decoded structure has passed its Validate; an encoder
// refuses one that does not. What fails wraps [ErrCorrupt]; what a newer build
// wrote wraps [ErrVersion] and is not ours to touch.
//
// A slice that a decoder returns aliases the bytes it was given, where its
// comment says so; keep those bytes as long as the slice.
package pagefile
