package cache

import (
	"bytes"
	"fmt"
	"math/bits"
	"time"
)

// Set stores value under key with the default time to live. It copies both. An
// error (ErrKeySize, ErrTooLarge, ErrClosed, ErrReadOnly) leaves what was stored as
// it was. An entry for which there is no room, because Views pin it, is forgotten,
// the old one with it: Stats.Rejected counts those. Of a million keys that are new
// less than one has another key's entry forgotten, with which it shares all that the
// index knows of a key: Stats.Evictions counts those, and with OnEvict there are
// none. Set never waits for a disk, but for the first touch of a page after Open.
func (c *Cache) Set(key, value []byte) error {
	return c.set(key, value, EntryOptions{})
}

// SetWithTTL is Set with another TTL; negative means none, 0 the default.
func (c *Cache) SetWithTTL(key, value []byte, ttl time.Duration) error {
	return c.set(key, value, EntryOptions{TTL: ttl})
}

// EntryOptions are per-entry settings for SetEntry.
type EntryOptions struct {
	TTL time.Duration // 0: default, negative: none
	// IfAbsent stores only if the key is not there, else ErrConflict. What has
	// expired is not there.
	IfAbsent bool
	// IfStamp stores only over the value of this EntryInfo.Stamp, else
	// ErrConflict, also if nothing is there; 0: any. With IfAbsent it never is met.
	IfStamp    uint64
	MemoryOnly bool // never written to any file; gone after a restart

	terms *terms // of a view with its own Freshness; nil: the cache's
}

// queue is where a new key goes.
func (o *EntryOptions) queue() uint8 {
	if o.MemoryOnly {
		return memorySmall
	}
	return smallQueue
}

// SetEntry is Set with settings of the entry's own. ErrConflict, too, leaves what
// was stored as it was.
func (c *Cache) SetEntry(key, value []byte, o EntryOptions) error {
	return c.set(key, value, o)
}

// An entry is what a write stores: the record's parts, prepared outside the lock.
type entry struct {
	hash uint64
	key  []byte
	body []byte // value, or the list of a large one's segments
	head header
	q    uint8 // small, until it is known that the key is main's

	guard guard  // of a conditional write
	value []byte // as it was given

	kept   []kept // where the live log has a large value's segments; see livelog.go
	keptAt uint64 // the cut that it had gone on from
}

// cause is why what it replaces leaves: absence replaces nothing.
func (e *entry) cause() Cause {
	if e.head.hidden() {
		return CauseDeleted
	}
	return CauseReplaced
}

// list is the list of a large value's segments.
func (e *entry) list(segmentSize int) []byte {
	own, _ := e.head.layout(segmentSize)
	return e.body[:8*own]
}

func (c *Cache) set(key, value []byte, o EntryOptions) error {
	if err := c.check(key, value); err != nil {
		return err
	}
	if o.IfAbsent || o.IfStamp != 0 {
		return c.setIf(key, value, o)
	}
	return c.store(key, value, o, guard{}).err()
}

// err is what a write returns that was not in conflict.
func (o outcome) err() error {
	if o == refused {
		return ErrClosed
	}
	return nil
}

// store stores what was checked, or answers conflict, or refused.
func (c *Cache) store(key, value []byte, o EntryOptions, g guard) outcome {
	if c.livelog != nil && c.keeps(key, value, &o) {
		c.batches.RLock() // no cut before what is kept of it is told
		defer c.batches.RUnlock()
	}
	return c.storeUncut(key, value, o, g)
}

// storeUncut is store for who holds batches.
func (c *Cache) storeUncut(key, value []byte, o EntryOptions, g guard) outcome {
	var e entry
	ok := c.prepare(&e, key, value, o)
	e.guard = g
	stored := c.putOrForget(&e, ok)
	c.tellLeavers()
	return stored
}

