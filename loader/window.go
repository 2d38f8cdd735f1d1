package loader

import (
	"errors"
	"io"

	"github.com/embercache/ember/pagefile"
)

const (
	// Reads of a ring begin short, since mostly no link follows, and grow.
	firstWindow = 64 << 10
	lastWindow  = 4 << 20
)

// A window is the part of a ring that was read last. Links alias it, so each
// read has memory of its own.
type window struct {
	src   *source
	limit int64 // where the ring ends
	alloc func(int64) []byte
	off   int64 // of buf
	buf   []byte
	size  int64 // of the last read
	err   error // a read that failed
}

// link returns the link at off, if there is one that may be.
func (w *window) link(off int64, may func(*pagefile.BlobHeader) bool) *pagefile.Blob {
	b := w.parse(off)
	if b == nil {
		// There is none, or it is not all in memory. Its header decides whether it
		// is worth a long read.
		h, _, err := pagefile.ReadBlobHeader(w.src, off, w.limit)
		if err != nil && !errors.Is(err, pagefile.ErrCorrupt) && !errors.Is(err, pagefile.ErrVersion) {
			w.err = err
		}
		if err != nil || !may(&h) || !w.read(off, int64(h.Length)) {
			return nil
		}
		b = w.parse(off)
	}
	if b == nil || !may(&b.Header) {
		return nil
	}
	return b
}

// parse returns the blob at off, nil if there is none or it is not all in memory.
func (w *window) parse(off int64) *pagefile.Blob {
	if off < w.off || off >= w.off+int64(len(w.buf)) {
		return nil
	}
	b, err := pagefile.ReadBlob(w.buf[off-w.off:])
	if err != nil {
		return nil
	}
	return b
}

// read puts n bytes or more from off on into the window.
func (w *window) read(off, n int64) bool {
	w.size = min(max(4*w.size, firstWindow), lastWindow)
	buf := w.alloc(min(max(n, w.size), w.limit-off))
	got, err := w.src.ReadAt(buf, off)
	if got < len(buf) && err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	w.off, w.buf = off, buf[:got]
	return int64(got) >= n
}
