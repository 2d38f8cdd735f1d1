package cache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// recover rebuilds the shards from what the loader found, and says what the
// dumper has to know of them. Index blocks and pages stay on file until somebody
// needs them; see lazy.go.
func (c *Cache) recover(res *loader.Result) []dump.StartShard {
	starts := make([]dump.StartShard, len(c.shards))
	found := 0
	for i := range res.Shards {
		found += len(res.Shards[i].Segments)
	}
	var group sync.WaitGroup
	for i, s := range c.shards {
		group.Add(1)
		go func() {
			defer group.Done()
			starts[i] = s.recover(&res.Shards[i], res, found > c.frames.count)
		}()
	}
	group.Wait()
	return starts
}

// recover is one shard's part. Nobody else has the shard yet. short says that there
// are more segments than frames.
func (s *shard) recover(from *loader.Shard, res *loader.Result, short bool) dump.StartShard {
	l := s.newLazy(from, res)
	start := dump.StartShard{
		Durable: from.Durable, State: from.State, Died: from.Died,
		Segments: make([]dump.StartSegment, 0, len(from.Segments)),
	}
	for _, j := range from.Journals[from.Chained:] {
		start.Journals = append(start.Journals, bytes.Clone(j)) // of memory that is given back
	}
	s.restoreQueues(l, from)
	for _, i := range newestFirst(from.Segments, short) {
		f := &from.Segments[i]
		dirty, ok := s.restoreSegment(l, f, res)
		if !ok {
			if s.skipSegment(f); f.Queue == pagefile.QueueLarge {
				start.Died = append(start.Died, f.Number) // or its place would have two owners
			}
			continue
		}
		start.Segments = append(start.Segments, dump.StartSegment{Segment: f.Segment, ImageEntry: f.ImageEntry, Sums: f.Sums, Dirty: dirty})
	}
	sort.Slice(start.Segments, func(i, j int) bool {
		a, b := &start.Segments[i], &start.Segments[j]
		return a.Queue < b.Queue || a.Queue == b.Queue && a.Seq < b.Seq
	})
	l.sources = l.sources[:len(l.byNumber)]
	s.index.version.Store(uint64(from.State.Buckets))
	s.lazy.Store(l)
	found := int64(0)
	for _, j := range from.Journals {
		found += s.applyJournal(l, j)
	}
	s.accountLocked(smallQueue, int64(from.State.Entries), int64(from.State.Live))
	l.missing = int64(from.State.Entries) - found
	if l.left.Load() == 0 {
		s.settleLocked(l)
	}
	return start
}

// newestFirst orders a shard's segments, those of queues and of large values by age
// alone if memory is short: what lists a large value is no use without it, nor the
// other way round. Each queue is in order as it comes.
func newestFirst(list []loader.Segment, short bool) []int {
	order := make([]int, len(list))
	for i := range order {
		order[i] = len(list) - 1 - i
	}
	if short {
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(list[b].Number, list[a].Number) })
	}
	return order
}

func (s *shard) newLazy(from *loader.Shard, res *loader.Result) *lazyShard {
	l := &lazyShard{pages: res.Pages, byNumber: make(map[uint64]int32, len(from.Segments))}
	if res.Image != nil && from.ImageBuckets > 0 {
		l.image = res.Image
		l.buckets = min(uint32(from.ImageBuckets), s.index.limit)
		blocks := (l.buckets + bucketsPerBlock - 1) / bucketsPerBlock
		l.loaded = make([]atomic.Uint64, blocks/64+1)
		l.left.Store(int64(blocks))
		l.marks = make([]uint64, l.buckets*bucketSlots/64+1)
	} else if res.Image != nil {
		l.image = res.Image
	}
	l.sources = make([]source, len(from.Segments))
	return l
}

// restoreQueues takes over heads and tails. The open segments are sealed: new
// records begin in new ones.
func (s *shard) restoreQueues(l *lazyShard, from *loader.Shard) {
	for q := range fileQueues {
		qu := &s.queues[q]
		l.opened[q] = queue{from.State.Heads[q], from.State.Tails[q]}
		qu.head = from.State.Heads[q]
		qu.tail = s.startOf(s.seqOf(from.State.Tails[q] + s.unitMask))
		if last := s.seqOf(qu.tail); last-min(last, s.seqOf(qu.head)) > uint64(s.ringMask) {
			qu.head = s.startOf(last - uint64(s.ringMask))
		}
	}
}

