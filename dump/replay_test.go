package dump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A replayed directory is what a recovery finds, in the plainest way. Unlike the
// loader it takes no damage: whatever a record names has to verify.
type replayed struct {
	record   *pagefile.Record
	retained []*pagefile.Record
	mirror   bool // the record is in both rings
	shards   []*replayedShard
	image    *pagefile.ImageReader
	pages    pagefile.File
	chain    pagefile.WeakPos
	links    int
	clock    int64 // of the cut that was found
	last     uint64
}

type replayedShard struct {
	state   pagefile.ShardState
	words   []uint64
	rows    map[uint64]*replayedRow
	chained [][]byte // journals of links
	died    []uint64 // told by links
}

type replayedRow struct {
	pagefile.Segment
	entry  int
	sums   []uint64
	blobs  []uint64 // those of them that blobs told
	pieces []pagefile.Piece
}

const fakeDir = "/cache"

// replay recovers a directory; record is nil for a cold one.
func replay(fsys *crashfs.FS, weak bool) (*replayed, error) {
	r := &replayed{}
	if err := r.findRecord(fsys); err != nil || r.record == nil {
		return r, err
	}
	return r, r.load(fsys, weak)
}

// replayOlder recovers a generation that is retained.
func replayOlder(fsys *crashfs.FS, rec *pagefile.Record) (*replayed, error) {
	r := &replayed{record: rec}
	return r, r.load(fsys, false)
}

func (r *replayed) load(fsys *crashfs.FS, weak bool) error {
	if err := r.readImage(fsys); err != nil {
		return err
	}
	for _, e := range r.record.Blobs {
		if err := r.readBlob(fsys, e); err != nil {
			return fmt.Errorf("generation %d: %w", r.record.Generation, err)
		}
	}
	for i, s := range r.shards {
		s.state = r.record.Shards[i]
	}
	r.clock, r.chain = r.record.Clock, r.record.Weak
	if weak && r.chain.File != 0 {
		if err := r.readChain(fsys); err != nil {
			return err
		}
	}
	for _, s := range r.shards {
		s.trim()
	}
	return nil
}