// putOrForget stores a prepared entry. One for which there is no memory is
// forgotten, and what was stored is outdated then.
func (c *Cache) putOrForget(e *entry, ok bool) outcome {
	o := changed
	if ok {
		o = c.putKept(e)
	}
	if o != changed {
		return o
	}
	why := CauseEvicted
	if e.head.hidden() {
		why = CauseDeleted
	}
	if o, _ = c.removeIf(e.key, e.guard, why); o >= conflict {
		return o
	}
	c.shardOf(e.hash).stats.rejected.Add(1)
	if c.leavers != nil && why == CauseEvicted {
		c.leavers.refuse(e.key, e.value)
	}
	return o
}

// check refuses what cannot be stored.
func (c *Cache) check(key, value []byte) error {
	switch {
	case c.closed.Load():
		return ErrClosed
	case len(key) == 0 || len(key) > maxKey:
		return fmt.Errorf("%w: %d bytes, a key has 1 to %d", ErrKeySize, len(key), maxKey)
	case headerSize+len(key) > c.segmentSize/2:
		return fmt.Errorf("%w: a key of %d bytes needs segments of over %d; raise Options.MaxBytes or lower Shards", ErrTooLarge, len(key), c.segmentSize)
	case len(key)+len(value) > c.maxEntry:
		return fmt.Errorf("%w: key and value have %d bytes, the most is %d: see Options.MaxEntryBytes", ErrTooLarge, len(key)+len(value), c.maxEntry)
	case c.mode.Load() != modeWrite:
		return ErrReadOnly
	}
	return nil
}

// prepare makes the record's parts of e, which is empty; a large value is copied into
// segments of its own. ok is false if there is no memory for those.
func (c *Cache) prepare(e *entry, key, value []byte, o EntryOptions) (ok bool) {
	now, t := c.now(), c.termsIn(o)
	e.hash, e.key, e.body, e.value, e.q = c.hash.sum(key), key, value, value, o.queue()
	flags := t.flagsOf(o.TTL)
	if headerSize+len(key)+len(value) > c.segmentSize/2 {
		own, _ := layout(len(key), len(value), c.segmentSize)
		if e.body, ok = c.fillLarge(value, own, c.takeFrame); !ok {
			return false
		}
		flags |= flagLarge
	}
	e.head = makeHeader(len(key), len(value), flags, t.expiry(now, e.hash, t.ttlOf(o.TTL)), now)
	return true
}

// putKept is put for an entry of which the live log, if there is one, has all by then.
func (c *Cache) putKept(e *entry) outcome {
	if c.livelog == nil || !e.head.large() {
		return c.put(e)
	}
	c.livelog.keep(e)
	defer c.livelog.forget(e)
	return c.put(e)
}

// put stores a prepared entry, making room until it fits. It answers changed if
// cleaning everything does not help, conflict if the guard does not pass, refused once
// the shard is shut; what a large value took is given back then.
func (c *Cache) put(e *entry) outcome {
	s := c.shardOf(e.hash)
	s.index.fetch(e.hash)
	for tries := 0; ; tries++ {
		s.lock()
		o, crossed := s.setLocked(e)
		var tight *shard
		if s.roomInRing(e.q) <= s.ringMask/8 {
			tight = s
		}
		s.unlock()
		switch o {
		case absent:
			s.loadFor(e.key, e.hash)
			continue
		case changed:
			if tries >= c.mostTries() {
				c.freeLarge(e.list(c.segmentSize))
				return changed
			}
			c.makeRoom(s, e.q, tries)
			continue
		case conflict, refused:
			c.freeLarge(e.list(c.segmentSize))
			return o
		}
		if crossed {
			if c.livelog != nil {
				c.livelog.tick()
			}
			c.help(max(e.head.size(s.segmentSize), (cleanMask+1)*unitSize), tight, e.q)
		}
		return hit
	}
}

