package cache

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A pageBuffer holds the pages of one segment as files give them back.
type pageBuffer struct {
	bytes  []byte
	sums   []uint64 // by page; 0: not home
	number uint64   // of the segment; 0: none
	tried  uint64   // pages that were read
	good   uint64   // of them, those that are proved
	got    uint64   // checksum of the last page that is not
	err    error    // of the last read that failed
}

// has reports whether the pages of [off, off+n) are proved.
func (b *pageBuffer) has(off, n int) bool {
	bits := pageBits(off, max(n, 1))
	return b.good&bits == bits
}

// load reads the pages of [from, to) of a segment, where records end at to.
func (x *checkedShard) load(b *pageBuffer, seg *loader.Segment, from, to int) error {
	need := pageBits(from, max(to-from, 1))
	if b.number != seg.Number {
		*b = pageBuffer{bytes: b.bytes, sums: b.sums, number: seg.Number}
		if err := x.fetchSums(b, seg); err != nil {
			return x.lost(x.id, "checksums", err)
		}
	}
	if b.tried&need == need {
		return nil
	}
	first, last := from/pageSize, (max(to, from+1)-1)/pageSize
	if err := x.pace.wait((last - first + 1) * pageSize); err != nil {
		return err
	}
	b.tried |= need
	x.readHome(b, seg, first, last)
	b.good |= copyPieces(b.bytes, seg.Pieces, to)
	return x.compareMemory(b, seg, need, to)
}

// fetchSums finds the checksums: the image's, but for those that a blob overrides.
func (x *checkedShard) fetchSums(b *pageBuffer, seg *loader.Segment) error {
	clear(b.sums)
	if seg.ImageEntry >= 0 && x.res.Image != nil {
		if err := x.res.Image.Sums(seg.ImageEntry, b.sums); err != nil {
			return err
		}
	}
	for i, sum := range seg.Sums {
		if sum != 0 {
			b.sums[i] = sum
		}
	}
	return nil
}

// readHome reads pages from the segment's place and verifies those that are home.
func (x *checkedShard) readHome(b *pageBuffer, seg *loader.Segment, first, last int) {
	for first <= last && b.sums[first] == 0 {
		first++
	}
	for first <= last && b.sums[last] == 0 {
		last--
	}
	if first > last || seg.Place == pagefile.NoPlace {
		return
	}
	off := x.res.Record.Geometry.PlaceOffset(seg.Place) + int64(first)*pageSize
	if _, err := x.pages.ReadAt(b.bytes[first*pageSize:(last+1)*pageSize], off); err != nil {
		b.err = err
		return
	}
	for page := first; page <= last; page++ {
		if b.sums[page] == 0 {
			continue
		}
		if sum := pagefile.PageSum(seg.Number, page, b.bytes[page*pageSize:(page+1)*pageSize]); sum == b.sums[page] {
			b.good |= 1 << page
		} else {
			b.got = sum
		}
	}
}

// compareMemory compares proved pages with the segment in memory, if it is still
// there: it was only appended to since. Records end at to.
func (x *checkedShard) compareMemory(b *pageBuffer, seg *loader.Segment, need uint64, to int) error {
	id := dump.SegmentID{Queue: seg.Queue, Seq: seg.Seq, Number: seg.Number}
	for page := range len(b.sums) {
		off := page * pageSize
		if b.good&need&(1<<page) == 0 || off >= to {
			continue
		}
		mem, file := x.mem[:min(pageSize, to-off)], b.bytes[off:]
		if (cutter{x.c}).Copy(mem, x.id, id, off) && !bytes.Equal(mem, file[:len(mem)]) {
			e := x.differs(x.id, "page %d of segment %x has other bytes than memory", page, seg.Number)
			e.at.Page = uint32(page)
			return e
		}
	}
	return nil
}

func searchSegments(segments []loader.Segment, q uint8, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(segments, seq, func(s loader.Segment, seq uint64) int {
		return cmp.Or(cmp.Compare(s.Queue, q), cmp.Compare(s.Seq, seq))
	})
}
