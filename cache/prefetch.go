package cache

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// prefetch brings everything that Open left on file into memory: index blocks
// first, then segments, the hottest first. It verifies what it reads, forgets the
// entries that cannot be proved, and ends the phase in which a Get or Set can
// meet a disk.
func (c *Cache) prefetch() {
	defer close(c.persist.verified)
	start := time.Now()
	for _, s := range c.shards {
		c.indexArena.populate(s.index.off, int(s.index.buckets())*bucketSize)
		s.loadIndex()
	}
	if r := c.persist.result; r != nil && r.Record != nil && r.Image != nil {
		c.loadGhosts(r.Image)
	}
	for _, w := range c.waiting() {
		select {
		case <-c.stop:
			return
		default:
		}
		w.shard.prefetchSegment(w.lazy, w.segment)
	}
	for _, s := range c.shards {
		s.settlePages()
		s.countDigest()
	}
	p := c.persist
	p.mu.Lock()
	p.report.Verified = p.report.Mapped + time.Since(start)
	p.mu.Unlock()
}

// A waiting segment is one that Open left on file.
type waiting struct {
	shard   *shard
	lazy    *lazyShard
	segment *loader.Segment
	heat    int // uses of its entries
}

// waiting lists the segments of all shards, the hottest first, the newest of
// those that nobody used or whose uses are not known: a large value's are noted
// with the record that lists it.
func (c *Cache) waiting() (list []waiting) {
	for _, s := range c.shards {
		l := s.lazy.Load()
		if l == nil {
			continue
		}
		heat := s.heat(l)
		for i := range l.segments {
			list = append(list, waiting{s, l, &l.segments[i], heat[i]})
		}
	}
	slices.SortFunc(list, func(a, b waiting) int {
		return cmp.Or(cmp.Compare(b.heat, a.heat), cmp.Compare(b.segment.Number, a.segment.Number))
	})
	return list
}

// heat adds up how often the entries of each recovered segment were used. Words
// may change meanwhile: it is a hint.
func (s *shard) heat(l *lazyShard) []int {
	heat := make([]int, len(l.segments))
	for slot := range s.index.buckets() * bucketSlots {
		w := s.index.load(slot)
		if w == 0 || w.freq() == 0 || w.queue() >= fileQueues {
			continue
		}
		seg := &s.segments[int(w.queue())<<s.ringBits|int(w.pos()>>s.unitBits)&s.ringMask]
		if i := int(seg.source); i < len(heat) && l.segments[i].Number == seg.number.Load() {
			heat[i] += w.freq()
		}
	}
	return heat
}

func (s *shard) prefetchSegment(l *lazyShard, from *loader.Segment) {
	seg := s.large.at(from.Number)
	if from.Queue < fileQueues {
		seg = s.segmentAt(from.Queue, s.startOf(from.Seq))
	}
	fill := int(min(uint64(seg.fill.Load()), s.unitMask+1)) * unitSize
	if seg.number.Load() != from.Number || fill == 0 || seg.has(0, fill) {
		return
	}
	s.frames.arena.populate(int(seg.frame.Load())*s.segmentSize, s.segmentSize)
	s.loadPages(l, want{seg, from.Number, pageBits(0, fill)})
}

// settlePages ends the lazy phase: no word may point at a page that could not be
// had, since nobody looks at present bits afterwards. After damage the index is
// counted once, under the lock.
func (s *shard) settlePages() {
	l := s.lazy.Load()
	if l == nil {
		return
	}
	if s.anyBad(l) {
		s.sweepMu.Lock()
		s.sweep(func(slot uint32, w word) {
			if _, missing := s.wantLocked(w); missing {
				s.loseLocked(slot, w)
			}
		})
		s.sweepMu.Unlock()
	}
	s.matchLarge(l)
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.lock()
	defer s.unlock()
	if s.guessed {
		s.recountLocked()
	}
	s.lazy.Store(nil)
}

// matchLarge gives back large segments that Open found and no record lists: what
// listed them was lost. It forgets entries that list a segment which is not there.
func (s *shard) matchLarge(l *lazyShard) {
	orphans := make(map[uint64]bool)
	for i := range l.segments {
		if from := &l.segments[i]; from.Queue == pagefile.QueueLarge && s.large.at(from.Number).number.Load() == from.Number {
			orphans[from.Number] = true
		}
	}
	if len(orphans) == 0 && !l.partial {
		return
	}
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.sweep(func(slot uint32, w word) {
		rec := s.recordAt(w.queue(), s.positionLocked(w))
		h, whole := readHeader(rec), true
		for list := listOf(rec, h, s.segmentSize); len(list) >= 8; list = list[8:] {
			number := binary.LittleEndian.Uint64(list)
			delete(orphans, number)
			whole = whole && s.large.at(number).number.Load() == number
		}
		if !whole {
			s.loseEntryLocked(slot, w, h)
		}
	})
	var list []byte
	for n := range orphans {
		list = binary.LittleEndian.AppendUint64(list, n)
	}
	s.lock()
	defer s.unlock()
	s.retireListLocked(smallQueue, list)
}

func (s *shard) anyBad(l *lazyShard) bool {
	for i := range l.sources {
		if l.sources[i].bad.Load() != 0 {
			return true
		}
	}
	return false
}
