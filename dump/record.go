package dump

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/embercache/ember/pagefile"
)

// writeRecord writes the record of a generation all of whose bytes are durable,
// and makes it the base. If that fails the record is in limbo: it may be durable
// or not, so what it names is kept, and it is written again, under the next
// number, before anything else. // I8
//
// A reader may find it and hold its lease, in limbo or not: see settle.
func (g *generation) writeRecord() error {
	g.record = g.newRecord()
	g.note.LeftOut = len(g.d.home.leftOut)+g.d.home.missed > 0
	return g.tryRecord()
}

func (g *generation) tryRecord() error {
	d := g.d
	d.limbo = g
	if err := d.rings[0].Write(g.record); err != nil {
		return err
	}
	d.limbo = nil
	g.bytes.Records += recordBytes
	d.adopt(g)
	d.src.Drop(g.stock.empty())
	return nil
}

// recordBytes is what a record takes at least; it only serves Stats.
const recordBytes = pagefile.PageSize

// writeMirror writes the second copy. Until one is durable nothing is retired.
func (g *generation) writeMirror() error {
	if err := g.d.rings[1].Write(g.record); err != nil {
		return fmt.Errorf("mirror: %w", err)
	}
	g.bytes.Records += recordBytes
	g.d.mirrored(g)
	return nil
}

// newRecord names what the generation has written.
func (g *generation) newRecord() *pagefile.Record {
	d := g.d
	r := &pagefile.Record{
		Geometry:   d.cfg.Geometry,
		Generation: g.number,
		Lineage:    d.lineage,
		Parent:     d.parent(),
		Opens:      d.opens,
		PageFile:   d.home.id,
		Places:     d.home.places.total,
		Weak:       g.weak,
		Stores:     g.stock.stores(),
		Clock:      g.cut.Clock,
		Wall:       d.cfg.Wall().UnixNano(),
		BootID:     BootID(d.cfg.FS.BootID()),
		Clean:      g.clean,
		Schema:     d.cfg.Schema,
	}
	for i := range g.cut.Shards {
		state := g.cut.Shards[i].State
		r.Shards = append(r.Shards, state)
		r.Entries += uint64(state.Entries)
		r.Live += state.Live &^ pagefile.LiveEstimate
	}
	if g.full {
		r.Image = g.image.id
	} else {
		r.Image = d.base.record.Image
		r.Stores += d.base.record.Stores
	}
	r.Blobs = append(r.Blobs, d.baseBlobs(g)...)
	r.Blobs = append(r.Blobs, g.blob)
	r.Retained = d.history.retain(r, d.cfg.Keep, d.held)
	return r
}

func (d *Dumper) baseBlobs(g *generation) []pagefile.Extent {
	if g.full {
		return nil
	}
	return d.base.record.Blobs
}

func (d *Dumper) parent() uint64 {
	if d.base.record == nil {
		return 0
	}
	return d.base.record.Hash()
}

// renumbered is a copy of a record under another number: the same cut.
func (d *Dumper) renumbered(r *pagefile.Record, number uint64, keep int) *pagefile.Record {
	next := *r
	next.Generation = number
	next.Parent = d.parent()
	next.Opens = d.opens
	if next.PageFile == d.home.id {
		next.Places = d.home.places.total // or, once those it went back from are dropped, nobody knew
	}
	if d.severed && r.Lineage != d.lineage {
		next.Lineage, next.Weak = d.lineage, pagefile.WeakPos{}
	}
	next.Retained = d.history.retain(&next, keep, d.held)
	return &next
}

// restate writes the newest generation's record under a new number: its mirror
// is missing, or it is to say less or more than it did. It is durable on its
// own, so whatever happens the state stays what it was.
func (d *Dumper) restate(clean bool, keep int) error {
	old := d.base.record
	g := &generation{d: d, number: d.takeNumber(), clean: clean, started: d.cfg.Now()}
	g.record = d.renumbered(old, g.number, keep)
	g.record.Clean = clean
	if clean && !d.mend {
		g.record.Wall = d.cfg.Wall().UnixNano() // Close: the state was still the same
	}
	g.weak = g.record.Weak
	g.ring, g.ringEnd = d.baseRing, d.baseRingEnd
	return d.run([]step{
		{"restate record", g.tryRecord},
		{"restate mirror", g.writeMirror},
		{"retire", d.retire},
	})
}

// settle gives a record in limbo another chance under the next number: all that
// it names is durable, and the record that failed may be on disk or not. // I8
//
// Somebody may have found it and read it under its own number, which no record
// will retain: it counts as dropped, so that its lease is asked for. // I11
func (d *Dumper) settle() error {
	g := d.limbo
	if g == nil {
		return nil
	}
	if len(d.history.pinned) < pagefile.RingSlots { // a disk that fails for hours tries often
		d.history.drop(g.record)
	}
	g.number = d.takeNumber()
	g.record = d.renumbered(g.record, g.number, d.cfg.Keep)
	return d.run([]step{
		{"write record in limbo again", g.tryRecord},
		{"write mirror", g.writeMirror},
		{"retire", d.retire},
	})
}

// BootID is the name of a run of the machine's kernel as records have it: the
// bytes of a UUID, else the first bytes of the name.
func BootID(name string) (id [16]byte) {
	digits := strings.ReplaceAll(name, "-", "")
	if b, err := hex.DecodeString(digits); err == nil && len(b) == len(id) {
		copy(id[:], b)
		return id
	}
	copy(id[:], name)
	return id
}
