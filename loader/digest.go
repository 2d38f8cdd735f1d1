package loader

import (
	"encoding/binary"
	"hash"
	"hash/crc64"
	"slices"
)

var digestTable = crc64.MakeTable(crc64.ECMA)

// Digest names the recovered state: the same files give the same one. What lies
// in the page file and in the image's index is named by their checksums and by
// the record, and is not read.
func (r *Result) Digest() uint64 {
	d := digest{hash: crc64.New(digestTable)}
	if r.Record != nil {
		d.words(r.Record.Hash())
	}
	d.words(r.LastGeneration, r.LastOpens, uint64(r.Weak), uint64(r.Clock))
	d.words(r.Chain.File, r.Chain.Offset, r.Chain.Number, r.Chain.Hash)
	for i := range r.Shards {
		d.shard(&r.Shards[i])
	}
	return d.hash.Sum64()
}

// A digest writes numbers and, with their lengths, bytes.
type digest struct {
	hash hash.Hash64
	buf  []byte
}

func (d *digest) words(words ...uint64) {
	d.buf = slices.Grow(d.buf[:0], 8*len(words))
	for _, w := range words {
		d.buf = binary.LittleEndian.AppendUint64(d.buf, w)
	}
	d.hash.Write(d.buf) // a hash never fails
}

func (d *digest) bytes(b []byte) {
	d.words(uint64(len(b)))
	d.hash.Write(b)
}

func (d *digest) shard(s *Shard) {
	d.words(s.State.Heads[0], s.State.Heads[1], s.State.Tails[0], s.State.Tails[1],
		uint64(s.State.Buckets), uint64(s.State.Entries), s.State.Live,
		uint64(s.ImageBuckets), uint64(s.Lost), uint64(len(s.Journals)), uint64(len(s.Segments)))
	for _, j := range s.Journals {
		d.bytes(j)
	}
	for i := range s.Segments {
		seg := &s.Segments[i]
		d.words(seg.Number, uint64(seg.Queue), seg.Seq, uint64(seg.Place), uint64(seg.Fill),
			uint64(seg.ImageEntry), uint64(len(seg.Sums)), uint64(len(seg.Pieces)))
		d.words(seg.Sums...)
		for _, p := range seg.Pieces {
			d.words(uint64(p.Offset))
			d.bytes(p.Bytes)
		}
	}
}
