package loader

import "slices"

// A Cost is what a case takes away.
type Cost uint8

// Costs, by ascending loss.
const (
	CostNothing Cost = iota // what is recovered is complete
	CostEntries             // entries are missing, and the rest is as it was
	CostTime                // the state may be older than one that was acknowledged
	CostAll                 // a cold start
)

// A Case is a line of the recovery table.
type Case struct {
	Label     string // of findings and of the test
	Condition string
	Decision  string
	Why       string
	Cost      Cost
	NeedFull  bool // the next durable generation has to be a full one
}

// Labels of cases that the records decide.
const (
	NewDirectory      = "new-directory"
	NoGeneration      = "no-generation"
	RecordsMissing    = "records-missing"
	RecordsDamaged    = "records-damaged"
	NewerFormat       = "newer-format"
	GenerationMissing = "generation-missing"
	NumbersSpent      = "numbers-spent"
	SchemaChanged     = "schema-changed"
	ResetWanted       = "reset-wanted"
	UncleanEnd        = "unclean-end"
	TooOld            = "too-old"
	Unleased          = "unleased"
	RecordTorn        = "record-torn"
	MirrorMissing     = "mirror-missing"
	NewestLost        = "newest-lost"
	RecordsDisagree   = "records-disagree"
	RetainedLost      = "retained-lost"
)

// Labels of cases that the page file and the image decide.
const (
	Unmapped      = "unmapped"
	PagesLost     = "pages-lost"
	PagesDamaged  = "pages-damaged"
	PagesShort    = "pages-short"
	ImageLost     = "image-lost"
	ImageShort    = "image-short"
	ImageShard    = "image-shard"
	ImageSegments = "image-segments"
)

// Labels of cases that blobs decide.
const (
	BlobLost        = "blob-lost"
	SectionLost     = "section-lost"
	SectionNonsense = "section-nonsense"
	SectionBytes    = "section-bytes"
	SegmentUnknown  = "segment-unknown"
	SegmentTwice    = "segment-twice"
	PlaceNonsense   = "place-nonsense"
	BeyondLap       = "beyond-lap"
)

// Labels of cases that the weak chain decides.
const (
	ChainApplied  = "chain-applied"
	ChainTorn     = "chain-torn"
	ChainNonsense = "chain-nonsense"
	ChainMissing  = "chain-missing"
	LiveApplied   = "live-applied"
	LiveEnded     = "live-ended"
)

// Table is the recovery table: every case that Load knows, in the order in which
// it meets them. Each has a test that is named after its label.
var Table = slices.Concat(recordCases, fileCases, blobCases, chainCases)

