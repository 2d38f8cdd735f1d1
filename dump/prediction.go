package dump

import (
	"runtime"
	"time"

	"github.com/embercache/ember/pagefile"
)

// What a start costs until it serves, from files that are in the page cache. The
// triggers keep these sums within Config.Budget, and Stats publishes them. They were
// measured with one and with two processors, TestPredictedRecovery in package cache
// compares them with what a start takes: more than two are taken for two.
const (
	// perStart is what every start costs: the lock, the records, the memory that is
	// laid out, the first look-up.
	perStart = 2800 * time.Microsecond
	// perSegment is what a line of the segment table costs, to read and to take
	// over.
	perSegment = 150 * time.Nanosecond
	// perStore is what applying a journal entry costs one worker in fresh memory.
	perStore = 26 * time.Nanosecond
	// perHugePage is what the kernel takes to clear a huge page of the index for
	// the first entry that touches it.
	perHugePage = 100 * time.Microsecond
	hugePage    = 2 << 20
	// What a KiB costs that is read, in one go, and then hashed and taken over, by
	// all workers: of links, whose bytes go into frames, and of blobs.
	perLinkRead, perLinkKiB = 400 * time.Nanosecond, 560 * time.Nanosecond
	perBlobRead, perBlobKiB = 300 * time.Nanosecond, 350 * time.Nanosecond

	mostWorkers = 2
	// cleanBudget is what the journals may cost after a clean Close: with more of
	// them it writes an image.
	cleanBudget = time.Millisecond
)

// A forecast is what the parts of a start cost with so many workers.
type forecast struct {
	workers time.Duration
	shards  int
}

func newForecast(shards int) forecast {
	return forecast{time.Duration(min(runtime.GOMAXPROCS(0), shards, mostWorkers)), shards}
}

func (f forecast) links(n int64) time.Duration {
	return f.bytes(n, perLinkRead, perLinkKiB)
}

func (f forecast) blobs(n int64) time.Duration {
	return f.bytes(n, perBlobRead, perBlobKiB)
}

func (f forecast) bytes(n int64, read, shared time.Duration) time.Duration {
	return time.Duration(n) * (read + shared/f.workers) >> 10
}

func (f forecast) stores(n uint64) time.Duration { return time.Duration(n) * perStore / f.workers }

// index is what clearing the memory costs that stores touch in an index whose image
// has that size. They go to any bucket, so a few are enough to touch all of it.
func (f forecast) index(stores uint64, image int64) time.Duration {
	return time.Duration(min(stores, uint64(image)/hugePage+uint64(f.shards))) * perHugePage
}

// cleanTime is what stores cost after a clean end.
func (d *Dumper) cleanTime(stores uint64) time.Duration {
	pages := min(stores, uint64(d.base.imageSize)/hugePage+1)
	return d.forecast.stores(stores) + time.Duration(pages)*perHugePage
}

// predict is the worst-case time to serve again from the base, without links.
func (d *Dumper) predict(segments int) time.Duration {
	b := &d.base
	return perStart + time.Duration(segments)*perSegment + d.forecast.stores(b.record.Stores) +
		d.forecast.index(b.record.Stores, b.imageSize) + d.forecast.blobs(b.blobBytes)
}

// linkTime is what so many bytes of links add to that. The caller holds the cut
// mutex.
func (d *Dumper) linkTime(n int64) time.Duration {
	had := uint64(0)
	if d.base.record != nil {
		had = d.base.record.Stores
	}
	all := had + uint64(n)/pagefile.JournalEntrySize
	return d.forecast.links(n) + d.forecast.index(all, d.base.imageSize) - d.forecast.index(had, d.base.imageSize)
}

// linkShare is the part of the budget that links may take: then a light generation
// is due.
const linkShare = 4

// tooSlow reports whether stores since the image, and the blobs that carry them,
// would take what the budget leaves for them: all but the links' share and what a
// start from a new image costs, and a quarter at least, so that a large cache does
// not write images all the time.
func (d *Dumper) tooSlow(stores uint64) bool {
	b, budget := &d.base, d.cfg.Budget
	whole := perStart + time.Duration(d.home.table.len())*perSegment + d.forecast.index(stores, b.imageSize)
	left := max(budget-budget/linkShare-whole, budget/4)
	blobs := b.blobBytes + int64(stores-b.record.Stores)*pagefile.JournalEntrySize
	return d.forecast.stores(stores)+d.forecast.blobs(blobs) > left
}
