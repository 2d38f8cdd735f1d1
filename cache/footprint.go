package cache

// Footprint says what a configuration costs in its steady state, in bytes: a full
// cache of entries of 256 bytes that is written to all the time, in a new
// directory, on a disk that keeps up. It holds to a tenth from 64 MiB on.
//
// memory is what a control group is charged with: the frames, the index, what the
// cache has on Go's heap while it writes, and what the kernel caches of its files,
// which is not quite half of all and the first that it gives up when memory is
// short. What else the program has is not in it. disk is what the files take: a
// page file of three times MaxBytes, which is set aside with the first generation,
// the weak ring, also where Durability.WeakDir has it, images, blobs and records.
//
// An entry costs 10 bytes in the index and 8 in ghosts of what was evicted, and as
// much in each of two images: smaller ones take more of both, larger ones less.
// After a moment in which the disk was slow a link of the weak chain takes memory,
// to the length of its ring. What another Schema, another shape or damage has left
// stays on the disk for two generations more. Where a file system cannot reserve
// space (a tmpfs is not asked to) the page file grows as it must, from little more
// than MaxBytes on.
//
// It reports 0, 0 for options that Open refuses.
func (o *Options) Footprint() (memory, disk int64) {
	d, err := o.withDefaults()
	if err != nil {
		return 0, 0
	}
	f := d.footprint(d.shape())
	return f.own + f.heap + f.cached, f.disk
}

// A footprint is what Footprint says, in parts, in bytes.
type footprint struct {
	own    int64 // memory outside Go's heap
	heap   int64
	cached int64 // by the kernel, which gives it back
	ring   int64 // of disk, the weak ring
	disk   int64
}

// footprint is for options with their defaults.
func (o *Options) footprint(g geometry) (f footprint) {
	frames := int64(framesFor(o.MaxBytes, g))
	inFrames := frames * int64(g.segmentSize)
	index := inFrames * 7 / 8 / footprintEntry * bucketSize / bucketSlots * loadDen / loadNum
	ghosts := inFrames * 7 / 8 / footprintEntry * footprintGhost
	marks := inFrames / markedBytes
	image := index + ghosts + inFrames/512 + 1<<20 // slots; a checksum a page; tables
	files := image + 2<<20                         // that full it is as large as one and a half are, with blobs; records
	if o.Durability.Weak > 0 {
		f.ring = weakRing(o.MaxBytes)
	}
	// An eighth of the frames is free, and one in twenty was never in use.
	f.own = (inFrames+marks)*19/20 + g.indexInMemory(index) + ghosts + o.liveLogSize(g)
	f.heap = int64(10<<20) + frames*footprintRow + int64(g.shards)*2*journalChunk
	f.cached = inFrames*7/8 + files + f.ring
	f.disk = pageSize + (3*frames+64)*int64(g.segmentSize) + image + files + f.ring // two, and blobs, at times
	return f
}

const (
	footprintEntry = 256  // bytes of an entry
	footprintGhost = 8    // bytes of a ghost, 5 to 11; there are as many as entries
	footprintRow   = 1536 // bytes of the heap for a segment: what the dumper knows of it, twice over for the collector
)

// indexInMemory is what an index of all shards takes in huge pages. Shards share
// one only where they can grow no larger.
func (g geometry) indexInMemory(index int64) int64 {
	stride := int64(g.indexStride())
	if stride < hugePage {
		return int64(g.shards) * stride
	}
	shard := (index/int64(g.shards) + hugePage - 1) &^ (hugePage - 1)
	return int64(g.shards) * min(shard, stride)
}
