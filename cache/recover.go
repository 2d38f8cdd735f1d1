package cache

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
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
	runs := c.allot(res.Shards)
	var group sync.WaitGroup
	for i, s := range c.shards {
		group.Add(1)
		go func() {
			defer group.Done()
			starts[i] = s.recover(&res.Shards[i], res, runs[i])
		}()
	}
	group.Wait()
	return starts
}

// A frameRun is the frames that a shard may restore segments into.
type frameRun struct{ next, end uint32 }

// allot gives each shard frames for its segments. If there are not enough for
// all, but for those that only the cleaner takes, each gets its share: the same
// files and options give the same state.
func (c *Cache) allot(shards []loader.Shard) []frameRun {
	need := 0
	for i := range shards {
		need += len(shards[i].Segments)
	}
	room := c.frames.count - c.reserve
	runs := make([]frameRun, len(shards))
	for i := range runs {
		n := len(shards[i].Segments)
		if need > room {
			n = int(int64(n) * int64(room) / int64(need))
		}
		first := c.frames.takeRun(n)
		runs[i] = frameRun{first, first + uint32(n)}
	}
	return runs
}

// oldestOf is the number of the oldest segment that n frames are enough for,
// counted from the newest.
func oldestOf(segments []loader.Segment, n int) uint64 {
	if n >= len(segments) {
		return 0
	}
	numbers := make([]uint64, len(segments))
	for i := range segments {
		numbers[i] = segments[i].Number
	}
	slices.Sort(numbers)
	if n == 0 {
		return numbers[len(numbers)-1] + 1
	}
	return numbers[len(numbers)-n]
}

// recover is one shard's part. Nobody else has the shard yet.
func (s *shard) recover(from *loader.Shard, res *loader.Result, run frameRun) dump.StartShard {
	l := s.newLazy(from, res)
	start := dump.StartShard{Durable: from.Durable, State: from.State, Died: from.Died}
	for _, j := range from.Journals[from.Chained:] {
		start.Journals = append(start.Journals, bytes.Clone(j)) // of memory that is given back
	}
	s.restoreQueues(l, from)
	kept := s.restoreSegments(l, res, run)
	l.partial = res.Reason != nil || len(kept.skipped) > 0
	start.Segments = kept.all
	start.Died = slices.Concat(start.Died, kept.died) // or their places would have two owners
	slices.Sort(start.Died)
	s.index.version.Store(uint64(from.State.Buckets))
	s.lazy.Store(l)
	found := s.applyJournals(l, from.Journals)
	s.emptyDanglingLocked(l)
	s.accountLocked(smallQueue, int64(from.State.Entries), int64(from.State.Live&^pagefile.LiveEstimate))
	s.guessed = from.State.Live&pagefile.LiveEstimate != 0
	if p := s.cache.persist; p != nil {
		s.guessed = s.guessed || p.live.named
	}
	s.gaugeLinesLocked()
	l.missing = int64(from.State.Entries) - found
	if l.left.Load() == 0 {
		s.settleLocked(l)
	}
	return start
}

// restored is what the dumper asks for of a shard's segments.
type restored struct {
	segments []loader.Segment
	skipped  map[int]bool
	dirty    map[int]uint64 // pages that came back and are not home
	died     []uint64       // large segments that were skipped
}

func (r *restored) all(yield func(dump.StartSegment) bool) {
	for i := range r.segments {
		f := &r.segments[i]
		if !r.skipped[i] && !yield(dump.StartSegment{Segment: f.Segment, ImageEntry: f.ImageEntry, Sums: f.Sums, Dirty: r.dirty[i]}) {
			return
		}
	}
}

// restoreSegments restores the newest segments, as far as there are frames.
func (s *shard) restoreSegments(l *lazyShard, res *loader.Result, run frameRun) *restored {
	kept := &restored{segments: l.segments, skipped: make(map[int]bool), dirty: make(map[int]uint64)}
	oldest := oldestOf(l.segments, int(run.end-run.next))
	for i := len(l.segments) - 1; i >= 0; i-- { // what is skipped takes all older along
		f := &l.segments[i]
		dirty, ok := uint64(0), false
		if f.Number >= oldest && run.next < run.end {
			dirty, ok = s.restoreSegment(l, i, run.next, res)
		}
		if ok {
			run.next++
		} else {
			s.skipSegment(f)
			kept.skipped[i] = true
			if f.Queue == pagefile.QueueLarge {
				kept.died = append(kept.died, f.Number)
			}
		}
		if dirty != 0 {
			kept.dirty[i] = dirty
		}
		if len(f.Pieces) > 0 {
			f.Pieces = nil // of memory that is given back
		}
	}
	for ; run.next < run.end; run.next++ {
		s.frames.give(run.next)
	}
	return kept
}

