package dump

import (
	"math/bits"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A row is what the dumper knows of a segment that is live at the newest durable
// cut that was tried. Only the goroutine that writes a durable generation
// touches rows.
type row struct {
	number uint64
	seq    uint64
	// fresh has the pages that went home and that the newest image and its blobs
	// do not tell of; freshImage those that the image being written does not.
	fresh, freshImage uint64
	fill              uint32 // units; pagefile.OpenFill while open
	place             uint32 // pagefile.NoPlace: none yet
	avoid             uint32 // where its bytes failed to be written, pagefile.NoPlace: nowhere
	entry             int32  // of the image found at Start whose checksums count where sums has none; -1: none
	shard             int16
	queue             uint8
	flags             uint8
}

const (
	rowChanged      = 1 << iota // number, fill or place are not told yet
	rowChangedImage             // nor in the image being written
	rowTold                     // some image or blob tells of it
	rowNamed                    // its place is named by a record
)

// change notes that number, fill or place differ from what was told.
func (r *row) change() { r.flags |= rowChanged | rowChangedImage }

func (r *row) id() SegmentID { return SegmentID{r.queue, r.seq, r.number} }

// A table holds the rows, few objects however many there are.
type table struct {
	units uint64 // per segment
	pages int    // per segment
	rows  []row
	spare []int32
	sums  [][]uint64 // checksums, sumsChunk rows a chunk; 0: the page is not home
	at    map[uint64]int32
	lines [][fileQueues]line
	large [][]int32 // per shard, ascending by number
}

const sumsChunk = 64

// A line is the rows of one queue: those from seq first on. noRow marks a
// segment that was evicted before it could be written.
type line struct {
	first uint64
	rows  []int32
}

const noRow = -1

func newTable(g pagefile.Geometry) *table {
	return &table{
		units: uint64(g.SegmentSize / pagefile.UnitSize),
		pages: g.SegmentSize / pagefile.PageSize,
		at:    make(map[uint64]int32),
		lines: make([][fileQueues]line, g.Shards),
		large: make([][]int32, g.Shards),
	}
}

// add makes a row without place or checksums.
func (t *table) add(shard int, seg pagefile.Segment) int32 {
	i := int32(len(t.rows))
	if n := len(t.spare); n > 0 {
		i, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		t.rows = append(t.rows, row{})
		if int(i)%sumsChunk == 0 {
			t.sums = append(t.sums, make([]uint64, sumsChunk*t.pages))
		}
	}
	t.rows[i] = row{number: seg.Number, seq: seg.Seq, fill: seg.Fill, place: pagefile.NoPlace,
		avoid: pagefile.NoPlace, entry: -1, shard: int16(shard), queue: seg.Queue}
	t.rows[i].change()
	clear(t.sumsOf(i))
	t.at[seg.Number] = i
	return i
}

// insert adds a row where it belongs: at the end of its queue's line, or among
// the large ones. false: the line has gone past its seq, or the number is known.
func (t *table) insert(shard int, seg pagefile.Segment) (int32, bool) {
	if _, known := t.at[seg.Number]; known {
		return noRow, false
	}
	if seg.Queue >= fileQueues {
		return t.insertLarge(shard, seg), true
	}
	ln := &t.lines[shard][seg.Queue]
	if len(ln.rows) == 0 {
		ln.first = seg.Seq
	}
	if seg.Seq < ln.next() {
		return noRow, false
	}
	ln.skipTo(seg.Seq)
	i := t.add(shard, seg)
	ln.rows = append(ln.rows, i)
	return i, true
}

func (t *table) insertLarge(shard int, seg pagefile.Segment) int32 {
	at, _ := t.findLarge(shard, seg.Number)
	i := t.add(shard, seg)
	t.large[shard] = slices.Insert(t.large[shard], at, i)
	return i
}

func (t *table) findLarge(shard int, number uint64) (int, bool) {
	return slices.BinarySearchFunc(t.large[shard], number, func(i int32, n uint64) int {
		switch have := t.rows[i].number; {
		case have < n:
			return -1
		case have > n:
			return 1
		}
		return 0
	})
}

func (ln *line) next() uint64 { return ln.first + uint64(len(ln.rows)) }

// skipTo leaves holes up to seq.
func (ln *line) skipTo(seq uint64) {
	for ln.next() < seq {
		ln.rows = append(ln.rows, noRow)
	}
}

// find returns the row at seq of a line, noRow if there is none.
func (ln *line) find(seq uint64) int32 {
	if seq < ln.first || seq >= ln.next() {
		return noRow
	}
	return ln.rows[seq-ln.first]
}

// drop forgets a row and returns what it was.
func (t *table) drop(i int32) row {
	r := t.rows[i]
	delete(t.at, r.number)
	t.spare = append(t.spare, i)
	return r
}

// sumsOf returns a row's checksums, one per page.
func (t *table) sumsOf(i int32) []uint64 {
	at := int(i) % sumsChunk * t.pages
	return t.sums[int(i)/sumsChunk][at : at+t.pages : at+t.pages]
}

// len is the number of rows.
func (t *table) len() int { return len(t.at) }

// each calls fn for every row of a shard: its queues in order, then large.
func (t *table) each(shard int, fn func(i int32, r *row)) {
	for q := range t.lines[shard] {
		for _, i := range t.lines[shard][q].rows {
			if i != noRow {
				fn(i, &t.rows[i])
			}
		}
	}
	for _, i := range t.large[shard] {
		fn(i, &t.rows[i])
	}
}

// fullPages has the pages of a sealed segment that hold anything.
func (t *table) fullPages(fill uint32) uint64 {
	units := min(uint64(fill), t.units)
	return firstPages(int((units + unitsPerPage - 1) / unitsPerPage))
}

const unitsPerPage = pagefile.PageSize / pagefile.UnitSize

// firstPages has the first n of 64 pages.
func firstPages(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

// runs calls fn for each run of adjacent pages in mask.
func runs(mask uint64, fn func(first, count int)) {
	for mask != 0 {
		first := bits.TrailingZeros64(mask)
		count := bits.TrailingZeros64(^(mask >> first))
		fn(first, count)
		mask &^= firstPages(count) << first
	}
}
