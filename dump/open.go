package dump

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/embercache/ember/pagefile"
)

var ringNames = [2]string{pagefile.RecordsName, pagefile.MirrorName}

// prepare takes over what was recovered and opens what a durable generation
// needs and is not open yet. Each part is tried again with the next generation if
// it fails.
func (d *Dumper) prepare() error {
	d.resumed()
	if !d.files.listed {
		highest, err := d.files.list()
		if err != nil {
			return err
		}
		d.number = max(d.number, highest+1)
	}
	for i, name := range ringNames {
		if d.rings[i] != nil {
			continue
		}
		ring, err := d.files.openRing(name)
		if err != nil {
			return err
		}
		if err := d.countNumbers(ring); err != nil {
			ring.Close()
			return err
		}
		d.rings[i] = ring
	}
	if d.lease == nil {
		lease, err := pagefile.OpenLease(d.cfg.FS, d.cfg.Dir)
		if err != nil {
			return err
		}
		if err := d.findReaders(lease); err != nil {
			lease.Close()
			return err
		}
		d.lease = lease
	}
	if d.lineage == 0 {
		d.lineage = d.takeNumber()
		d.cutMu.Lock()
		d.chain.lineage = d.lineage
		d.cutMu.Unlock()
	}
	if d.start != nil {
		d.home.restore(d.start, d.start.forked() || len(d.history.pinned) > 0)
		d.start = nil
	}
	return d.openPageFile()
}

// findReaders asks who reads what. A process that ended while somebody took up a
// generation that it had just dropped left no note of that, and of one whose record
// cannot be read only its reader knows: its number is used all the same. A ring of
// records has no more than those. // I11 I12
func (d *Dumper) findReaders(lease *pagefile.Lease) error {
	held, err := lease.HeldBefore(d.number + pagefile.RingSlots)
	if err != nil {
		return err
	}
	for _, g := range held {
		d.history.found(g, d.recordOf(g))
		d.number = max(d.number, g+1)
	}
	return nil
}

// recordOf returns a record that the rings still have, nil if they do not.
func (d *Dumper) recordOf(generation uint64) *pagefile.Record {
	for _, ring := range d.rings {
		records, _, _ := ring.ReadAll()
		for _, r := range records {
			if r.Generation == generation {
				return r
			}
		}
	}
	return nil
}

// countNumbers goes on after the records of a ring. Open may have failed to read
// one of them, and the highest number wins when it can be read again. // I12
func (d *Dumper) countNumbers(ring *pagefile.Ring) error {
	records, _, newer := ring.ReadAll()
	if newer {
		return fmt.Errorf("read records: %w", pagefile.ErrVersion)
	}
	if n := len(records); n > 0 {
		d.number = max(d.number, records[n-1].Generation+1)
	}
	return nil
}

// namedPlaces asks which places the generations name that may still be opened or
// read. One that nobody knows the record of, or whose record is in limbo, may
// name any.
func (d *Dumper) namedPlaces(ask func([]uint64) (map[uint32]bool, error)) (map[uint32]bool, error) {
	if d.limbo != nil || len(d.history.pinned) > 0 {
		return nil, errNoPlace
	}
	var list []uint64
	for _, r := range d.history.retained {
		if r.PageFile == d.home.id { // else it names none of this one's
			list = append(list, r.Generation)
		}
	}
	return ask(list)
}

// openPageFile opens the base's page file, or makes another if there is none or
// it is not what it should be. No place means anything in another file, so the
// next generation is full then.
func (d *Dumper) openPageFile() error {
	h := d.home
	if h.file != nil {
		return nil
	}
	if d.base.record != nil && d.base.record.PageFile != 0 {
		h.id = d.base.record.PageFile
		file, size, err := d.files.open(fileKey{pagefile.KindPages, h.id})
		if err == nil {
			h.file, h.size = file, size
			d.reserve()
			return h.allocate(d.cfg.Geometry.PlaceOffset(h.places.total))
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, pagefile.ErrCorrupt) {
			return fmt.Errorf("open page file: %w", err)
		}
		d.needFull = true
	}
	key := fileKey{pagefile.KindPages, d.takeNumber()}
	file, err := d.files.create(key, pagefile.FileHeaderBlock)
	if err != nil {
		return err
	}
	h.moveTo(file, key.id)
	d.reserve()
	return nil
}

// reserve tells if the disk has no room for it.
func (d *Dumper) reserve() {
	if free, need := d.home.reserve(); need > 0 {
		d.cfg.event(Event{Kind: Tight, Free: free, Need: need})
	}
}

