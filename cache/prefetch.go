package cache

import (
	"encoding/binary"
	"sort"
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// prefetch brings everything that Open left on file into memory: index blocks
// first, then segments, the newest first. It verifies what it reads, forgets the
// entries that cannot be proved, and ends the phase in which a Get or Set can
// meet a disk.
func (c *Cache) prefetch() {
	defer close(c.persist.verified)
	start := time.Now()
	for _, s := range c.shards {
		s.loadIndex()
	}
	for _, s := range c.shards {
		if !s.prefetch() {
			return // closed
		}
		s.settlePages()
	}
	p := c.persist
	p.mu.Lock()
	p.report.Verified = p.report.Mapped + time.Since(start)
	p.mu.Unlock()
}

// prefetch loads the shard's segments; false if the cache is being closed.
func (s *shard) prefetch() bool {
	l := s.lazy.Load()
	if l == nil {
		return true
	}
	order := make([]int, len(l.segments))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return l.segments[order[a]].Number > l.segments[order[b]].Number })
	for _, i := range order {
		select {
		case <-s.cache.stop:
			return false
		default:
		}
		s.prefetchSegment(l, &l.segments[i])
	}
	return true
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
	s.collectOrphans(l)
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.lock()
	defer s.unlock()
	if s.guessed {
		s.recountLocked()
	}
	s.lazy.Store(nil)
}

// collectOrphans gives back large segments that Open found and no record lists:
// what listed them was lost.
func (s *shard) collectOrphans(l *lazyShard) {
	orphans := make(map[uint64]bool)
	for i := range l.segments {
		if from := &l.segments[i]; from.Queue == pagefile.QueueLarge && s.large.at(from.Number).number.Load() == from.Number {
			orphans[from.Number] = true
		}
	}
	if len(orphans) == 0 {
		return
	}
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.sweep(func(_ uint32, w word) {
		rec := s.recordAt(w.queue(), s.positionLocked(w))
		for list := listOf(rec, readHeader(rec), s.segmentSize); len(list) >= 8; list = list[8:] {
			delete(orphans, binary.LittleEndian.Uint64(list))
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
