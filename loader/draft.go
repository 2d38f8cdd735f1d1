package loader

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A draft is a shard as far as it is recovered: what the image says, then each
// section in order, then the chain. One goroutine at a time works on it.
type draft struct {
	shard  int
	geo    pagefile.Geometry
	places uint32 // that the record counts
	usable uint32 // of them, those that the page file has
	found  *findings
	out    Shard

	heads, tails [2]uint64 // so far; they only grow
	start        [2]uint64 // heads when the image was begun
	started      bool      // start is known

	rows    []Segment        // in the order in which they were first told
	runs    []int            // where runs of ascending numbers end among the image's rows
	at      map[uint64]int32 // the other rows by number
	told    int              // rows when the chain began
	sums    []uint64         // what is left of a slab for rows' checksums
	died    []uint64         // told before the chain and died in it
	chained bool             // the sections are those of links
}

// makeDrafts begins each shard with the image's tables.
func (l *load) makeDrafts() {
	rec := l.res.Record
	l.drafts = make([]draft, rec.Geometry.Shards)
	each(l.Workers, len(l.drafts), func(i int) {
		d := &l.drafts[i]
		*d = draft{shard: i, geo: rec.Geometry, places: rec.Places, usable: l.usable, found: &l.found}
		d.out.Durable = rec.Shards[i]
		switch {
		case rec.Image == 0:
			d.started = true // every index began empty, and positions at 0
		case l.res.Image != nil && !l.stopped():
			d.readImage(l.res.Image, pagefile.FileName(pagefile.KindImage, rec.Image))
		}
	})
}

// readImage takes the shard's segments from the image. Its index is read later,
// by others.
func (d *draft) readImage(image *pagefile.ImageReader, name string) {
	entry, err := image.Shard(d.shard)
	if err == nil {
		err = d.checkImage(entry)
	}
	if err != nil {
		d.found.add(ImageShard, name, d.shard, 1, err)
		return
	}
	d.heads, d.tails, d.start, d.started = entry.Heads, entry.Tails, entry.Heads, true
	d.out.ImageBuckets = int(entry.Buckets)
	d.rows = make([]Segment, 0, image.SegmentsInFile(d.shard))
	nonsense := 0
	bad, _ := image.Segments(d.shard, func(i int, seg pagefile.Segment) { // fails only if Shard does
		if d.checkSegment(seg) != nil {
			nonsense++
			return
		}
		d.rows = append(d.rows, Segment{Segment: seg, ImageEntry: entry.FirstEntry + i})
	})
	d.index()
	if bad += nonsense; bad > 0 {
		d.found.add(ImageSegments, name, d.shard, bad, nil)
	}
}

// checkImage refuses an entry that cannot be older than the record.
func (d *draft) checkImage(entry pagefile.ImageShard) error {
	for q, tail := range entry.Tails {
		if tail > d.out.Durable.Tails[q] || entry.Heads[q] > d.out.Durable.Heads[q] {
			return fmt.Errorf("%w: queue %d of the image from %d to %d, of the record from %d to %d", pagefile.ErrCorrupt,
				q, entry.Heads[q], tail, d.out.Durable.Heads[q], d.out.Durable.Tails[q])
		}
	}
	return nil
}

func (d *draft) checkSegment(seg pagefile.Segment) error {
	if uint64(seg.Fill) > d.geo.UnitsPerSegment() && seg.Fill != pagefile.OpenFill {
		return fmt.Errorf("%w: segment %x with %d units", pagefile.ErrCorrupt, seg.Number, seg.Fill)
	}
	return nil
}

// checkSection refuses a section that does not fit the geometry. Its own bounds
// were checked when it was decoded.
func (d *draft) checkSection(s *pagefile.Section) error {
	if err := s.State.Validate(d.geo); err != nil {
		return fmt.Errorf("%w: %w", pagefile.ErrCorrupt, err)
	}
	if err := endless(s.State); err != nil {
		return err
	}
	for _, seg := range s.Segments {
		if err := d.checkSegment(seg); err != nil {
			return err
		}
	}
	for _, run := range s.Pages {
		if run.First+len(run.Sums) > d.geo.PagesPerSegment() {
			return fmt.Errorf("%w: segment %x with pages %d+%d", pagefile.ErrCorrupt, run.Number, run.First, len(run.Sums))
		}
	}
	for _, p := range s.Pieces {
		if int(p.Offset)+len(p.Bytes) > d.geo.SegmentSize {
			return fmt.Errorf("%w: segment %x with bytes %d+%d", pagefile.ErrCorrupt, p.Number, p.Offset, len(p.Bytes))
		}
	}
	return nil
}

// checkOrder refuses a section whose tails are behind those before it. Heads may
// be: a writer moves a record's head past what it had to leave out.
func checkOrder(before [2]uint64, s *pagefile.Section) error {
	for q, tail := range s.State.Tails {
		if tail < before[q] {
			return fmt.Errorf("%w: queue %d ends at %d, after %d", pagefile.ErrCorrupt, q, tail, before[q])
		}
	}
	return nil
}