// reserve sets aside all the space that the page file may ever take, where that
// costs nothing: the disk cannot become full for it later, and what a cache takes
// of the disk does not depend on how fast it is written. Elsewhere, and where that
// would leave too little for images, blobs and the ring, the file grows as places
// are needed: a disk that what is written fits on must not be full for what is not.
// Then it returns what is free, and what would have to be.
func (h *home) reserve() (free, need int64) {
	size := h.cfg.Geometry.PlaceOffset(h.places.limit)
	if size <= h.size {
		return 0, 0
	}
	others := h.cfg.WeakBytes + size/8
	if free, ok := h.cfg.FS.Free(h.cfg.Dir); ok && free < size-h.size+others {
		return free, size - h.size + others
	}
	if pagefile.Reserve(h.file, h.size, size-h.size) == nil {
		h.size, h.grown = size, true
	}
	return 0, 0
}

// moveTo begins with an empty page file: everything is to go there.
func (h *home) moveTo(file pagefile.File, id uint64) {
	h.file, h.id, h.size = file, id, pagefile.FileHeaderBlock
	h.places = places{limit: h.places.limit}
	for shard := range h.table.lines {
		h.table.each(shard, func(i int32, r *row) {
			r.place = pagefile.NoPlace
			h.renew(i)
		})
	}
}

// resume opens the ring of the chain that was applied: new links follow it, so
// that a second kill finds one chain. Without it the chain begins again at the
// next durable cut. It is the first thing that waits for the disk after Open, which
// must not.
func (d *Dumper) resume(s *Start) {
	if s.Chain.File == 0 || s.Chain.File != s.Record.Weak.File {
		return
	}
	file, size, err := d.files.open(fileKey{pagefile.KindWeak, s.Chain.File})
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	if err != nil {
		d.chain.why = fmt.Errorf("open weak ring: %w", err)
		return
	}
	own, keep := int64(s.Record.Weak.Offset), int64(s.Record.Weak.Offset)
	if s.MirrorMissing {
		keep = earlierLink(s, keep)
	}
	r := reopened(file, s.Chain.File, size, keep, int64(s.Chain.Offset), s.Chain.Number != s.Record.Weak.Number)
	if r == nil {
		file.Close()
		return
	}
	d.chain.ring, d.chain.up = r, !s.NeedFull
	if s.NeedFull {
		// Who follows the links may be able to read what we could not, and would
		// have back what was forgotten with it. The next generation is full.
		d.chain.why = errDamage
	}
	d.baseRing, d.baseRingEnd = r, r.position(own)
	d.chain.leave(s)
}

// earlierLink is where the links end that the generation before the record
// needs: while the record has no mirror, that one may be opened next.
func earlierLink(s *Start, own int64) int64 {
	for i := len(s.Retained) - 1; i >= 0; i-- {
		r := s.Retained[i]
		if r.Generation < s.Record.Generation && r.Weak.File == s.Record.Weak.File {
			return int64(r.Weak.Offset)
		}
	}
	return own
}

// position is where an offset between keep and next lies.
func (r *ring) position(off int64) int64 {
	pos := r.keep - r.keep%r.size + off - pagefile.FileHeaderBlock
	if pos < r.keep {
		pos += r.size
	}
	return min(pos, r.next)
}

// makeRing makes a weak ring if there should be one. Without it there are durable
// generations all the same.
func (d *Dumper) makeRing() {
	d.cutMu.Lock()
	have := d.chain.ring != nil
	d.cutMu.Unlock()
	if have || d.cfg.WeakBytes <= 0 {
		return
	}
	key := fileKey{pagefile.KindWeak, d.takeNumber()}
	file, err := d.files.create(key, pagefile.FileHeaderBlock+d.cfg.WeakBytes)
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	if err != nil {
		d.chain.why = fmt.Errorf("weak generations paused: %w", err)
		return
	}
	d.chain.ring = &ring{file: file, id: key.id, size: d.cfg.WeakBytes}
}

// closeFiles ends the use of all files.
func (d *Dumper) closeFiles() {
	d.cutMu.Lock()
	if d.chain.ring != nil {
		d.chain.abandon()
	}
	d.chain.up, d.chain.inherited = false, nil
	d.cutMu.Unlock()
	d.blobs.abandon()
	d.scrub.close()
	if d.home.file != nil {
		d.home.file.Close()
	}
	for _, ring := range d.rings {
		if ring != nil {
			ring.Close()
		}
	}
	if d.lease != nil {
		d.lease.Close()
	}
}
