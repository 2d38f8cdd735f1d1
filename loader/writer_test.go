package loader

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A writer is a model of a cache and its dumper, small enough to be read: it
// holds segments and index words in plain maps and writes them as generations.
type writer struct {
	t       testing.TB
	fs      pagefile.FS
	dir     string
	geo     pagefile.Geometry
	rng     *rand.Rand
	counter uint64
	places  uint32
	shards  []*modelShard

	opens, generation, lineage uint64
	clock                      int64
	schema                     string
	clean                      bool // of the records to come
	image                      uint64
	blobFile                   pagefile.File
	blobID                     uint64
	blobEnd                    int64
	blobs                      []pagefile.Extent
	pages, weak                pagefile.File
	ringSize                   int64
	pos                        pagefile.WeakPos
	links                      []int64 // where each begins
	rings                      [2]*pagefile.Ring
	record                     *pagefile.Record // newest
	retained                   []uint64
	tweak                      func(*pagefile.Section) // of blobs and links, before they are written
}

const (
	pagesID = 1
	weakID  = 2
)

type modelShard struct {
	heads, tails [2]uint64
	segments     map[uint64]*modelSegment // by number
	open         [2]*modelSegment
	index        map[uint32]uint64
	// since the last link, and since the last durable generation
	linkJournal, journal []byte
	linkDied, died       []uint64
}

type modelSegment struct {
	pagefile.Segment
	data         []byte
	used         int // bytes
	home         int // pages, from the first
	sums         []uint64
	told, linked bool // as it is now
	durable      int  // bytes that durable blobs have
	linkedBytes  int
}

func smallGeometry() pagefile.Geometry {
	return pagefile.Geometry{Shards: 4, SegmentSize: 16 << 10, BaseBuckets: 64, Seed: 7, DirID: 0xd1}
}

func newWriter(t testing.TB, fsys pagefile.FS, dir string, geo pagefile.Geometry) *writer {
	w := &writer{t: t, fs: fsys, dir: dir, geo: geo, rng: rand.New(rand.NewPCG(1, 2)), opens: 1, lineage: 1,
		schema: "s1", ringSize: 4 << 20}
	for range geo.Shards {
		w.shards = append(w.shards, &modelShard{segments: map[uint64]*modelSegment{}, index: map[uint32]uint64{}})
	}
	w.must(fsys.MkdirAll(dir, 0o700))
	w.pages = w.create(pagefile.KindPages, pagesID)
	for i, name := range []string{pagefile.RecordsName, pagefile.MirrorName} {
		r, err := pagefile.OpenRing(fsys, dir, name)
		w.must(err)
		w.rings[i] = r
	}
	return w
}

func (w *writer) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *writer) path(kind pagefile.FileKind, id uint64) string {
	return path.Join(w.dir, pagefile.FileName(kind, id))
}

func (w *writer) create(kind pagefile.FileKind, id uint64) pagefile.File {
	f, err := w.fs.OpenFile(w.path(kind, id), os.O_RDWR|os.O_CREATE, 0o600)
	w.must(err)
	if kind != pagefile.KindImage {
		w.must(pagefile.WriteFileHeader(f, pagefile.FileHeader{Kind: kind, ID: id, Geometry: w.geo}))
	}
	return f
}

// store appends n bytes to a queue and stores a word for them.
func (w *writer) store(shard int, queue uint8, n int) {
	s := w.shards[shard]
	n = (n + pagefile.UnitSize - 1) &^ (pagefile.UnitSize - 1)
	if seg := s.open[queue]; seg == nil || seg.used+n > w.geo.SegmentSize {
		w.openSegment(s, queue)
	}
	seg := s.open[queue]
	pos := seg.Seq*w.geo.UnitsPerSegment() + uint64(seg.used/pagefile.UnitSize)
	w.fill(seg.data[seg.used : seg.used+n])
	seg.used += n
	s.tails[queue] = pos + uint64(n/pagefile.UnitSize)
	slot := w.rng.Uint32N(uint32(w.geo.BaseBuckets) * pagefile.BucketSlots)
	w.word(s, slot, uint64(queue)<<62|pos%pagefile.Lap<<32|uint64(w.rng.Uint32()))
}

