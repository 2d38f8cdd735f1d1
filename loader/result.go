package loader

import (
	"errors"
	"io"
	"slices"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A Result is what a directory holds. It stays valid until Close; after that
// Pages and Image fail, the rest is memory.
type Result struct {
	// Reason is a *ReasonError: why nothing was recovered (Record is nil), or why
	// not all. nil for a new directory, or if nothing is missing.
	Reason error
	Record *pagefile.Record // the generation that was opened; nil: cold
	// Foreign says that a newer build wrote here. Nothing in the directory may be
	// written.
	Foreign bool
	// MayBeStale says that a later generation existed and every copy of its record
	// is lost.
	MayBeStale bool
	// MirrorMissing says that the newest record verifies in one ring only. It has
	// to be written to both before anything is retired.
	MirrorMissing bool
	// NeedFull says that something a light generation would build on is damaged.
	NeedFull bool
	// Anew says that the numbers of the directory have run out. Whoever writes there
	// erases its records before it writes one, and begins with the first numbers.
	Anew bool
	// Reset says that a file named ResetName lies in the directory. Who writes there
	// removes it once a new generation is complete.
	Reset bool
	// PagesLost says that the page file cannot be used: no segment has a place,
	// and a new page file is needed.
	PagesLost bool

	// Retained are the generations that can be opened: those of the newest record
	// whose own verify, ascending. Also given where the schema has changed.
	Retained []*pagefile.Record
	// LastGeneration and LastOpens are the highest ever seen in this directory,
	// in records, links and file names: numbers go on after them (I12).
	LastGeneration, LastOpens uint64

	Weak int // links applied
	// Chain is where the next link goes, and number and hash of the last that was
	// applied. File 0: there is no chain to go on with, or none was asked for.
	Chain  pagefile.WeakPos
	Clock  int64 // the newest of record and links, ms
	Shards []Shard

	// Live is what a live log had after Chain, by shard. Before anything else is
	// written to the ring it is written there, as one link: with a part of it nothing
	// would lead to the rest.
	Live []pagefile.Section
	// Unfinished is what was under way then. It has to be finished, and the cache is
	// at no cut before: no link may say that it is.
	Unfinished []LiveOp

	Image    *pagefile.ImageReader // nil: none, or lost
	Pages    io.ReaderAt           // mapping or file; fails if there is none
	Findings []Finding
	Took     Took

	closers []io.Closer
}

// Took is where the time went.
type Took struct {
	Records time.Duration // choosing the generation
	Tables  time.Duration // image header, segment tables
	Blobs   time.Duration
	Weak    time.Duration
	Finish  time.Duration // segments as they are at the final cut
}

// A Shard is what a cache rebuilds a shard from.
type Shard struct {
	// State is that of the final cut, the last link's or else the record's. Heads
	// may be further, where a writer had to leave out what was evicted. Entries
	// and Live are the cut's, also where entries are lost.
	State pagefile.ShardState
	// Durable is the record's. What is beyond Durable.Tails came from the chain.
	Durable pagefile.ShardState
	// ImageBuckets is how many buckets the index has in the image. 0: the index
	// begins empty.
	ImageBuckets int
	// Journals are slot stores, entries of 12 bytes, to be applied in order and
	// blindly. Slot numbers are not compared with State.Buckets.
	Journals [][]byte
	// Chained is where the journals of the chain begin in Journals. They are in no
	// durable blob yet.
	Chained int
	// Died are the large segments that were live at the record's cut and ended in
	// the chain, ascending.
	Died []uint64
	// Segments are those that are live at the final cut, ascending by queue and
	// seq. There are gaps where lines were lost. Those of large values are here
	// until they are told dead, also where the entry that names them was lost.
	Segments []Segment
	Lost     int // sections that were dropped: each has emptied the shard
}

// A Segment is a segment that was recovered. One that lies wholly before the
// tail has a Fill, the whole segment's if what told it is lost.
type Segment struct {
	pagefile.Segment
	// ImageEntry is where Image.Sums has its checksums; -1: nowhere.
	ImageEntry int
	// Sums are checksums of pages from blobs: nil, or one a page. One that is not
	// 0 overrides the image's.
	Sums []uint64
	// Pieces are bytes that are not home, ascending, without overlap. They may
	// leave gaps within a page: then the page cannot be proved.
	Pieces []pagefile.Piece
}

// MappedBytes is how much of the files is mapped until Close.
func (r *Result) MappedBytes() (n int64) {
	for _, c := range r.closers {
		if s, ok := c.(*source); ok {
			n += s.mapped
		}
	}
	return n
}

// Close closes what Pages and Image read, and gives the lease back last.
func (r *Result) Close() error {
	var errs []error
	for _, c := range slices.Backward(r.closers) {
		errs = append(errs, c.Close())
	}
	r.closers = nil
	return errors.Join(errs...)
}

// ErrSchema is within the Reason of a directory that was written under another
// schema.
var ErrSchema = errors.New("schema mismatch")

// noPages stands in for a page file that is not there.
type noPages struct{}

func (noPages) ReadAt([]byte, int64) (int, error) { return 0, errNoPages }

var errNoPages = errors.New("there is no page file")
