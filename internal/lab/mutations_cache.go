package main

// cacheMutations are those of the shards: the cut, reads without a lock, what is
// loaded on first touch, and recovery.
var cacheMutations = []mutation{
	{"epoch before a store", "a store after the cut is not in it (I9)",
		"cache/shard.go", `	if e := s.cache.epoch.Load(); e != s.epoch {
		s.noteCutLocked(e)
	}
}

func (s *shard) unlock() { s.mu.Unlock() }`, `}

func (s *shard) unlock() {
	if e := s.cache.epoch.Load(); e != s.epoch {
		s.noteCutLocked(e)
	}
	s.mu.Unlock()
}`,
		"./cache", "^TestNoEffectWithoutItsCause$"},
	{"epoch read before the lock", "the epoch is read under the shard's lock (I9)",
		"cache/shard.go", `	s.mu.Lock()
	if e := s.cache.epoch.Load(); e != s.epoch {`, `	e := s.cache.epoch.Load()
	s.mu.Lock()
	if e != s.epoch {`,
		"./cache", "^TestNobodySeesAMixedOrOlderValue$"},
	{"batches and the cut", "a generation has all of a batch or nothing (I9)",
		"cache/cut.go", `	k.c.batches.Lock()
	if k.c.livelog != nil {
		k.c.livelog.next(epoch)
	}
	k.c.epoch.Store(epoch)
	k.c.batches.Unlock()`, `	if k.c.livelog != nil {
		k.c.livelog.next(epoch)
	}
	k.c.epoch.Store(epoch)`,
		"./cache", "^TestABatchIsNotHalved$"},
	{"journal", "every slot store is in the journal (I5)",
		"cache/index.go", `	s.journal.append(slot, w.onFile())`, `	if w != 0 {
		s.journal.append(slot, w.onFile())
	}`,
		"./cache", "^TestCrashAnywhere$"},
	{"MemoryOnly words", "no file has an entry that is marked MemoryOnly",
		"cache/index.go", `	s.journal.append(slot, w.onFile())`, `	s.journal.append(slot, w)`,
		"./cache", "^TestMemoryOnlyIsInNoFile$"},
	{"MemoryOnly words of an image", "no image has an entry that is marked MemoryOnly",
		"cache/cut.go", `uint64(s.index.load(slot).onFile())`, `uint64(s.index.load(slot))`,
		"./cache", "^TestMemoryOnlyIsInNoFile$"},
	{"slot with its head", "an evicted record's slot is cleared when head passes it (I13)",
		"cache/policy.go", `	s.storeLocked(v.slot, 0) // head says it, not the journal
	s.evictedLocked(v.w, v.head)`, `	s.evictedLocked(v.w, v.head)`,
		"./cache", "^(TestClearedSegmentsOutliveTheirWords|TestHoldingIsBounded)$"},
	{"index swept before segments go", "a dead word never meets another segment's bytes (I13)",
		"cache/clear.go", `	s.sweep(func(slot uint32, w word) {`, `	s.lock()
	for q := range s.queues {
		s.dropSegmentsLocked(uint8(q), s.seqOf(heads[q]), s.seqOf(tails[q]))
	}
	s.unlock()
	s.sweep(func(slot uint32, w word) {`,
		"./cache", "^TestNobodySeesAMixedOrOlderValue$"},
	{"number before the frame is reused", "a reader sees that its segment ended (I13)",
		"cache/segment.go", `	ended := s.number.CompareAndSwap(number, 0)`, `	ended := s.number.Load() == number`,
		"./cache", "^TestALinkWithoutAllBytes$"},
	{"replaced records are settled", "taking a number away settles what was replaced first",
		"cache/held.go", `		s.settleReplacedLocked()
		number = seg`, `		number = seg`,
		"./cache", "^TestReplacedRecordsAreSettledBeforeTheirSegmentEnds$"},
	{"segments of a cut are held", "a generation lacks nothing that ended meanwhile",
		"cache/held.go", `|| home || !s.cache.held.keep(key, h) {`, `|| home || true {`,
		"./cache", "^TestACutIsHeldUntilItIsReleased$"},
	{"hold before the epoch", "every cut is held from before its epoch",
		"cache/cut.go", `	k.c.held.hold(epoch)
	k.c.batches.Lock()`, `	k.c.batches.Lock()`,
		"./cache", "^TestACutIsHeldBeforeItsEpoch$"},
	{"copy of what is being held", "who copies waits for what is being held",
		"cache/held.go", `	s.mu.Lock() // who took the number away keeps the lock until the frame is held
	seg, ok := h.find(heldKey{s.id, id.Queue, id.Seq})
	s.mu.Unlock()`, `	seg, ok := h.find(heldKey{s.id, id.Queue, id.Seq})`,
		"./cache", "^TestCopyWaitsForWhatIsBeingHeld$"},
	{"last check of a read", "what was copied is the record that was found",
		"cache/get.go", `	return t.seg.number.Load() == t.number && t.seg.frame.Load() == t.frame`, `	return true`,
		"./cache", "^TestAStaleWordIsNoHit$"},
	{"slot again", "a word that was read is live when its segment's number is",
		"cache/get.go", `	if (word(atomic.LoadUint64(r.slot))^w)&^freqMask != 0 {
		return changed
	}
	if number == 0 {`, `	if number == 0 {`,
		"./cache", "^TestAStaleWordIsNoHit$"},
	{"numbers of a large value", "a large value is not mixed with another",
		"cache/get.go", `	copy(dst, s.frames.bytes(r.frame)[off:])
	return r.holds()
}`, `	copy(dst, s.frames.bytes(r.frame)[off:])
	return true
}`,
		"./cache", "^TestASegmentThatEndedIsNotCopied$"},
	{"number before a large part", "a large value's segment is asked for its number",
		"cache/get.go", `	r := tenure{seg: seg, number: number, frame: seg.frame.Load()}`, `	r := tenure{seg: seg, number: seg.number.Load(), frame: seg.frame.Load()}`,
		"./cache", "^TestASegmentThatEndedIsNotCopied$"},
	{"pin, then number", "a frame under a View is not reused",
		"cache/view.go", `	if !r.holds() {
		return false, nil
	}
	r.use()`, `	r.use()`,
		"./cache", "^TestAViewOfWhatEndedShowsNothing$"},
	{"pins of a frame", "a frame that a View pins is not free",
		"cache/frames.go", `	if f.pins[frame].Load() != 0 {
		f.pinned = append(f.pinned, frame)
		return
	}
`, ``,
		"./cache", "^(TestSetReturnsThoughViewsHoldEverything|TestNobodySeesAMixedOrOlderValue|TestReadersNeverSeeThePast)$"},
	{"guard's number", "a guard passes for one record alone",
		"cache/guard.go", `
			s.segmentAt(w.queue(), s.positionLocked(w)).number.Load() == g.number`, `
			true`,
		"./cache", "^TestAGuardPassesForOneRecordAlone$"},
	{"guard within its queue", "what Compute made does not outlive a Clear",
		"cache/guard.go", `&& w.within(qu.head, qu.tail) && // else Clear has begun`, `&& qu != nil &&`,
		"./cache", "^TestNothingOutlivesAClear$"},
	{"checksum of a page", "no byte of a file reaches a caller unproved (I3)",
		"cache/lazy.go", `if got = pagefile.PageSum(from.Number, page, b); got == want {`, `if true {`,
		"./cache", "^TestDamage$"},
	{"page without a checksum", "a page without a checksum is a miss (I10)",
		"cache/lazy.go", `	if want != 0 && from.Place != pagefile.NoPlace && l.pages != nil {`, `	if want == 0 {
		return nil
	}
	if from.Place != pagefile.NoPlace && l.pages != nil {`,
		"./cache", "^(TestALinkWithoutAllBytes|TestDamage|TestCrashAnywhere)$"},
	{"damaged block of the index", "a damaged index block is empty slots (I10)",
		"cache/lazy.go", `	if good {
		s.fillBlockLocked(l, block, b[:])
	} else {
		s.emptyBlockLocked(l, block)
	}`, `	s.fillBlockLocked(l, block, b[:])`,
		"./cache", "^TestADamagedBlockIsEmptyInTheJournal$"},
	{"journal of a damaged block", "what a damaged block held does not come back (I10)",
		"cache/lazy.go", `		if !l.marked(slot) {
			s.putLocked(slot, 0)
		}`, `		if !l.marked(slot) {
			s.storeLocked(slot, 0)
		}`,
		"./cache", "^TestADamagedBlockIsEmptyInTheJournal$"},
	{"marks of journaled slots", "an image's word does not replace a journal's (I10)",
		"cache/lazy.go", `		if w == 0 || l.marked(slot) {`, `		if w == 0 {`,
		"./cache", "^TestCrashAnywhere$"},
	{"mark of a slot that is emptied", "a deletion in a journal outlives the image's word (I10)",
		"cache/recover.go", `		if slot < marked {`, `		if slot < marked && w != 0 {`,
		"./cache", "^TestCrashAnywhere$"},
	{"queue's range of a word", "a word from a file lies in its queue at the opened cut (I10)",
		"cache/lazy.go", `w.tag() == 0 || !w.within(l.opened[q].head, l.opened[q].tail) {`, `w.tag() == 0 {`,
		"./cache", "^TestWordsFromFilesAreTested$"},
	{"today's head", "a block that is read late brings nothing back that was evicted",
		"cache/lazy.go", `	if pos < s.queues[q].head {
		return false, false
	}
`, ``,
		"./cache", "^TestWordsFromFilesAreTested$"},
	{"segment of a word", "a word whose segment is unknown is dropped (I10)",
		"cache/lazy.go", `	stands = s.segmentAt(q, pos).number.Load() != 0`, `	stands = true`,
		"./cache", "^(TestALinkWithoutAllBytes|TestDamage|TestWhatDoesNotFitIsTheOldest)$"},
	{"journal of a dangling word", "a word that is dropped is dropped in files too",
		"cache/recover.go", `	s.emptyDanglingLocked(l)
`, ``,
		"./cache", "^(TestALinkWithoutAllBytes|TestAnImageWithoutAllSegments)$"},
	{"number before a page is adopted", "a page that was read late does not get into another segment",
		"cache/lazy.go", `		if need.seg.number.Load() == need.number {
			s.adoptLocked(`, `		{
			s.adoptLocked(`,
		"./cache", "^TestAPageIsAdoptedOnce$"},
	{"page that is there already", "a page from a file does not replace one in memory",
		"cache/lazy.go", `good&(1<<i) == 0 || seg.present.Load()&bit != 0 {`, `good&(1<<i) == 0 {`,
		"./cache", "^TestAPageIsAdoptedOnce$"},
	{"journals of the chain are written again", "what links brought back is in the next durable generation (I5)",
		"cache/recover.go", `		start.Journals = append(start.Journals, bytes.Clone(j)) // of memory that is given back`, `		_ = bytes.Clone(j)`,
		"./cache", "^TestCrashAnywhere$"},
	{"pages of the chain are dirty", "what links brought back goes home again (I5)",
		"cache/recover.go", `		if dirty != 0 {
			kept.dirty[i] = dirty
		}`, `		_ = dirty`,
		"./cache", "^TestCrashAnywhere$"},
	{"page with a gap", "a page of which bytes are missing is not taken for whole (I3)",
		"cache/recover.go", `		if off != have {
			mark()
			from = off
		}`, ``,
		"./cache", "^(TestALinkWithoutAllBytes|TestDamage)$"},
	{"recovered segments are sealed", "new records begin in new segments",
		"cache/recover.go", `		qu.tail = s.startOf(s.seqOf(from.State.Tails[q] + s.unitMask))`, `		qu.tail = from.State.Tails[q]`,
		"./cache", "^TestCrashAnywhere$"},
	{"clock of the directory", "time does not run backwards over a restart",
		"cache/clock.go", `	if ms > k.anchor {`, `	if false {`,
		"./cache", "^TestTimeGoesOnWhileDown$"},
	{"shut before the last cut", "what returned before Close did is in its generation",
		"cache/cache.go", `	c.shut(ctx)
`, ``,
		"./cache", "^TestWhatReturnedBeforeCloseIsInIt$"},
	{"who closes again waits", "after any Close that was nil the files have all, and the directory is free",
		"cache/cache.go", `		return c.closeAgain(ctx)`, `		return nil`,
		"./cache", "^TestCloseAgainWaits$"},
}
