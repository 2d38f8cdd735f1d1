package dump

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/embercache/ember/pagefile"
)

// After the pages, a scrub reads back what else the retained generations consist
// of: records, blobs, images, each past the page cache. They are never written
// again (I1), so this needs no part in writing generations and holds none up.
//
// What is damaged of the newest generation memory still has: the next one is full
// and replaces it. What only older ones name nobody can replace: it is told of.
type fileScrub struct {
	d        *Dumper
	records  []*pagefile.Record // retained, the newest last
	mirrored bool
	seen     map[any]bool // files and extents that were read
	buf      []byte

	compared, mended int // in pages, and of the newest generation
}

// planFiles notes what there is to read when a pass over the pages has ended. The
// leader calls it.
func (d *Dumper) planFiles() {
	if len(d.history.retained) == 0 || d.base.record == nil {
		return
	}
	d.scrub.files = &fileScrub{d: d, records: slices.Clone(d.history.retained), mirrored: d.base.mirrored}
}

// scrubFilesAlone reads what was planned, on a goroutine of its own, unless it
// still does. The leader calls it.
func (d *Dumper) scrubFilesAlone() {
	f := d.scrub.files
	d.scrub.files = nil
	if f == nil || !d.reading.CompareAndSwap(false, true) {
		return
	}
	d.readers.Add(1)
	go func() {
		defer d.readers.Done()
		defer d.reading.Store(false)
		f.run()
	}()
}

// run reads all there is to read; Close ends it between two pieces.
func (f *fileScrub) run() {
	f.seen, f.buf = make(map[any]bool), pagefile.AlignedPages(scrubPiece)
	for i := len(f.records) - 1; i >= 0; i-- {
		r := f.records[i]
		f.record(r, i == len(f.records)-1)
		for _, e := range r.Blobs {
			f.blob(r, e)
		}
		f.image(r)
	}
	f.d.mu.Lock()
	f.d.stats.Scrubbed += uint64(f.compared)
	f.d.stats.Damaged += uint64(f.mended)
	f.d.mu.Unlock()
}

// record looks for a record. The newest is to be in both rings. An older one may be in
// one alone, whose other has failed or was removed since, and is none the worse.
func (f *fileScrub) record(r *pagefile.Record, newest bool) {
	name := pagefile.RecordsName
	err := f.compare(r, name)
	switch {
	case newest && f.mirrored:
		f.foundRecord(r, name, err)
		name = pagefile.MirrorName
		err = f.compare(r, name)
	case !newest && err != nil:
		name = pagefile.MirrorName
		err = f.compare(r, name)
	}
	f.foundRecord(r, name, err)
}

func (f *fileScrub) foundRecord(r *pagefile.Record, ring string, err error) {
	f.found(r, ring, err, func(newest *pagefile.Record) bool { return newest.Generation == r.Generation })
}

// compare compares a record with what a ring has. Its slot may have a newer one by
// now.
func (f *fileScrub) compare(r *pagefile.Record, ring string) error {
	want, err := r.MarshalBinary()
	if err != nil {
		return nil // it was never written so
	}
	return f.read(ring, func(file io.ReaderAt, _ int64) error {
		got := make([]byte, pagefile.MaxRecord)
		n, err := file.ReadAt(got, int64(pagefile.RingSlot(r.Generation))*pagefile.MaxRecord)
		now := new(pagefile.Record)
		switch {
		case n >= len(want) && bytes.Equal(got[:len(want)], want):
			return nil
		case now.UnmarshalBinary(got[:n]) == nil && now.Generation > r.Generation:
			return nil
		case err != nil && err != io.EOF:
			return err
		}
		return fmt.Errorf("%w: it is not the record", pagefile.ErrCorrupt)
	})
}

func (f *fileScrub) blob(r *pagefile.Record, e pagefile.Extent) {
	if f.seen[e] {
		return
	}
	f.seen[e] = true
	name := pagefile.FileName(pagefile.KindBlobs, e.File)
	err := f.read(name, func(file io.ReaderAt, size int64) error {
		h, hash, err := pagefile.VerifyBlob(file, int64(e.Offset), min(size, int64(e.Offset)+int64(e.Length)), nil)
		if err == nil && (hash != e.Hash || h.Kind != pagefile.BlobDurable) {
			err = fmt.Errorf("%w: blob %d at %d is another", pagefile.ErrCorrupt, h.Number, e.Offset)
		}
		return err
	})
	f.found(r, name, err, func(newest *pagefile.Record) bool { return slices.Contains(newest.Blobs, e) })
}

func (f *fileScrub) image(r *pagefile.Record) {
	key := fileKey{pagefile.KindImage, r.Image}
	if f.seen[key] {
		return
	}
	f.seen[key] = true
	name := pagefile.FileName(key.kind, key.id)
	err := f.read(name, func(file io.ReaderAt, size int64) error { return verifyImage(file, size, r) })
	f.found(r, name, err, func(newest *pagefile.Record) bool { return newest.Image == r.Image })
}

