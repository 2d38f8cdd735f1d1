package dump

import (
	"time"

	"github.com/embercache/ember/pagefile"
)

// What a start costs. The triggers keep these sums within Config.Budget, and
// Stats publishes them.
const (
	// perStore is what applying a journal entry costs in fresh memory.
	perStore = 20 * time.Nanosecond
	// perHugePage is what the kernel takes to clear a huge page of the index for
	// the first entry that touches it.
	perHugePage = 100 * time.Microsecond
	hugePage    = 2 << 20
	// perLinkByte is what applying a link or a blob costs for each of its bytes,
	// at 1 GB a second: hashing, and copying into fresh memory.
	perLinkByte = time.Nanosecond
	// perSegment is what a line of the segment table costs, to read and to take
	// over.
	perSegment = 200 * time.Nanosecond
	// cleanBudget is what the journals may cost after a clean Close: with more of
	// them it writes an image.
	cleanBudget = time.Millisecond
)

func storeTime(stores uint64) time.Duration { return time.Duration(stores) * perStore }

// applyTime is what stores cost over the base's image. They go to any bucket, so
// a few are enough to touch all of the index.
func (b *base) applyTime(stores uint64) time.Duration {
	pages := min(stores, uint64(b.imageSize)/hugePage+1)
	return storeTime(stores) + time.Duration(pages)*perHugePage
}

// predict is the worst-case time to serve again from a record, without links.
func (d *Dumper) predict(r *pagefile.Record, segments int) time.Duration {
	return d.base.applyTime(r.Stores) + time.Duration(segments)*perSegment +
		time.Duration(d.base.blobBytes)*perLinkByte
}
