package cache

import (
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/embercache/ember/pagefile"
)

// The index of a shard: 64-byte buckets of eight slots, grown by linear hashing
// (Litwin, 1980) bucket by bucket. A key has two candidate buckets; the emptier
// takes it. The hash gives the base bucket, six bits of the tag the rest of the
// number, so a bucket is split without reading a key, and the tag also leads from
// one candidate to the other.
//
// Where both candidates are full, one entry of the sixteen moves to its other
// candidate (cuckoo hashing, Pagh and Rodler, 2001, a few steps at most). A reader
// may miss an entry on its way, by growth or by such a move; version tells it so.
type index struct {
	base     unsafe.Pointer
	off      int    // of base in the arena
	baseMask uint32 // base buckets - 1
	limit    uint32 // buckets at most
	warm     int    // the last huge page that warmIndex asked for; the first comes with the first store
	// version is moves<<32 | buckets. It changes after the entry stands in its
	// new place and before its old one is cleared.
	version atomic.Uint64
}

const (
	bucketSlots  = 8
	bucketSize   = 64
	growthBits   = 6
	maxGrowth    = 1 << growthBits
	baseMin      = 64      // buckets
	baseMax      = 1 << 26 // buckets
	bytesPerBase = 16 << 10
	// A split is due above this load. With more, a new key has to move others out
	// of its way too often: at 8/10 one in four does, at 85/100 every other.
	loadNum, loadDen = 8, 10
	moveDepth        = 2
)

func (x *index) init(a *arena, off, baseBuckets, buckets int) {
	x.base, x.off = unsafe.Add(a.base, off), off
	x.baseMask = uint32(baseBuckets - 1)
	x.limit = uint32(min(uint64(baseBuckets)*maxGrowth, pagefile.MaxBuckets))
	x.version.Store(uint64(buckets))
}

func (x *index) buckets() uint32 { return uint32(x.version.Load()) }

// locate gives the bucket of a full bucket number while the index has n of them:
// its lowest bits, one less if that bucket is yet to come. There is no branch: it
// would be guessed wrong as often as right.
func locate(full, n uint32) uint32 {
	top := uint32(1) << (bits.Len32(n) - 1&31)
	full &= top<<1 - 1
	ahead := uint32(int32(n-1-full)>>31) & top
	return full - ahead
}

// fullNumber is the bucket number of (base, tag) in an index grown to its limit.
// Even base buckets take the tag's upper six bits, odd ones the six below, and a
// key's candidates differ in parity. So whether one of them waits for its split says
// nothing of the other: while a part f of the index was split, f*f of the keys can
// only lie in buckets that were, (1-f)*(1-f) only in those that wait, and there is
// room for both. With the same bits in both, or their complements, the buckets that
// wait overflow at a load of 7/10.
func (x *index) fullNumber(base, tag uint32) uint32 {
	extension := tag >> (tagBits - growthBits - growthBits*(base&1)) & (maxGrowth - 1)
	return base | extension*(x.baseMask+1)
}

// other leads from one candidate's base bucket to the other's, and back.
func (x *index) other(base, tag uint32) uint32 {
	return base ^ (tag*0x9e3779b1>>7|1)&x.baseMask
}

// candidates are the two buckets of a hash while the index has n. One's base bucket
// is even and the other's odd, so that each takes the bits that the other leaves.
func (x *index) candidates(hash uint64, n uint32) (a, b uint32) {
	base, tag := uint32(hash>>tagBits)&x.baseMask, tagOf(hash)
	even, odd := tag>>(tagBits-growthBits), tag>>(tagBits-2*growthBits)&(maxGrowth-1)
	swap := (even ^ odd) & -(base & 1)
	step := x.baseMask + 1
	return locate(base|(even^swap)*step, n), locate(x.other(base, tag)|(odd^swap)*step, n)
}

// otherBucket is the other candidate of the word that lies in bucket b.
func (x *index) otherBucket(b uint32, w word, n uint32) uint32 {
	return locate(x.fullNumber(x.other(b&x.baseMask, w.tag()), w.tag()), n)
}

func (x *index) bucket(b uint32) unsafe.Pointer { return unsafe.Add(x.base, uintptr(b)*bucketSize) }

func (x *index) slot(slot uint32) *uint64 {
	return (*uint64)(unsafe.Add(x.base, uintptr(slot)*8))
}

func (x *index) slotNumber(slot *uint64) uint32 {
	return uint32((uintptr(unsafe.Pointer(slot)) - uintptr(x.base)) / 8)
}

func (x *index) load(slot uint32) word { return word(atomic.LoadUint64(x.slot(slot))) }

func (x *index) store(slot uint32, w word) { publish(x.slot(slot), uint64(w)) }