// empty drops every store so far: a section that may have replaced any of them
// is lost. Segments stay, later stores may lead to them (I10).
func (d *draft) empty() {
	d.reset()
	d.out.Lost++
}

func (d *draft) reset() {
	d.out.ImageBuckets, d.out.Journals, d.out.Chained = 0, nil, 0
}

// apply adds a section that was checked. file is for findings.
func (d *draft) apply(s *pagefile.Section, file string) {
	if s.ImageReset {
		d.reset()
	}
	d.move(s.State)
	d.out.Journals = append(d.out.Journals, s.Journal...)
	for _, seg := range s.Segments {
		d.tell(seg)
	}
	stray := 0
	for _, run := range s.Pages {
		if row := d.row(run.Number); row != nil {
			d.setSums(row, run)
		} else {
			stray++
		}
	}
	for _, p := range s.Pieces {
		if row := d.row(p.Number); row != nil {
			row.Pieces = append(row.Pieces, p)
		} else {
			stray++
		}
	}
	for _, number := range s.Died {
		d.die(number)
	}
	if stray > 0 {
		d.found.add(SegmentUnknown, file, d.shard, stray, nil)
	}
}

// move takes over a state.
func (d *draft) move(s pagefile.ShardState) {
	for q := range d.heads {
		d.heads[q], d.tails[q] = max(d.heads[q], s.Heads[q]), s.Tails[q]
	}
	d.out.State = s
	d.out.State.Heads = d.heads
}

// tell adds a line of a segment table, or changes the one that is there.
func (d *draft) tell(seg pagefile.Segment) {
	row := d.row(seg.Number)
	if row == nil {
		if d.at == nil {
			d.at = make(map[uint64]int32)
		}
		d.at[seg.Number] = int32(len(d.rows))
		d.rows = append(d.rows, Segment{Segment: seg, ImageEntry: -1})
		return
	}
	if seg.Place == pagefile.NoPlace {
		seg.Place = row.Place // a link does not know places; none is ever taken back
	}
	if seg.Fill == pagefile.OpenFill {
		seg.Fill = row.Fill // nor does a sealed segment open again
	}
	row.Segment = seg
}

// maxRuns is one for each queue: segments are numbered as they are opened.
const maxRuns = 3

// index makes the image's rows findable by number. A map of all of them takes
// longer than everything else; they ascend within each queue, unless damage or a
// stranger has put them there.
func (d *draft) index() {
	for i := 1; i <= len(d.rows); i++ {
		if i == len(d.rows) || d.rows[i].Number <= d.rows[i-1].Number {
			d.runs = append(d.runs, i)
		}
	}
	d.at = make(map[uint64]int32)
	if len(d.runs) > maxRuns {
		for i := range d.rows {
			d.at[d.rows[i].Number] = int32(i)
		}
		d.runs = nil
	}
}

// row finds a row by the segment's number, nil if nothing has told it.
func (d *draft) row(number uint64) *Segment {
	if i, ok := d.find(number); ok && d.rows[i].Queue != dead {
		return &d.rows[i]
	}
	return nil
}

func (d *draft) find(number uint64) (int, bool) {
	if i, ok := d.at[number]; ok {
		return int(i), true
	}
	from := 0
	for _, end := range d.runs {
		i, ok := slices.BinarySearchFunc(d.rows[from:end], number, func(row Segment, n uint64) int {
			return cmp.Compare(row.Number, n)
		})
		if ok && d.rows[from+i].Queue != dead {
			return from + i, true
		}
		from = end
	}
	return 0, false
}

// dead is the queue of a row whose segment has ended. It keeps its number, since
// others are found by it.
const dead = 255

// setSums notes pages that went home. Rows share slabs of checksums.
func (d *draft) setSums(row *Segment, run pagefile.PageRun) {
	pages := d.geo.PagesPerSegment()
	switch {
	case row.Sums != nil:
	case len(run.Sums) == pages:
		row.Sums = run.Sums
		return
	default:
		if len(d.sums) < pages {
			d.sums = make([]uint64, 16*pages)
		}
		row.Sums, d.sums = d.sums[:pages:pages], d.sums[pages:]
	}
	copy(row.Sums[run.First:], run.Sums)
}

// die removes the segment of a large value.
func (d *draft) die(number uint64) {
	row := d.row(number)
	if row == nil || row.Queue != pagefile.QueueLarge {
		return
	}
	if i, _ := d.find(number); d.chained && i < d.told {
		d.died = append(d.died, number)
	}
	*row = Segment{Segment: pagefile.Segment{Number: number, Queue: dead}}
}

// chain tells the draft that links follow, and that the record's state is what
// they follow on.
func (d *draft) chain() {
	d.move(d.out.Durable)
	d.told, d.chained = len(d.rows), true
	d.out.Chained = len(d.out.Journals)
}