func (w *writer) fill(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], w.rng.Uint64())
	}
}

func (w *writer) word(s *modelShard, slot uint32, word uint64) {
	s.index[slot] = word
	if word == 0 {
		delete(s.index, slot)
	}
	var entry [pagefile.JournalEntrySize]byte
	binary.LittleEndian.PutUint32(entry[:], slot)
	binary.LittleEndian.PutUint64(entry[4:], word)
	s.linkJournal, s.journal = append(s.linkJournal, entry[:]...), append(s.journal, entry[:]...)
}

// remove clears some slot that is in use.
func (w *writer) remove(shard int) {
	for _, slot := range slices.Sorted(maps.Keys(w.shards[shard].index)) {
		w.word(w.shards[shard], slot, 0)
		return
	}
}

func (w *writer) openSegment(s *modelShard, queue uint8) {
	seq := uint64(0)
	if old := s.open[queue]; old != nil {
		old.Fill, old.told, old.linked = uint32(old.used/pagefile.UnitSize), false, false
		seq = old.Seq + 1
	}
	s.open[queue] = w.newSegment(s, queue, seq)
	s.tails[queue] = seq * w.geo.UnitsPerSegment()
}

func (w *writer) newSegment(s *modelShard, queue uint8, seq uint64) *modelSegment {
	w.counter++
	seg := &modelSegment{data: make([]byte, w.geo.SegmentSize), sums: make([]uint64, w.geo.PagesPerSegment())}
	seg.Segment = pagefile.Segment{Number: w.opens<<32 | w.counter, Queue: queue, Seq: seq, Place: pagefile.NoPlace, Fill: pagefile.OpenFill}
	s.segments[seg.Number] = seg
	return seg
}

// large makes the segment of a large value and returns its number.
func (w *writer) large(shard, n int) uint64 {
	seg := w.newSegment(w.shards[shard], pagefile.QueueLarge, 0)
	seg.Seq, seg.used, seg.Fill = seg.Number, n, uint32(n/pagefile.UnitSize)
	w.fill(seg.data[:n])
	return seg.Number
}

func (w *writer) kill(shard int, number uint64) {
	s := w.shards[shard]
	delete(s.segments, number)
	s.died, s.linkDied = append(s.died, number), append(s.linkDied, number)
}

// evict moves a queue's head past its first segment.
func (w *writer) evict(shard int, queue uint8) {
	s := w.shards[shard]
	units := w.geo.UnitsPerSegment()
	seq := s.heads[queue] / units
	s.heads[queue] = (seq + 1) * units
	maps.DeleteFunc(s.segments, func(_ uint64, seg *modelSegment) bool { return seg.Queue == queue && seg.Seq == seq })
}

// sorted returns a shard's segments by queue and seq.
func (s *modelShard) sorted() []*modelSegment {
	return slices.SortedFunc(maps.Values(s.segments), func(a, b *modelSegment) int {
		if a.Queue != b.Queue {
			return int(a.Queue) - int(b.Queue)
		}
		return int(int64(a.Seq) - int64(b.Seq))
	})
}

func (s *modelShard) state(g pagefile.Geometry) pagefile.ShardState {
	return pagefile.ShardState{Heads: s.heads, Tails: s.tails, Buckets: uint32(g.BaseBuckets), Entries: uint32(len(s.index))}
}

// link writes a cut to the weak ring; anchor begins the chain.
func (w *writer) link(anchor bool) {
	if w.weak == nil {
		w.weak = w.create(pagefile.KindWeak, weakID)
		w.must(w.weak.Allocate(0, pagefile.FileHeaderBlock+w.ringSize))
		w.pos = pagefile.WeakPos{File: weakID, Offset: pagefile.FileHeaderBlock}
	}
	h := pagefile.BlobHeader{Kind: pagefile.BlobWeak, Number: w.pos.Number + 1, Lineage: w.lineage, Opens: w.opens,
		Prev: w.pos.Hash, Clock: w.clock}
	if anchor {
		h.Prev = 0
	}
	var b pagefile.BlobBuilder
	b.Reset(h)
	for i, s := range w.shards {
		sec := w.linkSection(i, s)
		if !anchor && (len(sec.Journal) > 0 || len(sec.Segments) > 0 || len(sec.Died) > 0) {
			w.must(b.Add(sec))
		}
	}
	w.putLink(&b)
}

