package power

import (
	"io"
	"os"
	"sync"
)

const (
	sectorSize = 512 // what a disk writes as a whole
	pageSize   = 4096
)

// An image is what a disk holds, by pages; nil is a page of zeroes. A page never
// changes, so images share theirs.
type image struct{ pages []*[pageSize]byte }

// readImage reads a sparse file.
func readImage(path string) (*image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m := &image{make([]*[pageSize]byte, info.Size()/pageSize)}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < info.Size(); off += int64(len(buf)) {
		n, err := f.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return nil, err
		}
		for i := 0; i < n; i += pageSize {
			if page := [pageSize]byte(buf[i : i+pageSize]); page != [pageSize]byte{} {
				m.pages[(off+int64(i))/pageSize] = &page
			}
		}
	}
	return m, nil
}

func (m *image) size() int64 { return int64(len(m.pages)) * pageSize }

func (m *image) clone() *image { return &image{append([]*[pageSize]byte(nil), m.pages...)} }

// read fills p from off on, and says how much of it the disk has.
func (m *image) read(p []byte, off int64) (n int) {
	for n < len(p) && off < m.size() {
		page, at := m.pages[off/pageSize], int(off%pageSize)
		k := min(pageSize-at, len(p)-n)
		if page == nil {
			clear(p[n : n+k])
		} else {
			copy(p[n:n+k], page[at:])
		}
		n, off = n+k, off+int64(k)
	}
	return n
}

// write puts p at off. p must not change any more.
func (m *image) write(p []byte, off int64) {
	for len(p) > 0 {
		i, at := off/pageSize, int(off%pageSize)
		k := min(pageSize-at, len(p))
		if k == pageSize {
			m.pages[i] = (*[pageSize]byte)(p)
		} else {
			page := new([pageSize]byte)
			if m.pages[i] != nil {
				*page = *m.pages[i]
			}
			copy(page[at:], p[:k])
			m.pages[i] = page
		}
		p, off = p[k:], off+int64(k)
	}
}

// An op is something that a disk was asked: a write, or a flush, which has no data.
type op struct {
	off  int64
	data []byte
}

func (o op) flush() bool { return o.data == nil }

// A disk is an image that is in use, and what it was asked since then.
type disk struct {
	base *image // as it was before

	mu  sync.Mutex
	now *image
	log []op
}

func newDisk(base *image) *disk { return &disk{base: base, now: base.clone()} }

func (d *disk) read(p []byte, off int64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now.read(p, off)
}

// write takes p over.
func (d *disk) write(p []byte, off int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || off+int64(len(p)) > d.now.size() || len(p) == 0 {
		return false
	}
	d.now.write(p, off)
	d.log = append(d.log, op{off, p})
	return true
}

func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, op{})
}

// position is how much the disk has been asked.
func (d *disk) position() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}
