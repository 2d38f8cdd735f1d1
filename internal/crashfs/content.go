package crashfs

import "slices"

const pageSize = 4096

// A page never changes once it is in a content: a partial write makes a new one.
// So contents share pages with each other and with the log.
type page = [pageSize]byte

// zeroPage stands for a page that has space and was not written; nil for one
// without space, a hole.
var zeroPage = new(page)

// A content is the bytes of a file. Reads past size give zeroes up to the end of
// the page, as those of a mapping do.
type content struct {
	pages []*page
	size  int64
	used  int // pages that take space
}

func (c *content) clone() content {
	return content{slices.Clone(c.pages), c.size, c.used}
}

// read copies bytes at off; what has no page is zero.
func (c *content) read(p []byte, off int64) {
	for len(p) > 0 {
		i, from := off/pageSize, off%pageSize
		n := min(pageSize-from, int64(len(p)))
		if src := c.page(i); src != nil {
			copy(p[:n], src[from:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+n
	}
}

// write stores data at off and keeps it: the caller does not change it later.
func (c *content) write(data []byte, off int64) {
	c.grow(off + int64(len(data)))
	for len(data) > 0 {
		i, from := off/pageSize, off%pageSize
		n := min(pageSize-from, int64(len(data)))
		if n == pageSize {
			c.set(i, (*page)(data))
		} else {
			fresh := new(page)
			if old := c.pages[i]; old != nil {
				*fresh = *old
			}
			copy(fresh[from:], data[:n])
			c.set(i, fresh)
		}
		data, off = data[n:], off+n
	}
}

// allocate gives space to the pages of a range and extends the size.
func (c *content) allocate(off, n int64) {
	c.grow(off + n)
	for i := off / pageSize; i*pageSize < off+n; i++ {
		if c.pages[i] == nil {
			c.set(i, zeroPage)
		}
	}
}

// holes counts the pages of a range without space.
func (c *content) holes(off, n int64) (holes int) {
	for i := off / pageSize; i*pageSize < off+n; i++ {
		if c.page(i) == nil {
			holes++
		}
	}
	return holes
}

// grow extends the size; the new pages are holes.
func (c *content) grow(size int64) {
	if size <= c.size {
		return
	}
	c.size = size
	if more := pagesFor(size) - len(c.pages); more > 0 {
		c.pages = append(c.pages, make([]*page, more)...)
	}
}

// resize sets the size. What is cut off reads as zero if it grows back.
func (c *content) resize(size int64) {
	if size >= c.size {
		c.grow(size)
		return
	}
	for i := pagesFor(size); i < len(c.pages); i++ {
		c.set(int64(i), nil)
	}
	c.pages, c.size = c.pages[:pagesFor(size)], size
	if rest := size % pageSize; rest != 0 {
		if old := c.pages[len(c.pages)-1]; old != nil {
			fresh := new(page)
			copy(fresh[:rest], old[:])
			c.set(int64(len(c.pages)-1), fresh)
		}
	}
}

func (c *content) page(i int64) *page {
	if i >= int64(len(c.pages)) {
		return nil
	}
	return c.pages[i]
}

func (c *content) set(i int64, p *page) {
	if c.pages[i] != nil {
		c.used--
	}
	if p != nil {
		c.used++
	}
	c.pages[i] = p
}

func pagesFor(size int64) int { return int((size + pageSize - 1) / pageSize) }
