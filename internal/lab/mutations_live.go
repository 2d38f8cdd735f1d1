package main

// liveMutations are those of the live log.
var liveMutations = []mutation{
	{"live: group before its slot", "what a Get can see is in the log by then (I9)",
		"cache/index.go", `	if s.log != nil {
		s.logStoreLocked(slot, w)
	}
	s.storeLocked(slot, w)`, `	s.storeLocked(slot, w)
	if s.log != nil {
		s.logStoreLocked(slot, w)
	}`,
		"./cache", "^TestTheLogComesFirst$"},
	{"live: eviction before its slot", "an entry is missed when the log has that it was evicted (I9)",
		"cache/policy.go", `	s.logEvictedLocked(v)
	s.storeLocked(v.slot, 0) // head says it, not the journal`, `	s.storeLocked(v.slot, 0) // head says it, not the journal
	s.logEvictedLocked(v)`,
		"./cache", "^TestEvictionsAreLoggedFirst$"},
	{"live: record with its bytes", "an entry without a slot leaves no hole in a segment",
		"cache/set.go", `	s.logRecordLocked(q, pos, units) // whatever becomes of it: tail is beyond it
	if !found {
		if slot, ok = s.slotLocked(e.hash); !ok {
			s.dropBodyLocked(e)
			return hit, true
		}
	}`, `	if !found {
		if slot, ok = s.slotLocked(e.hash); !ok {
			s.dropBodyLocked(e)
			return hit, true
		}
	}
	s.logRecordLocked(q, pos, units)`,
		"./cache", "^TestSetWithoutASlotLeavesNoHole$"},
	{"live: deletions", "a deleted entry stays away after a kill",
		"cache/index.go", `	if s.log != nil {
		s.logStoreLocked(slot, w)`, `	if s.log != nil && w != 0 {
		s.logStoreLocked(slot, w)`,
		"./cache", "^TestNothingThatReturnedIsLost$"},
	{"live: checksum of a group", "damage to the log costs its half",
		"pagefile/liveview.go", ` || le64(b, 8) != xxhash.Sum64(b[16:n]) {`, ` {`,
		"./pagefile", "^TestLiveFlippedAnywhere$"},
	{"live: checksum of a base", "a torn base leads nowhere",
		"pagefile/liveview.go", `le64(b, 24) == checksum(b[:24]) && `, `le64(b, 24) != 0 && `,
		"./pagefile", "^(TestLiveBases|TestLiveFlippedAnywhere)$"},
	{"live: base and link", "a log goes on from one link alone",
		"loader/live.go", `base.Hash == pos.Hash && base.Number == pos.Number`, `base.Number == pos.Number`,
		"./loader", "^TestLiveLogsThatDoNotApply$"},
	{"live: whole halves", "a half that is not whole does not apply (I9)",
		"loader/live.go", `	if err := v.Whole(seq); err != nil {
		return nil, nil, err
	}`, ``,
		"./loader", "^TestLiveLogsThatDoNotApply$"},
	{"live: session", "only the log of the last process applies",
		"cache/liveleft.go", `pagefile.LiveSession(b) != l.token`, `pagefile.LiveSession(b) == 0`,
		"./cache", "^TestLiveLogOfAnotherIsNotApplied$"},
	{"live: memory that changes hands", "no log is said to be lost that was not",
		"cache/live.go", `	err := p.writeToken(0)
	var b []byte
	if err == nil {
		b, err = l.dir.Make(l.name, l.size)
	}`, `	b, err := l.dir.Make(l.name, l.size)`,
		"./cache", "^TestKilledAnywhereLosesNothing$"},
	{"live: a log that is gone", "what had returned and is missing is told",
		"cache/open.go", `live.token != 0 && !o.readOnly()`, `live.token != 0 && live.dir != nil && !o.readOnly()`,
		"./cache", "^TestALogThatIsLostIsTold$"},
	{"live: a token after Close", "what a process closed is not taken for an unclean end",
		"loader/live.go", `err != nil && l.res.Record.Clean && l.res.Weak == 0`, `err != nil && false`,
		"./cache", "^TestALogThatClosedIsNotMissed$"},
	{"live: halves of a chain that is down", "a half is written over when a link has what it has",
		"cache/live.go", ` && (l.again || !l.down) && (seq == 0`, ` && (seq == 0`,
		"./cache", "^TestDownChainKeepsTheLog$"},
	{"live: batches that were under way", "a killed process has done all of a batch or nothing",
		"cache/validate.go", `	p.finish(c) // whoever`, `	// whoever`,
		"./cache", "^TestValidateSeesWholeBatches$"},
	{"live: inherited before any cut", "what a log had is not written behind what is newer",
		"dump/chain.go", `	ch.inherited = nil // what comes later is not in it
`, ``,
		"./cache", "^TestInheritComesBeforeAnyCut$"},
	{"live: a log in use", "the log of a process that is dying is not ended",
		"pagefile/livedir_linux.go", `|| !time.Now().Before(until) {`, `|| !time.Now().Before(until.Add(-time.Hour)) {`,
		"./pagefile", "^TestLiveDirWaitsForTheDying$"},
}
