package main

// loaderMutations are those of the only reader at start.
var loaderMutations = []mutation{
	{"hash of the link before", "a link of another history does not follow (I9)",
		"loader/chain.go", `h.Prev == pos.Hash &&`, `true &&`,
		"./cache", "TestLinksOfAnotherHistoryStayOut"},
	{"proof of a link", "a link is proved before it is applied (I3)",
		"loader/chain.go", `if lk.torn = lk.blob.Verify(); lk.torn != nil {`, `if lk.torn != nil {`,
		"./loader", "^TestLoadFlippedAnywhere$"},
	{"order of links", "a link that cannot follow ends the chain",
		"loader/chain.go", `		if err := checkOrder(tails[s.Shard], s); err != nil {
			return err
		}
`, `		_, _ = checkOrder, s
`,
		"./loader", "^TestTable$"},
	{"chain of an older generation", "links after the newest generation never follow an older one (I12)",
		"loader/chain.go", ` || l.res.Record.Generation != l.newestRetained() {`, ` {`,
		"./loader", "^TestLoadAnOlderGeneration$"},
	{"ring's start after a torn link", "a torn link hides no other",
		"loader/chain.go", `n == len(read) || read[n].at == pagefile.FileHeaderBlock {`, `true || read[n].at == pagefile.FileHeaderBlock {`,
		"./cache", "TestTornLinkHidesNoOther"},
	{"ring that was not read to its end", "what cannot be read may be read next time: nothing takes its place (I12)",
		"loader/chain.go", `		l.res.Chain = pagefile.WeakPos{} // more may follow: nothing is to be put in its place
`, ``,
		"./loader", "^TestLoadReadErrors$"},
	{"hash of a blob", "a blob that the record does not name is not applied",
		"loader/blobs.go", `case hash != b.Hash || h.Kind != pagefile.BlobDurable || h.Length != uint64(b.Length):`, `case hash == 0 || h.Length != uint64(b.Length):`,
		"./loader", "^TestLoadForeignFiles$"},
	{"lost blob", "what a lost blob may have deleted does not come back (I10)",
		"loader/blobs.go", `	if b.err != nil {
		d.empty()
		return
	}`, `	if b.err != nil {
		return
	}`,
		"./loader", "^TestLoadSpoiled$"},
	{"lost section", "what a lost section may have deleted does not come back (I10)",
		"loader/blobs.go", `		d.found.add(SectionLost, b.name, d.shard, 1, metaErr)
		d.empty()`, `		d.found.add(SectionLost, b.name, d.shard, 1, metaErr)`,
		"./loader", "^TestTable$"},
	{"section beyond the record's cut", "nothing after the record's cut is taken for it",
		"loader/blobs.go", `if tail > d.out.Durable.Tails[q] {`, `if false {`,
		"./loader", "^TestLoadHostileSections$"},
	{"newest record lost", "an older state is never taken up in silence",
		"loader/records.go", `	if last := p.lostAfter(newest.Generation); last != 0 {`, `	if last := p.lostAfter(newest.Generation); false {`,
		"./loader", "^TestTable$"},
	{"record torn in the first ring", "a record that was being written is no loss",
		"loader/records.go", `case mirror.damaged[slot], mirror.gone[slot] && (first.damaged[slot] || first.gone[slot]):`, `case mirror.damaged[slot], first.damaged[slot]:`,
		"./loader", "^TestTable$"},
	{"records that disagree", "two records of one number are told",
		"loader/records.go", `case first.Hash() != mirror.Hash():`, `case false:`,
		"./loader", "^TestTable$"},
	{"missing mirror", "a record without its mirror is written again",
		"loader/records.go", `	case mirror == nil:
		l.res.MirrorMissing = true`, `	case mirror == nil:`,
		"./loader", "^TestLoadTellsOfAMissingMirror$"},
	{"geometry of a retained record", "a record of another directory is not opened",
		"loader/records.go", `if rec == nil || rec.Geometry != newest.Geometry {`, `if rec == nil {`,
		"./loader", "^TestLoadForeignFiles$"},
	{"mirror first beside an owner", "a reader never takes a record that is being written for damage",
		"loader/records.go", `		p[1] = readRing(l.FS, l.Dir, pagefile.MirrorName)
		p[0] = readRing(l.FS, l.Dir, pagefile.RecordsName)
		return p`, `		p[0] = readRing(l.FS, l.Dir, pagefile.RecordsName)
		p[1] = readRing(l.FS, l.Dir, pagefile.MirrorName)
		return p`,
		"./loader", "^TestLoadBesideARecordBeingWritten$"},
	{"page file of another directory", "a foreign page file is not written to",
		"loader/files.go", `case err == nil && h.Geometry != rec.Geometry:`, `case false:`,
		"./loader", "^TestLoadForeignFiles$"},
	{"image of another directory", "a foreign image is not read",
		"loader/files.go", `if err == nil && image.Header().Geometry != rec.Geometry {`, `if false {`,
		"./loader", "^TestLoadForeignFiles$"},
	{"image beyond the record", "an image that is newer than the record is not read",
		"loader/draft.go", `if tail > d.out.Durable.Tails[q] || entry.Heads[q] > d.out.Durable.Heads[q] {`, `if false {`,
		"./loader", "^TestLoadForeignFiles$"},
	{"bounds of a piece", "no length of a file is trusted",
		"loader/draft.go", `if int(p.Offset)+len(p.Bytes) > d.geo.SegmentSize {`, `if false {`,
		"./loader", "^TestLoadHostileSections$"},
	{"places of the page file", "a place that the file does not have is none (I11)",
		"loader/finish.go", `if row.Place < d.usable {`, `if row.Place != pagefile.NoPlace {`,
		"./loader", "^TestTable$"},
	{"lap of a queue", "a word never means a position of another lap",
		"loader/finish.go", `if d.started && tail-d.start[q] > pagefile.Lap {`, `if tail == ^uint64(0) {`,
		"./loader", "^TestTable$"},
	{"numbers of segments", "a number of a segment never repeats (I12)",
		"loader/finish.go", `l.sawOpens(number >> 32)`, `_ = number`,
		"./cache", "^(TestNumbersRunIntoTheNextOpen|TestLivesInARowLoseNothing)$"},
	{"numbers of images", "the number of an image without a record is used up (I12)",
		"loader/numbers.go", `kind == pagefile.KindImage {
			l.sawGeneration(id)`, `kind == pagefile.KindImage && id == 0 {
			l.sawGeneration(id)`,
		"./loader", "^TestLoadCountsImages$"},
	{"tables when a section is lost", "segments stay when a section is lost: later stores lead to them (I10)",
		"loader/draft.go", `	d.out.ImageBuckets, d.out.Journals, d.out.Chained = 0, nil, 0`, `	d.out.ImageBuckets, d.out.Journals, d.out.Chained, d.rows = 0, nil, 0, nil`,
		"./loader", "^TestTable$"},
	{"links after Close", "a generation that Close wrote and that links follow is unclean",
		"loader/loader.go", `if l.Clean && l.goesOn() {`, `if false {`,
		"./loader", "^TestTable$"},
	{"age of a record from the future", "a clock that was set back does not make old data young",
		"loader/accept.go", `age <= l.MaxAge && age >= -min(l.MaxAge, clockSlack)`, `age <= l.MaxAge`,
		"./loader", "^TestTable$"},
}