func (r *replayed) findRecord(fsys *crashfs.FS) error {
	var both [2][]*pagefile.Record
	for i, name := range []string{pagefile.RecordsName, pagefile.MirrorName} {
		ring, err := pagefile.OpenRingReadOnly(fsys, fakeDir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		both[i], _, _ = ring.ReadAll()
		ring.Close()
	}
	for _, rec := range slices.Concat(both[0], both[1]) {
		if r.record == nil || rec.Generation > r.record.Generation {
			r.record = rec
		}
	}
	if r.record == nil {
		return nil
	}
	r.last = r.record.Generation
	same := func(rec *pagefile.Record) bool { return rec.Generation == r.record.Generation }
	r.mirror = slices.ContainsFunc(both[0], same) && slices.ContainsFunc(both[1], same)
	for _, g := range r.record.Retained {
		for _, rec := range slices.Concat(both[0], both[1]) {
			if rec.Generation == g && !slices.ContainsFunc(r.retained, func(o *pagefile.Record) bool { return o.Generation == g }) {
				r.retained = append(r.retained, rec)
			}
		}
	}
	return nil
}

func openNumbered(fsys *crashfs.FS, kind pagefile.FileKind, id uint64) (pagefile.File, int64, error) {
	f, err := fsys.OpenFile(filepath.Join(fakeDir, pagefile.FileName(kind, id)), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	if kind != pagefile.KindImage {
		if _, err := pagefile.ReadFileHeader(f, kind, id); err != nil {
			return nil, 0, err
		}
	}
	size, err := f.Size()
	return f, size, err
}

func (r *replayed) readImage(fsys *crashfs.FS) error {
	f, size, err := openNumbered(fsys, pagefile.KindImage, r.record.Image)
	if err != nil {
		return err
	}
	if r.image, err = pagefile.OpenImage(f, size, r.record.Image); err != nil {
		return err
	}
	if r.pages, _, err = openNumbered(fsys, pagefile.KindPages, r.record.PageFile); err != nil {
		return err
	}
	for i := range r.record.Shards {
		s, err := r.readImageShard(i)
		if err != nil {
			return fmt.Errorf("image %d, shard %d: %w", r.record.Image, i, err)
		}
		r.shards = append(r.shards, s)
	}
	return nil
}

func (r *replayed) readImageShard(i int) (*replayedShard, error) {
	s := &replayedShard{rows: map[uint64]*replayedRow{}}
	entry, err := r.image.Shard(i)
	if err != nil {
		return nil, err
	}
	var list []pagefile.Segment
	bad, err := r.image.Segments(i, func(_ int, seg pagefile.Segment) { list = append(list, seg) })
	if err != nil || bad > 0 {
		return nil, fmt.Errorf("%d segments are bad: %v", bad, err)
	}
	pages := r.record.Geometry.PagesPerSegment()
	for k, seg := range list {
		row := &replayedRow{Segment: seg, entry: entry.FirstEntry + k, sums: make([]uint64, pages), blobs: make([]uint64, pages)}
		if err := r.image.Sums(row.entry, row.sums); err != nil {
			return nil, err
		}
		s.rows[seg.Number] = row
	}
	for b := range r.image.IndexBlocks(i) {
		var block [pagefile.ImagePayload]byte
		if err := r.image.IndexBlock(i, b, &block); err != nil {
			return nil, err
		}
		for off := 0; off < len(block); off += 8 {
			s.words = append(s.words, binary.LittleEndian.Uint64(block[off:]))
		}
	}
	s.words = s.words[:entry.Buckets*8]
	return s, nil
}

func (r *replayed) readBlob(fsys *crashfs.FS, e pagefile.Extent) error {
	f, size, err := openNumbered(fsys, pagefile.KindBlobs, e.File)
	if err != nil {
		return err
	}
	h, hash, err := pagefile.VerifyBlob(f, int64(e.Offset), size, nil)
	if err != nil {
		return err
	}
	if hash != e.Hash || h.Length != uint64(e.Length) {
		return fmt.Errorf("blob at %d is another", e.Offset)
	}
	return r.applySections(f, int64(e.Offset), &h, false)
}

func (r *replayed) applySections(f pagefile.File, off int64, h *pagefile.BlobHeader, link bool) error {
	for i := range h.Sections {
		s, metaErr, dataErr := pagefile.ReadSection(f, off, h, i)
		if err := errors.Join(metaErr, dataErr); err != nil {
			return err
		}
		if err := r.shards[s.Shard].apply(s, r.record.Geometry.PagesPerSegment(), link); err != nil {
			return err
		}
	}
	return nil
}

func (s *replayedShard) apply(sec *pagefile.Section, pages int, link bool) error {
	s.state = sec.State
	for _, j := range sec.Journal {
		for ; len(j) > 0; j = j[12:] {
			slot := int(binary.LittleEndian.Uint32(j))
			for slot >= len(s.words) {
				s.words = append(s.words, 0)
			}
			s.words[slot] = binary.LittleEndian.Uint64(j[4:])
		}
	}
	for _, seg := range sec.Segments {
		s.tell(seg, pages)
	}
	for _, run := range sec.Pages {
		row := s.rows[run.Number]
		if row == nil {
			return fmt.Errorf("pages of segment %x, which nobody told", run.Number)
		}
		copy(row.sums[run.First:], run.Sums)
		copy(row.blobs[run.First:], run.Sums)
	}
	for _, p := range sec.Pieces {
		row := s.rows[p.Number]
		if row == nil {
			return fmt.Errorf("bytes of segment %x, which nobody told", p.Number)
		}
		row.pieces = append(row.pieces, pagefile.Piece{Number: p.Number, Offset: p.Offset, Bytes: bytes.Clone(p.Bytes)})
	}
	for _, n := range sec.Died {
		delete(s.rows, n)
	}
	if link {
		s.chained = append(s.chained, sec.Journal...)
		s.died = append(s.died, sec.Died...)
	}
	return nil
}

func (s *replayedShard) tell(seg pagefile.Segment, pages int) {
	row := s.rows[seg.Number]
	if row == nil {
		s.rows[seg.Number] = &replayedRow{Segment: seg, entry: -1, sums: make([]uint64, pages), blobs: make([]uint64, pages)}
		return
	}
	if seg.Place == pagefile.NoPlace {
		seg.Place = row.Place
	}
	row.Segment = seg
}

// readChain applies the links that follow the record's own, up to the last whole
// one.
func (r *replayed) readChain(fsys *crashfs.FS) error {
	f, size, err := openNumbered(fsys, pagefile.KindWeak, r.chain.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for {
		at := int64(r.chain.Offset)
		h, hash, ok := r.linkAt(f, at, size)
		if !ok {
			at = pagefile.FileHeaderBlock
			if h, hash, ok = r.linkAt(f, at, size); !ok {
				return nil
			}
		}
		if err := r.applySections(f, at, &h, true); err != nil {
			return fmt.Errorf("link %d: %w", h.Number, err)
		}
		r.links++
		r.clock = h.Clock
		r.chain.Offset, r.chain.Number, r.chain.Hash = uint64(at)+h.Length, h.Number, hash
	}
}

func (r *replayed) linkAt(f pagefile.File, at, size int64) (h pagefile.BlobHeader, hash uint64, ok bool) {
	h, hash, err := pagefile.VerifyBlob(f, at, size, nil)
	ok = err == nil && h.Kind == pagefile.BlobWeak && h.Prev == r.chain.Hash &&
		h.Number == r.chain.Number+1 && h.Lineage == r.record.Lineage
	return h, hash, ok
}

// trim drops what lies outside head and tail.
func (s *replayedShard) trim() {
	for slot, w := range s.words {
		q := w >> 62
		if w == 0 || q >= fileQueues {
			s.words[slot] = 0
			continue
		}
		if wordPos(w, s.state.Heads[q]) >= s.state.Tails[q] {
			s.words[slot] = 0
		}
	}
}

// rowAt is the segment at seq of a queue.
func (s *replayedShard) rowAt(q uint8, seq uint64) *replayedRow {
	for _, row := range s.rows {
		if row.Queue == q && row.Seq == seq {
			return row
		}
	}
	return nil
}

var errNotThere = errors.New("no page and no piece has these bytes")

// read returns bytes [off, off+n) of a segment, from pieces where there are, else
// from its place, verified.
func (r *replayed) read(row *replayedRow, off, n int) ([]byte, error) {
	b := make([]byte, n)
	for done := 0; done < n; {
		page := (off + done) / pagefile.PageSize
		end := min((page+1)*pagefile.PageSize-off, n)
		whole, err := r.page(row, page, off+done, off+end)
		if err != nil {
			return nil, err
		}
		copy(b[done:end], whole[(off+done)%pagefile.PageSize:])
		done = end
	}
	return b, nil
}

// page returns a page with at least bytes [from, to) of its segment.
func (r *replayed) page(row *replayedRow, page, from, to int) ([]byte, error) {
	b := make([]byte, pagefile.PageSize)
	if sum := row.sums[page]; sum != 0 {
		if row.Place == pagefile.NoPlace {
			return nil, fmt.Errorf("page %d of segment %x is home, but nowhere", page, row.Number)
		}
		off := r.record.Geometry.PlaceOffset(row.Place) + int64(page)*pagefile.PageSize
		if _, err := r.pages.ReadAt(b, off); err != nil {
			return nil, err
		}
		if got := pagefile.PageSum(row.Number, page, b); got != sum {
			return nil, fmt.Errorf("page %d of segment %x at place %d: checksum %x, want %x", page, row.Number, row.Place, got, sum)
		}
		return b, nil
	}
	covered := r.overlay(row, page, b)
	for i := from - page*pagefile.PageSize; i < to-page*pagefile.PageSize; i++ {
		if !covered[i] {
			return nil, fmt.Errorf("byte %d of page %d of segment %x: %w", i, page, row.Number, errNotThere)
		}
	}
	return b, nil
}

// overlay puts the pieces of a page into b and tells which bytes they cover.
func (r *replayed) overlay(row *replayedRow, page int, b []byte) []bool {
	covered := make([]bool, pagefile.PageSize)
	start := page * pagefile.PageSize
	for _, p := range row.pieces {
		for i, c := range p.Bytes {
			if at := int(p.Offset) + i - start; at >= 0 && at < len(b) {
				b[at], covered[at] = c, true
			}
		}
	}
	return covered
}

// dirty has the pages that pieces brought back.
func (r *replayed) dirty(row *replayedRow) (mask uint64) {
	for page, sum := range row.sums {
		b := make([]byte, pagefile.PageSize)
		if sum == 0 && slices.Contains(r.overlay(row, page, b), true) {
			mask |= 1 << page
		}
	}
	return mask
}