var recordCases = []Case{{
	Label:     NewDirectory,
	Condition: "there is no record, no damaged slot and no numbered file",
	Decision:  "start cold, without a reason",
	Why:       "nothing was ever stored here",
	Cost:      CostNothing,
}, {
	Label:     NoGeneration,
	Condition: "the rings hold no record and no damage, but numbered files exist",
	Decision:  "start cold",
	Why:       "a record is written last: no generation was completed",
	Cost:      CostAll,
}, {
	Label:     RecordsMissing,
	Condition: "both rings are missing, but numbered files exist",
	Decision:  "start cold; numbers go on after the highest that names and blobs show",
	Why:       "only a record says what belongs together; a number used twice would mix two histories",
	Cost:      CostAll,
}, {
	Label:     RecordsDamaged,
	Condition: "a slot is damaged, or a ring cannot be read, and no record verifies",
	Decision:  "start cold; numbers go on as after missing records",
	Why:       "as for missing records",
	Cost:      CostAll,
}, {
	Label:     NewerFormat,
	Condition: "a record, the image or the page file is of a newer format version",
	Decision:  "start cold as Foreign: nothing in the directory may be written",
	Why:       "a newer build wrote it and will want it back",
	Cost:      CostAll,
}, {
	Label:     GenerationMissing,
	Condition: "a generation was asked for that the newest record does not retain, or whose record does not verify",
	Decision:  "start cold",
	Why:       "whoever asks for a generation wants that state and no other",
	Cost:      CostAll,
}, {
	Label:     NumbersSpent,
	Condition: "generations, links, opens or positions have come so far that they may end: 2^62, and 2^29 opens",
	Decision:  "start cold; if generations or opens have, nothing of the directory counts, and its records are erased before the first new one",
	Why:       "no directory gets there, and from a number that somebody made up nothing can go on: what follows could not be written, or not be the newest",
	Cost:      CostAll,
}, {
	Label:     SchemaChanged,
	Condition: "the record was written under another schema",
	Decision:  "start cold; the record's numbers count",
	Why:       "its values would be decoded as something that they are not",
	Cost:      CostAll,
}, {
	Label:     ResetWanted,
	Condition: "a file named RESET lies in the directory, and no generation was asked for by number",
	Decision:  "start cold; who writes there removes the file once a new generation is complete",
	Why:       "what is stored is not wanted any more; with the file gone before, a crash would bring it back",
	Cost:      CostAll,
}, {
	Label:     UncleanEnd,
	Condition: "only a clean end is wanted, and the record does not say that nothing follows, or a link follows all the same",
	Decision:  "start cold; the record's numbers count",
	Why:       "what was written, or deleted, last may be missing",
	Cost:      CostAll,
}, {
	Label:     TooOld,
	Condition: "the record's wall clock is further back than wanted, or ahead of ours by more than that or a minute",
	Decision:  "start cold; the record's numbers count",
	Why:       "it is older than the caller can use, or its age cannot be told",
	Cost:      CostAll,
}, {
	Label:     Unleased,
	Condition: "the directory may have an owner, and the generation's lease cannot be had",
	Decision:  "it is read all the same",
	Why:       "each page is proved by itself: one that the owner has written over is a miss",
	Cost:      CostNothing,
}, {
	Label:     RecordTorn,
	Condition: "a slot does not verify in one ring; the other has a record or nothing there",
	Decision:  "the other ring counts",
	Why:       "a crash tears at most the copy being written, and then the other still has what was acknowledged",
	Cost:      CostNothing,
}, {
	Label:     MirrorMissing,
	Condition: "the newest record verifies in one ring only",
	Decision:  "it is used; it has to be written to both before anything is retired",
	Why:       "one copy is proof enough, but one more damage would lose the newest state",
	Cost:      CostNothing,
}, {
	Label:     NewestLost,
	Condition: "a slot that a record after the newest would have is damaged or cut off in both rings, or in the mirror where the first has nothing",
	Decision:  "the newest that verifies is used, reported as perhaps stale; its successor's number is not used again",
	Why:       "the mirror is written after the record is durable: both damaged means that it was acknowledged",
	Cost:      CostTime,
}, {
	Label:     RecordsDisagree,
	Condition: "the newest number verifies in both rings, with different contents",
	Decision:  "the copy in the first ring is used, reported as perhaps stale",
	Why:       "a ring was put back from elsewhere; the first is written first",
	Cost:      CostTime,
}, {
	Label:     RetainedLost,
	Condition: "a retained generation's record does not verify or is of another directory",
	Decision:  "that generation cannot be opened any more",
	Why:       "the newest generation needs no other record",
	Cost:      CostNothing,
}}

var fileCases = []Case{{
	Label:     Unmapped,
	Condition: "the page file or the image cannot be mapped",
	Decision:  "positional reads take the place of the mapping",
	Why:       "both give the same bytes",
	Cost:      CostNothing,
}, {
	Label:     PagesLost,
	Condition: "the page file is missing, cannot be read, or belongs to another directory",
	Decision:  "no segment has a place; what lies in blobs and links is kept",
	Why:       "a foreign file must not be written to, and only pages that went home are gone",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     PagesDamaged,
	Condition: "the page file's header does not verify",
	Decision:  "its pages are used",
	Why:       "each page is proved by itself; the header proves none",
	Cost:      CostNothing,
}, {
	Label:     PagesShort,
	Condition: "the page file ends before the places that the record counts",
	Decision:  "pages beyond the end are misses",
	Why:       "what is left verifies page by page",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     ImageLost,
	Condition: "the image is missing, its header does not verify, or it is of another directory",
	Decision:  "every index begins empty and every table too; the journals since the image apply",
	Why:       "a store that no journal repeats cannot be proved, one that a journal holds can",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     ImageShort,
	Condition: "the image ends before its last block",
	Decision:  "what it still has is used",
	Why:       "each block is proved by itself",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     ImageShard,
	Condition: "a shard's entry in the image is damaged, or lies beyond the record's cut",
	Decision:  "as for a lost image, for that shard",
	Why:       "without it nothing says where the shard's index lies",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     ImageSegments,
	Condition: "lines of a shard's segment table are damaged",
	Decision:  "those segments are left out, unless a blob or a link tells them",
	Why:       "a word whose segment is unknown is dropped when it is loaded; no other depends on it",
	Cost:      CostEntries,
	NeedFull:  true,
}}