// verifyImage proves every block of an image but for the ghosts, which are a hint.
func verifyImage(file io.ReaderAt, size int64, r *pagefile.Record) error {
	m, err := pagefile.OpenImage(file, size, r.Image)
	if err != nil {
		return err
	}
	if m.Header().Geometry != r.Geometry {
		return fmt.Errorf("%w: it is of another directory", pagefile.ErrCorrupt)
	}
	var block [pagefile.ImagePayload]byte
	sums := make([]uint64, r.Geometry.PagesPerSegment())
	for shard := range r.Geometry.Shards {
		s, err := m.Shard(shard)
		for i := 0; err == nil && i < m.IndexBlocks(shard); i++ {
			err = m.IndexBlock(shard, i, &block)
		}
		if err != nil {
			return err
		}
		if bad, err := m.Segments(shard, func(int, pagefile.Segment) {}); err != nil || bad > 0 {
			return errors.Join(fmt.Errorf("%w: %d lines of shard %d", pagefile.ErrCorrupt, bad, shard), err)
		}
		for i := range s.Segments {
			if err := m.Sums(s.FirstEntry+i, sums); err != nil {
				return err
			}
		}
	}
	return nil
}

// read opens a file past the page cache for do. That a file which is there cannot be
// opened says nothing of what is in it: the next pass tries again.
func (f *fileScrub) read(name string, do func(file io.ReaderAt, size int64) error) error {
	select {
	case <-f.d.quit:
		return ErrClosed
	default:
	}
	fsys, path := f.d.cfg.FS, filepath.Join(f.d.cfg.Dir, name)
	plain, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return nil
	}
	defer plain.Close()
	size, err := plain.Size()
	if err != nil {
		return nil
	}
	r := &pieceReader{plain: plain, buf: f.buf, wait: f.d.scrubWait}
	if direct, err := fsys.OpenDirect(path); err == nil {
		defer direct.Close()
		r.direct = direct
	}
	err = do(r, size)
	f.compared += r.pages
	return cmp.Or(r.failed, err)
}

// scrubWait lets the disk rest between two pieces; Close ends it.
func (d *Dumper) scrubWait() error {
	rest := time.NewTimer(max(d.cfg.ScrubPause, 0))
	defer rest.Stop()
	select {
	case <-d.quit:
		return ErrClosed
	case <-rest.C:
		return nil
	}
}

// found tells of damage. names says whether a generation consists of what was
// read: what went meanwhile is no loss.
func (f *fileScrub) found(r *pagefile.Record, name string, err error, names func(*pagefile.Record) bool) {
	if err == nil || errors.Is(err, ErrClosed) {
		return
	}
	d := f.d
	d.cutMu.Lock()
	mend := d.base.record != nil && names(d.base.record)
	d.cutMu.Unlock()
	if errors.Is(err, fs.ErrNotExist) && !mend {
		return
	}
	if mend {
		f.mended++
		d.refill.Store(true)
		d.wake()
	}
	path := filepath.Join(d.cfg.Dir, name)
	d.cfg.event(Event{Kind: Scrub, Generation: r.Generation, Older: !mend, Pages: 1,
		Err: &fileDamage{fmt.Errorf("%s, of generation %d: %w", path, r.Generation, err),
			pagefile.CorruptionError{Path: path, Generation: r.Generation}}})
}

// A fileDamage is damage to something else than a page, for those who look for a
// *CorruptionError.
type fileDamage struct {
	err error
	at  pagefile.CorruptionError
}

func (e *fileDamage) Error() string   { return e.err.Error() }
func (e *fileDamage) Unwrap() []error { return []error{e.err, &e.at} }

// A pieceReader reads a file in aligned pieces, from the disk where it can.
type pieceReader struct {
	direct, plain pagefile.File // direct: nil: there is no way past the page cache
	buf           []byte
	at            int64
	n             int // bytes in buf, from at on
	pages         int // read so far
	wait          func() error
	failed        error // of the first piece that could not be read, whatever was made of it
}

// ReadAt is that of io.ReaderAt.
func (r *pieceReader) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at < r.at || at >= r.at+int64(r.n) {
			if err := r.fill(at &^ (pagefile.PageSize - 1)); err != nil {
				if err != io.EOF {
					r.failed = cmp.Or(r.failed, err)
				}
				return n, err
			}
		}
		if at >= r.at+int64(r.n) {
			return n, io.EOF
		}
		n += copy(p[n:], r.buf[at-r.at:r.n])
	}
	return n, nil
}

func (r *pieceReader) fill(at int64) error {
	if err := r.wait(); err != nil {
		return err
	}
	n, err := readPast(r.direct, r.plain, r.buf, at)
	r.at, r.n = at, n
	r.pages += (n + pagefile.PageSize - 1) / pagefile.PageSize
	if n == 0 && err == nil {
		err = io.EOF
	}
	if n > 0 && err == io.EOF {
		err = nil
	}
	return err
}

// readPast reads from the disk. Where the handle past the page cache cannot, it
// asks for the page cache to be dropped, and reads as everybody does.
func readPast(direct, plain pagefile.File, b []byte, off int64) (int, error) {
	if direct != nil {
		if n, err := direct.ReadAt(b, off); err == nil || err == io.EOF {
			return n, err
		}
	}
	pagefile.Forget(plain, off, int64(len(b)))
	return plain.ReadAt(b, off)
}
