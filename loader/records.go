package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A ring is what one ring of records holds.
type ring struct {
	name    string
	slots   [pagefile.RingSlots]*pagefile.Record // nil: none that verifies
	damaged [pagefile.RingSlots]bool
	gone    [pagefile.RingSlots]bool // the file is missing or ends before
	count   int                      // of damaged
	missing bool                     // the file does not exist
	newer   bool                     // holds records of a newer version
	err     error                    // why it cannot be read
}

func readRing(fsys pagefile.FS, dir, name string) *ring {
	r := &ring{name: name}
	file, err := pagefile.OpenRingReadOnly(fsys, dir, name)
	if err != nil {
		r.unreadable(err)
		return r
	}
	defer file.Close()
	r.findEnd(fsys, dir)
	records, damaged, newer := file.ReadAll()
	for _, rec := range records {
		r.slots[pagefile.RingSlot(rec.Generation)] = rec
	}
	for _, slot := range damaged {
		r.damage(slot)
	}
	r.newer = newer
	return r
}

func (r *ring) unreadable(err error) {
	r.missing = errors.Is(err, fs.ErrNotExist)
	for slot := range r.slots {
		r.gone[slot] = r.missing
		if !r.missing {
			r.err = err
			r.damage(slot)
		}
	}
}

// findEnd looks for slots that were cut off: a ring has its full length before
// the first record is written.
func (r *ring) findEnd(fsys pagefile.FS, dir string) {
	src, err := openFile(fsys, filepath.Join(dir, r.name))
	if err != nil {
		return // ReadAll finds out, slot by slot
	}
	defer src.Close()
	for slot := range r.gone {
		r.gone[slot] = int64(slot) >= src.size/pagefile.MaxRecord
	}
}

func (r *ring) damage(slot int) {
	r.damaged[slot] = true
	r.count++
}

// record returns the record of a generation, nil if it is not here.
func (r *ring) record(generation uint64) *pagefile.Record {
	rec := r.slots[pagefile.RingSlot(generation)]
	if rec == nil || rec.Generation != generation {
		return nil
	}
	return rec
}

// rings are both, the one that is written first in front.
type rings [2]*ring

// newest returns the record with the highest number.
func (p rings) newest() (best *pagefile.Record) {
	for _, r := range p {
		for _, rec := range r.slots {
			if rec != nil && (best == nil || rec.Generation > best.Generation) {
				best = rec
			}
		}
	}
	return best
}

func (p rings) record(generation uint64) *pagefile.Record {
	if rec := p[0].record(generation); rec != nil {
		return rec
	}
	return p[1].record(generation)
}

// lostAfter returns the last of the generations after the newest whose slots are
// damaged or gone in both rings, 0 if there is none. The mirror is written after
// the record is durable: damaged in the first ring alone, a slot was being
// written when the process ended; in both, or in the mirror where the first ring
// has nothing, it was durable. Slots half a lap away hold generations from before.
func (p rings) lostAfter(newest uint64) (last uint64) {
	for g := newest + 1; g <= newest+pagefile.RingSlots/2; g++ {
		slot := pagefile.RingSlot(g)
		first, mirror := p[0], p[1]
		switch {
		case first.slots[slot] != nil || mirror.slots[slot] != nil:
		case mirror.damaged[slot], mirror.gone[slot] && (first.damaged[slot] || first.gone[slot]):
			last = g
		}
	}
	return last
}

// readRings reads both. Beside an owner the mirror comes first: what is half
// written there is whole in the first ring by then, and what is half written in
// the first is not in the mirror yet. So nothing looks damaged in both.
func (l *load) readRings() (p rings) {
	if l.Share {
		p[1] = readRing(l.FS, l.Dir, pagefile.MirrorName)
		p[0] = readRing(l.FS, l.Dir, pagefile.RecordsName)
		return p
	}
	each(l.Workers, len(p), func(i int) {
		p[i] = readRing(l.FS, l.Dir, [...]string{pagefile.RecordsName, pagefile.MirrorName}[i])
	})
	return p
}

// chooseRecord decides which generation is opened: the newest that verifies in
// either ring, unless a record says that it is not for us.
func (l *load) chooseRecord() { l.chooseFrom(l.readRings()) }

