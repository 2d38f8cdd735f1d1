package cache

import (
	"encoding/binary"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// The order of a write with a live log: *reserve; copy; what the write does is a
// whole group in the log; publish the slot; append to the journal.* A group is
// counted in by one store, after all that it has and before the slot. So whoever saw
// an effect, and did something because of it, did that after the log had the cause:
// when a process is killed its stores stay, in an order in which no effect comes
// before its cause. // I9
//
// What changes nothing that a Get can see may come later, with the next group: a
// word that moves to another slot, a bucket that is split, a segment that is sealed,
// a head that passes what is dead. A key is in two slots for as long as it moves, so
// both stores are in one group.
//
// The log is memory of ours: no store into it waits for a disk or asks the kernel.
// All of it is allocated and mapped before the first. // I7

// startLogLocked goes on in the half of a new cut.
func (s *shard) startLogLocked(epoch uint64) {
	if s.log == nil {
		s.log = s.cache.livelog.mem.Writer(s.id)
	}
	s.log.Cut(epoch)
	s.logDelta, s.logTag, s.logHead = 0, 0, 0
	s.cache.livelog.killable()
}

// logStoreLocked logs a slot's new word before it is stored.
func (s *shard) logStoreLocked(slot uint32, w word) {
	s.log.Store(slot, uint64(w.onFile()))
	s.logDelta += taken(w.onFile()) - taken(s.index.load(slot).onFile())
	if !s.logHeld {
		s.commitLogLocked()
	}
}

// commitLogLocked makes a group of what waits. The gauges do not know it yet.
func (s *shard) commitLogLocked() {
	st := s.stateLocked()
	st.Entries = uint32(max(int64(st.Entries)+s.logDelta-s.logDead, 0))
	p, v := s.log.Commit(&st, s.logTag)
	s.logDelta, s.logTag, s.logHead = 0, 0, st.Heads[0]+st.Heads[1]
	if p != nil {
		publish(p, v)
		s.cache.livelog.killable()
	}
	if s.log.Broken() {
		s.cache.livelog.missed(s.log.Seq())
	}
}

// tagLocked says that the next group is a step of what is under way.
func (s *shard) tagLocked(tag uint64) {
	if s.log != nil {
		s.logTag = tag
	}
}

// commitTagLocked logs a step that stored nothing.
func (s *shard) commitTagLocked(tag uint64) {
	if s.log != nil && tag != 0 {
		s.logTag = tag
		s.commitLogLocked()
	}
}

// logEvictedLocked logs that head passes a record, before a Get can miss it.
func (s *shard) logEvictedLocked(v *victim) {
	q := v.w.queue()
	if s.log == nil || q >= fileQueues {
		return
	}
	s.logDyingLocked(v.w, v.head)
	s.logDelta--
	head := s.queues[q].head
	s.queues[q].head = s.positionLocked(v.w) + uint64(len(v.rec)/unitSize)
	s.commitLogLocked()
	s.queues[q].head = head // its caller moves it
}

// logHeadsLocked logs how far the cleaner came over what is dead, lest a word of a lap
// ago seem to live when a killed process is taken up.
func (s *shard) logHeadsLocked() {
	if s.log != nil && s.queues[0].head+s.queues[1].head != s.logHead {
		s.commitLogLocked()
	}
}

// logRecordLocked logs the record at pos.
func (s *shard) logRecordLocked(q uint8, pos uint64, units int) {
	if s.log == nil || q >= fileQueues {
		return
	}
	number := s.segmentAt(q, pos).number.Load()
	s.log.Record(q, number, s.seqOf(pos), s.offsetOf(pos), s.recordAt(q, pos)[:units*unitSize])
}

func (s *shard) logSealLocked(q uint8, seg *segment, seq uint64, fill int) {
	if s.log != nil && q < fileQueues {
		s.log.Seal(q, seg.number.Load(), seq, uint32(fill))
	}
}

// logBornLocked logs the segments of a large value. Their bytes were kept before.
func (s *shard) logBornLocked(e *entry) {
	if s.log == nil || e.q >= fileQueues || !e.head.large() {
		return
	}
	list := e.list(s.segmentSize)
	if e.kept == nil || e.keptAt != s.log.Seq() {
		s.log.Break() // there was no room, or it was filled before the log began
		return
	}
	for i, k := range e.kept {
		number := binary.LittleEndian.Uint64(list[8*i:])
		s.log.Born(number, s.large.at(number).fill.Load(), k.off, k.sum)
	}
}

// logDyingLocked logs the end of a large value's segments in the group that ends
// their entry. retireListLocked, which ends them, comes after that.
func (s *shard) logDyingLocked(w word, h header) {
	if s.log != nil && h.large() && w.queue() < fileQueues {
		s.logDiedLocked(listOf(s.recordAt(w.queue(), s.positionLocked(w)), h, s.segmentSize))
	}
}

// logDiedLocked logs those of a list's segments that are there: a record of a file
// may list what never was, and of that no link may tell.
func (s *shard) logDiedLocked(list []byte) {
	for ; len(list) >= 8; list = list[8:] {
		if n := binary.LittleEndian.Uint64(list); s.large.at(n).number.Load() == n {
			s.log.Died(n)
		}
	}
}

// logEntryLocked logs what goes with the slot that is about to be published. The
// group with the tag has that slot: one of before, with which another entry made
// room, must not say that the step is done.
func (s *shard) logEntryLocked(e *entry) {
	s.logTag = e.guard.tag
	s.logBornLocked(e)
}

// keeps reports whether a value goes to segments of its own, and to the log.
func (c *Cache) keeps(key, value []byte, o *EntryOptions) bool {
	return !o.MemoryOnly && headerSize+len(key)+len(value) > c.segmentSize/2
}

// A kept is where the log has the bytes of a large value's segment.
type kept struct {
	off, sum uint64
	n        int
}

// keep copies a large value's segments into the log, outside the lock. No cut falls
// meanwhile, so they are in the half in which the record that lists them will be.
func (l *liveLog) keep(e *entry) {
	seq := l.seq.Load()
	if seq == 0 || e.q >= fileQueues || e.guard.kind == ifFlying && l.c.shardOf(e.hash).inMemoryAlone(e) {
		return
	}
	list := e.list(l.c.segmentSize)
	all := make([]kept, 0, len(list)/8)
	for ; len(list) >= 8; list = list[8:] {
		seg := l.c.large.at(binary.LittleEndian.Uint64(list))
		b := l.c.frames.bytes(seg.frame.Load())[:int(seg.fill.Load())*unitSize]
		off, sum, ok := l.mem.Keep(seq, b)
		if !ok {
			return
		}
		all = append(all, kept{off, sum, len(b)})
	}
	e.kept, e.keptAt = all, seq
}

// inMemoryAlone reports whether the key has a MemoryOnly entry: what a load renews stays
// out of files.
func (s *shard) inMemoryAlone(e *entry) bool {
	s.lock()
	defer s.unlock()
	_, w, _, o := s.findLocked(e.key, e.hash)
	return o == hit && w.queue() >= fileQueues
}

// forget wipes what was kept of an entry that turned out to be MemoryOnly.
func (l *liveLog) forget(e *entry) {
	if e.q >= fileQueues {
		for _, k := range e.kept {
			l.mem.Forget(k.off, k.n)
		}
	}
}

// An underWay is a Batch or a Clear that has begun, of which the log has to have all
// or nothing: whoever finds it there finishes it.
type underWay struct {
	slot int // -1: none
	id   uint32
}

// tag is of the step that is done with the next group, counted from 1.
func (u underWay) tag(step int) uint64 {
	if u.slot < 0 {
		return 0
	}
	return pagefile.LiveTag(u.id, step)
}

// begin tells what is about to be done, for who holds batches; done ends it. payload
// is asked for no more bytes than there is room for.
func (l *liveLog) begin(kind uint8, payload func(most int) (b []byte, fits bool)) (u underWay) {
	u.slot = -1
	if l == nil || l.seq.Load() == 0 {
		return u
	}
	l.tickets <- struct{}{}                      // one for each slot; who has one needs nothing of those who wait
	if seq := l.seq.Load(); l.gap.Load() < seq { // of a half that is not whole nothing counts
		if b, fits := payload(l.mem.Room(seq)); fits {
			u.slot, u.id = l.mem.Begin(seq, kind, b, &l.slots)
		} else {
			l.mem.Break(seq)
		}
		if u.slot < 0 {
			l.missed(seq)
		}
		l.killable()
	}
	if u.slot < 0 {
		<-l.tickets
	}
	return u
}

// done says that all of it is in the log; not once that has ended, maybe before: then
// the next Open does what is left.
func (l *liveLog) done(u underWay) {
	if u.slot >= 0 {
		if !l.ended.Load() {
			l.mem.Done(u.slot, &l.slots)
		}
		<-l.tickets
		l.killable()
	}
}

// A batch in the log: for each step a record's header, key and value. A header that is
// hidden is a deletion. What is MemoryOnly is gone after a restart, and what was there
// before it too.

func (c *Cache) encodeBatch(ops []BatchOp, o *EntryOptions, most int) (b []byte, fits bool) {
	n := 0
	for i := range ops {
		n += headerSize + len(ops[i].Key)
		if !o.MemoryOnly {
			n += len(ops[i].Value)
		}
	}
	if n > most {
		return nil, false
	}
	b = make([]byte, 0, n)
	for i := range ops {
		h, value := c.stepHeader(&ops[i], o)
		b = append(b, make([]byte, headerSize)...)
		h.put(b[len(b)-headerSize:])
		b = append(append(b, ops[i].Key...), value...)
	}
	return b, true
}

// stepHeader is what a step will store, with the times that it has now.
func (c *Cache) stepHeader(op *BatchOp, o *EntryOptions) (h header, value []byte) {
	if op.Value == nil || o.MemoryOnly {
		return makeHeader(len(op.Key), 0, flagAbsent, 0, 0), nil
	}
	now, t := c.now(), c.termsIn(*o)
	return makeHeader(len(op.Key), len(op.Value), t.flagsOf(op.TTL), t.expiry(now, c.hash.sum(op.Key), t.ttlOf(op.TTL)), now), op.Value
}

// redo finishes the batches that a process had under way when it was killed. Nobody
// else did what is left of them, so it may be done now.
func (c *Cache) redo(list []loader.LiveOp) {
	for _, u := range list {
		b := u.Payload
		for i := 0; len(b) >= headerSize; i++ {
			h := readHeader(b)
			b = b[headerSize:]
			k, v := h.keyLen(), h.valueLen()
			if k == 0 || k+v > len(b) {
				break // of a later build
			}
			if i >= u.Done {
				c.redoStep(h, b[:k], b[k:k+v])
			}
			b = b[k+v:]
		}
	}
}

func (c *Cache) redoStep(h header, key, value []byte) {
	if h.hidden() || c.check(key, value) != nil { // what cannot be stored now is forgotten
		c.remove(key, CauseDeleted)
		return
	}
	var e entry
	ok := c.prepare(&e, key, value, EntryOptions{})
	e.head = e.head.at(h)
	c.putOrForget(&e, ok)
	c.tellLeavers()
}
