package dump

import (
	"fmt"

	"github.com/embercache/ember/dirty"
	"github.com/embercache/ember/pagefile"
)

// writeRun is how much one write of pages has at most.
const writeRun = 1 << 20

// write writes the pages of runs to their places, adjacent ones together. After
// an error what was written since the last good sync is written elsewhere. // I8
func (h *home) write(todo []dirty.Run) error {
	if h.buf == nil {
		h.buf = make([]byte, 0, writeRun)
	}
	h.buf = h.buf[:0]
	for k, run := range todo {
		if err := h.writeRun(run); err != nil {
			h.set.GiveBack(todo[k:])
			h.moveWritten()
			return err
		}
	}
	if err := h.flush(); err != nil {
		h.moveWritten()
		return err
	}
	return nil
}

func (h *home) writeRun(run dirty.Run) error {
	i, ok := h.table.at[run.Number]
	if !ok {
		return nil // it ended after it was added
	}
	h.written = append(h.written, run)
	for page, end := run.First, run.First+run.Count; page < end; {
		n := min(end-page, (writeRun-len(h.buf))/pagefile.PageSize)
		off := h.offset(i, page)
		if n == 0 || len(h.buf) > 0 && off != h.bufAt+int64(len(h.buf)) {
			if err := h.flush(); err != nil {
				return err
			}
			continue
		}
		copied, err := h.copyPages(i, page, n, off)
		if err != nil {
			return err
		}
		page += copied
		h.limit.rest()
	}
	return nil
}

func (h *home) offset(i int32, page int) int64 {
	return h.cfg.Geometry.PlaceOffset(h.table.rows[i].place) + int64(page)*pagefile.PageSize
}

// copyPages appends n pages to the buffer, or, if one of them cannot be copied,
// the first alone or nothing in its place. It returns how many it dealt with.
func (h *home) copyPages(i int32, page, n int, off int64) (int, error) {
	if len(h.buf) == 0 {
		h.bufAt = off
	}
	if h.copyOut(i, page, n) {
		return n, nil
	}
	if n > 1 && h.copyOut(i, page, 1) {
		return 1, nil
	}
	// Evicted or damaged. It has no checksum, so it is a miss, whatever its place
	// holds; the next page is not adjacent any more.
	h.table.sumsOf(i)[page] = 0
	h.leftOut = append(h.leftOut, h.table.rows[i].number)
	return 1, h.flush()
}

// copyOut copies pages out of the segment and sums the copy. Bytes after the
// last record are zero: the memory there may hold what no file may.
func (h *home) copyOut(i int32, page, n int) bool {
	r := &h.table.rows[i]
	from := len(h.buf)
	b := h.buf[from : from+n*pagefile.PageSize]
	used := len(b)
	if r.fill != pagefile.OpenFill {
		used = min(used, int(r.fill)*pagefile.UnitSize-page*pagefile.PageSize)
	}
	clear(b[used:])
	if !h.src.Copy(b[:used], int(r.shard), r.id(), page*pagefile.PageSize) {
		return false
	}
	sums := h.table.sumsOf(i)
	for k := range n {
		sums[page+k] = pagefile.PageSum(r.number, page+k, b[k*pagefile.PageSize:(k+1)*pagefile.PageSize])
	}
	h.buf = h.buf[:from+len(b)]
	h.pages += n
	return true
}

func (h *home) flush() error {
	if len(h.buf) == 0 {
		return nil
	}
	if err := h.stop(); err != nil {
		return err
	}
	h.limit.wait(len(h.buf))
	h.bytes += int64(len(h.buf))
	b, at := h.buf, h.bufAt
	h.buf = h.buf[:0]
	for len(b) > 0 {
		n := min(len(b), int(h.block-at%h.block))
		if _, err := h.file.WriteAt(b[:n], at); err != nil {
			return fmt.Errorf("write pages: %w", err)
		}
		if err := pagefile.Push(h.file, at, int64(n)); err != nil {
			return fmt.Errorf("write pages: %w", err)
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// sync makes what was written home, or moves it.
func (h *home) sync() error {
	if len(h.written) == 0 && !h.grown {
		return nil
	}
	if err := h.file.Sync(); err != nil {
		h.moveWritten()
		return fmt.Errorf("sync pages: %w", err)
	}
	for _, run := range h.written {
		h.arrive(run)
	}
	h.written, h.grown = h.written[:0], false
	h.past = append(h.past, h.places.tainted...)
	h.forget()
	h.places.synced()
	return nil
}

// arrive notes that pages are home. One without a checksum was left out.
func (h *home) arrive(run dirty.Run) {
	i, ok := h.table.at[run.Number]
	if !ok {
		return
	}
	sums := h.table.sumsOf(i)
	for page := run.First; page < run.First+run.Count; page++ {
		if sums[page] != 0 {
			h.table.rows[i].fresh |= 1 << page
			h.table.rows[i].freshImage |= 1 << page
		}
	}
}

// moveWritten takes the place from every segment that was written to since the
// last good sync: all its pages are to go to another. // I8
func (h *home) moveWritten() {
	h.buf = h.buf[:0]
	for _, run := range h.written {
		if i, ok := h.table.at[run.Number]; ok {
			h.move(i)
		}
	}
	h.written = h.written[:0]
}

func (h *home) move(i int32) {
	r := &h.table.rows[i]
	if r.place == pagefile.NoPlace {
		return // a run of it was before
	}
	h.places.leave(r.place, r.flags&rowNamed != 0)
	r.avoid, r.place = r.place, pagefile.NoPlace
	h.renew(i)
}

// renew makes all pages of a row dirty: none of them is home.
func (h *home) renew(i int32) {
	r := &h.table.rows[i]
	r.flags &^= rowNamed
	r.change()
	r.fresh, r.freshImage, r.entry = 0, 0, -1
	clear(h.table.sumsOf(i))
	h.set.Drop(r.number)
	var tails [fileQueues]uint64
	if r.queue < fileQueues {
		tails[r.queue] = h.swept[r.shard][r.queue]
	}
	h.set.Add(r.number, h.fullPages(r, tails))
}