var blobCases = []Case{{
	Label:     BlobLost,
	Condition: "a blob is missing, its header does not verify, or it is not the one that the record names",
	Decision:  "every shard is emptied at that point; later blobs and links apply",
	Why:       "its stores may have replaced or deleted anything that came before",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     SectionLost,
	Condition: "the meta part of a section does not verify",
	Decision:  "that shard is emptied at that point; later blobs and links apply",
	Why:       "its stores may have replaced or deleted anything that came before",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     SectionNonsense,
	Condition: "a section verifies but cannot follow what came before, or does not fit the geometry or the record",
	Decision:  "as for a section that does not verify",
	Why:       "a checksum proves bytes, not sense",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     SectionBytes,
	Condition: "the data part of a section does not verify",
	Decision:  "its pieces are left out; journal and tables count",
	Why:       "the stores are proved; pages with a gap become misses",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     SegmentUnknown,
	Condition: "pieces or checksums are of a segment that nothing tells",
	Decision:  "they are left out",
	Why:       "its line was lost, so no word can lead to it",
	Cost:      CostEntries,
}, {
	Label:     SegmentTwice,
	Condition: "two numbers lie at the same position of a queue",
	Decision:  "the one that was told last counts",
	Why:       "a position is appended to once; the line told before is damaged or of a history that ended",
	Cost:      CostEntries,
}, {
	Label:     PlaceNonsense,
	Condition: "a segment's place lies beyond those that the record counts",
	Decision:  "the segment has no place",
	Why:       "nothing was ever read from there, and nothing may be written there",
	Cost:      CostEntries,
	NeedFull:  true,
}, {
	Label:     BeyondLap,
	Condition: "a queue's tail is more than 2^30 units beyond its head when the image was begun",
	Decision:  "that shard is refused: it is empty",
	Why:       "the image's words may mean positions of two laps (I10)",
	Cost:      CostEntries,
	NeedFull:  true,
}}

var chainCases = []Case{{
	Label:     ChainApplied,
	Condition: "links follow the record's own, each naming the one before by hash",
	Decision:  "all of them apply, whole and in order",
	Why:       "the process ended without a durable generation, and the page cache kept what it wrote",
	Cost:      CostNothing,
}, {
	Label:     ChainTorn,
	Condition: "a link follows whose sections do not verify",
	Decision:  "the chain ends before it",
	Why:       "the process ended while it wrote; of a link all shards count or none (I9)",
	Cost:      CostNothing,
}, {
	Label:     ChainNonsense,
	Condition: "a link verifies but cannot follow what came before, or does not fit the geometry",
	Decision:  "the chain ends before it",
	Why:       "a checksum proves bytes, not sense",
	Cost:      CostEntries,
}, {
	Label:     ChainMissing,
	Condition: "the ring that the record names is missing or cannot be read",
	Decision:  "the durable state stands, and the next generation begins a chain",
	Why:       "links are for a process that was killed; nothing of them was promised to outlive the machine",
	Cost:      CostNothing,
}, {
	Label:     LiveApplied,
	Condition: "a live log goes on from the newest link",
	Decision:  "it applies as one link more",
	Why:       "the process ended between two links, and the memory of the log outlived it",
	Cost:      CostNothing,
}, {
	Label:     LiveEnded,
	Condition: "a live log goes on from the newest link, and a half of it is not whole, was written over or does not verify; or the last process had a log, and it is gone or cannot be read",
	Decision:  "nothing of that half applies, or nothing of the log",
	Why:       "of what came after a cut all shards count or none (I9): weak generations serve, and what had returned since the newest is missing",
	Cost:      CostEntries,
}}

// lookup returns the case of a label and where it stands in the table.
func lookup(label string) (Case, int) {
	i := slices.IndexFunc(Table, func(c Case) bool { return c.Label == label })
	if i < 0 {
		return Case{Label: label, Cost: CostAll}, len(Table)
	}
	return Table[i], i
}
