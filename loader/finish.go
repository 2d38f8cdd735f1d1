package loader

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// finishDrafts makes the shards as they are at the final cut.
func (l *load) finishDrafts() {
	l.res.Shards = make([]Shard, len(l.drafts))
	newest := make([]uint64, len(l.drafts))
	each(l.Workers, len(l.drafts), func(i int) {
		newest[i] = l.drafts[i].newest()
		l.res.Shards[i] = l.drafts[i].finish()
		l.drafts[i] = draft{}
	})
	l.drafts = nil
	for _, number := range newest {
		l.sawOpens(number >> 32)
	}
}

// newest is the highest number of a segment that was told, if it ended since or not.
// It may be of an open that no record, blob or link counts: of a process of which
// nothing but a live log is left, or one that opened more than 2^32 segments. // I12
func (d *draft) newest() (number uint64) {
	for i := range d.rows {
		number = max(number, d.rows[i].Number)
	}
	return number
}

func (d *draft) finish() Shard {
	if q := d.beyondLap(); q >= 0 {
		d.found.add(BeyondLap, "", d.shard, 1, fmt.Errorf("queue %d ends at %d, the image began at %d", q, d.tails[q], d.start[q]))
		d.refuse()
	}
	slices.Sort(d.died)
	d.out.Died = d.died
	d.out.Segments = d.live()
	d.findHomes()
	for i := range d.out.Segments {
		d.complete(&d.out.Segments[i])
	}
	return d.out
}

// beyondLap returns a queue that is too long for the image's words, -1 if there
// is none. Of a lost image no word is left.
func (d *draft) beyondLap() int {
	for q, tail := range d.tails {
		if d.started && tail-d.start[q] > pagefile.Lap {
			return q
		}
	}
	return -1
}

// refuse leaves an empty shard, at the positions where it was.
func (d *draft) refuse() {
	d.empty()
	d.rows = nil
	d.heads = d.tails
	d.out.State.Heads, d.out.State.Entries, d.out.State.Live = d.heads, 0, 0
}

// live returns the rows within head and tail, by queue and seq, in one slice.
// After a clean end they lie that way already, and nothing is copied: fresh
// memory costs more than all else here.
func (d *draft) live() []Segment {
	rows := slices.DeleteFunc(d.rows, func(row Segment) bool { return row.Queue == dead || !d.within(&row) })
	d.rows = nil
	if len(rows) == 0 {
		return nil
	}
	if ascending(rows) {
		return rows
	}
	list := make([]Segment, 0, len(rows))
	for _, q := range [...]uint8{pagefile.QueueSmall, pagefile.QueueMain, pagefile.QueueLarge} {
		from := len(list)
		for i := range rows {
			if rows[i].Queue == q {
				list = append(list, rows[i])
			}
		}
		list = append(list[:from], d.ordered(list[from:])...)
	}
	return list
}

// ascending reports whether rows are in order, with no two at one position.
func ascending(rows []Segment) bool {
	for i := 1; i < len(rows); i++ {
		a, b := &rows[i-1], &rows[i]
		if a.Queue > b.Queue || a.Queue == b.Queue && a.Seq >= b.Seq {
			return false
		}
	}
	return true
}

// within reports whether a row can hold anything that is live.
func (d *draft) within(row *Segment) bool {
	if row.Queue == pagefile.QueueLarge {
		return true
	}
	units := d.geo.UnitsPerSegment()
	head, tail := d.heads[row.Queue], d.tails[row.Queue]
	// Not row.Seq*units, which can overflow.
	return row.Seq >= head/units && (row.Seq < tail/units || row.Seq == tail/units && tail%units > 0)
}

// ordered sorts the rows of one queue in place. Mostly they already are. Of two
// at one position the one that was told last stays.
func (d *draft) ordered(rows []Segment) []Segment {
	if ascending(rows) {
		return rows
	}
	slices.SortStableFunc(rows, func(a, b Segment) int { return cmp.Compare(a.Seq, b.Seq) })
	n := 0
	for i := range rows {
		if n > 0 && rows[n-1].Seq == rows[i].Seq {
			d.found.add(SegmentTwice, "", d.shard, 1, fmt.Errorf("segments %x and %x at %d of queue %d",
				rows[n-1].Number, rows[i].Number, rows[i].Seq, rows[i].Queue))
			n--
		}
		rows[n] = rows[i]
		n++
	}
	return rows[:n]
}

// findHomes takes places away that cannot be, and all checksums with them.
func (d *draft) findHomes() {
	bad := 0
	for i := range d.out.Segments {
		row := &d.out.Segments[i]
		if row.Place < d.usable {
			continue
		}
		if row.Place != pagefile.NoPlace && row.Place >= d.places {
			bad++
		}
		row.Place, row.ImageEntry, row.Sums = pagefile.NoPlace, -1, nil
	}
	if bad > 0 {
		d.found.add(PlaceNonsense, "", d.shard, bad, nil)
	}
}

// complete settles what follows from the final cut.
func (d *draft) complete(row *Segment) {
	units := d.geo.UnitsPerSegment()
	if row.Fill == pagefile.OpenFill && row.Queue != pagefile.QueueLarge && row.Seq < d.tails[row.Queue]/units {
		row.Fill = uint32(units)
	}
	if len(row.Pieces) == 0 {
		return
	}
	row.Pieces = slices.DeleteFunc(row.Pieces, func(p pagefile.Piece) bool { return covered(row.Sums, p) })
	row.Pieces = apart(row.Pieces)
}

// covered reports whether every page that p touches is home.
func covered(sums []uint64, p pagefile.Piece) bool {
	if sums == nil {
		return false
	}
	first := int(p.Offset) / pagefile.PageSize
	last := (int(p.Offset) + len(p.Bytes) - 1) / pagefile.PageSize
	return !slices.Contains(sums[first:last+1], 0)
}

// apart makes pieces ascend without overlap. Writers give them so; where they
// did not, both have the same bytes, because a segment is only appended to.
func apart(pieces []pagefile.Piece) []pagefile.Piece {
	byOffset := func(a, b pagefile.Piece) int { return cmp.Compare(a.Offset, b.Offset) }
	if !slices.IsSortedFunc(pieces, byOffset) {
		slices.SortStableFunc(pieces, byOffset)
	}
	n, end := 0, 0
	for _, p := range pieces {
		if twice := end - int(p.Offset); twice > 0 {
			if twice >= len(p.Bytes) {
				continue
			}
			p.Offset, p.Bytes = p.Offset+uint32(twice), p.Bytes[twice:]
		}
		pieces[n], end = p, int(p.Offset)+len(p.Bytes)
		n++
	}
	return pieces[:n]
}
