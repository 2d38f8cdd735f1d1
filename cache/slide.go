package cache

import (
	"sync/atomic"
)

// With Freshness.Sliding a hit in the last half of an entry's time to live restarts
// it: its record is written once more, at the tail of its queue, with a new expiry.
// A reader does no more than ask for that, where there is room to; what asked in
// vain asks again at the next hit.

// A slide asks for an entry's time to live to begin anew.
type slide struct {
	s    *shard
	slot *uint64
	w    word
	t    *terms
}

// slidesWaiting is how many may wait at a time; a hit finds no room beyond.
const slidesWaiting = 1024

// slide asks, if r is an entry in the last half of its time. It is called for
// records with flagSliding.
func (t *terms) slide(s *shard, r *ref, now int64) {
	if t.slides == nil || r.head.expiry()-now > t.ttl/2 {
		return
	}
	select {
	case t.slides <- slide{s, r.slot, r.w, t}:
	default:
	}
}

// slideAll does what hits ask for.
func (c *Cache) slideAll(slides chan slide) {
	defer c.running.Done()
	for {
		select {
		case <-c.stop:
			return
		case a := <-slides:
			if c.refuses() == nil {
				a.s.slide(&a, c.now())
			}
		}
	}
}

// slide makes room for the record if there is none at once; after a few steps of
// the cleaner in vain it waits for the next hit.
func (s *shard) slide(a *slide, now int64) {
	for tries := range patience {
		s.lock()
		o, units := s.slideLocked(a, now)
		s.unlock()
		switch o {
		case changed:
			s.cache.makeRoom(s, a.w.queue(), tries)
			continue
		case hit:
			s.cache.help(units*unitSize, nil, 0)
		}
		return
	}
}

// slideLocked writes the record once more, if its word has stayed the same and no
// Clear has passed it: what is written now would outlive that. The value's time of
// storing stays, and so do the segments of a large value, as when a record is moved
// on. changed asks for room.
func (s *shard) slideLocked(a *slide, now int64) (o outcome, units int) {
	slot := s.index.slotNumber(a.slot)
	w := word(atomic.LoadUint64(a.slot))
	qu := &s.queues[w.queue()]
	if s.shut || (w^a.w)&^freqMask != 0 || !w.within(qu.head, qu.tail) || s.lazy.Load() != nil && !s.recordPresentLocked(w) {
		return miss, 0
	}
	q := w.queue()
	rec := s.recordAt(q, s.positionLocked(w))
	h := readHeader(rec)
	units = h.units(s.segmentSize)
	key := rec[headerSize : headerSize+h.keyLen()]
	expiry := a.t.expiry(now, s.cache.hash.sum(key), a.t.ttl)
	if !h.slides() || h.gone(now) || expiry <= h.expiry() {
		return miss, 0
	}
	pos, ok := s.reserveLocked(q, units, s.cache.reserve)
	if !ok {
		return changed, units
	}
	to := s.recordAt(q, pos)
	copy(to, rec[:units*unitSize])
	h.withExpiry(expiry).put(to)
	s.logRecordLocked(q, pos, units)
	s.unmarkLocked(q, s.positionLocked(w))
	s.putLocked(slot, makeWord(q, pos, w.tag()).withFreq(w.freq()))
	return hit, units
}
