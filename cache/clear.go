package cache

import "github.com/embercache/ember/pagefile"

// Clear removes everything; it returns when no Get can find what was there. No
// cut falls into it, so a generation has all of it or nothing. It looks at every
// slot of the index, and generations wait for it. An error (ErrClosed, ErrReadOnly)
// means that nothing was removed.
func (c *Cache) Clear() error {
	c.batches.RLock()
	defer c.batches.RUnlock()
	if err := c.refuses(); err != nil {
		return err
	}
	if c.livelog != nil {
		c.livelog.clearing.Lock()
		defer c.livelog.clearing.Unlock()
	}
	u := c.livelog.begin(pagefile.IntentClear, func(int) ([]byte, bool) { return nil, true })
	for _, s := range c.shards {
		s.clear(u)
		c.tellLeavers()
	}
	c.livelog.done(u)
	return c.cutShort(u)
}

// clear sets head to tail in each queue, then sweeps the index, and only then
// gives back the segments that lie before head: a dead word never meets another
// segment's bytes. // I13
func (s *shard) clear(u underWay) {
	s.loadIndex() // what is met later would count as lost
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	s.sweepCleared(s.passAll(u))
}

// passAll sets head to tail in each queue and returns what both were. It seals
// the open segments: the cleaner would give one back that goes on, while words
// that Clear has not swept yet point into it.
func (s *shard) passAll(u underWay) (heads, tails [queues]uint64) {
	s.lock()
	defer s.unlock()
	s.flights = nil // all are overtaken
	for q := range s.queues {
		s.sealLocked(uint8(q))
		qu := &s.queues[q]
		heads[q], tails[q] = qu.head, qu.tail
		qu.head = qu.tail
	}
	if s.log != nil {
		s.tagLocked(u.tag(1))
		s.logDead = s.fileEntries
		s.commitLogLocked() // before the first Get misses
	}
	return heads, tails
}

// sweepCleared empties the slots of what lies in [heads, tails), then gives the
// segments back. The caller holds sweepMu.
func (s *shard) sweepCleared(heads, tails [queues]uint64) {
	s.sweep(func(slot uint32, w word) {
		q := w.queue()
		if w.within(heads[q], tails[q]) {
			s.storeLocked(slot, 0) // head says it, not the journal
			had := s.fileEntries
			s.clearedLocked(w, heads[q])
			s.logDead -= had - s.fileEntries
		}
	})
	s.lock()
	defer s.unlock()
	s.logDead = 0
	s.small = 0 // not before: until then frames are short, and a victim is asked for where hardly anything is
	for q := range s.queues {
		s.dropSegmentsLocked(uint8(q), s.seqOf(heads[q]), s.seqOf(tails[q]))
	}
	if s.log != nil {
		s.commitLogLocked() // the large values that ended
	}
}

// clearedLocked ends an entry that Clear swept. head is its queue's from before.
func (s *shard) clearedLocked(w word, head uint64) {
	pos := head + uint64((w.pos()-uint32(head))&posMask)
	if s.lazy.Load() != nil && !s.presentLocked(w.queue(), pos) {
		s.guessLocked(w.queue(), 1)
		s.unseenLocked()
		return
	}
	h := readHeader(s.recordAt(w.queue(), pos))
	if s.cache.leavers != nil {
		s.leaveLocked(w.queue(), pos, h, CauseDeleted)
	}
	s.dropLocked(w.queue(), h.size(s.segmentSize))
	if h.large() {
		s.retireListLocked(w.queue(), listOf(s.recordAt(w.queue(), pos), h, s.segmentSize))
	}
}

// dropSegmentsLocked gives back segments [from, to) of a queue; no word points
// into them.
func (s *shard) dropSegmentsLocked(q uint8, from, to uint64) {
	for seq := from; seq < to; seq++ {
		if seg := s.segmentAt(q, s.startOf(seq)); seg.number.Load() != 0 {
			s.retireLocked(heldKey{s.id, q, seq}, seg, q < fileQueues)
		}
	}
}
