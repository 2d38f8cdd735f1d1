package main

// dumpMutations are those of the only writer: the order of a durable generation, its
// syncs, and what is done when one fails.
var dumpMutations = []mutation{
	{"pages synced before the blob", "a blob names no page that is not home (I2)",
		"dump/generation.go", `		{"sync pages", g.syncPages},
		{"take in what was moved", g.retake},
		{"write blob", g.writeBlob},
		{"write record", g.writeRecord},`, `		{"take in what was moved", g.retake},
		{"write blob", g.writeBlob},
		{"write record", g.writeRecord},
		{"sync pages", g.syncPages},`,
		"./dump", "^(TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"image before the cut", "an image is complete before its generation's cut (I10)",
		"dump/generation.go", `		{"write image", g.writeImage}, // complete before the cut
		{stepCut, g.takeCut},`, `		{stepCut, g.takeCut},
		{"write image", g.writeImage},`,
		"./dump", "^(TestWritersDuringADump|TestCrashAmongWriters)$"},
	{"mirror before retirement", "nothing is retired before a record is durable twice (I11)",
		"dump/generation.go", `		{"write mirror", g.writeMirror},
		{"retire", g.d.retire},`, `		{"retire", g.d.retire},
		{"write mirror", g.writeMirror},`,
		"./dump", "^TestFailedMirror$"},
	{"record before its mirror", "at most one copy of a record is half written",
		"dump/open.go", `var ringNames = [2]string{pagefile.RecordsName, pagefile.MirrorName}`, `var ringNames = [2]string{pagefile.MirrorName, pagefile.RecordsName}`,
		"./dump", "^(TestNothingIsRemovedBeforeTheMirror|TestFailedMirror)$"},
	{"mirror", "the loss of one record is no loss",
		"dump/generation.go", `		{"write mirror", g.writeMirror},
`, ``,
		"./dump", "^TestFailedMirror$"},
	{"limbo", "a record whose sync failed is in limbo, not forgotten (I8)",
		"dump/record.go", `	d.limbo = g
	if err`, `	if err`,
		"./dump", "^TestLimbo$"},
	{"record in limbo is settled first", "what a record in limbo names is kept until one is durable (I8)",
		"dump/flight.go", `		{"settle the record in limbo", d.settle},
`, ``,
		"./dump", "^TestLimbo$"},
	{"reader of a record in limbo", "who reads a record in limbo keeps its places (I11)",
		"dump/record.go", `	if len(d.history.pinned) < pagefile.RingSlots { // a disk that fails for hours tries often
		d.history.drop(g.record)
	}
`, ``,
		"./dump", "^TestReaderOfARecordInLimbo$"},
	{"missing mirror is mended", "Open restores a missing mirror before anything is retired",
		"dump/flight.go", `		{"mend the mirror", d.mendMirror},
`, ``,
		"./dump", "^TestRollBackBegins$"},
	{"blob's sync", "a record names no blob that is not durable (I2)",
		"dump/blob.go", `		err = b.file.Sync()`, `		err = nil`,
		"./dump", "^(TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"failed blob file is given up", "after a failed sync a blob file is not written again (I8)",
		"dump/blob.go", `	if err != nil {
		b.abandon()
		return err
	}
	g.blob`, `	if err != nil {
		return err
	}
	g.blob`,
		"./dump", "^TestFailedBlobSyncMoves$"},
	{"blob file of an image", "blobs before an image can go when nothing needs them",
		"dump/blob.go", `	if g.full {
		b.abandon()
	}
	room`, `	room`,
		"./dump", "^(TestLightGenerationsKeepTheImage|TestRetention|TestOrphansGo|TestTenRestarts)$"},
	{"sync of a new file", "a header is durable before anything names the file (I2)",
		"dump/files.go", `	if err := file.Sync(); err != nil {
		return err
	}
	return f.cfg.FS.SyncDir(f.dir(key.kind))`, `	return f.cfg.FS.SyncDir(f.dir(key.kind))`,
		"./dump", "^(TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"directory sync of a new file", "a name is durable before anything names the file (I2)",
		"dump/files.go", `return f.cfg.FS.SyncDir(f.dir(key.kind))`, `return nil`,
		"./dump", "^(TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"ring whose directory was not synced", "a later sync proves nothing about a name (I8)",
		"dump/files.go", `	if err != nil && !f.rings[name] {
		f.cfg.FS.Remove(filepath.Join(f.cfg.Dir, name))
	}
`, ``,
		"./dump", "^(TestFailedOnce|TestStorms|TestLimboOfTheFirst)$"},
	{"directory sync of what is removed", "what was removed is not back after a power cut",
		"dump/files.go", `	if err := f.cfg.FS.SyncDir(f.cfg.Dir); err != nil {
		return fmt.Errorf("remove %s: %w", f.obsolete[0], err)
	}
`, ``,
		"./dump", "^TestObsoleteFiles$"},
	{"removal after a failed directory sync", "a name that is gone already is made and removed again (I8)",
		"dump/files.go", `			err = f.removeAnew(path)`, `			err = nil`,
		"./dump", "^TestObsoleteFiles$"},
	{"weak ring of another cache", "a ring of another cache in the same folder is not removed",
		"dump/files.go", `f.cfg.WeakDir != f.cfg.Dir && !f.ours(key) {`, `false {`,
		"./cache", "^TestCachesShareAWeakDir$"},
	{"geometry of a file that is opened", "a file of another directory is not written to",
		"dump/files.go", `	if h.Geometry != f.cfg.Geometry {
		return 0,`, `	if h.ID == 0 {
		return 0,`,
		"./dump", "^TestPageFileLost$"},
	{"numbers of files", "a number of a file without a record is used up (I12)",
		"dump/open.go", `		d.number = max(d.number, highest+1)
`, `		_ = highest
`,
		"./dump", "^(TestColdBesideOldFiles|TestOrphansGo|TestLimboUsesItsNumberUp)$"},
	{"numbers of records", "numbers go on after records that could not be read at first (I12)",
		"dump/open.go", `		d.number = max(d.number, records[n-1].Generation+1)
`, `		_ = n
`,
		"./cache", "^TestRecordsThatWereNotReadStayBehind$"},
	{"slot of a retained record", "a record's slot is not written over while it is retained (I1)",
		"dump/dumper.go", `		if pagefile.RingSlot(r.Generation) == pagefile.RingSlot(number) {`, `		if r.Generation == 0 && number == 0 {`,
		"./dump", "^TestRetainedRecordsKeepTheirSlots$"},
	{"readers that are found", "who reads a generation that nobody retains keeps its places (I11)",
		"dump/open.go", `		d.history.found(g, d.recordOf(g))
`, ``,
		"./dump", "^(TestReaderOutlivesTheOneWhoKnew|TestColdStartBesideAReader)$"},
	{"lease that cannot be asked", "when nobody can tell, somebody reads (I11)",
		"dump/dumper.go", `return held || err != nil`, `return held && err == nil`,
		"./dump", "^TestLeaseThatCannotBeAsked$"},
	{"files of retained generations", "what a retained generation needs is not removed (I1)",
		"dump/dumper.go", `	d.history.needs(keep)
`, ``,
		"./dump", "^TestRetention$"},
	{"pinned generations are asked for", "a generation that is read keeps places and files (I11)",
		"dump/history.go", `	for _, p := range h.pinned {
		oldest = min(oldest, p.generation)
	}
`, ``,
		"./dump", "^(TestReaderPinsItsGeneration|TestMoreReadersThanARecordNames|TestReaderOfARecordInLimbo|TestReaderOutlivesTheOneWhoKnew)$"},
	{"files of pinned generations", "a generation that is read keeps its files (I11)",
		"dump/history.go", `	for _, p := range h.pinned {
		needs(keep, p.record)
	}
`, ``,
		"./dump", "^(TestReaderPinsItsGeneration|TestMoreReadersThanARecordNames|TestReaderOfARecordInLimbo|TestReaderOutlivesTheOneWhoKnew)$"},
	{"dropped generation is pinned", "a generation that ceases to be retained may be read (I11)",
		"dump/history.go", `	h.pinned = append(h.pinned, pinned{r.Generation, r})
}

// found`, `}

// found`,
		"./dump", "^(TestReaderPinsItsGeneration|TestMoreReadersThanARecordNames|TestReaderOfARecordInLimbo|TestReaderOutlivesTheOneWhoKnew)$"},
	{"links that are needed", "a link is written over only when a mirror after it is durable",
		"dump/ring.go", `	return pos, pos+n-r.keep <= room`, `	return pos, n <= room`,
		"./dump", "^TestRingFit$"},
	{"links freed by the mirror", "a ring keeps what the record before needs until the mirror is durable",
		"dump/dumper.go", `	d.baseRing, d.baseRingEnd = g.ring, g.ringEnd
	d.noteNewest(g)`, `	d.baseRing, d.baseRingEnd = g.ring, g.ringEnd
	if g.ring != nil {
		g.ring.free(g.ringEnd)
	}
	d.noteNewest(g)`,
		"./dump", "^TestLinksKeptUntilTheMirror$"},
	{"anchor follows nothing", "a chain that begins anew follows no link before the gap (I9)",
		"dump/chain.go", `	ch.builder.Reset(ch.header(c, 0))
`, `	ch.builder.Reset(ch.header(c, ch.pos.Hash))
`,
		"./dump", "^(TestChainBeginsAgain|TestFailedRing|TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"gap in the chain", "a cut without a link ends the chain (I9)",
		"dump/chain.go", `			ch.stop(err)
		}
	}
	if !ch.up`, `			_ = err
		}
	}
	if !ch.up`,
		"./dump", "^(TestChainBeginsAgain|TestFailedRing|TestLostJournal)$"},
	{"failed ring is given up", "after a failed write a ring is not written again (I8)",
		"dump/chain.go", `		ch.abandon()
		return fmt.Errorf("write weak`, `		return fmt.Errorf("write weak`,
		"./dump", "^TestFailedRing$"},
	{"link of a lost journal", "a link never lacks stores (I9)",
		"dump/chain.go", `		if c.Shards[i].Lost {
			return errJournalLost
		}
`, ``,
		"./dump", "^(TestLostJournal|TestJournalLostDuringImage)$"},
	{"stop before a link", "no link is written after Close ran out of time",
		"dump/chain.go", `	if err := ch.stopped(); err != nil {
		return err
	}
`, ``,
		"./dump", "^TestNoLinkAfterCloseRanOutOfTime$"},
	{"record for a chain that began anew", "a Flush leads to the chain that follows it",
		"dump/generation.go", `	if !o.clean && d.chain.up && !d.chain.follows(b.record) {`, `	if false {`,
		"./cache", "^TestChainBegunAnewIsNamed$"},
	{"cut without a link", "a cut that has no link names none (I9)",
		"dump/generation.go", `	g.weak = pagefile.WeakPos{} // retaken: what followed the link of the cut before is older than this one
`, ``,
		"./dump", "^TestATakenInCutForgetsTheLinkOfTheFirst$"},
	{"journals given back", "the stores of a failed generation are in the next (I5)",
		"dump/generation.go", `		d.src.Drop(d.pending.giveBack(g.stock))`, `		_ = d.pending`,
		"./dump", "^(TestFailedOnce|TestStorms)$"},
	{"journals of a failed image", "journals older than a failed image count again (I5)",
		"dump/generation.go", `		d.pending.stock.rejoin()`, `		_ = d.pending`,
		"./dump", "^(TestLightAfterAFailedImage|TestJournalLostDuringImage)$"},
	{"overflowed journal", "after a journal was discarded the next generation is full (I5)",
		"dump/pending.go", `		s.lostNewer = true
	}
	return gone`, `	}
	return gone`,
		"./dump", "^(TestLostJournal|TestJournalLostDuringImage)$"},
	{"full generation after damage", "the next generation after damage is full (I10)",
		"dump/generation.go", `b.record.Image == 0, b.heads == nil, d.needFull:`, `b.record.Image == 0, b.heads == nil:`,
		"./dump", "^TestDamageAsksForAnImage$"},
	{"links after damage", "no link comes before the full generation that damage asks for",
		"dump/open.go", `d.chain.ring, d.chain.up = r, !s.NeedFull`, `d.chain.ring, d.chain.up = r, true`,
		"./dump", "^TestDamageAsksForAnImage$"},
	{"lap of a generation", "no generation is written beyond a lap of its image",
		"dump/generation.go", `	if g.d.base.beyondLap(g) {
		return errLap
	}
`, ``,
		"./dump", "^TestNothingIsWrittenBeyondALap$"},
	{"lap of a link", "no link is written beyond a lap of its image",
		"dump/chain.go", `		if ch.heads != nil && beyond(c.Shards[i].State.Tails, ch.heads[i], pagefile.Lap) {`, `		if false {`,
		"./dump", "^TestNothingIsWrittenBeyondALap$"},
}
