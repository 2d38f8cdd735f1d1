package cache

// Space comes back from the oldest end of the queues. The cleaner walks a shard's
// records from a head: dead ones are passed over; a live one is moved on to the
// main queue's tail while live bytes are under 5/8 of MaxBytes, and evicted
// otherwise. When head has passed a sealed segment, its frame is free. Where
// records fill their segments badly, over half may be too much to keep: then it
// is the half that the cache promises.
//
// It is the writers who clean, a bounded piece at a time: once free frames run
// low, whoever stored a KiB walks cleanShare KiB of the shard that has the most to
// give. While under 5/8 is live a lap over the log frees over a quarter of it, so
// eight bytes walked for each stored, from an eighth of the frames free, suffice.
const (
	cleanShare   = 8
	cleanBytes   = 8 << 10 // a step, at most; plus the record that crosses it
	cleanRecords = 128     // a step, at most
)

// pressure says what cleaning has to reach.
type pressure struct {
	keep   bool   // live bytes are under 5/8: live entries are moved on
	half   bool   // live bytes are under half: nothing live is forgotten
	target int64  // free frames wanted
	shard  *shard // the one to clean
}

func (c *Cache) pressure() (p pressure) {
	var live, most int64 = 0, -1
	for _, s := range c.shards {
		live += s.live.Load()
	}
	p.half = live < c.opts.MaxBytes/2
	p.keep = live < c.opts.MaxBytes*5/8
	p.target = int64(c.reserve + 2)
	if live < c.opts.MaxBytes*3/4 {
		p.target = max(p.target, int64(c.frames.count/8))
	}
	for _, s := range c.shards {
		gain := s.used.Load() * int64(c.segmentSize)
		if p.keep {
			gain -= s.live.Load()
		}
		if gain > most {
			most, p.shard = gain, s
		}
	}
	return p
}

// help does the cleaning that n stored bytes owe, if frames run low.
func (c *Cache) help(n int) {
	for owed := n * cleanShare; owed > 0; owed -= cleanBytes {
		if c.frames.free.Load() >= int64(max(c.frames.count/8, c.reserve+2)) {
			return
		}
		p := c.pressure()
		if c.frames.free.Load() >= p.target {
			return
		}
		p.shard.clean(p.keep)
	}
}

// steps is how many steps of the cleaner a lap over everything takes.
func (c *Cache) steps() int { return c.frames.count * (c.segmentSize / cleanBytes) }

// mostTries is how often makeRoom is asked at most for the same thing.
func (c *Cache) mostTries() int { return 8 * c.steps() }

// makeRoom cleans for a Set that found no frame, or a ring of s full. A shard that
// cannot move on for want of a frame itself does not stop the others. After laps
// without success nothing is kept any longer: Views may pin what would be free.
func (c *Cache) makeRoom(s *shard, tries int) {
	p := c.pressure()
	steps := c.steps()
	p.keep = p.keep && (tries < steps/4 || p.half && tries <= 2*steps)
	if tries%4 == 3 {
		p.shard = c.shards[tries/4%len(c.shards)]
	}
	if s != nil && c.frames.free.Load() > int64(c.reserve) {
		p.shard = s // frames there are: it is the ring
	}
	p.shard.clean(p.keep)
}

// takeFrame takes a frame for a large value's segment, cleaning until there is
// one; false if cleaning everything does not help.
func (c *Cache) takeFrame() (frame uint32, ok bool) {
	for tries := 0; tries < c.mostTries(); tries++ {
		if frame, ok = c.frames.take(c.reserve); ok {
			c.help(c.segmentSize)
			return frame, true
		}
		c.makeRoom(nil, tries)
	}
	return 0, false
}

// clean takes one step in s. What it needs from files is loaded before the lock.
func (s *shard) clean(keep bool) {
	s.loadIndex()
	for {
		s.lock()
		q, o := s.cleanLocked(keep)
		pos := s.queues[q].head
		number := s.segmentAt(q, pos).number.Load()
		s.unlock()
		switch {
		case o == absent && s.loadSegment(q, pos, number):
			continue
		case o == absent, o == broken:
			s.sweepSegment(q, pos, number, keep)
		}
		return
	}
}

