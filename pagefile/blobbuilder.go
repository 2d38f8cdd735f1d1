package pagefile

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// gatherSize bounds one write of a blob.
const gatherSize = 1 << 20

// A BlobBuilder encodes a blob and writes it with few large writes. Journals and
// pieces are written from where they lie: what Add was given must not change
// until WriteTo returns. A builder is for many blobs, one after the other; it
// keeps a buffer of 64 KiB and the tables of the longest blob. The zero value
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

// Hash is what WriteTo will return, before it writes anything.
func (b *BlobBuilder) Hash() (hash uint64) {
	b.header.Length = uint64(b.Len())
	_, hash = b.header.append(nil)
	return hash
}

// WriteTo writes the blob at off and returns its hash and length. It does not
// sync. After an error n counts the bytes before the write that failed; those
// after them may have changed too. The blob may be written again, elsewhere.
func (b *BlobBuilder) WriteTo(f File, off int64) (hash uint64, n int64, err error) {
	if b.err != nil {
		return 0, 0, b.err
	}
	b.header.Length = uint64(b.Len())
	if err := b.header.Validate(); err != nil {
		return 0, 0, err
	}
	g := &b.gather
	g.reset(f, off)
	g.begin(func(p []byte) []byte {
		p, hash = b.header.append(p)
		return p
	})
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

// A gather makes a few large writes of many parts. Long ones are written from
// where they lie, short ones are joined before.
type gather struct {
	f     File
	off   int64    // of the next write
	parts [][]byte // of it
	len   int      // bytes of them
	buf   []byte   // short parts; never moves, since parts refer to it
	open  bool     // the last of parts is the end of buf, from start on
	start int
	err   error // the first; nothing is written after it
}

const (
	gatherBuf = 64 << 10 // has room for any header
	leastPart = 1 << 10  // shorter ones cost less to copy
)

func (g *gather) reset(f File, off int64) {
	if g.buf == nil {
		g.buf = make([]byte, 0, gatherBuf)
	}
	g.f, g.off, g.err = f, off, nil
	g.empty()
}

// begin writes what put appends.
func (g *gather) begin(put func(b []byte) []byte) {
	g.buf = put(g.buf)
	g.parts, g.len, g.open, g.start = append(g.parts, g.buf), len(g.buf), true, 0
}

func (g *gather) write(p []byte) {
	for len(p) > 0 {
		n := min(len(p), gatherSize-g.len)
		if n < leastPart {
			n = g.join(p[:n])
		} else {
			g.parts, g.open = append(g.parts, p[:n]), false
		}
		g.len, p = g.len+n, p[n:]
		if g.len == gatherSize || len(g.buf) == cap(g.buf) {
			g.flush()
		}
	}
}

// join copies as much of p as there is room for.
func (g *gather) join(p []byte) int {
	n := min(len(p), cap(g.buf)-len(g.buf))
	if !g.open {
		g.parts, g.open, g.start = append(g.parts, nil), true, len(g.buf)
	}
	g.buf = append(g.buf, p[:n]...)
	g.parts[len(g.parts)-1] = g.buf[g.start:]
	return n
}

func (g *gather) writeAll(list [][]byte) {
	for _, p := range list {
		g.write(p)
	}
}

func (g *gather) flush() {
	if g.len > 0 && g.err == nil {
		_, g.err = g.f.WriteVAt(g.parts, g.off)
		g.off += int64(g.len)
	}
	g.empty()
}

func (g *gather) empty() {
	clear(g.parts)
	g.parts, g.buf, g.len, g.open = g.parts[:0], g.buf[:0], 0, false
}
