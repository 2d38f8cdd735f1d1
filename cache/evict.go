package cache

import "math/bits"

// Space comes back from the oldest end of the queues. The cleaner walks a shard's
// records from a head; dead ones are passed over. While live bytes are under 5/8
// of MaxBytes a live one is moved on to its own queue's tail: nothing is
// forgotten. Above, victims are chosen as policy.go says, when live bytes are more
// than they may be or frames run low. When head has passed a sealed segment, its
// frame is free. Where records fill their segments badly, over half may be too
// much to keep: then it is the half that the cache promises.
//
// Where a processor is free the background does it, see relieve.go. Where it falls
// behind the writers do, a bounded piece at a time: whoever stored a KiB walks
// cleanShare KiB at most of the shard that has the most to give. While under 5/8 is
// live a lap over the log frees over a quarter of it, so eight bytes walked for each
// stored, from an eighth of the frames free, suffice. What a full cache of entries
// in use would have to walk beyond that is left to the background.
//
// A step has the shard's lock for a moment only, several times: who waits for it
// waits for holdRecords. What the next ones need is asked for before it lets go.
const (
	cleanShare  = 8
	cleanBytes  = 8 << 10 // a step, at most; plus the record that crosses it
	cleanHolds  = 8       // a step, at most
	holdRecords = 16      // that are looked up while the lock is held
)

// pressure says what cleaning has to reach, and how.
type pressure struct {
	keep   bool   // live bytes are under 5/8: live entries are moved on
	half   bool   // live bytes are under half: nothing live is forgotten
	force  bool   // use saves nothing from being evicted
	due    bool   // there is something to do
	need   int64  // live bytes to evict; 0: it is frames that are wanted
	ring   bool   // it is queue's ring that is full, not the frames
	queue  uint8  // of a full ring
	target int64  // free frames wanted
	shard  *shard // the one to clean
	ended  bool   // the last step came to a segment's end
}

// pressure looks at every shard, once: other processors change what it reads. Who
// comes to clean while another does takes another shard than he.
func (c *Cache) pressure() (p pressure) {
	var live int64
	var byLive, byDead, byUsed gains
	for _, s := range c.shards {
		n, used := s.live.Load(), s.used.Load()*int64(s.segmentSize)
		dead := used - n
		live += n
		if s.cleaning.Load() {
			used, n, dead = used-lastOfAll, n-lastOfAll, dead-lastOfAll
		}
		byLive.add(s, n)
		byDead.add(s, dead)
		byUsed.add(s, used)
	}
	p.half = live < c.opts.MaxBytes/2
	p.keep = live < c.opts.MaxBytes*5/8
	p.target = int64(c.reserve + ringSpare)
	if live < c.opts.MaxBytes*3/4 {
		p.target = max(p.target, int64(c.frames.count/8))
	}
	p.need = max(live-c.most, 0)
	p.due = p.need > 0 || c.frames.free.Load() < p.target
	switch {
	case p.need > 0:
		p.shard = byLive.shard
	case p.keep:
		p.shard = byDead.shard
	default:
		p.shard = byUsed.shard
	}
	return p
}

// lastOfAll is more than a shard can give: one that is being cleaned comes last, for
// two would wait for each other.
const lastOfAll = 1 << 50

// gains are the shard that gives most of something, and how much of it.
type gains struct {
	shard *shard
	most  int64
}

func (g *gains) add(s *shard, n int64) {
	if g.shard == nil || n > g.most {
		g.shard, g.most = s, n
	}
}

// after is what p has become by a step. While all that is live is moved on nothing
// but free frames is wanted, and who has the most to give seldom changes.
func (c *Cache) after(p pressure) pressure {
	if !p.keep || p.ended {
		return c.pressure()
	}
	p.due = c.frames.free.Load() < p.target
	return p
}

