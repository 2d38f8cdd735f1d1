package cache

import (
	"bytes"
	"unsafe"
)

// A plain Set does not read the record that it replaces, which would be a cache miss
// that begins only when that of the index has ended. Where one word in both buckets
// has the key's tag, that word is taken for the key's. It is, if the key is there:
// its own word has the tag. If it is not, another key's entry is forgotten, which is
// legal, and rare: 24 bits of a tag at least say more than the bucket does, so of a
// million new keys less than one meets such a word among the sixteen. The word stays
// within its key's buckets: tag and bucket give the other bucket, for both keys the
// same. With more than one such word keys are compared, as always where the old
// record or its size matters at once: under a guard, for OnEvict, where large values
// are about, where a page may be on file only.
//
// What is known of the old record only from its header is settled later, when it has
// been fetched: its size for the gauge of live bytes, which counts the new one's
// until then; its mark; and whether its key was another. So a shard's gauge may be
// off by what the last few overwrites changed, half a segment each. A cut, Stats and
// Bytes, Close and who needs the promise of half of MaxBytes settle all; the number
// of entries is always exact.
//
// A replaced record stands until it is settled: who takes a number away from a
// segment of a queue settles before (retireLocked), under the lock that whoever
// replaces holds. So its words name the bytes that they named, also after head has
// passed them, in a Clear too. What is lost with a crash is memory's alone: files
// know the slot and the cut's gauges, and a cut settles what was replaced before it.
// I13
type replaced struct{ old, by word }

// mostReplaced are settled late: so many Sets that the lines have come, few enough
// that they are still in the processor's cache.
const mostReplaced = 8

// replacedRecords are the replaced records of a shard that are not settled.
type replacedRecords struct {
	ring [mostReplaced]replaced
	n    uint32 // replaced so far
	done uint32 // settled of them
}

// A tag that the index has grown into as far as it can still tells keys apart.
const _ = uint(tagBits - growthBits - 24)

// taggedLocked finds the slot of a plain Set by its tag: hit, or miss if the key is
// not there, or absent if keys have to be compared.
func (s *shard) taggedLocked(e *entry) (slot uint32, w word, o outcome) {
	if e.guard.kind != unguarded || e.head.large() || s.cache.leavers != nil || s.lazy.Load() != nil || s.own[0]+s.own[1] != 0 {
		return 0, 0, absent
	}
	slot, w, o = s.index.loneMatch(e.hash)
	if o == hit && w.queue()^e.q >= fileQueues {
		return 0, 0, absent // the gauges of what files hold change
	}
	return slot, w, o
}

// replaceLocked notes that the record of one word was replaced by that of another,
// of the same key, and asks for what settling it will touch.
func (s *shard) replaceLocked(old, by word, keyLen int) {
	r := &s.replaced
	if r.n-r.done == mostReplaced {
		s.settleFirstLocked()
	}
	r.ring[r.n%mostReplaced] = replaced{old, by}
	r.n++
	q, pos := old.queue(), uint64(old.pos())
	seg, u := s.segmentAt(q, pos), pos&s.unitMask
	frame := seg.frame.Load()
	off := int(u) * unitSize
	fetchLines(unsafe.Pointer(&s.frames.bytes(frame)[off]), min((off%64+headerSize+keyLen+63)/64, mostLines))
	if seg.marked {
		fetchToWrite(unsafe.Pointer(&s.frames.marksOf(frame)[u/64]), 1)
	}
}

// settleReplacedLocked settles all that was replaced.
func (s *shard) settleReplacedLocked() {
	for s.replaced.n != s.replaced.done {
		s.settleFirstLocked()
	}
}

// settleFirstLocked settles what was replaced first.
func (s *shard) settleFirstLocked() {
	r := s.replaced.ring[s.replaced.done%mostReplaced]
	s.replaced.done++
	q, pos := r.old.queue(), uint64(r.old.pos())
	s.unmarkLocked(q, pos)
	old, by := s.recordAt(q, pos), s.recordAt(r.by.queue(), uint64(r.by.pos()))
	h, g := readHeader(old), readHeader(by)
	size := h.size(s.segmentSize)
	if more := int64(g.size(s.segmentSize) - size); more != 0 {
		s.live.Add(more)
		if q < fileQueues {
			s.fileLive += more
		}
	}
	if k := h.keyLen(); k != g.keyLen() || headerSize+k > len(old) || !bytes.Equal(old[headerSize:headerSize+k], by[headerSize:headerSize+k]) {
		s.stats.evictions.Add(1)
		s.stats.evictedBytes.Add(uint64(size))
	}
	if h.large() { // files were damaged, and it was not counted
		s.retireListLocked(q, listOf(old, h, s.segmentSize))
	}
}

// settleReplaced settles what all shards replaced. Without wait it leaves out those whose
// lock somebody holds.
func (c *Cache) settleReplaced(wait bool) {
	for _, s := range c.shards {
		if wait {
			s.lock()
		} else if !s.mu.TryLock() {
			continue
		}
		s.settleReplacedLocked()
		s.unlock()
	}
}