func (w *writer) putLink(b *pagefile.BlobBuilder) {
	off := int64(w.pos.Offset)
	if off+b.Len() > pagefile.FileHeaderBlock+w.ringSize {
		off = pagefile.FileHeaderBlock
	}
	hash, n, err := b.WriteTo(w.weak, off)
	w.must(err)
	w.links = append(w.links, off)
	w.pos = pagefile.WeakPos{File: weakID, Offset: uint64(off + n), Number: w.pos.Number + 1, Hash: hash}
}

func (w *writer) linkSection(i int, s *modelShard) *pagefile.Section {
	sec := &pagefile.Section{Shard: i, State: s.state(w.geo), Died: s.linkDied}
	if len(s.linkJournal) > 0 {
		sec.Journal = [][]byte{s.linkJournal}
	}
	for _, seg := range s.sorted() {
		if !seg.linked {
			line := seg.Segment
			line.Place = pagefile.NoPlace // as dumpers do
			sec.Segments = append(sec.Segments, line)
			seg.linked = true
		}
		if seg.linkedBytes < seg.used {
			sec.Pieces = append(sec.Pieces, pagefile.Piece{Number: seg.Number, Offset: uint32(seg.linkedBytes),
				Bytes: seg.data[seg.linkedBytes:seg.used]})
			seg.linkedBytes = seg.used
		}
	}
	s.linkJournal, s.linkDied = nil, nil
	w.spoil(sec)
	return sec
}

func (w *writer) spoil(sec *pagefile.Section) {
	if w.tweak != nil {
		w.tweak(sec)
	}
}

// bring writes the pages of a segment home that are full, and returns their run.
func (w *writer) bring(seg *modelSegment) (run pagefile.PageRun) {
	pages := seg.used / pagefile.PageSize
	if seg.Fill != pagefile.OpenFill {
		pages = (seg.used + pagefile.PageSize - 1) / pagefile.PageSize
	}
	if pages == seg.home {
		return run
	}
	if seg.Place == pagefile.NoPlace {
		seg.Place, seg.told = w.places, false
		w.must(w.pages.Allocate(w.geo.PlaceOffset(w.places), int64(w.geo.SegmentSize)))
		w.places++
	}
	run = pagefile.PageRun{Number: seg.Number, First: seg.home}
	for ; seg.home < pages; seg.home++ {
		page := seg.data[seg.home*pagefile.PageSize:][:pagefile.PageSize]
		_, err := w.pages.WriteAt(page, w.geo.PlaceOffset(seg.Place)+int64(seg.home)*pagefile.PageSize)
		w.must(err)
		seg.sums[seg.home] = pagefile.PageSum(seg.Number, seg.home, page)
		run.Sums = append(run.Sums, seg.sums[seg.home])
	}
	return run
}

// generate writes a durable generation: full with a new image.
func (w *writer) generate(full bool) {
	w.link(w.weak == nil)
	w.generation++
	runs := make([][]pagefile.PageRun, len(w.shards))
	for i, s := range w.shards {
		for _, seg := range s.sorted() {
			if run := w.bring(seg); run.Number != 0 {
				runs[i] = append(runs[i], run)
			}
		}
	}
	if full {
		w.writeImage()
	}
	w.must(w.pages.Sync())
	w.writeBlob(full, runs)
	w.writeRecord(full)
}

func (w *writer) writeImage() {
	f := w.create(pagefile.KindImage, w.generation)
	defer f.Close()
	buckets := make([]uint32, len(w.shards))
	for i := range buckets {
		buckets[i] = uint32(w.geo.BaseBuckets)
	}
	m, err := pagefile.NewImageWriter(f, pagefile.ImageHeader{ID: w.generation, Lineage: w.lineage, Geometry: w.geo}, buckets)
	w.must(err)
	tables := make([]pagefile.ImageTable, len(w.shards))
	segs := make([][]*modelSegment, len(w.shards))
	for i, s := range w.shards {
		index := make([]byte, w.geo.BaseBuckets*pagefile.BucketSize)
		for slot, word := range s.index {
			binary.LittleEndian.PutUint64(index[slot*pagefile.SlotSize:], word)
		}
		w.must(m.WriteIndex(i, 0, index))
		segs[i] = s.sorted()
		tables[i] = pagefile.ImageTable{Heads: s.heads, Tails: s.tails}
		for _, seg := range segs[i] {
			tables[i].Segments = append(tables[i].Segments, seg.Segment)
		}
	}
	_, err = m.Finish(tables, func(shard, i int, dst []uint64) { copy(dst, segs[shard][i].sums) })
	w.must(err)
	w.image = w.generation
}