// help does the cleaning that n stored bytes owe: of the shard whose ring is nearly
// full, if one is, else of the one that has most to give. Live bytes that are beyond
// MaxBytes after that go whether they are in use or not, as many as were stored.
func (c *Cache) help(n int, tight *shard, q uint8) {
	if free := c.frames.free.Load(); tight == nil && free >= c.quiet {
		c.wakeEarly(free)
		return
	}
	p := c.pressure()
	for owed := n * cleanShare; owed > 0; p = c.after(p) {
		if tight != nil {
			p.fill(tight, q)
		} else if !p.due {
			return
		}
		owed -= max(p.shard.clean(&p), cleanBytes)
	}
	if !p.due {
		return
	}
	c.wakeCleaner()
	for ; n > 0; p = c.pressure() {
		if p.need -= c.opts.MaxBytes - c.most; p.need <= 0 {
			return
		}
		p.force = true
		n -= max(p.shard.clean(&p), cleanBytes)
	}
}

// fill has a shard cleaned for room in the ring of q.
func (p *pressure) fill(s *shard, q uint8) {
	p.shard, p.ring, p.queue, p.need = s, true, q, 0
}

// steps is how many steps of the cleaner a lap over everything takes.
func (c *Cache) steps() int { return c.frames.count * (c.segmentSize / cleanBytes) }

// mostTries is how often makeRoom is asked at most for the same thing.
func (c *Cache) mostTries() int { return 8 * c.steps() }

// patience is how many steps a Set takes for a frame before use saves nothing.
const patience = 4

// makeRoom cleans for a Set that found no frame, or a ring of s full. A shard that
// cannot move on for want of a frame itself does not stop the others. After laps
// without success nothing is kept any longer: Views may pin what would be free.
func (c *Cache) makeRoom(s *shard, q uint8, tries int) {
	p := c.pressure()
	if p.keep && !p.half {
		c.settleReplaced(true)
		p = c.pressure()
	}
	steps := c.steps()
	p.keep = p.keep && (tries < steps/4 || p.half && tries <= 2*steps)
	p.need, p.force = 0, tries >= patience
	if tries%4 == 3 {
		p.shard = c.shards[tries/4%len(c.shards)]
	}
	if s != nil && c.frames.free.Load() > int64(c.reserve) {
		p.fill(s, q) // frames there are: it is the ring
	}
	p.shard.clean(&p)
}

// takeFrame takes a frame for a large value's segment, cleaning until there is
// one; false if cleaning everything does not help.
func (c *Cache) takeFrame() (frame uint32, ok bool) {
	for tries := 0; tries < c.mostTries(); tries++ {
		if frame, ok = c.frames.take(c.reserve); ok {
			c.help(c.segmentSize, nil, 0)
			return frame, true
		}
		c.makeRoom(nil, 0, tries)
	}
	return 0, false
}

// clean takes one step in s, and returns how many bytes it walked. What it needs
// from files is loaded before the lock. p.need becomes what is left of it.
func (s *shard) clean(p *pressure) (walked int) {
	p.ended = false
	s.cleaning.Store(true)
	defer s.cleaning.Store(false)
	s.loadIndex()
	for range cleanHolds {
		s.lock()
		q, n, o := s.cleanLocked(p, cleanBytes-walked)
		pos := s.queues[q].head
		number := s.segmentAt(q, pos).number.Load()
		grow := s.outgrownLocked()
		s.logHeadsLocked()
		s.unlock()
		walked += n
		switch {
		case o == absent && s.loadSegment(q, pos, number):
			continue
		case o == absent, o == broken:
			s.sweepSegment(q, pos, number, p.keep)
		case grow:
			s.growGhosts()
		}
		if o != hit || p.ended || walked >= cleanBytes {
			break
		}
	}
	return walked
}

