package main

// pagefileMutations are those of every byte of every file.
var pagefileMutations = []mutation{
	{"checksum of a file header", "a damaged header is not read",
		"pagefile/header.go", `if le64(b, fileChecksum) != checksum(b[:fileChecksum]) {`, `if false {`,
		"./pagefile", "^TestFileHeaderRefusals$"},
	{"name in a file header", "a file that was copied over another is refused",
		"pagefile/header.go", `if h.Kind != kind || h.ID != id {`, `if false {`,
		"./pagefile", "^TestFileHeaderRefusals$"},
	{"version of a file header", "a newer format is not taken for ours",
		"pagefile/header.go", `if v := le16(b, fileVersion); v != Version {`, `if v := le16(b, fileVersion); v == 0 {`,
		"./pagefile", "^TestFileHeaderRefusals$"},
	{"reserved bytes of a file header", "reserved bytes are checked as zero (I6)",
		"pagefile/header.go", `if !allZero(b[fileReserved:fileID]) {`, `if false {`,
		"./pagefile", "^TestReservedBytes$"},
	{"checksum of a record", "a torn record leaves its mirror in charge",
		"pagefile/record.go", `if checksum(b[:sum]) != le64(b, sum) {`, `if false {`,
		"./pagefile", "^TestRecordFlips$"},
	{"version of a record", "a newer record is not taken for ours",
		"pagefile/record.go", `if v := le16(b, recordVersion); v != Version {`, `if v := le16(b, recordVersion); v == 0 {`,
		"./pagefile", "^TestRecordNewerVersion$"},
	{"slot of a record", "a record that was written to another slot does not count",
		"pagefile/ring.go", `if RingSlot(rec.Generation) != slot {`, `if false {`,
		"./pagefile", "^TestRingSlotErrors$"},
	{"sync of a record", "a generation that was acknowledged outlives a power cut (I2)",
		"pagefile/ring.go", `	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("sync record %d: %w", rec.Generation, err)
	}
	return nil`, `	return nil`,
		"./dump", "^TestRollBackBegins$"},
	{"sync of a new ring", "the space of a ring is durable before its first record",
		"pagefile/ring.go", `		if err := file.Sync(); err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)`, `	}
	return fsys.SyncDir(dir)`,
		"./internal/crashfs", "^TestRingIsDurableOnceItIsOpen$"},
	{"directory sync of a ring", "a ring's name is durable before its first record",
		"pagefile/ring.go", `return fsys.SyncDir(dir)`, `return nil`,
		"./internal/crashfs", "^TestRingIsDurableOnceItIsOpen$"},
	{"bytes under a page's checksum", "a page that was damaged does not verify (I3)",
		"pagefile/page.go", `binary.LittleEndian.PutUint64(pair[0:], xxhash.Sum64(b))`, `binary.LittleEndian.PutUint64(pair[0:], xxhash.Sum64(b[:1]))`,
		"./pagefile", "^TestPageSum$"},
	{"number under a page's checksum", "an old segment's page does not verify in its place (I10)",
		"pagefile/page.go", `binary.LittleEndian.PutUint64(pair[8:], number)`, `binary.LittleEndian.PutUint64(pair[8:], 0)`,
		"./pagefile", "^TestPageSum$"},
	{"page under a page's checksum", "a misdirected write does not verify (I10)",
		"pagefile/page.go", `binary.LittleEndian.PutUint64(pair[16:], uint64(page))`, `binary.LittleEndian.PutUint64(pair[16:], 0)`,
		"./pagefile", "^TestPageSum$"},
	{"checksum of a blob's header", "a torn blob does not count",
		"pagefile/blob.go", `if hash = checksum(b[:sum]); hash != le64(b, sum) {`, `if hash = checksum(b[:sum]); false {`,
		"./pagefile", "^TestBlobFlips$"},
	{"reserved bytes of a blob", "reserved bytes are checked as zero (I6)",
		"pagefile/blob.go", `if !allZero(b[blobReserved:blobFixed]) || !allZero(b[sum+8:headerSize(n)]) {`, `if false {`,
		"./pagefile", "^TestBlobFlips$"},
	{"end of a blob", "no decoder trusts a length",
		"pagefile/blob.go", `if int64(h.Length) > limit {`, `if false {`,
		"./pagefile", "^TestBlobTruncations$"},
	{"checksum of a part that is read", "a damaged section of a long blob is not applied",
		"pagefile/blob.go", `	if checksum(b) != sum {
		return nil, corrupt("checksum")
	}
`, ``,
		"./pagefile", "^TestBlobFlips$"},
	{"checksum when a blob is proved", "a copy of a damaged blob is refused",
		"pagefile/blob.go", `if v.err == nil && nonZero(v.sum.Sum64()) != want {`, `if false {`,
		"./pagefile", "^TestBlobFlips$"},
	{"shard of a section", "a section of another shard is not applied",
		"pagefile/blob.go", `if uint32(s.Shard) != ref.Shard {`, `if false {`,
		"./pagefile", "^TestBlobMisdirectedSection$"},
	{"checksum of a section's meta", "a damaged journal is not applied (I10)",
		"pagefile/blobview.go", `if checksum(meta) != ref.MetaSum {`, `if false {`,
		"./pagefile", "^TestBlobFlips$"},
	{"checksum of a section's data", "damaged bytes of a piece reach nobody (I3)",
		"pagefile/blobview.go", `if checksum(data) != ref.DataSum {`, `if false {`,
		"./pagefile", "^TestBlobFlips$"},
	{"checksum of a link's parts", "a torn link does not count (I9)",
		"pagefile/blobview.go", `	if checksum(b.bytes[at:end]) != sum {
		return -1
	}
`, ``,
		"./pagefile", "^TestBlobFlips$"},
	{"checksum of an image's block", "a damaged index block is empty slots (I10)",
		"pagefile/image.go", `case le64(b, blockChecksum) != checksum(b[:blockChecksum]):`, `case false:`,
		"./pagefile", "^TestImageFlips$"},
	{"image of a block", "a block of another image is not read",
		"pagefile/image.go", `case le64(b, blockImage) != h.ID || le64(b, blockDir) != h.Geometry.DirID:`, `case false:`,
		"./pagefile", "^TestImageMisdirectedBlocks$"},
	{"number of a block", "a misdirected block is not read",
		"pagefile/image.go", `case uint64(le32(b, blockNumber)) != number || le16(b, blockKind) != kind:`, `case false:`,
		"./pagefile", "^TestImageMisdirectedBlocks$"},
	{"sync of an image", "an image is durable before a record names it (I2)",
		"pagefile/imagewriter.go", `		w.err = w.file.Sync()`, `		w.err = nil`,
		"./pagefile", "^TestImageRoundTrip$"},
	{"directory that was entered", "a cache's files are in the directory that it has locked",
		"pagefile/folder.go", `	if t != nil {
		return t.folder`, `	if t != nil && t.tenants == 0 {
		return t.folder`,
		"./cache", "^TestFilesStayInTheLockedDirectory$"},
	{"directory that all have left", "who comes late touches no other directory",
		"pagefile/folder.go", `	if t != nil {
		return t.folder`, `	if t != nil && t.tenants > 0 {
		return t.folder`,
		"./pagefile", "^TestEnteredDirectoryIsTheOneThatWasEntered$"},
	{"links under our names", "no link is followed under a name of ours",
		"pagefile/os_unix.go", `unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK`, `unix.O_CLOEXEC | unix.O_NONBLOCK`,
		"./pagefile", "^TestOpenRefusesLinksAndFifos$"},
	{"lease is asked of others", "a reader's generation keeps its places (I11)",
		"pagefile/lease.go", `	if !free {
		return true, nil
	}
`, `	_ = free
`,
		"./pagefile", "^TestLease$"},
	{"lease of one's own", "asking does not drop the lock of a reader of this process (I11)",
		"pagefile/lease.go", `	if l.held[at] > 0 {
		return true, nil
	}
`, ``,
		"./pagefile", "^TestLease$"},
}