// setLocked is the order of a write: reserve, copy, publish the slot, append to
// the journal. absent asks for pages, changed for room, conflict is a guard that
// does not pass, refused a shard that is shut; nothing has happened then. crossed is
// true now and then: the caller owes some cleaning.
func (s *shard) setLocked(e *entry) (o outcome, crossed bool) {
	if s.shut {
		return refused, false
	}
	units := e.head.units(s.segmentSize)
	ahead := s.writeAheadLocked(e, units)
	var oldHead header
	slot, old, o := s.taggedLocked(e)
	tagged := o == hit
	if o == absent {
		if slot, old, oldHead, o = s.findLocked(e.key, e.hash); o == absent {
			return absent, false
		}
	}
	found := o == hit
	if e.guard.kind != unguarded && !e.guard.passesLocked(s, found, old, oldHead) {
		return conflict, false
	}
	if len(s.flights) != 0 {
		s.overtakeLocked(e.hash, e.key, &e.guard)
	}
	uses := 0
	if found {
		e.q |= old.queue() & 1 // an overwrite of a key in main goes to main
		if e.guard.kind == ifFlying {
			e.q |= old.queue() & memorySmall // what a load renews stays out of files
		}
		uses = min(old.freq()+1, int(freqMask))
	} else {
		e.q = s.queueOfLocked(e.q, e.hash, e.head.size(s.segmentSize))
	}
	q := e.q
	pos, ok := s.reserveLocked(q, units, s.cache.reserve)
	if !ok {
		return changed, false
	}
	s.newest = location{q, pos}
	if s.newest != ahead {
		s.writeLocked(q, pos, e.head, e.key, e.body)
	}
	s.logRecordLocked(q, pos, units) // whatever becomes of it: tail is beyond it
	if !found {
		if slot, ok = s.slotLocked(e.hash); !ok {
			s.dropBodyLocked(e)
			return hit, true
		}
	}
	if s.log != nil {
		s.logEntryLocked(e)
		if found && !tagged {
			s.logDyingLocked(old, oldHead)
		}
	}
	w := makeWord(q, pos, tagOf(e.hash)).withFreq(uses)
	s.putLocked(slot, w)
	if tagged {
		s.replaceLocked(old, w, len(e.key))
	} else {
		s.addLocked(q, e.head.size(s.segmentSize))
		s.bearLocked(q, e.list(s.segmentSize))
		if found {
			s.forgetLocked(old, oldHead, e.cause())
		} else {
			s.growLocked(splitsPerSet)
		}
	}
	s.sets.Add(1)
	return hit, pos&cleanMask+uint64(units) > cleanMask || e.head.large()
}

// writeAheadLocked writes a plain Set's record while its buckets are on their way:
// to beyond the tail of the queue that took the last one, where it most likely is to
// lie. Until that is reserved nothing knows of it: words and cuts end at tail, who
// appends overwrites it, and a seal zeroes it up to the end of the last page that is
// ever written to a file. A MemoryOnly entry goes to a queue of its own here, too.
func (s *shard) writeAheadLocked(e *entry, units int) location {
	q := e.q | s.newest.queue&1
	tail := s.queues[q].tail
	used := tail & s.unitMask
	if units > mostAhead || e.guard.kind != unguarded || used == 0 || used+uint64(units) > s.unitMask+1 {
		return location{queue: queues}
	}
	s.writeLocked(q, tail, e.head, e.key, e.body)
	return location{q, tail}
}

// mostAhead bounds what is written in vain when another queue takes it, in units.
const mostAhead = 64

const (
	splitsPerSet = 2
	splitsAtNeed = 64
	// cleanMask + 1 units are stored between two helps: 1 KiB.
	cleanMask = 63
)

// slotLocked finds an empty slot for a new key: the index grows if it must, and
// if even that does not help, an entry of the sixteen goes. Keys that collide
// cost forgetting, not time.
func (s *shard) slotLocked(hash uint64) (slot uint32, ok bool) {
	if slot, ok = s.roomLocked(hash); ok {
		return slot, true
	}
	for range splitsAtNeed {
		if !s.splitLocked() {
			break
		}
		if slot, ok = s.roomLocked(hash); ok {
			return slot, true
		}
	}
	a, b := s.index.candidates(hash, s.index.buckets())
	for _, bucket := range [2]uint32{a, b} {
		for i := uint32(0); i < bucketSlots; i++ {
			slot := bucket*bucketSlots + i
			if s.evictSlotLocked(slot) {
				return slot, true
			}
		}
	}
	return 0, false
}

