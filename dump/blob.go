package dump

import (
	"fmt"

	"github.com/embercache/ember/pagefile"
)

// A blobFile is the file that durable blobs are appended to. It is given up with
// the first failure, with each image, and with the process. // I1, I8
type blobFile struct {
	file pagefile.File // nil: none
	id   uint64
	end  int64 // of the last blob
	size int64 // allocated
}

// blobStep is by how much a blob file grows at least.
const blobStep = 1 << 20

// writeBlob writes the blob that carries the cut, and syncs it.
func (g *generation) writeBlob() error {
	if err := g.buildBlob(); err != nil {
		return err
	}
	d := g.d
	n := d.builder.Len()
	if err := d.openBlobFile(g, n); err != nil {
		return err
	}
	b := &d.blobs
	hash, _, err := d.builder.WriteTo(rested{b.file, d.limit}, b.end)
	if err == nil {
		err = b.file.Sync()
	}
	if err != nil {
		b.abandon()
		return err
	}
	g.blob = pagefile.Extent{File: b.id, Offset: uint64(b.end), Length: uint32(n), Hash: hash}
	g.bytes.Blobs = n
	b.end += n
	return nil
}

func (b *blobFile) abandon() {
	if b.file != nil {
		b.file.Close()
	}
	*b = blobFile{}
}

// openBlobFile sees to a file with room for n bytes. An image begins a new one,
// so that the old blobs can be removed when nothing needs them.
func (d *Dumper) openBlobFile(g *generation, n int64) (err error) {
	b := &d.blobs
	if g.full {
		b.abandon()
	}
	room := (n + blobStep - 1) / blobStep * blobStep
	if b.file == nil {
		key := fileKey{pagefile.KindBlobs, g.number}
		size := pagefile.FileHeaderBlock + room
		file, err := d.files.create(key, size)
		if err != nil {
			return err
		}
		*b = blobFile{file, g.number, pagefile.FileHeaderBlock, size}
	}
	if b.end+n > b.size {
		if err := b.file.Allocate(b.size, room); err != nil {
			return fmt.Errorf("grow blob file: %w", err)
		}
		b.size += room
	}
	return nil
}

// blobFiles counts the files that a record's blobs lie in, which is in order.
func blobFiles(r *pagefile.Record) (n int64) {
	last := uint64(0)
	for _, e := range r.Blobs {
		if e.File != last {
			n, last = n+1, e.File
		}
	}
	return n
}

// buildBlob collects what the newest image and its blobs do not tell of: for a
// full generation that image is the one it has just written.
func (g *generation) buildBlob() error {
	d := g.d
	prev := uint64(0)
	if n := g.blobsBefore(); n > 0 {
		prev = d.base.record.Blobs[n-1].Hash
	}
	d.builder.Reset(pagefile.BlobHeader{Kind: pagefile.BlobDurable, Number: g.number,
		Lineage: d.lineage, Opens: d.opens, Prev: prev, Clock: g.cut.Clock})
	g.reserveTails()
	for shard := range g.cut.Shards {
		s := g.section(shard)
		if g.empty(s) {
			continue
		}
		if err := d.builder.Add(s); err != nil {
			return err
		}
		d.limit.rest()
	}
	return nil
}

// blobsBefore is how many blobs the record keeps from the one before it.
func (g *generation) blobsBefore() int {
	if g.full || g.d.base.record == nil {
		return 0
	}
	return len(g.d.base.record.Blobs)
}

// empty reports whether a section says nothing that the record does not.
func (g *generation) empty(s *pagefile.Section) bool {
	return len(s.Journal)+len(s.Segments)+len(s.Pages)+len(s.Pieces)+len(s.Died) == 0
}

// section builds a shard's section. It is valid until the next call.
func (g *generation) section(shard int) *pagefile.Section {
	d := g.d
	s := &d.section
	*s = pagefile.Section{Shard: shard, Journal: g.stock.newer[shard], Died: d.home.died[shard],
		Segments: s.Segments[:0], Pages: s.Pages[:0], Pieces: s.Pieces[:0]}
	d.home.table.each(shard, func(i int32, r *row) {
		changed, fresh := r.flags&rowChanged != 0, r.fresh
		if g.full {
			changed, fresh = r.flags&rowChangedImage != 0, r.freshImage
		}
		if changed {
			s.Segments = append(s.Segments, r.segment())
		}
		runs(fresh, func(first, count int) {
			sums := d.home.table.sumsOf(i)[first : first+count]
			s.Pages = append(s.Pages, pagefile.PageRun{Number: r.number, First: first, Sums: sums})
		})
	})
	for q := range uint8(fileQueues) {
		g.tailPiece(s, shard, q)
	}
	s.State = g.cut.Shards[shard].State
	return s
}

// reserveTails sizes the buffer of the pages that are not full: at most one for
// each queue.
func (g *generation) reserveTails() {
	if n := len(g.cut.Shards) * fileQueues * pagefile.PageSize; cap(g.d.tails) < n {
		g.d.tails = make([]byte, 0, n)
	}
	g.d.tails = g.d.tails[:0]
}

// tailPiece adds the bytes of a queue's last page, which is not full: those since
// the newest durable cut, or, where no older blob counts, all of them.
func (g *generation) tailPiece(s *pagefile.Section, shard int, q uint8) {
	d := g.d
	state := &g.cut.Shards[shard].State
	tail := state.Tails[q]
	from := tail &^ (unitsPerPage - 1)
	if !g.full {
		from = max(from, d.base.tails(shard)[q])
	}
	if from >= tail {
		return
	}
	i := d.home.table.lines[shard][q].find(tail / d.home.units)
	n := len(d.tails)
	b := d.tails[n : n+int(tail-from)*pagefile.UnitSize]
	off := int(from%d.home.units) * pagefile.UnitSize
	if i == noRow || !d.src.Copy(b, shard, d.home.table.rows[i].id(), off) {
		// Evicted since the cut: head moves past it, so that nothing points there; but
		// not past what is held before it.
		if state.Heads[q] = livingHead(d.src, d.home.units, shard, q, state.Heads[q], tail); state.Heads[q] < tail {
			d.home.missed++
		}
		return
	}
	d.tails = d.tails[:n+len(b)]
	s.Pieces = append(s.Pieces, pagefile.Piece{Number: d.home.table.rows[i].number, Offset: uint32(off), Bytes: b})
}
