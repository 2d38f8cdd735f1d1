package dump

import (
	"errors"
	"fmt"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A generation is one durable generation on its way to the disk.
type generation struct {
	d       *Dumper
	number  uint64
	full    bool
	clean   bool // written by Close
	started time.Time

	held   []*Cut // to be released
	begun  *Cut   // divides the journals from the image; of a light one it is cut
	cut    *Cut   // what the generation contains
	note   *Note
	stock  stock
	births []births

	weak    pagefile.WeakPos // the cut's own link
	ring    *ring            // that it lies in; nil: none
	ringEnd int64            // position of the ring at the cut

	image     fileKey // full only
	imageSize int64
	blob      pagefile.Extent
	record    *pagefile.Record

	about int // pages that it may bring home
	pages int
	bytes Bytes
}

// A step of writing a generation has a name for those who wait for a disk that
// hangs.
type step struct {
	name string
	do   func() error
}

// stepCut may wait for a Batch; the disk's part of it is watched by itself.
const stepCut = "cut"

// write writes a generation. Its order is the promise: nothing is named before
// it is durable, and nothing is believed before the record is. // I2
func (g *generation) write() error {
	return g.d.run([]step{
		{"write image", g.writeImage}, // complete before the cut
		{stepCut, g.takeCut},
		{"bring the table up to date", g.sweep},
		{"write pages", g.writePages},
		{"sync pages", g.syncPages},
		{"take in what was moved", g.retake},
		{"write blob", g.writeBlob},
		{"write record", g.writeRecord},
		{"write mirror", g.writeMirror},
		{"retire", g.d.retire},
	})
}

// begin takes the first cut and decides what to write: nil if nothing changed
// since the newest durable generation.
func (d *Dumper) begin(o order) *generation {
	g := &generation{d: d, clean: o.clean, started: d.cfg.Now()}
	d.makeRing()
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	c := d.cutLocked(true)
	if d.unchanged(o) {
		d.src.Release(c)
		return nil
	}
	g.held = append(g.held, c)
	g.begun, g.full = c, d.choose(c, o)
	if g.full {
		d.pending.stock.divide()
	} else {
		g.takeLocked(c)
	}
	g.number = d.takeNumber()
	g.about = d.home.set.Len() + int((d.watch.set+pagefile.PageSize-1)/pagefile.PageSize)
	return g
}

// unchanged reports whether the newest durable generation has all that there is.
// The caller holds the cut mutex.
func (d *Dumper) unchanged(o order) bool {
	b := &d.base
	if d.watch.changed || d.home.set.Len() > 0 || d.needFull || b.record == nil {
		return false
	}
	if !o.clean && d.chain.up && !d.chain.follows(b.record) {
		return false // a chain that began anew needs a record that leads to it
	}
	return !o.clean || d.cleanTime(b.record.Stores) <= cleanBudget
}

// takeCut takes the cut of a full generation, now that its image is durable. A
// light one has it already.
func (g *generation) takeCut() error {
	if g.full {
		g.d.cutMu.Lock()
		defer g.d.cutMu.Unlock()
		g.takeLocked(g.d.cutLocked(true))
		g.held = append(g.held, g.cut)
	}
	return nil
}

// takeLocked makes c the generation's cut. The caller holds the cut mutex.
func (g *generation) takeLocked(c *Cut) {
	ch := &g.d.chain
	g.cut, g.stock, g.births = c, g.d.pending.takeStock(), g.d.pending.takeBirths()
	g.note = newNote(c)
	if g.ring = ch.ring; g.ring != nil {
		g.ringEnd = g.ring.next
	}
	g.weak = pagefile.WeakPos{} // retaken: what followed the link of the cut before is older than this one
	if ch.up {
		g.weak = ch.pos
	}
	ch.since = 0
}

// sweep brings the table to the cut. What came and went since the cut before is
// in the table from now on, whatever becomes of the generation.
func (g *generation) sweep() error {
	g.d.home.sweep(g.cut, g.births)
	if g.stock.lost(g.full) {
		return errJournalLost
	}
	if g.d.base.beyondLap(g) {
		return errLap
	}
	return nil
}

// writePages writes the full pages to their places.
func (g *generation) writePages() error {
	h := g.d.home
	h.pages, h.bytes = 0, 0
	todo, err := h.findPlaces()
	if err != nil {
		return err
	}
	err = h.write(todo)
	g.pages, g.bytes.Pages = h.pages, h.bytes
	return err
}

func (g *generation) syncPages() error { return g.d.home.sync() }

// retake takes another cut, once, if pages were evicted between the cut and
// their turn, as happens when the disk was slow: what was live on them has moved
// on, and only a newer cut says where to. What it brings comes after all that was
// done; a cache that turns over faster than that leaves out the rest.
func (g *generation) retake() error {
	d := g.d
	if len(d.home.leftOut)+d.home.missed == 0 {
		return nil
	}
	d.home.missed = 0
	d.cutMu.Lock()
	sofar := g.stock
	g.takeLocked(d.cutLocked(true))
	g.held = append(g.held, g.cut)
	sofar.extend(g.stock)
	g.stock = sofar
	d.cutMu.Unlock()
	pages, bytes := g.pages, g.bytes.Pages
	err := d.run([]step{
		{"bring the table up to date", g.sweep},
		{"write pages", g.writePages},
		{"sync pages", g.syncPages},
	})
	d.home.forgive()
	g.pages, g.bytes.Pages = g.pages+pages, g.bytes.Pages+bytes
	return err
}

// release lets go of the cuts.
func (g *generation) release() {
	for _, c := range g.held {
		g.d.src.Release(c)
	}
}

// giveUp undoes a generation that failed before its record was tried: its
// journals are pending again, and its image goes.
func (g *generation) giveUp() {
	d := g.d
	d.cutMu.Lock()
	if g.cut != nil {
		d.src.Drop(d.pending.giveBack(g.stock))
	} else {
		d.pending.stock.rejoin()
	}
	d.cutMu.Unlock()
	if g.image.id != 0 {
		d.files.remove(g.image) // I8: never written again; an orphan at worst
	}
}

// retryFull reports whether a generation failed in a way that a full one, begun
// anew, does not.
func retryFull(err error) bool { return errors.Is(err, errJournalLost) || errors.Is(err, errLap) }

// choose decides between light and full. Full when there is no other way, and
// when starting from the image in force would take too long. The caller holds
// the cut mutex.
func (d *Dumper) choose(c *Cut, o order) (full bool) {
	b := &d.base
	switch {
	case b.record == nil, b.record.Image == 0, b.heads == nil, d.needFull:
		return true
	case d.pending.stock.lost(false):
		return true
	case len(b.record.Blobs) >= pagefile.MaxExtents:
		return true
	case b.blobBytes > max(b.imageSize, leastImage):
		return true
	case blobFiles(b.record)*blobStep > max(b.imageSize, leastImage):
		return true // each takes that much, and each process begins one
	}
	stores := b.record.Stores + d.pending.stock.stores()
	if d.tooSlow(stores) || o.clean && d.cleanTime(stores) > cleanBudget {
		return true
	}
	for i := range c.Shards {
		if beyond(c.Shards[i].State.Tails, b.heads[i], pagefile.Lap/2) {
			return true
		}
	}
	return false
}

// leastImage keeps a small cache from writing an image with every generation:
// blobs of that length are read in no time.
const leastImage = 1 << 20

// run does steps in order until one fails. A dumper that was told to stop ends
// between two of them.
func (d *Dumper) run(steps []step) error {
	for _, s := range steps {
		if err := d.stopped(); err != nil {
			return err
		}
		d.limit.begin(easeOthers)
		done := d.during(s.name)
		slow := func() {}
		if s.name != stepCut {
			slow = d.watchStep(s.name, false)
		}
		err := s.do()
		done()
		slow()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}