// restoreSegment gives a recovered segment its frame, and copies the bytes that
// are not home. ok is false if there is no memory for it.
func (s *shard) restoreSegment(l *lazyShard, f *loader.Segment, res *loader.Result) (dirty uint64, ok bool) {
	fill := f.Fill
	if fill == pagefile.OpenFill {
		fill = uint32(s.unitMask + 1)
		if q := f.Queue; q < fileQueues && s.seqOf(res.Shards[s.id].State.Tails[q]) == f.Seq {
			fill = uint32(res.Shards[s.id].State.Tails[q] & s.unitMask)
		}
	}
	if f.Queue < fileQueues && f.Seq < s.seqOf(s.queues[f.Queue].head) {
		return 0, false
	}
	frame, ok := s.frames.take(0)
	if !ok {
		return 0, false
	}
	dirty = copyPieces(s.frames.bytes(frame), f.Pieces, int(fill)*unitSize)
	if f.Queue == pagefile.QueueLarge {
		if !s.large.place(f.Number, frame, fill, dirty) {
			s.frames.give(frame)
			return 0, false
		}
	} else {
		seg := s.segmentAt(f.Queue, s.startOf(f.Seq))
		seg.open(f.Number, frame, dirty)
		seg.fill.Store(fill)
	}
	s.used.Add(1)
	src := &l.sources[len(l.byNumber)]
	l.byNumber[f.Number] = int32(len(l.byNumber))
	src.number, src.q, src.seq, src.entry, src.sums, src.place = f.Number, f.Queue, f.Seq, f.ImageEntry, f.Sums, -1
	if f.Place != pagefile.NoPlace {
		src.place = res.Record.Geometry.PlaceOffset(f.Place)
	}
	return dirty, true
}

// skipSegment forgets what lies in a segment that is not restored, and what is
// older in its queue.
func (s *shard) skipSegment(f *loader.Segment) {
	if f.Queue >= fileQueues {
		return
	}
	if end := s.startOf(f.Seq + 1); s.queues[f.Queue].head < end {
		s.queues[f.Queue].head = min(end, s.queues[f.Queue].tail)
	}
}

// copyPieces copies bytes that are not home into a frame and returns the pages
// that are complete with them. A page with a gap cannot be proved.
func copyPieces(frame []byte, pieces []pagefile.Piece, fill int) (complete uint64) {
	have := 0 // bytes [from, have) are known
	from := 0
	mark := func() {
		for page := (from + pageSize - 1) / pageSize; page*pageSize < have; page++ {
			if min((page+1)*pageSize, fill) <= have {
				complete |= 1 << page
			}
		}
	}
	for _, p := range pieces {
		off := int(p.Offset)
		if off > len(frame) || len(p.Bytes) > len(frame)-off {
			continue
		}
		if off != have {
			mark()
			from = off
		}
		copy(frame[off:], p.Bytes)
		have = off + len(p.Bytes)
	}
	mark()
	return complete
}

// applyJournal stores slot words in order and blindly, those that stand no more
// as 0, and returns by how many the used slots grew. // I10
func (s *shard) applyJournal(l *lazyShard, entries []byte) (grown int64) {
	limit := s.index.buckets() * bucketSlots
	marked := l.buckets * bucketSlots
	for ; len(entries) >= journalEntry; entries = entries[journalEntry:] {
		slot := binary.LittleEndian.Uint32(entries)
		w := word(binary.LittleEndian.Uint64(entries[4:]))
		if slot >= limit {
			continue
		}
		if w != 0 && !s.standsLocked(l, w) {
			w = 0
		}
		if was := s.index.load(slot); was != 0 && w == 0 {
			grown--
		} else if was == 0 && w != 0 {
			grown++
		}
		s.index.store(slot, w)
		if slot < marked {
			l.marks[slot/64] |= 1 << (slot % 64)
		}
	}
	return grown
}

// linkMemory gives the loader memory for the links of the weak chain: fresh huge
// pages cost a tenth of what the heap's cost, and Open waits for them. Where there
// is none left it gives none.
func (p *persistence) linkMemory(size int64) func(n int) []byte {
	return func(n int) []byte {
		if p.links == nil {
			a, err := newArena(int(size))
			if err != nil {
				return nil
			}
			p.links = a
		}
		if n > p.links.size-p.linksUsed {
			return nil
		}
		b := p.links.bytes(p.linksUsed, n)
		p.linksUsed += n
		return b
	}
}