func (s *shard) newLazy(from *loader.Shard, res *loader.Result) *lazyShard {
	l := &lazyShard{pages: res.Pages, places: res.Record.Geometry.PlaceOffset, segments: from.Segments}
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

// restoreSegment puts recovered segment i into a frame, and copies the bytes that
// are not home. ok is false if its ring or table has no room for it, or a link named
// it without a byte.
func (s *shard) restoreSegment(l *lazyShard, i int, frame uint32, res *loader.Result) (dirty uint64, ok bool) {
	f := &l.segments[i]
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
	if f.Queue == pagefile.QueueLarge && f.Place == pagefile.NoPlace && len(f.Pieces) == 0 {
		return 0, false
	}
	dirty = copyPieces(s.frames.bytes(frame), f.Pieces, int(fill)*unitSize)
	if f.Queue == pagefile.QueueLarge {
		if !s.large.place(f.Number, frame, fill, dirty, uint32(i)) {
			return 0, false
		}
		s.own[mainQueue]++
	} else {
		seg := s.segmentAt(f.Queue, s.startOf(f.Seq))
		seg.source = uint32(i)
		seg.open(f.Number, frame, dirty)
		seg.fill.Store(fill)
	}
	s.used.Add(1)
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

// applyJournals applies a shard's journals in order. Many stores touch all of the
// index, which the kernel clears for less at once than page by page.
func (s *shard) applyJournals(l *lazyShard, journals [][]byte) (grown int64) {
	bytes := 0
	for _, j := range journals {
		bytes += len(j)
	}
	if used := int(s.index.buckets()) * bucketSize; bytes/journalEntry > 4*used/hugePage {
		s.cache.indexArena.populate(s.index.off, used)
	}
	for _, j := range journals {
		grown += s.applyJournal(l, j)
	}
	return grown
}

// applyAhead is how many slots are touched before the first of them is stored: as
// many as a core can wait for at once. They lie anywhere in memory that nobody has
// touched yet.
const applyAhead = 32

// applyJournal stores slot words in order and blindly, those that stand no more
// as 0, and returns by how many the used slots grew. // I10
func (s *shard) applyJournal(l *lazyShard, entries []byte) (grown int64) {
	for len(entries) >= journalEntry {
		n := min(len(entries)/journalEntry, applyAhead) * journalEntry
		s.touchSlots(entries[:n])
		grown += s.applyEntries(l, entries[:n])
		entries = entries[n:]
	}
	return grown
}

// touchSlots has the processor fetch the slots of entries together. The compiler
// must not see that it is for nothing.
func (s *shard) touchSlots(entries []byte) {
	limit, sum := s.index.buckets()*bucketSlots, word(0)
	for ; len(entries) >= journalEntry; entries = entries[journalEntry:] {
		sum |= s.index.load(min(binary.LittleEndian.Uint32(entries), limit-1))
	}
	runtime.KeepAlive(sum)
}

func (s *shard) applyEntries(l *lazyShard, entries []byte) (grown int64) {
	limit := s.index.buckets() * bucketSlots
	marked := l.buckets * bucketSlots
	for ; len(entries) >= journalEntry; entries = entries[journalEntry:] {
		slot := binary.LittleEndian.Uint32(entries)
		w := word(binary.LittleEndian.Uint64(entries[4:]))
		if slot >= limit {
			continue
		}
		if w != 0 {
			stands, dangles := s.standsLocked(l, w)
			if dangles {
				l.dangling = append(l.dangling, slot)
			}
			if !stands {
				w = 0
			}
		}
		at := s.index.slot(slot) // nobody else has the index yet, and an atomic store would wait for all before it
		grown += taken(w) - taken(word(*at))
		*at = uint64(w)
		if slot < marked {
			l.marks[slot/64] |= 1 << (slot % 64)
		}
	}
	return grown
}

// emptyDanglingLocked has the journal say which slots are empty because their words
// dangled. // I10
func (s *shard) emptyDanglingLocked(l *lazyShard) {
	for _, slot := range l.dangling {
		if s.index.load(slot) == 0 {
			s.putLocked(slot, 0)
		}
	}
	l.dangling = nil
}

// taken is 1 for a word, 0 for an empty slot, without a branch that nobody could
// foretell.
func taken(w word) int64 { return int64((w | -w) >> 63) }

// linkMemory gives the loader memory for links and blobs: fresh huge pages cost a
// tenth of what the heap's cost, and Open waits for them. Where there is none left
// it gives none.
func (p *persistence) linkMemory(size int64) func(n int) []byte {
	var mu sync.Mutex
	return func(n int) []byte {
		mu.Lock()
		defer mu.Unlock()
		if p.links == nil {
			a, err := newArena(int(size), hugePages)
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
