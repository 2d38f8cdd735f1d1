package loader

import (
	"fmt"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// smallBlob is up to where a blob is read at once. A longer one is read section
// by section, so that shards share the work.
const smallBlob = 8 << 20

// fewBytes are not worth a huge page, which the kernel has to clear.
const fewBytes = 512 << 10

// A blob is one that the record names.
type blob struct {
	pagefile.Extent
	name string
	src  *source // nil: the file cannot be read
	err  error   // lost

	header pagefile.BlobHeader
	whole  *pagefile.Blob // a small one
}

// applyBlobs applies the record's blobs in their order to every shard.
func (l *load) applyBlobs() {
	blobs, files := l.openBlobs()
	memory := l.memory
	if total(blobs) < fewBytes {
		memory = func(n int64) []byte { return make([]byte, n) }
	}
	shards := l.res.Record.Geometry.Shards
	each(l.Workers, len(blobs), func(i int) {
		if b := &blobs[i]; b.err == nil && !l.stopped() {
			b.err = b.open(shards, memory)
		}
	})
	for i := range blobs {
		if b := &blobs[i]; b.err != nil {
			l.met(BlobLost, b.name, 1, b.err)
		}
	}
	each(l.Workers, len(l.drafts), func(i int) {
		for k := range blobs {
			if l.stopped() {
				return
			}
			l.drafts[i].applyBlob(&blobs[k])
		}
	})
	for _, f := range files {
		f.Close()
	}
}

func total(blobs []blob) (n int64) {
	for i := range blobs {
		n += int64(blobs[i].Length)
	}
	return n
}

// openBlobs opens each file once. What is in their headers is not read: the
// record has the hash of each blob, which proves more.
func (l *load) openBlobs() (blobs []blob, files map[uint64]*source) {
	extents := l.res.Record.Blobs
	blobs, files = make([]blob, len(extents)), make(map[uint64]*source)
	for i, e := range extents {
		b := &blobs[i]
		b.Extent, b.name = e, pagefile.FileName(pagefile.KindBlobs, e.File)
		if b.src = files[e.File]; b.src != nil {
			continue
		}
		if b.src, b.err = openFile(l.FS, l.path(b.name)); b.err == nil {
			files[e.File] = b.src
		}
	}
	return blobs, files
}

// open proves the header, and reads a small blob whole.
func (b *blob) open(shards int, memory func(int64) []byte) error {
	off, end := int64(b.Offset), int64(b.Offset)+int64(b.Length)
	var hash uint64
	var err error
	if b.whole = b.read(memory); b.whole != nil {
		b.header, hash = b.whole.Header, b.whole.Hash
	} else if b.header, hash, err = pagefile.ReadBlobHeader(b.src, off, end); err != nil {
		return err
	}
	h := &b.header
	n := len(h.Sections)
	switch {
	case hash != b.Hash || h.Kind != pagefile.BlobDurable || h.Length != uint64(b.Length):
		return fmt.Errorf("%w: blob %d at %d is not the one that the record names", pagefile.ErrCorrupt, h.Number, off)
	case n > 0 && int(h.Sections[n-1].Shard) >= shards:
		return fmt.Errorf("%w: blob %d at %d has a section of shard %d", pagefile.ErrCorrupt, h.Number, off, h.Sections[n-1].Shard)
	case end > b.src.size:
		b.whole = nil // sections that are still there count
	}
	return nil
}

// read returns a small blob, nil if it is long, or if any of it cannot be had at
// once: then each section is tried by itself.
func (b *blob) read(memory func(int64) []byte) *pagefile.Blob {
	if b.Length > smallBlob || int64(b.Offset)+int64(b.Length) > b.src.size {
		return nil
	}
	buf := memory(int64(b.Length))
	if n, _ := b.src.ReadAt(buf, int64(b.Offset)); n < len(buf) {
		return nil
	}
	whole, err := pagefile.ReadBlob(buf)
	if err != nil {
		return nil
	}
	return whole
}

// section reads the shard's section; s and both errors are nil if the blob has
// none.
func (b *blob) section(shard int) (s *pagefile.Section, metaErr, dataErr error) {
	i, ok := sectionOf(b.header.Sections, shard)
	switch {
	case !ok:
		return nil, nil, nil
	case b.whole != nil:
		return b.whole.Section(i)
	case int64(b.Offset)+int64(b.header.Sections[i].MetaLen) > b.src.size:
		// Not asked for, so that a file cut short costs no memory.
		return nil, fmt.Errorf("%w: beyond the end of the file", pagefile.ErrCorrupt), nil
	}
	return pagefile.ReadSection(b.src, int64(b.Offset), &b.header, i)
}

// sectionOf finds a shard's section; they ascend by shard.
func sectionOf(refs []pagefile.SectionRef, shard int) (int, bool) {
	return slices.BinarySearchFunc(refs, uint32(shard), func(r pagefile.SectionRef, shard uint32) int {
		return int(r.Shard) - int(shard)
	})
}

// applyBlob applies the shard's part of a blob. Whatever is lost of it that the
// shard's stores may depend on empties the shard.
func (d *draft) applyBlob(b *blob) {
	if b.err != nil {
		d.empty()
		return
	}
	s, metaErr, dataErr := b.section(d.shard)
	switch {
	case metaErr != nil:
		d.found.add(SectionLost, b.name, d.shard, 1, metaErr)
		d.empty()
		return
	case s == nil:
		return
	}
	if err := d.checkDurable(s); err != nil {
		d.found.add(SectionNonsense, b.name, d.shard, 1, err)
		d.empty()
		return
	}
	if dataErr != nil {
		d.found.add(SectionBytes, b.name, d.shard, 1, dataErr)
	}
	d.apply(s, b.name)
}

// checkDurable refuses a section that cannot lie between what came before and
// the record's cut.
func (d *draft) checkDurable(s *pagefile.Section) error {
	if err := d.checkSection(s); err != nil {
		return err
	}
	if err := checkOrder(d.tails, s); err != nil {
		return err
	}
	for q, tail := range s.State.Tails {
		if tail > d.out.Durable.Tails[q] {
			return fmt.Errorf("%w: queue %d ends at %d, beyond the record's %d", pagefile.ErrCorrupt, q, tail, d.out.Durable.Tails[q])
		}
	}
	return nil
}
