package dump

import (
	"cmp"
	"path/filepath"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A scrub compares pages that are home with their checksums once more, past the
// page cache, a piece at a time and at leisure: disks lose, misdirect and forget
// writes. Memory has a good copy, so a segment with a bad page takes another
// place, and all its pages go there with the generation that follows at once.
type scrub struct {
	file pagefile.File // past the page cache; nil: not open, or it cannot be
	id   uint64        // of that page file
	next int           // row
	rest time.Time     // no pass begins before
	buf  []byte

	files *fileScrub // to be read next; nil: nothing
}

const (
	// scrubPiece bounds how many pages are compared at once: a Flush that comes
	// meanwhile waits for them.
	scrubPiece = 256
	// scrubRest lies between the ends of two passes, at least.
	scrubRest = time.Hour
)

// scrubAlone scrubs a piece if no generation is under way, and leads what came
// meanwhile.
func (d *Dumper) scrubAlone() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.flying {
		return
	}
	d.flying = true
	go func() {
		if d.scrubPieces() > 0 {
			d.generate(order{write: true}) // its error is Health's
		}
		d.scrubFilesAlone()
		d.lead(nil)
	}()
}

// scrubPieces compares the next pages and returns how many of them are damaged.
func (d *Dumper) scrubPieces() (damaged int) {
	h := d.home
	if d.start != nil || h.file == nil || len(h.written) > 0 || d.limbo != nil || d.stopped() != nil {
		return 0 // no generation yet, or one failed and what it wrote or names is in doubt
	}
	defer d.during("scrub pages")()
	defer d.watchStep("scrub pages", false)()
	if err := d.letGo(); err != nil {
		return d.mended(0, 1, err)
	}
	s := &d.scrub
	if d.cfg.Now().Before(s.rest) {
		return 0
	}
	s.open(d)
	compared := 0
	var first error
	for ; s.next < len(h.table.rows) && compared < scrubPiece; s.next++ {
		n, bad, err := s.row(h, int32(s.next))
		compared += n
		if bad > 0 {
			damaged += bad
			h.move(int32(s.next))
		}
		first = cmp.Or(first, err)
	}
	if s.next == len(h.table.rows) {
		s.next, s.rest = 0, d.cfg.Now().Add(scrubRest)
		d.planFiles()
	}
	return d.mended(compared, damaged, first)
}

// mended counts what was compared, and tells of what was damaged.
func (d *Dumper) mended(compared, damaged int, first error) int {
	d.mu.Lock()
	d.stats.Scrubbed += uint64(compared)
	d.stats.Damaged += uint64(damaged)
	d.mu.Unlock()
	if damaged > 0 {
		d.cfg.event(Event{Kind: Scrub, Pages: damaged, Err: first})
	}
	return damaged
}

// open opens the page file in use. Where it cannot be opened past the page cache
// the ordinary handle has to do.
func (s *scrub) open(d *Dumper) {
	if s.buf == nil {
		s.buf = pagefile.AlignedPages(d.cfg.Geometry.PagesPerSegment())
	}
	if s.file != nil && s.id == d.home.id {
		return
	}
	s.close()
	file, err := d.cfg.FS.OpenDirect(filepath.Join(d.cfg.Dir, pagefile.FileName(pagefile.KindPages, d.home.id)))
	if err == nil {
		s.file, s.id = file, d.home.id
	}
}

// read reads from the disk, as far as that can be.
func (s *scrub) read(h *home, b []byte, off int64) error {
	_, err := readPast(s.file, h.file, b, off)
	return err
}

func (s *scrub) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.file = nil
}

// row compares the pages of a row that are home. A page without a checksum is not.
func (s *scrub) row(h *home, i int32) (compared, bad int, err error) {
	r := &h.table.rows[i]
	if at, ok := h.table.at[r.number]; !ok || at != i || r.place == pagefile.NoPlace {
		return 0, 0, nil
	}
	if !h.fetchSums(i, r) {
		return 0, 1, pagefile.ErrCorrupt
	}
	var mask uint64
	sums := h.table.sumsOf(i)
	for page, sum := range sums {
		if sum != 0 {
			mask |= 1 << page
		}
	}
	runs(mask, func(first, count int) {
		b, off := s.buf[:count*pagefile.PageSize], h.offset(i, first)
		if readErr := s.read(h, b, off); readErr != nil {
			bad, err = bad+count, readErr
			return
		}
		for k := range count {
			compared++
			got := pagefile.PageSum(r.number, first+k, b[k*pagefile.PageSize:(k+1)*pagefile.PageSize])
			if want := sums[first+k]; got != want {
				bad++
				err = &pagefile.CorruptionError{Path: h.file.Name(), Shard: int(r.shard), Page: uint32(first + k), Want: want, Got: got}
			}
		}
	})
	return compared, bad, err
}