// emptySlot finds room in bucket b and counts what is taken.
func (x *index) emptySlot(b uint32) (slot uint32, taken int, ok bool) {
	for i := uint32(0); i < bucketSlots; i++ {
		switch {
		case x.load(b*bucketSlots+i) != 0:
			taken++
		case !ok:
			slot, ok = b*bucketSlots+i, true
		}
	}
	return slot, taken, ok
}

// roomLocked returns an empty slot for a key with this hash: in the emptier of
// its candidates, else by moving one of the sixteen away. ok is false if there
// is none, or an index page that a move would need is not in memory.
func (s *shard) roomLocked(hash uint64) (slot uint32, ok bool) {
	n := s.index.buckets()
	a, b := s.index.candidates(hash, n)
	slotA, takenA, okA := s.index.emptySlot(a)
	slotB, takenB, okB := s.index.emptySlot(b)
	switch {
	case okA && (!okB || takenA <= takenB):
		return slotA, true
	case okB:
		return slotB, true
	}
	if s.sweeping || s.strayingLocked() {
		return 0, false // see sweep.go and walk.go
	}
	if slot, ok = s.vacateLocked(a, moveDepth); !ok {
		slot, ok = s.vacateLocked(b, moveDepth)
	}
	return slot, ok
}

// vacateLocked empties a slot of a full bucket by moving its entry to its other
// candidate, where depth more moves may make room first.
func (s *shard) vacateLocked(bucket uint32, depth int) (slot uint32, ok bool) {
	n := s.index.buckets()
	for deeper := false; ; deeper = true {
		for i := uint32(0); i < bucketSlots; i++ {
			from := bucket*bucketSlots + i
			w := s.index.load(from)
			other := s.index.otherBucket(bucket, w, n)
			if w == 0 || other == bucket || !s.indexLoaded(other) {
				continue
			}
			to, _, free := s.index.emptySlot(other)
			if !free && deeper {
				to, free = s.vacateLocked(other, depth-1)
			}
			if free && (s.index.load(from)^w)&^freqMask == 0 {
				s.moveSlotLocked(from, to, w, 1<<32)
				return from, true
			}
		}
		if deeper || depth == 0 {
			return 0, false
		}
	}
}

// moveSlotLocked moves a word to an empty slot of a bucket where readers look
// for it as well, or will once version has grown by step.
func (s *shard) moveSlotLocked(from, to uint32, w word, step uint64) {
	s.logHeld = true // both stores in one group
	s.putLocked(to, w)
	s.index.version.Add(step)
	s.putLocked(from, 0)
	s.logHeld = false
	s.movedLocked(from, to)
}

// growLocked splits buckets until the index is under its load again, at most
// limit of them.
func (s *shard) growLocked(limit int) (split int) {
	for split < limit {
		n := s.index.buckets()
		if s.count()*loadDen <= int(n)*bucketSlots*loadNum || !s.splitLocked() {
			break
		}
		split++
	}
	return split
}

// splitLocked divides the next bucket: the words whose next bit of the tag is
// set go to the new bucket at the end. They are stored there, then the split
// pointer shows the bucket, then the old slots are cleared: all journaled.
func (s *shard) splitLocked() bool {
	n := s.index.buckets()
	from := n &^ (1 << (bits.Len32(n) - 1))
	if n >= s.index.limit || !s.indexLoaded(from) {
		return false
	}
	var moved [bucketSlots]uint32
	count := 0
	s.logHeld = true // all stores in one group
	for i := uint32(0); i < bucketSlots; i++ {
		slot := from*bucketSlots + i
		w := s.index.load(slot)
		if w == 0 || locate(s.index.fullNumber(from&s.index.baseMask, w.tag()), n+1) != n {
			continue
		}
		s.putLocked(n*bucketSlots+uint32(count), w)
		moved[count] = slot
		count++
	}
	s.index.version.Add(1)
	for i, slot := range moved[:count] {
		s.putLocked(slot, 0)
		s.movedLocked(slot, n*bucketSlots+uint32(i))
	}
	s.logHeld = false
	return true
}

// warmAhead is how many buckets before a huge page that is to be: those that 25,000
// new keys lead to.
const warmAhead = 4096

// warmIndex has the huge page in memory that the index is about to grow into, so
// that no Set waits for the kernel to clear it. It is called every tickEvery.
func (s *shard) warmIndex() {
	x := &s.index
	page := (int(x.buckets()) + warmAhead) * bucketSize / hugePage
	if page <= x.warm || (page+1)*hugePage > int(x.limit)*bucketSize {
		return
	}
	x.warm = page
	s.cache.indexArena.populate(x.off+page*hugePage, hugePage)
}

// putLocked is the one way a slot changes, but for eviction: stored, and written
// to the journal. A MemoryOnly entry is 0 in the journal. // I5
func (s *shard) putLocked(slot uint32, w word) {
	if s.log != nil {
		s.logStoreLocked(slot, w)
	}
	s.storeLocked(slot, w)
	s.journal.append(slot, w.onFile())
}
