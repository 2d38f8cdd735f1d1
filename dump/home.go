package dump

import (
	"fmt"
	"slices"

	"github.com/embercache/ember/dirty"
	"github.com/embercache/ember/pagefile"
)

// home brings pages home: it follows the queues from cut to cut, gives segments
// their places, writes pages and remembers their checksums. Only the goroutine
// that writes a durable generation uses it.
type home struct {
	cfg    *Config
	src    Source
	units  uint64 // per segment
	table  *table
	places places
	set    dirty.Set
	swept  [][fileQueues]uint64 // full pages before it have been added to set
	died   [][]uint64           // told large segments that ended since the newest durable cut, by shard

	file    pagefile.File // nil: not open yet
	id      uint64
	size    int64       // allocated
	grown   bool        // since the last good sync: a record counts its places
	written []dirty.Run // since the last good sync of file
	past    []uint32    // places whose segments have ended; the kernel may have them cached

	oldImage *pagefile.ImageReader // has the checksums of rows with an entry; may be nil
	fetched  []uint64              // scratch

	// block is what one write stays within: the kernel caches what is written at
	// once as one piece, and can only drop it as one.
	block int64
	buf   []byte // pages to be written at bufAt
	bufAt int64
	limit *limiter
	stop  func() error

	named       func() (map[uint32]bool, error) // places of retained generations; nil: nobody can tell
	quarantined bool                            // places are held back that no generation may name

	pages   int      // that went home in this generation
	bytes   int64    // written to the page file
	leftOut []uint64 // segments of pages that were gone or damaged when they were to be copied
	missed  int      // segments that were gone before the table had them
}

func newHome(cfg *Config, src Source, limit *limiter, stop func() error) *home {
	return &home{
		cfg:     cfg,
		src:     src,
		units:   cfg.Geometry.UnitsPerSegment(),
		table:   newTable(cfg.Geometry),
		places:  places{limit: cfg.maxPlaces()},
		swept:   make([][fileQueues]uint64, cfg.Geometry.Shards),
		died:    make([][]uint64, cfg.Geometry.Shards),
		fetched: make([]uint64, cfg.Geometry.PagesPerSegment()),
		limit:   limit,
		stop:    stop,
		block:   max(int64(cfg.Geometry.SegmentSize), leastBlock),
	}
}

const leastBlock = 64 << 10

// restore takes over what was recovered. A place that two segments claim, or
// that the file does not have, is damage: the later segment takes another. So does
// one that is not full or not home where generations forked.
func (h *home) restore(s *Start, forked bool) {
	h.oldImage = s.Image
	h.places.grow(s.places())
	for shard := range s.Shards {
		st := &s.Shards[shard]
		for q := range st.State.Tails {
			h.swept[shard][q] = st.State.Tails[q] &^ (unitsPerPage - 1)
		}
		for seg := range st.Segments {
			h.restoreSegment(shard, st, &seg, forked)
		}
		h.died[shard] = append(h.died[shard], st.Died...)
	}
	h.places.quarantine()
	h.quarantined = true
}

func (h *home) restoreSegment(shard int, st *StartShard, seg *StartSegment, forked bool) {
	i, ok := h.table.insert(shard, seg.Segment)
	if !ok {
		return
	}
	r := &h.table.rows[i]
	r.flags = rowTold
	if seg.Dirty != 0 || seg.Place == pagefile.NoPlace || h.beganAfter(r, st) {
		r.change()
	}
	if forked && (seg.Fill == pagefile.OpenFill || seg.Dirty != 0) {
		// Another generation may have pages at home there that are not full yet in
		// this one.
		h.renew(i)
		return
	}
	if seg.Place != pagefile.NoPlace {
		if !h.places.claim(seg.Place) {
			h.renew(i)
			return
		}
		r.place, r.entry = seg.Place, int32(seg.ImageEntry)
		r.flags |= rowNamed
		copy(h.table.sumsOf(i), seg.Sums)
	}
	// What came back is dirty, written again before a generation names it. // I5
	h.set.Add(r.number, seg.Dirty&h.fullPages(r, st.State.Tails))
}

// beganAfter reports whether links told of a segment, or of its seal, that the
// record's blobs do not tell of.
func (h *home) beganAfter(r *row, st *StartShard) bool {
	return r.queue >= fileQueues || r.seq >= st.Durable.Tails[r.queue]/h.units
}

// fullPages has the pages of a row that may go home at a cut with these tails.
func (h *home) fullPages(r *row, tails [fileQueues]uint64) uint64 {
	if r.fill != pagefile.OpenFill {
		return h.table.fullPages(r.fill)
	}
	start := r.seq * h.units
	if r.queue >= fileQueues || tails[r.queue] <= start {
		return 0
	}
	return firstPages(int(min(tails[r.queue]-start, h.units) / unitsPerPage))
}

// sweep brings the table to a cut and adds the pages that became full.
func (h *home) sweep(c *Cut, births []births) {
	for shard := range c.Shards {
		for _, number := range births[shard].died {
			h.buryLarge(shard, number)
		}
		for _, l := range births[shard].born {
			if i, ok := h.table.insert(shard, largeSegment(l)); ok {
				h.set.Add(l.Number, h.table.fullPages(h.table.rows[i].fill))
			}
		}
		state := &c.Shards[shard].State
		for q := range uint8(fileQueues) {
			h.sweepQueue(shard, q, state.Heads[q], state.Tails[q])
		}
	}
}

