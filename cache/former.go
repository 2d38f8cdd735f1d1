package cache

import (
	"encoding/binary"
	"slices"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A former is a shard of the generation that a conversion copies from, of
// another shape than the cache: its live words by segment, and a way to their
// records. Nothing of it outlives Open. // I3
type former struct {
	v     *conversion
	id    int
	from  *loader.Shard
	words []word // live ones, by segment
	first []int  // of each segment in words; one more at the end
	large map[uint64]*loader.Segment
}

// newFormer finds the live words of a shard as recovery does: image, journals,
// then the test. // I10
func newFormer(v *conversion, id int) (*former, error) {
	f := &former{v: v, id: id, from: &v.from.Shards[id]}
	buckets := max(int(f.from.State.Buckets), f.from.ImageBuckets)
	index, err := newArena(buckets*bucketSize, hugePages)
	if err != nil {
		return nil, err
	}
	defer index.release()
	f.readImage(index)
	for _, journal := range f.from.Journals {
		for ; len(journal) >= journalEntry; journal = journal[journalEntry:] {
			if slot := int(binary.LittleEndian.Uint32(journal)); slot < buckets*bucketSlots {
				*index.word(slot * 8) = binary.LittleEndian.Uint64(journal[4:])
			}
		}
	}
	f.sort(index, buckets*bucketSlots)
	f.large = make(map[uint64]*loader.Segment)
	for i := range f.from.Segments {
		if seg := &f.from.Segments[i]; seg.Queue == pagefile.QueueLarge {
			f.large[seg.Number] = seg
		}
	}
	return f, nil
}

// readImage fills the index with the image's words. A damaged block is empty
// slots.
func (f *former) readImage(index *arena) {
	if f.v.from.Image == nil {
		return
	}
	var b [pagefile.ImagePayload]byte
	end := f.from.ImageBuckets * bucketSize
	for block := 0; block*pagefile.ImagePayload < end; block++ {
		if err := f.v.from.Image.IndexBlock(f.id, block, &b); err != nil {
			f.v.damaged(err)
			continue
		}
		off := block * pagefile.ImagePayload
		for i := 0; i < min(len(b), end-off); i += 8 {
			*index.word(off + i) = binary.LittleEndian.Uint64(b[i:])
		}
	}
}

// sort puts the words that stand into order: by segment, then by position.
func (f *former) sort(index *arena, slots int) {
	at := f.lines()
	f.first = make([]int, len(f.from.Segments)+1)
	for _, place := range [2]bool{false, true} {
		for slot := range slots {
			w := word(*index.word(slot * 8))
			i, ok := f.segmentOf(at, w)
			switch {
			case !ok:
			case place:
				f.first[i]--
				f.words[f.first[i]] = w
			default:
				f.first[i]++
			}
		}
		if !place { // counts become the ends, and these, going back, the firsts
			n := 0
			for i := range f.first {
				n += f.first[i]
				f.first[i] = n
			}
			f.words = make([]word, n)
		}
	}
	for i := range f.from.Segments {
		slices.Sort(f.of(i))
	}
}

// A seqLine has the segments of a queue by seq.
type seqLine struct {
	first uint64
	index []int32 // of a Segment; -1: none
}

func (f *former) lines() (at [fileQueues]seqLine) {
	for i := range f.from.Segments {
		seg := &f.from.Segments[i]
		if seg.Queue >= fileQueues {
			continue
		}
		ln := &at[seg.Queue]
		if ln.index == nil {
			ln.first = seg.Seq
		}
		for uint64(len(ln.index)) < seg.Seq-ln.first { // ascending, and within a lap
			ln.index = append(ln.index, -1)
		}
		ln.index = append(ln.index, int32(i))
	}
	return at
}

// segmentOf is the segment that a word leads to, false if the word is not live.
func (f *former) segmentOf(at [fileQueues]seqLine, w word) (i int32, ok bool) {
	q := w.queue()
	if q >= fileQueues || w.tag() == 0 {
		return 0, false
	}
	head, tail := f.from.State.Heads[q], f.from.State.Tails[q]
	if !w.within(head, tail) {
		return 0, false
	}
	seq := (head + uint64((w.pos()-uint32(head))&posMask)) / f.v.geo.UnitsPerSegment()
	if seq-at[q].first >= uint64(len(at[q].index)) {
		return 0, false
	}
	i = at[q].index[seq-at[q].first]
	return i, i >= 0
}

// of are the live words of a segment, the oldest first.
func (f *former) of(segment int) []word { return f.words[f.first[segment]:f.first[segment+1]] }

// A page run of one segment, brought in and verified page by page.
type segmentReader struct {
	f         *former
	seg       *loader.Segment
	dst       []byte // of the segment's size
	fill      int    // bytes
	have, bad uint64 // pages
	sums      []uint64
}

// read begins to read a segment into dst. What is not home is there at once.
func (f *former) read(seg *loader.Segment, dst []byte) *segmentReader {
	units := f.v.geo.UnitsPerSegment()
	fill := min(uint64(seg.Fill), units)
	if q := seg.Queue; seg.Fill == pagefile.OpenFill && q < fileQueues && f.from.State.Tails[q]/units == seg.Seq {
		fill = f.from.State.Tails[q] % units
	}
	r := &segmentReader{f: f, seg: seg, dst: dst, fill: int(fill) * unitSize}
	r.have = copyPieces(dst, seg.Pieces, r.fill)
	return r
}

// need brings in the pages of [off, off+n); false if one cannot be proved.
func (r *segmentReader) need(off, n int) bool {
	if n == 0 {
		return true
	}
	bits := pageBits(off, n)
	for page := off / pageSize; page*pageSize < off+n; page++ {
		if bit := uint64(1) << page; (r.have|r.bad)&bit == 0 {
			if err := r.page(page); err != nil {
				r.bad |= bit
				r.f.v.damaged(err)
				continue
			}
			r.have |= bit
		}
	}
	return r.have&bits == bits
}

func (r *segmentReader) page(page int) error {
	v := r.f.v
	if r.sums == nil {
		r.sums = v.sumsOf(r.seg)
	}
	b, want, got := r.dst[page*pageSize:(page+1)*pageSize], r.sums[page], uint64(0)
	if want != 0 && r.seg.Place != pagefile.NoPlace {
		if _, err := v.from.Pages.ReadAt(b, v.geo.PlaceOffset(r.seg.Place)+int64(page)*pageSize); err != nil {
			return err
		}
		if got = pagefile.PageSum(r.seg.Number, page, b); got == want {
			v.verified.Add(1)
			return nil
		}
	}
	return &CorruptionError{Path: v.c.pagePath, Shard: r.f.id, Page: uint32(page), Generation: v.c.opened, Want: want, Got: got}
}

// record is the record at an offset; false if it cannot be proved.
func (r *segmentReader) record(off int) (rec []byte, h header, ok bool) {
	if off+headerSize > r.fill || !r.need(off, headerSize) {
		return nil, h, false
	}
	h = readHeader(r.dst[off:])
	n := headerSize + h.bodyLen(r.f.v.geo.SegmentSize)
	if h.keyLen() == 0 || n > r.fill-off || !r.need(off, n) {
		return nil, h, false
	}
	return r.dst[off : off+n], h, true
}

// value is the value of a record, in buf if it has segments of its own; false if
// one of them cannot be proved.
func (f *former) value(rec []byte, h header, buf []byte) (value, grown []byte, ok bool) {
	size := f.v.geo.SegmentSize
	own, _ := h.layout(size)
	rest := rec[headerSize+h.keyLen()+8*own:]
	if !h.large() {
		return rest, buf, true
	}
	list := listOf(rec, h, size)
	if own > len(f.large) {
		return nil, buf, false // a lie: there are not so many
	}
	buf = slices.Grow(buf[:0], own*size+len(rest))[:own*size]
	left := h.valueLen()
	for i := range own {
		seg := f.large[binary.LittleEndian.Uint64(list[8*i:])]
		n := min(left, size)
		if seg == nil || !f.read(seg, buf[i*size:(i+1)*size]).need(0, n) {
			return nil, buf, false
		}
		left -= n
	}
	return append(buf[:h.valueLen()-len(rest)], rest...), buf, true
}