// cleanLocked walks up to cleanBytes or cleanRecords from the oldest head. It
// answers absent if the queue's oldest segment must be loaded first, broken if
// its records cannot be walked, changed if there is no room to move one to.
func (s *shard) cleanLocked(keep bool) (q uint8, o outcome) {
	q, ok := s.oldestLocked()
	if !ok {
		return q, miss
	}
	if s.roomInRing(q|1) < ringSpare {
		q |= 1 // takes what would be moved on
	}
	qu := &s.queues[q]
	seg := s.segmentAt(q, qu.head)
	for n, walked := 0, 0; n < cleanRecords && walked < cleanBytes; n++ {
		off, end := s.offsetOf(qu.head), s.endLocked(q, qu.head)
		if off >= end {
			s.finishLocked(q, seg, s.seqOf(qu.head))
			return q, hit
		}
		if !seg.has(off, end-off) {
			return q, absent
		}
		units, o := s.cleanRecordLocked(q, end-off, keep)
		if o != hit {
			return q, o
		}
		walked += units * unitSize
		if s.offsetOf(qu.head) == 0 {
			s.finishLocked(q, seg, s.seqOf(qu.head)-1)
			return q, hit
		}
	}
	return q, hit
}

// oldestLocked is the queue whose head's segment was opened first; one with only
// an open segment comes last.
func (s *shard) oldestLocked() (q uint8, ok bool) {
	best := ^uint64(0)
	for _, sealed := range [2]bool{true, false} {
		for i := range s.queues {
			qu := &s.queues[i]
			if qu.head >= qu.tail || sealed && s.seqOf(qu.head) == s.seqOf(qu.tail) {
				continue
			}
			if n := s.segmentAt(uint8(i), qu.head).number.Load(); n < best {
				best, q, ok = n, uint8(i), true
			}
		}
		if ok {
			return q, true
		}
	}
	return 0, false
}

// endLocked is where the records end in the segment that holds pos, in bytes.
func (s *shard) endLocked(q uint8, pos uint64) int {
	if tail := s.queues[q].tail; s.seqOf(tail) == s.seqOf(pos) {
		return s.offsetOf(tail)
	}
	fill := s.segmentAt(q, pos).fill.Load()
	return int(min(uint64(fill), s.unitMask+1)) * unitSize
}

// finishLocked ends segment seq of q, which head has walked through. // I13
func (s *shard) finishLocked(q uint8, seg *segment, seq uint64) {
	qu := &s.queues[q]
	if seq == s.seqOf(qu.tail) {
		return // open: its room is still to be used
	}
	qu.head = s.startOf(seq + 1)
	if seg.number.Load() != 0 {
		s.retireLocked(heldKey{s.id, q, seq}, seg, q < fileQueues)
	}
}

// cleanRecordLocked handles the record at q's head and moves head past it, in
// one critical section: that is what says, in files, that its slot is empty.
func (s *shard) cleanRecordLocked(q uint8, room int, keep bool) (units int, o outcome) {
	qu := &s.queues[q]
	rec := s.recordAt(q, qu.head)
	h := readHeader(rec)
	units = h.units(s.segmentSize)
	if h.keyLen() == 0 || units*unitSize > room {
		return 0, broken // not written by us
	}
	key := rec[headerSize : headerSize+h.keyLen()]
	slot, w, ok := s.slotOfLocked(q, qu.head, s.cache.hash.sum(key))
	if ok && !s.passLocked(slot, w, rec[:units*unitSize], h, keep) {
		return 0, changed
	}
	qu.head += uint64(units)
	return units, hit
}

// passLocked moves a live record on, or evicts it. False: nowhere to move it.
func (s *shard) passLocked(slot uint32, w word, rec []byte, h header, keep bool) bool {
	if keep && !s.cache.over(h) {
		return s.moveOnLocked(slot, w, rec)
	}
	s.storeLocked(slot, 0) // head says it, not the journal
	s.evictedLocked(w, h)
	return true
}

// moveOnLocked copies a live record to the main queue's tail.
func (s *shard) moveOnLocked(slot uint32, w word, rec []byte) bool {
	target := w.queue() | 1
	pos, ok := s.reserveLocked(target, len(rec)/unitSize, 0)
	if !ok {
		return false
	}
	copy(s.recordAt(target, pos), rec)
	s.putLocked(slot, makeWord(target, pos, w.tag()).withFreq(w.freq()-1))
	return true
}

func (s *shard) evictedLocked(w word, h header) { s.evictedAsLocked(w, h, CauseEvicted) }

func (s *shard) evictedAsLocked(w word, h header, why Cause) {
	s.forgetLocked(w, h, why)
	s.stats.evictions.Add(1)
	s.stats.evictedBytes.Add(uint64(h.size(s.segmentSize)))
}

// slotOfLocked finds the slot that points at pos.
func (s *shard) slotOfLocked(q uint8, pos, hash uint64) (slot uint32, w word, ok bool) {
	want := makeWord(q, pos, tagOf(hash))
	a, b := s.index.candidates(hash, s.index.buckets())
	for _, bucket := range [2]uint32{a, b} {
		for i := uint32(0); i < bucketSlots; i++ {
			slot = bucket*bucketSlots + i
			if w = s.index.load(slot); w&^freqMask == want {
				return slot, w, true
			}
		}
	}
	return 0, 0, false
}