// evictSlotLocked forgets the entry of a slot whose record is in memory.
func (s *shard) evictSlotLocked(slot uint32) bool {
	w := s.index.load(slot)
	rec := s.recordAt(w.queue(), s.positionLocked(w))
	if s.lazy.Load() != nil && !s.recordPresentLocked(w) {
		return false
	}
	h := readHeader(rec)
	s.logDyingLocked(w, h)
	s.putLocked(slot, 0)
	s.evictedLocked(w, h)
	return true
}

// dropBodyLocked gives up an entry that found no slot.
func (s *shard) dropBodyLocked(e *entry) {
	s.stats.rejected.Add(1)
	if l := s.cache.leavers; l != nil && !e.head.hidden() {
		l.noteLocked(s, e.head, e.key, e.body, CauseEvicted)
	}
	s.cache.freeLarge(e.list(s.segmentSize))
	s.commitTagLocked(e.guard.tag)
}

// findLocked looks key up by comparing keys: its slot, word and header if it is
// there, miss if not, absent if a page is not in memory.
func (s *shard) findLocked(key []byte, hash uint64) (slot uint32, w word, h header, o outcome) {
	a, b := s.index.candidates(hash, s.index.buckets())
	if !s.indexLoaded(a) || !s.indexLoaded(b) {
		return 0, 0, h, absent
	}
	for slots := s.index.match(a, b, tagOf(hash)); slots != 0; slots &= slots - 1 {
		slot = slotOf(a, b, bits.TrailingZeros32(slots))
		w = s.index.load(slot)
		if s.lazy.Load() != nil && !s.recordPresentLocked(w) {
			return slot, w, h, absent
		}
		rec := s.recordAt(w.queue(), s.positionLocked(w))
		h = readHeader(rec)
		if h.keyLen() == len(key) && h.fits(rec, s.segmentSize) && bytes.Equal(rec[headerSize:headerSize+len(key)], key) {
			if s.cache.leavers != nil && s.valueAbsentLocked(w, h) {
				return slot, w, h, absent
			}
			return slot, w, h, hit
		}
	}
	return 0, 0, h, miss
}

// Delete removes key and reports whether it was present. It is false where nothing
// can be written, as once the cache is being closed.
func (c *Cache) Delete(key []byte) bool {
	return c.refuses() == nil && len(key) > 0 && len(key) <= maxKey && c.remove(key, CauseDeleted)
}

func (c *Cache) remove(key []byte, why Cause) bool {
	_, live := c.removeIf(key, guard{}, why)
	return live
}

// removeIf deletes key if the guard passes, else it answers conflict; refused once the
// shard is shut. live tells whether something was there that counts.
func (c *Cache) removeIf(key []byte, g guard, why Cause) (o outcome, live bool) {
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	defer c.tellLeavers()
	c.now() // for what the clock last told, under the lock
	for {
		o, h := s.removeLocking(key, hash, &g, why)
		if o == absent {
			s.loadFor(key, hash)
			continue
		}
		return o, o == hit && !h.gone(c.now())
	}
}

// removeLocking is the order of a write for a deletion.
func (s *shard) removeLocking(key []byte, hash uint64, g *guard, why Cause) (outcome, header) {
	s.lock()
	defer s.unlock()
	if s.shut {
		return refused, header{}
	}
	slot, w, h, o := s.findLocked(key, hash)
	switch {
	case o == absent:
	case !g.passesLocked(s, o == hit, w, h):
		o = conflict
	case o == miss:
		s.commitTagLocked(g.tag)
	case o == hit:
		s.tagLocked(g.tag)
		s.logDyingLocked(w, h)
		s.putLocked(slot, 0)
		s.forgetLocked(w, h, why)
		s.stats.deletes.Add(1)
	}
	if len(s.flights) != 0 && (o == hit || o == miss) {
		s.overtakeLocked(hash, key, g)
	}
	return o, h
}