// cleanLocked walks up to holdRecords, or most bytes. It answers absent if the
// queue's oldest segment must be loaded first, broken if its records cannot be
// walked, changed if there is no room to move one to, miss if there is nothing left
// to do.
func (s *shard) cleanLocked(p *pressure, most int) (q uint8, walked int, o outcome) {
	evict := p.need > 0
	if evict { // as it is now: others clean as well
		p.need = min(p.need, s.cache.live()-s.cache.most)
	}
	for n := 0; n < holdRecords && walked < most; n++ {
		var ok bool
		if q, ok = s.nextLocked(p); !ok || evict && p.need <= 0 {
			return q, walked, miss
		}
		if !s.askedLocked(q) {
			s.fetchAheadLocked(q)
		}
		live := s.live.Load()
		units, ended, o := s.passHeadLocked(q, p)
		walked += units * unitSize
		if evict {
			p.need -= live - s.live.Load()
		}
		if p.ended = ended && !evict; o != hit || p.ended {
			return q, walked, o
		}
	}
	s.fetchAheadLocked(q)
	return q, walked, hit
}

// passHeadLocked moves q's head past a record, and the dead ones before it; ended
// says that it has come to the end of a segment.
func (s *shard) passHeadLocked(q uint8, p *pressure) (units int, ended bool, o outcome) {
	qu := &s.queues[q]
	seg, seq := s.segmentAt(q, qu.head), s.seqOf(qu.head)
	off, end := s.offsetOf(qu.head), s.endLocked(q, qu.head)
	if off < end {
		if !seg.has(off, end-off) {
			return 0, false, absent
		}
		units = s.passDeadLocked(q, seg, end)
		if off += units * unitSize; off < end {
			if units > 0 && s.newest == (location{q, qu.head}) {
				return units, false, hit // the last to go: nextLocked decides
			}
			n, o := s.cleanRecordLocked(q, end-off, p)
			if units += n; o != hit || s.seqOf(qu.head) == seq {
				return units, false, o
			}
		}
	}
	s.finishLocked(q, seg, seq)
	return units, true, hit
}

// nextLocked is the queue whose head is next. One that takes what another moves on
// comes first when its ring is nearly full.
func (s *shard) nextLocked(p *pressure) (q uint8, ok bool) {
	switch {
	case p.ring:
		return p.queue, s.queues[p.queue].head < s.queues[p.queue].tail
	case p.keep:
		return s.oldestLocked(false, smallQueue, mainQueue, memorySmall, memoryMain)
	}
	if q, ok = s.victimLocked(); ok && s.roomInRing(q|1) < ringSpare {
		q |= 1
	}
	return q, ok
}

// oldestLocked is that of some queues whose head's segment was opened first; one
// with only an open segment comes last. If spare, one whose head is at the record
// stored last is none of them.
func (s *shard) oldestLocked(spare bool, of ...uint8) (q uint8, ok bool) {
	best := ^uint64(0)
	for _, sealed := range [2]bool{true, false} {
		for _, i := range of {
			qu := &s.queues[i]
			if qu.head >= qu.tail || sealed && s.seqOf(qu.head) == s.seqOf(qu.tail) || spare && s.newest == (location{i, qu.head}) {
				continue
			}
			if n := s.segmentAt(i, qu.head).number.Load(); n < best {
				best, q, ok = n, i, true
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
func (s *shard) cleanRecordLocked(q uint8, room int, p *pressure) (units int, o outcome) {
	qu := &s.queues[q]
	rec := s.recordAt(q, qu.head)
	h := readHeader(rec)
	units = h.units(s.segmentSize)
	if h.keyLen() == 0 || units*unitSize > room {
		return 0, broken // not written by us
	}
	hash := s.cache.hash.sum(rec[headerSize : headerSize+h.keyLen()])
	v := victim{hash: hash, head: h, rec: rec[:units*unitSize]}
	var ok bool
	if v.slot, v.w, ok = s.slotOfLocked(q, qu.head, hash); ok && !s.passLocked(&v, p) {
		return 0, changed
	}
	qu.head += uint64(units)
	s.walked.records++
	s.walked.bytes += uint64(units * unitSize)
	return units, hit
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
	for slots := s.index.match(a, b, tagOf(hash)); slots != 0; slots &= slots - 1 {
		slot = slotOf(a, b, bits.TrailingZeros32(slots))
		if w = s.index.load(slot); w&^freqMask == want {
			return slot, w, true
		}
	}
	return 0, 0, false
}
