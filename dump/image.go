package dump

import (
	"fmt"

	"github.com/embercache/ember/pagefile"
)

// indexChunk is how many buckets are copied between two rests: whole blocks of the
// image.
const indexChunk = 16 * pagefile.BucketsPerBlock

// writeImage writes a new image, complete before the cut. The cut that came
// before it divides the journals: each bucket is copied at some instant after
// that cut, and the journals since bring all copies to the same instant. // I10
func (g *generation) writeImage() error {
	if !g.full {
		return nil
	}
	d := g.d
	d.limit.begin(easeImage)
	// What an earlier attempt left unsynced must not get into the tables.
	if err := d.home.sync(); err != nil {
		return err
	}
	g.image = fileKey{pagefile.KindImage, g.number}
	file, err := d.files.createEmpty(g.image)
	if err != nil {
		return err
	}
	defer file.Close()
	out := &throttled{File: file, limit: d.limit, stop: d.stopped}
	if err := g.fillImage(out); err != nil {
		return err
	}
	g.bytes.Images = out.bytes
	d.files.sizes[g.image] = g.imageSize
	if err := d.cfg.FS.SyncDir(d.cfg.Dir); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

func (g *generation) fillImage(file pagefile.File) error {
	d, shards := g.d, g.begun.Shards
	buckets := make([]uint32, len(shards))
	for i := range shards {
		buckets[i] = shards[i].State.Buckets
	}
	h := pagefile.ImageHeader{ID: g.number, Lineage: d.lineage, Geometry: d.cfg.Geometry}
	w, err := pagefile.NewImageWriter(file, h, buckets)
	if err != nil {
		return err
	}
	buf := make([]byte, indexChunk*pagefile.BucketSize)
	for shard, n := range buckets {
		if err := g.copyIndex(w, shard, int(n), buf); err != nil {
			return err
		}
	}
	tables, rows := d.home.snapshot(g.begun)
	g.imageSize, err = w.Finish(tables, func(shard, i int, dst []uint64) {
		copy(dst, d.home.table.sumsOf(rows[shard][i]))
	})
	for shard := 0; shard < len(shards) && err == nil; shard++ {
		if w.WriteGhosts(d.src.Ghosts(shard)) != nil {
			break // a hint: the image is whole without
		}
	}
	return err
}

func (g *generation) copyIndex(w *pagefile.ImageWriter, shard, buckets int, buf []byte) error {
	for first := 0; first < buckets; first += indexChunk {
		b := buf[:min(indexChunk, buckets-first)*pagefile.BucketSize]
		if err := g.d.src.CopyIndex(shard, first, b); err != nil {
			return fmt.Errorf("copy index of shard %d: %w", shard, err)
		}
		if err := w.WriteIndex(shard, first, b); err != nil {
			return err
		}
		g.d.limit.rest()
	}
	return nil
}

// snapshot is all rows as the image has them. From here on a row's changes, and
// pages that go home, are news to that image.
func (h *home) snapshot(begun *Cut) (tables []pagefile.ImageTable, rows [][]int32) {
	tables = make([]pagefile.ImageTable, len(begun.Shards))
	rows = make([][]int32, len(begun.Shards))
	for shard := range tables {
		t := &tables[shard]
		t.Heads, t.Tails = begun.Shards[shard].State.Heads, begun.Shards[shard].State.Tails
		h.table.each(shard, func(i int32, r *row) {
			if !h.fetchSums(i, r) {
				h.move(i)
			}
			r.freshImage = 0
			r.flags = r.flags&^rowChangedImage | rowTold
			if r.place != pagefile.NoPlace {
				r.flags |= rowNamed
			}
			t.Segments = append(t.Segments, r.segment())
			rows[shard] = append(rows[shard], i)
		})
	}
	return tables, rows
}

func (r *row) segment() pagefile.Segment {
	return pagefile.Segment{Number: r.number, Queue: r.queue, Seq: r.seq, Place: r.place, Fill: r.fill}
}

// fetchSums takes over the checksums that the image found at Start has for a
// row. If some cannot be read the row's pages have to go home again: the cache may
// have had better luck with them.
func (h *home) fetchSums(i int32, r *row) bool {
	if r.entry < 0 || h.oldImage == nil {
		return true
	}
	old := h.fetched
	if err := h.oldImage.Sums(int(r.entry), old); err != nil {
		return false
	}
	sums := h.table.sumsOf(i)
	for page, sum := range old {
		if sums[page] == 0 {
			sums[page] = sum
		}
	}
	r.entry = -1
	return true
}
