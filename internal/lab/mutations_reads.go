package main

// readMutations are those of the rechecks of reads without a lock, of what a plain Set
// replaced, of sizes that were guessed, and of a large value that comes from another
// shape.
var readMutations = []mutation{
	{"quick: last check", "what was copied is the record that was found",
		"cache/quick.go", `	copyFront(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), len(dst)), unsafe.Add(rec, from), n)
	if !t.holds() {
		return nil, changed
	}
`, `	copyFront(unsafe.Add(unsafe.Pointer(unsafe.SliceData(dst)), len(dst)), unsafe.Add(rec, from), n)
`,
		"./cache", "^(TestQuickProvesWhatItFound|TestARecordThatEndsWhileItIsCopied)$"},
	{"quick: number before its length", "nothing is allocated for a record that has ended",
		"cache/quick.go", `		if !t.holds() {
			return nil, changed // before its length is allocated
		}
`, ``,
		"./cache", "^TestQuickProvesWhatItFound$"},
	{"quick: slot again", "a word that was read is live when its segment's number is (I13)",
		"cache/quick.go", `(word(atomic.LoadUint64(slot))^w)&^freqMask != 0 || t.number == 0 ||`, `t.number == 0 ||`,
		"./cache", "^TestAWordOfAnotherLap$"},
	{"quick: version of a miss", "what is displaced, or whose bucket is split, is not missed",
		"cache/quick.go", `		if x.version.Load() != version {
			return nil, changed
		}
`, ``,
		"./cache", "^(TestAnEntryThatIsDisplaced|TestAnEntryWhoseBucketIsSplit)$"},
	{"get: last check", "what was copied is the record that was found",
		"cache/get.go", `	if !r.holds() {
		return dst, changed
	}
	return dst[:len(dst)+n], hit`, `	return dst[:len(dst)+n], hit`,
		"./cache", "^TestARecordThatEndsWhileItIsCopied$"},
	{"get: version of a miss", "what is displaced, or whose bucket is split, is not missed",
		"cache/get.go", `o == changed || o == miss && s.index.version.Load() != version`, `o == changed`,
		"./cache", "^(TestAnEntryThatIsDisplaced|TestAnEntryWhoseBucketIsSplit)$"},
	{"frame again", "what was read lay in the frame that its segment has",
		"cache/get.go", `t.seg.number.Load() == t.number && t.seg.frame.Load() == t.frame`, `t.seg.number.Load() == t.number`,
		"./cache", "^TestATenureHasOneFrame$"},
	{"replaced records and the cut", "a cut counts what its entries take",
		"cache/cut.go", `	s.epoch = epoch
	s.settleReplacedLocked()
`, `	s.epoch = epoch
`,
		"./cache", "^TestACutCountsWhatWasReplaced$"},
	{"sizes that were guessed", "what an estimate stood in for is counted by who opens it",
		"cache/cut.go", `	if s.guessed {
		st.Live = st.Live&^(unitSize-1) | pagefile.LiveEstimate
	}
`, ``,
		"./cache", "^TestSizesThatWereGuessedAreCounted$"},
	{"former value: segments there are", "a record that lies takes no memory",
		"cache/former.go", `	if own > len(f.large) {
		return nil, buf, false // a lie: there are not so many
	}
`, ``,
		"./cache", "^TestALargeValueOfAFormerShape$"},
	{"former value: segment that is none", "a record that lies brings nobody down",
		"cache/former.go", `seg == nil || !f.read(`, `!f.read(`,
		"./cache", "^TestALargeValueOfAFormerShape$"},
	{"former value: page that is damaged", "no byte of a file reaches a caller unproved (I3)",
		"cache/former.go", `.need(0, n) {
			return nil, buf, false
		}`, `.need(0, n) && false {
			return nil, buf, false
		}`,
		"./cache", "^TestALargeValueOfAFormerShape$"},
}
