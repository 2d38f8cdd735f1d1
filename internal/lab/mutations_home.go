package main

// homeMutations are those of pages going home, and of the places that they go to.
var homeMutations = []mutation{
	{"sync of pages", "a page is home when its place was synced (I2)",
		"dump/pages.go", `if err := h.file.Sync(); err != nil {`, `if err := error(nil); err != nil {`,
		"./dump", "^(TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"pages move after a failed sync", "a failed sync is never retried on the same bytes (I8)",
		"dump/pages.go", `		h.moveWritten()
		return fmt.Errorf("sync pages: %w", err)`, `		return fmt.Errorf("sync pages: %w", err)`,
		"./dump", "^TestFailedPageSyncMoves$"},
	{"pages move after a failed write", "what was written before a failed write is written elsewhere (I8)",
		"dump/pages.go", `	if err := h.flush(); err != nil {
		h.moveWritten()
		return err
	}
	return nil`, `	return h.flush()`,
		"./dump", "^(TestFailedOnce|TestStorms)$"},
	{"pages move after a failed push", "a push that fails is a sync that fails (I8)",
		"dump/pages.go", `if err := pagefile.Push(h.file, at, int64(n)); err != nil {`, `if err := pagefile.Push(h.file, at, int64(n)); err == nil && n < 0 {`,
		"./dump", "^TestFailedOnce$"},
	{"an image ends with a failed push", "a push that fails is a sync that fails (I8)",
		"dump/limiter.go", `err = pagefile.Push(t.File, off, int64(n))`, `_ = pagefile.Push(t.File, off, int64(n))`,
		"./dump", "^TestFailedOnce$"},
	{"all pages of a moved segment go", "a segment that takes another place has all its pages there (I8)",
		"dump/pages.go", `	h.set.Add(r.number, h.fullPages(r, tails))
}`, `	_ = tails
}`,
		"./dump", "^(TestFailedPageSyncMoves|TestFailedOnce|TestStorms)$"},
	{"place that failed", "bytes whose sync failed do not go to the same place again (I8)",
		"dump/places.go", `		if place != avoid {`, `		if true {`,
		"./dump", "^TestPlaces$"},
	{"place that failed is tainted", "a place that failed is free after a good sync only (I8)",
		"dump/places.go", `		p.tainted = append(p.tainted, place)
	}`, `		p.setFree(place)
	}`,
		"./dump", "^TestPlaces$"},
	{"place that is leaving", "a place that the newest record names is not reused (I11)",
		"dump/places.go", `	case named:
		p.leaving = append(p.leaving, place)`, `	case named:
		p.setFree(place)`,
		"./dump", "^TestPlaces$"},
	{"place that is retired", "a place that a retained generation names is not reused (I11)",
		"dump/places.go", `p.retired[n].first <= oldest {`, `true {`,
		"./dump", "^TestPlaces$"},
	{"quarantine at Start", "places that older generations name are not reused by the next process (I11)",
		"dump/home.go", `	h.places.quarantine()
	h.quarantined = true`, `	h.quarantined = true`,
		"./dump", "^(TestPlacesAreReused|TestRestarts|TestTenRestarts|TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"two owners of a place", "a place that two segments claim is given to one",
		"dump/places.go", `if place >= p.total || p.free[place/64]>>(place%64)&1 == 0 {`, `if place >= p.total {`,
		"./dump", "^TestPlaceClaimedTwice$"},
	{"places of generations in limbo", "places are not freed while a record in limbo may name them (I8)",
		"dump/open.go", `	if d.limbo != nil || len(d.history.pinned) > 0 {
		return nil, errNoPlace
	}
`, ``,
		"./dump", "^TestNobodyCanTellThePlacesOfLimbo$"},
	{"what links brought back is written again", "a tail of the page cache is not adopted in place (I5)",
		"dump/home.go", `	h.set.Add(r.number, seg.Dirty&h.fullPages(r, st.State.Tails))
`, `	_ = st
`,
		"./dump", "^(TestRestarts|TestSecondKill)$"},
	{"open segment of an older state", "what was rolled back to does not write over pages of a later generation (I1)",
		"dump/home.go", `	if forked && (seg.Fill == pagefile.OpenFill || seg.Dirty != 0) {`, `	if false {`,
		"./dump", "^TestRollBack$"},
	{"open segment of an older state, after a kill", "nor does the process that follows the one that went back (I1)",
		"dump/start.go", `return r.Lineage != s.Record.Lineage })`, `return false })`,
		"./cache", "^TestWhatWasRefusedSurvivesAKill$"},
	{"open segment beside a record that was not read", "nor one that cannot read the record of what was refused (I1)",
		"dump/open.go", `d.start.forked() || len(d.history.pinned) > 0`, `d.start.forked()`,
		"./cache", "^TestWhatWasRefusedSurvivesAReadThatFails$"},
	{"open segment beside a reader", "who reads what no record retains keeps its pages (I11)",
		"dump/open.go", `lease.HeldBefore(d.number + pagefile.RingSlots)`, `lease.HeldBefore(d.number)`,
		"./dump", "^TestReaderOfWhatIsNotRetained$"},
	{"memory after the last record", "no file has what memory held before",
		"dump/pages.go", `	clear(b[used:])
`, ``,
		"./dump", "^(TestFlushAndReplay|TestLinksAreWrittenInPlace|TestRestarts)$"},
	{"pages that became full", "a page goes home when it is full, and not before (I1)",
		"dump/home.go", `	return firstPages(int(min(tails[r.queue]-start, h.units) / unitsPerPage))`, `	return firstPages(int(min(tails[r.queue]-start+unitsPerPage-1, h.units) / unitsPerPage))`,
		"./dump", "^(TestFlushAndReplay|TestCrashAtAnyOperation|TestCrashAmongWriters)$"},
	{"page that is not full", "a page that is not home travels in a blob (I5)",
		"dump/blob.go", `		from = max(from, d.base.tails(shard)[q])
`, `		from = tail
`,
		"./dump", "^(TestFlushAndReplay|TestRestarts)$"},
	{"cut is taken again", "what moved on while the disk was slow is in the generation",
		"dump/generation.go", `	if len(d.home.leftOut)+d.home.missed == 0 {`, `	if true {`,
		"./dump", "^(TestWhatMovedMeanwhileIsTakenIn|TestWhatEndedBeforeTheTableHadItIsTakenIn)$"},
	{"scrub compares", "a page that a disk lost is found while memory has it",
		"dump/scrub.go", `if want := sums[first+k]; got != want {`, `if want := sums[first+k]; false {`,
		"./dump", "^TestScrubMendsWhatTheDiskLost$"},
	{"scrub moves", "a damaged page is written again, elsewhere",
		"dump/scrub.go", `			h.move(int32(s.next))
`, ``,
		"./dump", "^TestScrubMendsWhatTheDiskLost$"},
	{"runs that are given back", "pages of a failed flush are dirty again (I5)",
		"dump/pages.go", `			h.set.GiveBack(todo[k:])
`, `			_ = k
`,
		"./dump", "^(TestFailedOnce|TestStorms)$"},
	{"page set of the table", "the table is brought to the cut before pages are taken",
		"dump/generation.go", `		{"bring the table up to date", g.sweep},
		{"write pages", g.writePages},
		{"sync pages", g.syncPages},
		{"take in`, `		{"write pages", g.writePages},
		{"bring the table up to date", g.sweep},
		{"sync pages", g.syncPages},
		{"take in`,
		"./dump", "^(TestFlushAndReplay|TestPlaces)$"},
}
