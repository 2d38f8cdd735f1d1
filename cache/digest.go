package cache

// A shard's digest is the sum, modulo 2^64, of a mix of each slot that files are
// told of: its number and its word without the frequency. A sum does not depend on
// the order, so it follows the slots store by store, and who rebuilds the same
// slots from files gets the same. See check.go.
//
// Open leaves slots on file, so digested says up to which slot they are in the
// sum: none of a cache without files, nor of one that was opened, until all is in
// memory and countDigest has gone over them; then all.
const allSlots = ^uint64(0)

// Secrets are not needed: nobody gains by two sets of words with one digest. The
// factors are never zero: a word has no frequency bits here, a slot 32 bits.
const (
	digestWord = 0x9e3779b97f4a7c15
	digestSlot = 0xbf58476d1ce4e5b9
)

func mixSlot(slot uint32, w word) uint64 {
	if w = w.onFile() &^ freqMask; w == 0 {
		return 0
	}
	return fold(uint64(w)^digestWord, uint64(slot)^digestSlot)
}

// storeLocked stores a slot's word and keeps the digest. A reader may set the
// frequency meanwhile, which the digest does not have.
func (s *shard) storeLocked(slot uint32, w word) {
	if uint64(slot) < s.digested {
		s.digest += mixSlot(slot, w) - mixSlot(slot, s.index.load(slot))
	}
	s.index.store(slot, w)
}

// countDigest takes all slots into the digest, a piece at a time under the lock.
func (s *shard) countDigest() {
	for s.countPiece() {
	}
}

func (s *shard) countPiece() (more bool) {
	s.lock()
	defer s.unlock()
	if s.digested == allSlots {
		return false
	}
	all := uint64(s.index.buckets()) * bucketSlots
	for end := min(s.digested+sweepBuckets*bucketSlots, all); s.digested < end; s.digested++ {
		s.digest += mixSlot(uint32(s.digested), s.index.load(uint32(s.digested)))
	}
	if s.digested == all {
		s.digested = allSlots
	}
	return s.digested != allSlots
}
