package loader

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// A snapshot is the model at a cut.
type snapshot struct {
	geo    pagefile.Geometry
	shards []snapshotShard
}

type snapshotShard struct {
	heads, tails [2]uint64
	index        map[uint32]uint64
	segments     map[uint64]modelSegment
}

func (w *writer) snapshot() *snapshot {
	snap := &snapshot{geo: w.geo}
	for _, s := range w.shards {
		c := snapshotShard{s.heads, s.tails, map[uint32]uint64{}, map[uint64]modelSegment{}}
		for slot, word := range s.index {
			if alive(word, s.heads, s.tails) {
				c.index[slot] = word
			}
		}
		for number, seg := range s.segments {
			m := *seg
			m.data = bytes.Clone(seg.data)
			c.segments[number] = m
		}
		snap.shards = append(snap.shards, c)
	}
	return snap
}

// alive is the test that ends recovery (I10).
func alive(word uint64, heads, tails [2]uint64) bool {
	queue := word >> 62
	if word == 0 || queue > 1 {
		return false
	}
	pos := word >> 32 & (pagefile.Lap - 1)
	head := heads[queue]
	return (pos-head)%pagefile.Lap < tails[queue]-head
}

func mustLoad(t testing.TB, w *writer, change ...func(*Options)) *Result {
	t.Helper()
	o := Options{FS: w.fs, Dir: w.dir, Schema: "s1", Workers: 2}
	for _, c := range change {
		c(&o)
	}
	res, err := Load(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Close() })
	return res
}

// index rebuilds a shard's index as a cache does.
func index(t testing.TB, res *Result, shard int) map[uint32]uint64 {
	t.Helper()
	s, m := &res.Shards[shard], map[uint32]uint64{}
	if s.ImageBuckets > 0 {
		var block [pagefile.ImagePayload]byte
		for i := range res.Image.IndexBlocks(shard) {
			res.Image.IndexBlock(shard, i, &block) // zeroes after an error: empty
			for at := 0; at < len(block); at += pagefile.SlotSize {
				slot := uint32(i*pagefile.BucketsPerBlock*pagefile.BucketSlots + at/pagefile.SlotSize)
				m[slot] = binary.LittleEndian.Uint64(block[at:])
			}
		}
	}
	for _, j := range s.Journals {
		for ; len(j) > 0; j = j[pagefile.JournalEntrySize:] {
			m[binary.LittleEndian.Uint32(j)] = binary.LittleEndian.Uint64(j[4:])
		}
	}
	maps.DeleteFunc(m, func(_ uint32, word uint64) bool { return !alive(word, s.State.Heads, s.State.Tails) })
	return m
}

// recovered returns the pages of a segment that can be proved; nil for others.
// end is how many bytes of the segment were used.
func recovered(res *Result, geo pagefile.Geometry, seg *Segment, end int) (pages [][]byte) {
	sums := make([]uint64, geo.PagesPerSegment())
	if seg.ImageEntry >= 0 && res.Image != nil {
		res.Image.Sums(seg.ImageEntry, sums)
	}
	for i, sum := range seg.Sums {
		if sum != 0 {
			sums[i] = sum
		}
	}
	for i := range (end + pagefile.PageSize - 1) / pagefile.PageSize {
		page := make([]byte, pagefile.PageSize)
		switch {
		case sums[i] != 0 && seg.Place != pagefile.NoPlace:
			n, _ := res.Pages.ReadAt(page, geo.PlaceOffset(seg.Place)+int64(i)*pagefile.PageSize)
			if n < len(page) || pagefile.PageSum(seg.Number, i, page) != sums[i] {
				page = nil
			}
		case !patch(page, i*pagefile.PageSize, min(end, (i+1)*pagefile.PageSize), seg.Pieces):
			page = nil
		}
		pages = append(pages, page)
	}
	return pages
}

// patch copies bytes [from, to) of a segment out of pieces; false if some of
// them are in none.
func patch(page []byte, from, to int, pieces []pagefile.Piece) bool {
	at := from
	for _, p := range pieces {
		lo, hi := max(at, int(p.Offset)), min(to, int(p.Offset)+len(p.Bytes))
		if lo < hi && lo == at {
			copy(page[lo-from:], p.Bytes[lo-int(p.Offset):hi-int(p.Offset)])
			at = hi
		}
	}
	return at >= to
}

// A diff is how much of a snapshot a Result lacks.
type diff struct{ words, pages int }

// compare fails the test for everything in res that snap does not have, and
// counts what snap has and res does not.
func compare(t testing.TB, res *Result, snap *snapshot) (lost diff) {
	t.Helper()
	if res.Record == nil {
		t.Fatalf("cold: %v", res.Reason)
	}
	for i := range snap.shards {
		want := &snap.shards[i]
		got := index(t, res, i)
		for slot, word := range got {
			if want.index[slot] != word {
				t.Errorf("shard %d slot %d: got %x, want %x", i, slot, word, want.index[slot])
			}
		}
		lost.words += len(want.index) - len(got)
		lost.pages += comparePages(t, res, i, snap)
	}
	return lost
}

func comparePages(t testing.TB, res *Result, shard int, snap *snapshot) (lost int) {
	t.Helper()
	found := map[uint64]bool{}
	for k := range res.Shards[shard].Segments {
		seg := &res.Shards[shard].Segments[k]
		want, ok := snap.shards[shard].segments[seg.Number]
		found[seg.Number] = true
		if !ok {
			if seg.Queue != pagefile.QueueLarge || res.Shards[shard].Lost == 0 {
				t.Errorf("shard %d: segment %x is not of this cut", shard, seg.Number)
			}
			continue
		}
		if seg.Queue != want.Queue || seg.Seq != want.Seq {
			t.Errorf("shard %d: segment %x at %d/%d, want %d/%d", shard, seg.Number, seg.Queue, seg.Seq, want.Queue, want.Seq)
		}
		for i, page := range recovered(res, snap.geo, seg, want.used) {
			switch {
			case page == nil:
				lost++
			case !bytes.Equal(page, want.data[i*pagefile.PageSize:][:pagefile.PageSize]):
				t.Errorf("shard %d: segment %x page %d has other bytes", shard, seg.Number, i)
			}
		}
	}
	for number, seg := range snap.shards[shard].segments {
		if !found[number] {
			lost += (seg.used + pagefile.PageSize - 1) / pagefile.PageSize
		}
	}
	return lost
}

// exactly fails the test unless res is snap.
func exactly(t testing.TB, res *Result, snap *snapshot) {
	t.Helper()
	if lost := compare(t, res, snap); lost != (diff{}) {
		t.Errorf("lost %+v, want nothing", lost)
	}
	for i, s := range snap.shards {
		if got := res.Shards[i].State; got.Heads != s.heads || got.Tails != s.tails {
			t.Errorf("shard %d: heads and tails %v %v, want %v %v", i, got.Heads, got.Tails, s.heads, s.tails)
		}
	}
}

func labels(res *Result) (list []string) {
	for _, f := range res.Findings {
		list = append(list, f.Case)
	}
	return slices.Compact(list)
}
