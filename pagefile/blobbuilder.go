package pagefile

import (
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// gatherSize bounds one write of a blob.
const gatherSize = 1 << 20

// A BlobBuilder encodes a blob and writes it with few large writes. Journals and
// pieces are not copied before that: what Add was given must not change until
// WriteTo returns. A builder is for many blobs, one after the other; it keeps
// its buffers, at most 1 MiB and the tables of the longest blob. The zero value
// is ready for Reset. Not safe for concurrent use.
type BlobBuilder struct {
	header BlobHeader
	err    error  // of an Add, sticky until Reset
	end    uint64 // length of the parts so far

	tables   []byte     // meta parts without their journals
	metas    []metaPart // by section
	journals [][]byte   // of all sections
	pieces   [][]byte   // all data parts

	sum    xxhash.Digest
	gather gather
}

// A metaPart is where the tables and the journal of a section end; they begin
// where those of the section before it end.
type metaPart struct{ tables, journals int }

// Reset begins a blob. Length and Sections of h do not matter.
func (b *BlobBuilder) Reset(h BlobHeader) {
	h.Length, h.Sections = 0, b.header.Sections[:0]
	b.header, b.err, b.end = h, nil, 0
	b.tables = b.tables[:0]
	// The old contents are cleared so that journals and frames can be collected.
	clear(b.journals)
	clear(b.pieces)
	b.metas, b.journals, b.pieces = b.metas[:0], b.journals[:0], b.pieces[:0]
}

// Add appends a section; shards ascend. After an error, ErrBlobTooLong or a
// section that is not valid, the blob cannot be written; Reset begins anew.
func (b *BlobBuilder) Add(s *Section) error {
	if b.err == nil {
		b.err = b.add(s)
	}
	return b.err
}

func (b *BlobBuilder) add(s *Section) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("blob: section of shard %d: %w", s.Shard, err)
	}
	if n := len(b.header.Sections); n > 0 && uint32(s.Shard) <= b.header.Sections[n-1].Shard {
		return fmt.Errorf("blob: shard %d after shard %d", s.Shard, b.header.Sections[n-1].Shard)
	}
	counts, data := s.count()
	meta := counts.size()
	if headerSize(MaxShards)+int64(b.end)+int64(meta)+int64(data) > MaxBlob-BlobAlign {
		return fmt.Errorf("blob: section of shard %d: %w", s.Shard, ErrBlobTooLong)
	}
	b.end += meta + data

	from := len(b.tables)
	b.tables = s.appendMeta(b.tables, counts)
	b.journals = append(b.journals, s.Journal...)
	b.metas = append(b.metas, metaPart{len(b.tables), len(b.journals)})
	ref := SectionRef{Shard: uint32(s.Shard), MetaLen: uint32(meta), DataLen: uint32(data)}
	b.sum.Reset()
	b.sum.Write(b.tables[from:])
	for _, j := range s.Journal {
		b.sum.Write(j)
	}
	ref.MetaSum = nonZero(b.sum.Sum64())
	b.sum.Reset()
	for _, p := range s.Pieces {
		b.pieces = append(b.pieces, p.Bytes)
		b.sum.Write(p.Bytes)
	}
	ref.DataSum = nonZero(b.sum.Sum64())
	b.header.Sections = append(b.header.Sections, ref)
	return nil
}

// Len is the length of the blob as it is now, padding included.
func (b *BlobBuilder) Len() int64 {
	return roundUp(headerSize(len(b.header.Sections))+int64(b.end), BlobAlign)
}

// WriteTo writes the blob at off and returns its hash and length. It does not
// sync. After an error n counts the bytes before the write that failed; those
// after them may have changed too. The blob may be written again, elsewhere.
func (b *BlobBuilder) WriteTo(f io.WriterAt, off int64) (hash uint64, n int64, err error) {
	if b.err != nil {
		return 0, 0, b.err
	}
	b.header.Length = uint64(b.Len())
	if err := b.header.Validate(); err != nil {
		return 0, 0, err
	}
	g := &b.gather
	g.reset(f, off, b.Len())
	g.buf, hash = b.header.append(g.buf)
	var from metaPart
	for _, to := range b.metas {
		g.write(b.tables[from.tables:to.tables])
		g.writeAll(b.journals[from.journals:to.journals])
		from = to
	}
	g.writeAll(b.pieces)
	g.write(zeroes[:b.Len()-b.header.end()])
	g.flush()
	g.f = nil
	if g.err != nil {
		return 0, g.off - off, fmt.Errorf("write blob: %w", g.err)
	}
	return hash, g.off - off, nil
}

// A gather joins small writes into large ones.
type gather struct {
	f   io.WriterAt
	off int64 // of the next write
	buf []byte
	err error // the first; nothing is written after it
}

// reset begins at off; n is a hint how much will be written.
func (g *gather) reset(f io.WriterAt, off, n int64) {
	g.f, g.off, g.err = f, off, nil
	// Doubling, so that links that grow bit by bit do not allocate each time.
	want := int(min(gatherSize, max(n, 2*int64(cap(g.buf)))))
	if n > int64(cap(g.buf)) && cap(g.buf) < gatherSize {
		g.buf = make([]byte, 0, want)
	}
	g.buf = g.buf[:0]
}

func (g *gather) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), cap(g.buf)-len(g.buf))
		g.buf, p = append(g.buf, p[:n]...), p[n:]
		if len(g.buf) == cap(g.buf) {
			g.flush()
		}
	}
}

func (g *gather) writeAll(list [][]byte) {
	for _, p := range list {
		g.write(p)
	}
}

func (g *gather) flush() {
	if len(g.buf) > 0 && g.err == nil {
		_, g.err = g.f.WriteAt(g.buf, g.off)
		g.off += int64(len(g.buf))
	}
	g.buf = g.buf[:0]
}
