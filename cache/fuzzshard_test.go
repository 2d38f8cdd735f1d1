package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A husk is what the loader finds of one shard, in one buffer: its state, the lines of
// its segments, its journal, the bytes that are not home, the image, and the places of
// the page file.
type husk struct {
	o     Options
	geo   pagefile.Geometry
	from  loader.Shard
	image uint64 // id

	whole []byte
	ends  [huskParts]int
	buf   []byte
	sums  []uint64

	c      *Cache            // that is opened over it
	keys   [][]byte          // that were stored
	values map[string][]byte // under them
	fresh  map[string][]byte // that are stored then
	order  []string          // in which they are
}

// The parts of a husk's buffer.
const (
	huskState = iota
	huskLines
	huskJournal
	huskPieces
	huskImage
	huskPages
	huskParts
)

// The modes of FuzzShard.
const (
	huskHonest = iota // as it is: checksums tell
	huskSealed        // they are put right
	huskUsed          // and the cache is used, cleaned and cleared
	huskModes
)

const (
	huskLine = 32
	huskKeys = 24
	huskDir  = 0xd1d1d1d1 // id of the directory
)

var huskLarge = []byte("large")

func huskValue(i int) []byte { return testValue(i, i*29%600) }

func newHusk(tb testing.TB) *husk {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Clock = func() time.Time { return time.Unix(1_700_000_000, 0) }
	c := openOn(tb, o)
	set := func(from, to int) {
		for i := from; i < to; i++ {
			mustSet(tb, c, worldKey(i), huskValue(i))
		}
	}
	set(0, 12)
	mustSet(tb, c, huskLarge, testValue(41, 17000))
	mustFlush(tb, c)
	set(12, 18)
	mustFlush(tb, c)
	set(18, huskKeys)
	if err := c.persist.dumper.Weak(); err != nil {
		tb.Fatal(err)
	}
	drop(c)
	res, err := loader.Load(context.Background(), loader.Options{FS: fs, Dir: worldDir, Positional: true})
	if err != nil || res.Record == nil || res.Image == nil {
		tb.Fatalf("%+v, %v", res, err)
	}
	defer res.Close()
	h := &husk{geo: res.Record.Geometry, from: res.Shards[0], image: res.Record.Image,
		values: make(map[string][]byte), fresh: make(map[string][]byte)}
	for i := range huskKeys {
		h.keys = append(h.keys, worldKey(i))
		h.values[string(worldKey(i))] = huskValue(i)
	}
	for i := range 3 { // over what may be there, and beside it
		h.fresh[string(worldKey(2*i))] = testValue(500+i, 90*i)
		h.fresh[fmt.Sprint("new-", i)] = testValue(600+i, 150*i)
	}
	h.order = slices.Sorted(maps.Keys(h.fresh))
	if h.o, err = o.withDefaults(); err != nil {
		tb.Fatal(err)
	}
	if h.c, err = newCache(&h.o, shapeOf(h.geo), h.geo.Seed, 2); err != nil {
		tb.Fatal(err)
	}
	h.fill(tb, fs, res)
	return h
}