func (h *home) sweepQueue(shard int, q uint8, head, tail uint64) {
	ln := &h.table.lines[shard][q]
	for len(ln.rows) > 0 && ln.first < head/h.units {
		if i := ln.rows[0]; i != noRow {
			h.bury(i)
		}
		ln.first, ln.rows = ln.first+1, ln.rows[1:]
	}
	from := max(h.swept[shard][q], head/h.units*h.units)
	for seq := from / h.units; seq*h.units < tail; seq++ {
		h.advance(shard, q, seq, from, tail)
	}
	h.swept[shard][q] = max(h.swept[shard][q], tail&^(unitsPerPage-1))
}

// advance adds the pages of segment seq that became full between two positions.
// One that was evicted since the cut is left out.
func (h *home) advance(shard int, q uint8, seq, from, tail uint64) {
	seg, ok := look(h.src, h.units, shard, q, seq, tail)
	i := h.table.lines[shard][q].find(seq)
	if ok && i == noRow {
		i, ok = h.table.insert(shard, seg)
	}
	if !ok || h.table.rows[i].number != seg.Number {
		h.missed++
		return
	}
	r := &h.table.rows[i]
	if r.fill != seg.Fill {
		r.fill = seg.Fill
		r.change()
	}
	start := seq * h.units
	before := int((max(from, start) - start) / unitsPerPage)
	tails := [fileQueues]uint64{tail, tail}
	h.set.Add(r.number, h.fullPages(r, tails)&^firstPages(before))
}

// forget drops what the kernel has cached of places whose segments have ended:
// memory has what is live, so nobody reads them but who opens an older generation.
// It is called before one of them can be written again. Places lie a page behind
// the blocks that are written at once, so it is their blocks that are dropped, with
// the last page of the place before, and not their own last page.
func (h *home) forget() {
	size := int64(h.cfg.Geometry.SegmentSize)
	for _, place := range h.past {
		pagefile.Forget(h.file, int64(place)*size, size)
		h.limit.rest()
	}
	h.past = h.past[:0]
}

// forgive takes back that pages were left out of segments that have ended: no
// generation from the next one on names those.
func (h *home) forgive() {
	h.leftOut = slices.DeleteFunc(h.leftOut, func(number uint64) bool {
		_, ok := h.table.at[number]
		return !ok
	})
}

// bury ends a row: no generation from the next one on names it.
func (h *home) bury(i int32) {
	r := h.table.drop(i)
	h.set.Drop(r.number)
	h.places.leave(r.place, r.flags&rowNamed != 0)
}

func (h *home) buryLarge(shard int, number uint64) {
	at, ok := h.table.findLarge(shard, number)
	if !ok {
		return
	}
	list := h.table.large[shard]
	i := list[at]
	h.table.large[shard] = append(list[:at], list[at+1:]...)
	if h.table.rows[i].flags&rowTold != 0 {
		h.died[shard] = append(h.died[shard], number)
	}
	h.bury(i)
}

// findPlaces takes all dirty pages and gives their segments places, growing the
// page file if it must. Without a free place nothing is taken. // I11
func (h *home) findPlaces() ([]dirty.Run, error) {
	todo := h.set.Take()
	need := 0
	last := uint64(0)
	for _, run := range todo {
		if i, ok := h.table.at[run.Number]; ok && run.Number != last && h.table.rows[i].place == pagefile.NoPlace {
			need++
		}
		last = run.Number
	}
	if err := h.makePlaces(need); err != nil {
		h.set.GiveBack(todo)
		return nil, err
	}
	for k, run := range todo {
		i, ok := h.table.at[run.Number]
		if !ok || h.table.rows[i].place != pagefile.NoPlace {
			continue
		}
		r := &h.table.rows[i]
		if r.place, ok = h.places.take(r.avoid); !ok {
			h.set.GiveBack(todo[k:])
			h.set.GiveBack(todo[:k])
			return nil, h.outOfPlaces(need)
		}
		r.change()
	}
	return todo, nil
}

// makePlaces grows the page file until need places can be taken.
func (h *home) makePlaces(need int) error {
	if need <= h.places.count {
		return nil
	}
	n := h.places.step(need - h.places.count)
	switch {
	case n > 0:
	case h.endQuarantine():
		return h.makePlaces(need)
	case need <= h.places.available():
		return nil
	default:
		return h.outOfPlaces(need)
	}
	err := h.growPlaces(n)
	if least := uint32(need - h.places.count); err != nil && least < n {
		err = h.growPlaces(least)
	}
	switch {
	case err == nil:
		return h.makePlaces(need)
	case need <= h.places.available():
		return nil
	default:
		return err
	}
}

// endQuarantine frees what no generation names of the places that were held back
// at Start; false if that was done or nobody can tell. A process writes a
// generation or two and ends: without this a few of them would hold everything.
func (h *home) endQuarantine() bool {
	if !h.quarantined || h.named == nil {
		return false
	}
	named, err := h.named()
	if err != nil {
		return false
	}
	h.quarantined = false
	h.places.reclaim(named)
	return true
}

func (h *home) growPlaces(n uint32) error {
	if err := h.allocate(h.cfg.Geometry.PlaceOffset(h.places.total + n)); err != nil {
		return err
	}
	h.places.grow(n)
	return nil
}

// outOfPlaces says that older generations and readers hold all places.
func (h *home) outOfPlaces(need int) error {
	return pagefile.NoSpace(fmt.Sprintf("find a place among %d", h.places.total), int64(need)*int64(h.cfg.Geometry.SegmentSize), errNoPlace)
}

// allocate makes the page file at least that long. Space shows here, not in the
// middle of a write.
func (h *home) allocate(size int64) error {
	if size <= h.size {
		return nil
	}
	if err := h.file.Allocate(h.size, size-h.size); err != nil {
		return fmt.Errorf("grow page file: %w", err)
	}
	h.size, h.grown = size, true
	return nil
}