func (l *load) chooseFrom(p rings) {
	newest := p.newest()
	l.res.Reset = l.Generation == 0 && slices.Contains(l.names, ResetName)
	l.countNumbers(p)
	for _, r := range p {
		if r.newer {
			l.refuse(r.name, fmt.Errorf("record: %w", pagefile.ErrVersion))
		}
	}
	switch {
	case l.res.Foreign:
	case newest == nil:
		l.withoutRecord(p)
	default:
		l.withRecord(p, newest)
	}
}

// refuse is for what a newer build wrote.
func (l *load) refuse(file string, err error) {
	l.res.Foreign = true
	l.met(NewerFormat, file, 1, err)
}

// withoutRecord tells an empty directory from one that lost its records.
func (l *load) withoutRecord(p rings) {
	numbered := slices.ContainsFunc(l.names, func(name string) bool {
		_, _, ok := pagefile.ParseName(name)
		return ok
	})
	switch damaged := p[0].count + p[1].count; {
	case damaged > 0:
		err := errors.Join(p[0].err, p[1].err)
		if err == nil {
			err = fmt.Errorf("%w: no record verifies", pagefile.ErrCorrupt)
		}
		l.met(RecordsDamaged, "", damaged, err)
		l.survey()
	case numbered && p[0].missing && p[1].missing:
		l.met(RecordsMissing, "", 1, nil)
		l.survey()
	case numbered:
		l.met(NoGeneration, "", 1, nil)
		l.survey()
	default:
		l.met(NewDirectory, "", 1, nil)
	}
}

// withRecord decides whether the newest record is used.
func (l *load) withRecord(p rings, newest *pagefile.Record) {
	l.compareRings(p, newest)
	l.res.Retained = l.retained(p, newest)
	rec := newest
	if l.Generation != 0 && l.Generation != newest.Generation {
		if rec = find(l.res.Retained, l.Generation); rec == nil {
			l.met(GenerationMissing, "", 1, fmt.Errorf("generation %d is not retained", l.Generation))
			return
		}
	}
	if l.accept(rec) {
		l.res.Record = rec
	}
}

// compareRings finds what is in one ring only.
func (l *load) compareRings(p rings, newest *pagefile.Record) {
	for _, r := range p {
		if r.count > 0 {
			l.met(RecordTorn, r.name, r.count, r.err)
		}
	}
	first, mirror := p[0].record(newest.Generation), p[1].record(newest.Generation)
	switch {
	case first == nil:
		l.res.MirrorMissing = true
		l.met(MirrorMissing, p[0].name, 1, p[0].err)
	case mirror == nil:
		l.res.MirrorMissing = true
		l.met(MirrorMissing, p[1].name, 1, p[1].err)
	case first.Hash() != mirror.Hash():
		l.res.MirrorMissing, l.res.MayBeStale = true, true
		l.met(RecordsDisagree, p[1].name, 1, fmt.Errorf("record %d of lineages %d and %d",
			newest.Generation, first.Lineage, mirror.Lineage))
	}
	if last := p.lostAfter(newest.Generation); last != 0 {
		l.res.MayBeStale = true
		l.met(NewestLost, "", 1, fmt.Errorf("%w: record %d, opened %d", pagefile.ErrCorrupt, last, newest.Generation))
		l.sawGeneration(last)
		l.survey()
	}
}

// retained returns the generations that can be opened.
func (l *load) retained(p rings, newest *pagefile.Record) (list []*pagefile.Record) {
	for _, g := range newest.Retained {
		rec := p.record(g)
		if rec == nil || rec.Geometry != newest.Geometry {
			l.met(RetainedLost, "", 1, fmt.Errorf("record %d", g))
			continue
		}
		list = append(list, rec)
	}
	return list
}

func find(list []*pagefile.Record, generation uint64) *pagefile.Record {
	i := slices.IndexFunc(list, func(r *pagefile.Record) bool { return r.Generation == generation })
	if i < 0 {
		return nil
	}
	return list[i]
}

func (l *load) path(name string) string { return filepath.Join(l.Dir, name) }