// fill lays the parts out.
func (h *husk) fill(tb testing.TB, fs *crashfs.FS, res *loader.Result) {
	read := func(kind pagefile.FileKind, id uint64) []byte {
		b, err := fs.ReadFile(worldDir + "/" + pagefile.FileName(kind, id))
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	st := h.from.State
	h.whole = words(st.Heads[0], st.Heads[1], st.Tails[0], st.Tails[1], uint64(st.Buckets)|uint64(st.Entries)<<32, st.Live)
	h.ends[huskState] = len(h.whole)
	for i := range h.from.Segments {
		s := &h.from.Segments[i]
		h.whole = append(h.whole, words(s.Number, uint64(s.Queue), s.Seq, uint64(s.Place)|uint64(s.Fill)<<32)...)
	}
	h.ends[huskLines] = len(h.whole)
	h.whole = append(h.whole, bytes.Join(h.from.Journals, nil)...)
	h.ends[huskJournal] = len(h.whole)
	for i := range h.from.Segments {
		for _, p := range h.from.Segments[i].Pieces {
			h.whole = append(h.whole, p.Bytes...)
		}
	}
	h.ends[huskPieces] = len(h.whole)
	image := bytes.ReplaceAll(read(pagefile.KindImage, h.image), words(h.geo.DirID), words(huskDir))
	forge.SealImage(image) // the id was drawn: inputs follow from the seed alone
	h.geo.DirID = huskDir
	h.whole = append(h.whole, image...)
	h.ends[huskImage] = len(h.whole)
	pages := read(pagefile.KindPages, res.Record.PageFile)[pagefile.FileHeaderBlock:]
	h.whole = append(h.whole, bytes.TrimRight(pages, "\x00")...)
	h.ends[huskPages] = len(h.whole)
}

func words(list ...uint64) (b []byte) {
	for _, w := range list {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// ReadAt reads the page file.
func (h *husk) ReadAt(p []byte, off int64) (n int, err error) {
	pages := h.part(huskPages)
	if off -= pagefile.FileHeaderBlock; off >= 0 && off < int64(h.ends[huskPages]-h.ends[huskImage]+pageSize) {
		n = copy(p, pages[min(off, int64(len(pages))):])
		clear(p[n:]) // what was trimmed
		return len(p), nil
	}
	return 0, io.EOF
}

// part is one of the buffer, as far as it goes.
func (h *husk) part(i int) []byte {
	from := 0
	if i > 0 {
		from = h.ends[i-1]
	}
	from, end := min(from, len(h.buf)), min(h.ends[i], len(h.buf))
	return h.buf[from:end:end]
}

// shard is the husk's as the loader may give it, whatever the buffer says; false if
// the loader would have refused its state.
func (h *husk) shard(seal bool, pages uint64) (s loader.Shard, ok bool) {
	b := append(h.part(huskState), make([]byte, 48)...)
	w := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	s = loader.Shard{Durable: h.from.Durable, ImageBuckets: h.from.ImageBuckets, State: pagefile.ShardState{
		Heads: [2]uint64{w(0), w(1)}, Tails: [2]uint64{w(2), w(3)}, Buckets: uint32(w(4)), Entries: uint32(w(4) >> 32), Live: w(5)}}
	if s.State.Validate(h.geo) != nil {
		return s, false
	}
	journal := h.part(huskJournal)
	s.Journals = [][]byte{journal[:len(journal)/journalEntry*journalEntry]}
	pieces := h.part(huskPieces)
	h.sums = h.sums[:0]
	for i, line := range h.from.Segments {
		for k := range line.Pieces {
			n := min(len(line.Pieces[k].Bytes), len(pieces))
			if k == 0 {
				line.Pieces = slices.Clone(line.Pieces)
			}
			line.Pieces[k].Bytes, pieces = pieces[:n], pieces[n:]
		}
		if lines := h.part(huskLines); len(lines) >= huskLine*(i+1) && h.reads(&line, lines[huskLine*i:], &s) {
			if seal {
				h.sealPages(&line, pages)
			}
			s.Segments = append(s.Segments, line)
		}
	}
	slices.SortStableFunc(s.Segments, func(a, b loader.Segment) int {
		return bytes.Compare(binary.BigEndian.AppendUint64([]byte{a.Queue}, a.Seq), binary.BigEndian.AppendUint64([]byte{b.Queue}, b.Seq))
	})
	s.Segments = slices.CompactFunc(s.Segments, func(a, b loader.Segment) bool { return a.Queue == b.Queue && a.Seq == b.Seq })
	return s, true
}

// reads reads a line; false if the loader would have dropped it.
func (h *husk) reads(line *loader.Segment, b []byte, s *loader.Shard) bool {
	w := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	line.Number, line.Queue, line.Seq, line.Place, line.Fill = w(0), uint8(w(1)), w(2), uint32(w(3)), uint32(w(3)>>32)
	units := h.geo.UnitsPerSegment()
	if line.Place > 64 {
		line.Place, line.ImageEntry, line.Sums = pagefile.NoPlace, -1, nil
	}
	if line.Segment.Validate() != nil || uint64(line.Fill) > units && line.Fill != pagefile.OpenFill {
		return false
	}
	if q := line.Queue; q != pagefile.QueueLarge {
		return line.Seq >= s.State.Heads[q]/units && line.Seq <= s.State.Tails[q]/units
	}
	return true
}

// sealPages gives a line the checksums of pages that were touched, in its place.
func (h *husk) sealPages(line *loader.Segment, touched uint64) {
	if line.Place == pagefile.NoPlace {
		return
	}
	n := h.geo.PagesPerSegment()
	at := len(h.sums)
	h.sums = append(h.sums, make([]uint64, n)...)
	sums := h.sums[at:]
	copy(sums, line.Sums)
	var b [pageSize]byte
	for page := range n {
		off := h.geo.PlaceOffset(line.Place) + int64(page)*pageSize
		if i := (off - pagefile.FileHeaderBlock) / pageSize; i < 64 && touched>>i&1 != 0 {
			h.ReadAt(b[:], off)
			sums[page] = pagefile.PageSum(line.Number, page, b[:])
		}
	}
	line.Sums = sums
}

// shardTarget: what a cache makes of a shard that the loader has found, whatever its
// words, lines and pages say. Where checksums tell, a value is the one that was stored
// under its key; what is stored from then on is served as it was stored, or forgotten.
func shardTarget(tb testing.TB) *fuzzing.Target {
	h := newHusk(tb)
	check := func(t testing.TB, script []byte, mode byte) bool {
		honest, image, pages := mode == huskHonest, false, uint64(0)
		h.buf = fuzzing.Patch(h.buf[:0], h.whole, script, func(off, n int) {
			if off+n > h.ends[huskImage] {
				first := max(off-h.ends[huskImage], 0) / pageSize
				pages |= 1<<first | 1<<((off+n-1-h.ends[huskImage])/pageSize)
			}
			image = image || off < h.ends[huskImage] && off+n > h.ends[huskPieces]
			honest = honest && (off >= h.ends[huskPieces] || off+n <= h.ends[huskJournal]) // the loader has proved them
		})
		if mode != huskHonest && image {
			forge.SealImage(h.part(huskImage))
		}
		shard, ok := h.shard(mode != huskHonest, pages)
		return ok && h.open(t, shard, func(c *Cache) bool {
			found := h.look(t, c, honest)
			if mode == huskUsed {
				h.change(t, c)
			}
			return found
		})
	}
	var seeds []fuzzing.Input
	add := func(off, n int) { seeds = append(seeds, fuzzing.Inputs(huskModes, fuzzing.Same(h.whole, off, n))...) }
	for i := range huskImage {
		from := 0
		if i > 0 {
			from = h.ends[i-1]
		}
		for off := from; off < h.ends[i]; off += 512 {
			add(off, min(512, h.ends[i]-off))
		}
	}
	for off := h.ends[huskPieces]; off < h.ends[huskImage]; off += pageSize {
		add(off, 256)
	}
	for off := h.ends[huskImage]; off < len(h.whole); off += 512 {
		add(off, 64)
	}
	seeds = append(seeds, fuzzing.Inputs(huskModes, nil, fuzzing.Short(h.ends[huskImage]-5000), fuzzing.Short(h.ends[huskImage]+5000))...)
	return &fuzzing.Target{Name: "FuzzShard", Seeds: seeds, Modes: huskModes, Most: 1 << 10, Slow: true,
		Memory: func(int) int64 { return 8 << 20 }, Check: check}
}

// empty is the cache as newCache made it. To map its memory anew takes as long as all
// that is done with it.
func (h *husk) empty() *Cache {
	c, f := h.c, h.c.frames
	used := c.shards[0].index.buckets()
	clear(c.indexArena.bytes(0, int(used)*bucketSize))
	clear(c.tables.bytes(0, c.tables.size))
	clear(f.marks.bytes(0, f.fresh*f.segmentSize/markedBytes))
	clear(f.arena.bytes(0, f.fresh*f.segmentSize))
	f.stack, f.pinned, f.fresh, f.warm, f.seen = f.stack[:0], nil, 0, 0, 0
	f.free.Store(int64(f.count))
	clear(f.pins)
	c.numbers.last.Store(2 << 32)
	c.lost.Store(0)
	c.woken.Store(0)
	c.shards[0] = c.newShard(0, shapeOf(h.geo))
	return c
}

// open opens a cache over the shard for use.
func (h *husk) open(t testing.TB, from loader.Shard, use func(*Cache) bool) bool {
	c := h.empty()
	res := &loader.Result{Record: &pagefile.Record{Geometry: h.geo, Generation: 2}, Shards: []loader.Shard{from}, Pages: h}
	image := h.part(huskImage)
	var err error
	if res.Image, err = pagefile.OpenImage(bytes.NewReader(image), int64(len(image)), h.image); err != nil || res.Image.Header().Geometry != h.geo {
		res.Image, res.Shards[0].ImageBuckets = nil, 0
	}
	c.recover(res)
	return use(c)
}

// look reads all that may be there, and reports whether there is anything.
func (h *husk) look(t testing.TB, c *Cache, honest bool) (found bool) {
	s := c.shards[0]
	known := func(key, got []byte) {
		found = true
		if want, ok := h.values[string(key)]; ok && honest && !bytes.Equal(got, want) {
			t.Fatalf("%q has a value of %d bytes that nobody stored", key, len(got))
		}
	}
	var dst []byte
	for _, key := range h.keys {
		if v, ok := c.AppendGet(dst[:0], key); ok {
			known(key, v)
			dst = v
		}
	}
	s.loadIndex()
	if l := s.lazy.Load(); l != nil {
		for i := range l.segments {
			s.prefetchSegment(l, &l.segments[i])
		}
		s.settlePages()
	}
	for key, v := range c.All() {
		known(key, v)
	}
	return found
}

// change stores, removes and cleans.
func (h *husk) change(t testing.TB, c *Cache) {
	twice := doubled(c)
	_ = c.View(huskLarge, func([]byte) error { return nil })
	c.Info(h.keys[3])
	for _, key := range h.order {
		mustSet(t, c, []byte(key), h.fresh[key])
	}
	c.Delete(h.keys[7])
	_ = c.Compute(h.keys[9], func([]byte, bool) ([]byte, Op) { return nil, OpDelete })
	for range 4 {
		c.shards[0].clean(&pressure{keep: true})
	}
	h.wanted(t, c, twice)
	for range 4 {
		c.shards[0].clean(&pressure{need: 1 << 20, force: true})
	}
	h.wanted(t, c, twice)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	for key := range c.All() {
		t.Fatalf("%q after Clear", key)
	}
}

// wanted wants what was stored as it was, or forgotten.
func (h *husk) wanted(t testing.TB, c *Cache, twice map[string]bool) {
	var dst []byte
	for key, value := range h.fresh {
		if got, ok := c.AppendGet(dst[:0], []byte(key)); ok && !bytes.Equal(got, value) && !twice[key] {
			t.Fatalf("%q: %d bytes that are not what was stored", key, len(got))
		}
	}
	for _, key := range [][]byte{h.keys[7], h.keys[9]} {
		if c.Has(key) && !twice[string(key)] {
			t.Fatalf("%q was deleted, and is back", key)
		}
	}
}
