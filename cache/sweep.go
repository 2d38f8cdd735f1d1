package cache

// A sweep visits every slot of a shard, a piece at a time under the lock. While
// it runs no entry moves from a bucket that is still to be visited into one that
// was: nothing moves between candidates, and a split moves upwards.
const sweepBuckets = 512 // a piece: 32 KiB of index

// sweep calls visit, under the lock, for each used slot that is in memory. The
// caller holds sweepMu.
func (s *shard) sweep(visit func(slot uint32, w word)) {
	for first := uint32(0); ; first += sweepBuckets {
		s.lock()
		s.sweeping = true
		n := s.index.buckets()
		for slot := first * bucketSlots; slot < min(first+sweepBuckets, n)*bucketSlots; slot++ {
			if w := s.index.load(slot); w != 0 {
				visit(slot, w)
			}
		}
		if first+sweepBuckets >= n {
			s.sweeping = false
			s.unlock()
			return
		}
		s.unlock()
	}
}

// sweepSegment empties the segment at q's head, which has a page that cannot be
// read, so that its records cannot be walked: by position, through the index.
// What lies on its good pages is handled as the cleaner would; the rest is
// forgotten and counted.
func (s *shard) sweepSegment(q uint8, pos, number uint64, keep bool) {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	if s.segmentAt(q, pos).number.Load() != number {
		return
	}
	from := s.startOf(s.seqOf(pos))
	to := s.startOf(s.seqOf(pos) + 1)
	s.sweep(func(slot uint32, w word) {
		if w.queue() != q || !w.within(from, to) {
			return
		}
		if !s.recordPresentLocked(w) {
			s.loseLocked(slot, w)
			return
		}
		rec := s.recordAt(q, s.positionLocked(w))
		h := readHeader(rec)
		why := CauseEvicted
		if keep {
			why = CauseCorrupt // a whole segment would have waited for room
		}
		if n := h.units(s.segmentSize) * unitSize; h.keyLen() == 0 || n > len(rec) {
			s.loseLocked(slot, w)
		} else if v := (victim{slot: slot, w: w, head: h, rec: rec[:n]}); !keep || s.cache.over(h) || !s.moveOnLocked(&v, q, w.freq()) {
			s.logDyingLocked(w, h)
			s.putLocked(slot, 0) // head has not passed it: the journal says it
			s.evictedAsLocked(w, h, why)
		}
	})
	s.lock()
	defer s.unlock()
	if qu := &s.queues[q]; s.seqOf(qu.head) == s.seqOf(pos) && s.segmentAt(q, pos).number.Load() == number {
		s.finishLocked(q, s.segmentAt(q, pos), s.seqOf(pos))
	}
}

// loseLocked drops an entry that can no longer be proved.
func (s *shard) loseLocked(slot uint32, w word) {
	s.putLocked(slot, 0)
	s.guessLocked(w.queue(), 1)
	s.stats.corrupt.Add(1)
	s.stats.dropped.Add(1)
}