func (w *writer) writeBlob(full bool, runs [][]pagefile.PageRun) {
	if w.blobFile == nil {
		w.blobID = w.generation
		w.blobFile, w.blobEnd = w.create(pagefile.KindBlobs, w.blobID), pagefile.FileHeaderBlock
	}
	var b pagefile.BlobBuilder
	b.Reset(pagefile.BlobHeader{Kind: pagefile.BlobDurable, Number: w.generation, Lineage: w.lineage, Opens: w.opens, Clock: w.clock})
	for i, s := range w.shards {
		w.must(b.Add(w.section(i, s, full, runs[i])))
	}
	hash, n, err := b.WriteTo(w.blobFile, w.blobEnd)
	w.must(err)
	w.must(w.blobFile.Sync())
	if full {
		w.blobs = nil
	}
	w.blobs = append(w.blobs, pagefile.Extent{File: w.blobID, Offset: uint64(w.blobEnd), Length: uint32(n), Hash: hash})
	w.blobEnd += n
}

func (w *writer) section(i int, s *modelShard, full bool, runs []pagefile.PageRun) *pagefile.Section {
	sec := &pagefile.Section{Shard: i, State: s.state(w.geo), Died: s.died}
	if !full {
		sec.Pages = runs
		if len(s.journal) > 0 {
			sec.Journal = [][]byte{s.journal}
		}
	}
	for _, seg := range s.sorted() {
		if !full && !seg.told {
			sec.Segments = append(sec.Segments, seg.Segment)
		}
		seg.told = true
		from := max(seg.durable, seg.home*pagefile.PageSize)
		if full {
			from = seg.home * pagefile.PageSize
		}
		if from < seg.used {
			sec.Pieces = append(sec.Pieces, pagefile.Piece{Number: seg.Number, Offset: uint32(from), Bytes: seg.data[from:seg.used]})
		}
		seg.durable = seg.used
	}
	s.journal, s.died = nil, nil
	w.spoil(sec)
	return sec
}

func (w *writer) writeRecord(full bool) {
	w.retained = append(w.retained, w.generation)
	w.retained = w.retained[max(0, len(w.retained)-3):]
	r := &pagefile.Record{Geometry: w.geo, Generation: w.generation, Lineage: w.lineage, Opens: w.opens, PageFile: pagesID,
		Places: w.places, Image: w.image, Blobs: slices.Clone(w.blobs), Weak: w.pos, Retained: slices.Clone(w.retained),
		Clock: w.clock, Schema: w.schema, Wall: writerWall, Clean: w.clean}
	if w.record != nil {
		r.Parent = w.record.Hash()
	}
	for _, s := range w.shards {
		r.Shards = append(r.Shards, s.state(w.geo))
	}
	w.put(r)
}

// writerWall is the wall clock of every record, one hour into 2026.
const writerWall = (1767225600 + 3600) * 1e9

// put writes a record to both rings.
func (w *writer) put(r *pagefile.Record) {
	for _, ring := range w.rings {
		w.must(ring.Write(r))
	}
	w.record = r
}

// busy makes some of every kind of change.
func (w *writer) busy(n int) {
	w.clock += 1000
	for range n {
		shard, queue := w.rng.IntN(len(w.shards)), uint8(w.rng.IntN(2))
		w.store(shard, queue, 64+w.rng.IntN(2000))
		switch w.rng.IntN(12) {
		case 0:
			w.remove(shard)
		case 1:
			w.large(shard, 4096+16*w.rng.IntN(512))
		}
	}
}

// disk returns the file system as a crashfs.
func (w *writer) disk() *crashfs.FS { return w.fs.(*crashfs.FS) }
