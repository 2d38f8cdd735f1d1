package cache

// Victims are chosen as in S3-FIFO (Yang and others, SOSP 2023): a new key goes to
// the small queue, or to main if its ghost is there. While small has its share of
// the bytes or more it gives the next victim, else main does. At the head of small
// an entry that was used twice moves to main, its uses forgotten; another is
// evicted and leaves a ghost. At the head of main one that was used at all goes to
// the tail, with one use less; another is evicted. A Set of a key that is there is
// a use. Get only counts to three: all else is learned where records are passed and
// where keys are missed.
//
// Three things are added.
//
// Main is filled first. Until the first victim small takes but its first share, and
// what comes beyond goes to main unseen. Else small is the whole cache for as long
// as nothing is promoted, a FIFO in which a loop that does not fit has no hit at
// all; so a part of the loop stays.
//
// Small's share follows what is missed (Cliffhanger, Cidon and others, NSDI 2016).
// A key that comes back soon after small evicted it, while a twentieth of the
// entries' number left small, would be there if small were that much larger: small
// gets as many bytes as the key takes, and a step at least, so that a large cache
// follows as soon as a small one. One that comes back as soon after main evicted it
// takes as many away. Where both queues lose as many hits at their ends the share
// stays: under a hundredth for streams with fixed favourites, at a quarter and more
// where favourites change.
//
// Main forgets as fast as small's share says. From four times the least share on, a
// use for each lap. Below, favourites are fixed and it pays to know them from longer
// ago: only of as large a part of what passes a use is taken away, of a quarter at
// least. A share that is small but not near the least says no such thing: where they
// all change at once, a main that forgets slowly keeps those of before.
//
// MemoryOnly entries have queues of their own; they count together with the
// others, and the older of two heads comes first.
const (
	firstShare = 20   // small's share is a twentieth of the bytes at first,
	leastShare = 200  // a 200th at least,
	mainShare  = 10   // and at most what leaves main a tenth
	leastStep  = 2000 // it moves by a 2000th at least
	promoteAt  = 2    // uses that lead from small to main
	slowest    = 4    // main takes a use from one in so many at least
)

// A victim is a live record at the head of a queue.
type victim struct {
	slot uint32
	w    word
	hash uint64
	head header
	rec  []byte
}

// spanLocked is what small (0) or main (1) has, in bytes: of the log, and of large
// values.
func (s *shard) spanLocked(q uint8) int64 {
	a, b := &s.queues[q], &s.queues[q+fileQueues]
	return int64(a.tail-a.head+b.tail-b.head)*unitSize + s.own[q]*int64(s.segmentSize)
}

// spansLocked is what both have.
func (s *shard) spansLocked() int64 { return s.spanLocked(smallQueue) + s.spanLocked(mainQueue) }

// victimLocked is the queue that gives the next victim. What was stored last is
// the last to go: a value of over small's share would end with its own Set.
func (s *shard) victimLocked() (q uint8, ok bool) {
	small := s.spanLocked(smallQueue)
	if s.small == 0 && s.spansLocked() > int64(leastShare)*unitSize {
		s.small = small // as it came to be: after a restart, as it was; next to nothing says no such thing
		s.boundLocked()
	}
	first := uint8(mainQueue)
	if small >= s.small {
		first = smallQueue
	}
	for _, q := range [2]uint8{first, 1 - first} {
		if q, ok = s.oldestLocked(true, q, q+fileQueues); ok {
			return q, true
		}
	}
	return s.oldestLocked(false, smallQueue, mainQueue, memorySmall, memoryMain)
}

// shiftLocked gives small more bytes, way being 1, or less, -1: size or a step.
func (s *shard) shiftLocked(way, size int) {
	s.small += int64(way) * max(int64(size), s.spansLocked()/leastStep)
	s.boundLocked()
}

// boundLocked keeps small's share within its bounds.
func (s *shard) boundLocked() {
	all := s.spansLocked()
	s.small = max(min(s.small, all-all/mainShare), all/leastShare, unitSize)
}

// passLocked moves a live record on, or evicts it. False: nowhere to move it.
func (s *shard) passLocked(v *victim, p *pressure) bool {
	q, uses := v.w.queue(), v.w.freq()
	inMain := q&1 == mainQueue
	switch {
	case s.cache.over(v.head):
	case p.keep:
		return s.moveOnLocked(v, q, uses)
	case inMain && uses > 0 && !p.force:
		if s.moveOnLocked(v, q, uses-s.tireLocked()) {
			return true
		}
	case !inMain && uses >= promoteAt && !p.force:
		if s.moveOnLocked(v, q|1, 0) {
			return true
		}
	case inMain:
		s.ghosts[mainGhosts].add(v.hash, s.count()/marginal)
	default:
		s.ghostsOf(q).add(v.hash, s.ghostRoom())
	}
	s.logEvictedLocked(v)
	s.storeLocked(v.slot, 0) // head says it, not the journal
	s.evictedLocked(v.w, v.head)
	return true
}

// tireLocked is how many uses main takes from a record that it passes, 0 or 1: in
// the long run as many as small's share is of slowest times the least.
func (s *shard) tireLocked() int {
	most := s.spansLocked() / leastShare * slowest
	if s.tired += min(s.small, most); s.tired < most {
		return 0
	}
	s.tired -= most
	return 1
}

// moveOnLocked copies a live record to the tail of a queue.
func (s *shard) moveOnLocked(v *victim, target uint8, uses int) bool {
	pos, ok := s.reserveLocked(target, len(v.rec)/unitSize, 0)
	if !ok {
		return false
	}
	copy(s.recordAt(target, pos), v.rec)
	s.logRecordLocked(target, pos, len(v.rec)/unitSize)
	s.putLocked(v.slot, makeWord(target, pos, v.w.tag()).withFreq(uses))
	s.walked.moved += uint64(len(v.rec))
	if own, _ := v.head.layout(s.segmentSize); own > 0 {
		s.ownLocked(v.w.queue(), -own)
		s.ownLocked(target, own)
	}
	return true
}

// ownLocked counts segments of large values. After Open it is not known which
// queue's they are: they pass for main's.
func (s *shard) ownLocked(q uint8, n int) {
	q &= 1
	s.own[q] += int64(n)
	if s.own[q] < 0 {
		s.own[1-q], s.own[q] = max(s.own[1-q]+s.own[q], 0), 0
	}
}

// ghostRoom is how many ghosts of small there should be: as many as there are
// entries.
func (s *shard) ghostRoom() int { return s.count() }

// queueOfLocked is the queue for a new key, which takes size bytes: small, or main
// if its ghost is there or main is still to be filled. What the ghosts say of
// small's share is taken in.
func (s *shard) queueOfLocked(q uint8, hash uint64, size int) uint8 {
	age, ok := s.ghostsOf(q).take(hash)
	switch {
	case s.small == 0:
		if ok || s.fillsLocked() {
			return q | 1
		}
	case ok:
		if age*marginal < s.ghostsOf(q).window {
			s.shiftLocked(1, size)
		}
		return q | 1
	default:
		if _, ok = s.ghosts[mainGhosts].take(hash); ok {
			s.shiftLocked(-1, size)
		}
	}
	return q
}

// fillsLocked reports whether what comes goes to main unseen: small has its first
// share, and the shard's part of MaxBytes is not in use yet.
func (s *shard) fillsLocked() bool {
	return s.live.Load() < s.cache.full && s.spanLocked(smallQueue)*firstShare >= s.spansLocked()
}
