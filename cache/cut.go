package cache

// The cut divides the writes that a generation contains from the rest, stopping
// nobody: the cutter advances the epoch; every writer that finds a new epoch,
// under its shard's lock and before it stores anything, notes what the shard has
// at that instant; the cutter then does the same for the shards that nobody
// writes to.
//
// No effect without its cause (I9): if write A returned, or was seen, before
// write B began, A read the epoch before B did. If B read the old one, so had A,
// and both shards noted their cut after that; if A read the new one, so did B.

// noteCutLocked ends the shard's part of a cut.
func (s *shard) noteCutLocked(epoch uint64) {
	s.epoch = epoch
}
