package cache

import "runtime"

// A guard is what a conditional write expects of its key. It is checked under the
// shard's lock before anything is stored. A word and the number of its segment
// name one record (I13), and a record does not change: while the slot holds them,
// the entry is the one that was read. The cleaner may move it on, and then the
// guard fails for nothing and the caller reads again.
type guard struct {
	kind   guardKind
	word   word
	number uint64
	flight *flight
	tag    uint64 // of a batch's step in the live log
}

type guardKind uint8

const (
	unguarded guardKind = iota
	ifAbsent            // there is nothing, or nothing that counts
	ifSame              // it is still the record that was read
	ifFlying            // the load that brought it was not overtaken
)

// passesLocked judges by what findLocked found.
func (g *guard) passesLocked(s *shard, found bool, w word, h header) bool {
	switch g.kind {
	case ifAbsent:
		return !found || h.gone(s.cache.clock.last())
	case ifSame:
		qu := &s.queues[w.queue()]
		return found && (w^g.word)&^freqMask == 0 && w.within(qu.head, qu.tail) && // else Clear has begun
			s.segmentAt(w.queue(), s.positionLocked(w)).number.Load() == g.number
	case ifFlying:
		return s.flightLocked(g.flight.hash, g.flight.key) == g.flight
	}
	return true
}

// awaitSweep waits for a Clear that is under way: what it has not swept yet is
// still found, but no guard passes for it.
func (s *shard) awaitSweep() {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
}

// A reading is an entry as it was read, and the guard that passes while it is
// what is stored.
type reading struct {
	value []byte // appended to what look was given
	head  header
	guard guard
	found bool
	worth standing // of what lookUp found
}

// memoryOnly reports whether no file may have the entry.
func (r *reading) memoryOnly() bool { return r.found && r.guard.word.queue() >= fileQueues }

// look is Get without counting hits and misses, also for what expired less than
// past ms ago. use, if it is not nil, makes it a use of the entry on these terms.
func (s *shard) look(dst, key []byte, hash uint64, use *terms, past int64) reading {
	for {
		var r ref
		o := s.find(&r, key, hash)
		value, now := dst, s.cache.now()
		if o == hit && r.head.gone(now-past) {
			if use != nil {
				s.stats.passOver(r.head)
			}
			o = miss
		} else if o == hit {
			if value, o = s.copyValue(dst, &r); o == miss {
				s.lose(&r)
			}
		}
		switch o {
		case hit:
			if use != nil {
				r.use()
				if r.head.slides() {
					use.slide(s, &r, now)
				}
			}
			runtime.KeepAlive(s) // it keeps the memory
			return reading{value: value, head: r.head, guard: r.guard(), found: true}
		case absent:
			s.loadFor(key, hash)
		case miss:
			return reading{value: dst, guard: guard{kind: ifAbsent}}
		}
	}
}

// look reads the entry of a key without counting.
func (c *Cache) look(dst, key []byte) reading {
	hash := c.hash.sum(key)
	return c.shardOf(hash).look(dst, key, hash, nil, 0)
}

// lookAgain is look after a guard did not pass.
func (c *Cache) lookAgain(dst, key []byte) reading {
	c.shardOf(c.hash.sum(key)).awaitSweep()
	return c.look(dst, key)
}

// setIf stores under the conditions of o, which cannot both hold.
func (c *Cache) setIf(key, value []byte, o EntryOptions) error {
	if o.IfAbsent {
		if o.IfStamp != 0 || c.Has(key) {
			return ErrConflict
		}
		if done := c.store(key, value, o, guard{kind: ifAbsent}); done != conflict {
			return done.err()
		}
		return ErrConflict
	}
	for r := c.look(nil, key); r.found && c.stamp(&r) == o.IfStamp; r = c.lookAgain(r.value[:0], key) {
		if done := c.store(key, value, o, r.guard); done != conflict {
			return done.err()
		}
	}
	if c.closed.Load() {
		return ErrClosed // what was not found may have been there
	}
	return ErrConflict
}

// stamp tells versions of an entry apart: by the value and when it was written.
func (c *Cache) stamp(r *reading) uint64 {
	return max(fold(c.hash.sum(r.value)|1, uint64(r.head.stored())^c.hash.b), 1)
}
