package cache

// Victims are chosen as in S3-FIFO (Yang and others, SOSP 2023): a new key goes to
// the small queue, or to main if its ghost is there. While small has a tenth of the
// bytes or more it gives the next victim, else main does. At the head of small an
// entry that was used twice moves to main, its uses forgotten; another is evicted
// and leaves a ghost. At the head of main one that was used at all goes to the
// tail, with one use less; another is evicted. A Set of a key that is there is a
// use.
//
// MemoryOnly entries have queues of their own; they count together with the
// others, and the older of two heads comes first.
const (
	smallShare = 10 // small has a tenth of the bytes
	promoteAt  = 2  // uses that lead from small to main
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

// victimLocked is the queue that gives the next victim. What was stored last is
// the last to go: a value of over a tenth would end with its own Set.
func (s *shard) victimLocked() (q uint8, ok bool) {
	small, main := s.spanLocked(smallQueue), s.spanLocked(mainQueue)
	first := uint8(mainQueue)
	if small*smallShare >= small+main {
		first = smallQueue
	}
	for _, q := range [2]uint8{first, 1 - first} {
		if q, ok = s.oldestLocked(true, q, q+fileQueues); ok {
			return q, true
		}
	}
	return s.oldestLocked(false, smallQueue, mainQueue, memorySmall, memoryMain)
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
		if s.moveOnLocked(v, q, uses-1) {
			return true
		}
	case !inMain && uses >= promoteAt && !p.force:
		if s.moveOnLocked(v, q|1, 0) {
			return true
		}
	case !inMain:
		s.ghostsOf(q).add(v.hash, s.ghostRoom())
	}
	s.storeLocked(v.slot, 0) // head says it, not the journal
	s.evictedLocked(v.w, v.head)
	return true
}

// moveOnLocked copies a live record to the tail of a queue.
func (s *shard) moveOnLocked(v *victim, target uint8, uses int) bool {
	pos, ok := s.reserveLocked(target, len(v.rec)/unitSize, 0)
	if !ok {
		return false
	}
	copy(s.recordAt(target, pos), v.rec)
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

// ghostRoom is how many ghosts there should be: as many as main has entries when
// it has its share. One that is still empty fills through them.
func (s *shard) ghostRoom() int { return s.count() - s.count()/smallShare }

// queueOfLocked is the queue for a new key: small, or main if its ghost is there.
func (s *shard) queueOfLocked(q uint8, hash uint64) uint8 {
	if s.ghostsOf(q).take(hash) {
		q |= 1
	}
	return q
}
