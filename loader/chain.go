package loader

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A link is one of the weak chain: its header was proved and names the link
// before it. Whether its sections verify is found out meanwhile.
type link struct {
	blob     *pagefile.Blob
	at       int64            // offset in the ring
	next     pagefile.WeakPos // after it
	sections []pagefile.Section
	torn     error // a part does not verify
	nonsense error // it does, but does not fit
}

// applyChain applies the links that follow the record's own. The chain is read
// in long pieces by this goroutine, while others prove what was read.
func (l *load) applyChain() {
	for i := range l.drafts {
		l.drafts[i].chain()
	}
	l.res.Clock = l.res.Record.Clock
	start := l.res.Record.Weak
	if start.File == 0 || l.Durable || l.res.Record.Generation != l.newestRetained() {
		return
	}
	l.res.Chain = start
	name := pagefile.FileName(pagefile.KindWeak, start.File)
	src, err := openFile(l.FS, filepath.Join(l.WeakDir, name))
	if err != nil {
		l.res.Chain = pagefile.WeakPos{}
		l.met(ChainMissing, name, 1, err)
		return
	}
	defer src.Close()
	l.applyLinks(l.readChain(src, name, start), name)
	l.applyLive()
	if l.unread {
		l.res.Chain = pagefile.WeakPos{} // more may follow: nothing is to be put in its place
	}
}

// newestRetained is the newest generation: a chain follows no other.
func (l *load) newestRetained() uint64 {
	if n := len(l.res.Retained); n > 0 {
		return l.res.Retained[n-1].Generation
	}
	return 0
}

// readChain returns the links after pos, up to the last that holds. The one after
// it was torn when its process ended. The next process went on from the last that
// holds, and what it wrote need not have fitted there: then it lies at the ring's
// start, and what was torn still lies before it.
func (l *load) readChain(src *source, name string, pos pagefile.WeakPos) (links []*link) {
	tails := make([][2]uint64, len(l.drafts))
	for i := range tails {
		tails[i] = l.drafts[i].tails
	}
	for torn := int64(0); ; {
		read := l.readLinks(src, name, pos, torn)
		for _, lk := range read {
			l.sawOpens(lk.blob.Header.Opens)
		}
		n := l.holding(read, tails, name)
		if links = append(links, read[:n]...); n == len(read) || read[n].at == pagefile.FileHeaderBlock {
			return links
		}
		if torn = read[n].at; n > 0 {
			pos = read[n-1].next
		}
	}
}

// readLinks returns the links whose headers follow one on the other, without the
// one at offset torn.
func (l *load) readLinks(src *source, name string, pos pagefile.WeakPos, torn int64) (links []*link) {
	prove := make(chan *link, 64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(l.Workers, l.Workers, func(int) {
			for lk := range prove {
				lk.prove(l.drafts)
			}
		})
	}()
	w := &window{src: src, limit: src.size, alloc: l.memory}
	for !l.stopped() {
		b, at := l.linkAfter(w, pos, torn)
		if b == nil {
			break
		}
		pos = pagefile.WeakPos{File: pos.File, Offset: uint64(at) + b.Header.Length, Number: b.Header.Number, Hash: b.Hash}
		lk := &link{blob: b, at: at, next: pos}
		links = append(links, lk)
		prove <- lk
	}
	close(prove)
	<-done
	if w.err != nil {
		l.unread = true
		l.met(ChainMissing, name, 1, w.err)
	}
	return links
}

// linkAfter finds the link that follows pos: right there, or at the ring's start
// if it did not fit. nil: none does, and what lies there is of an older lap or
// was never written.
func (l *load) linkAfter(w *window, pos pagefile.WeakPos, torn int64) (*pagefile.Blob, int64) {
	for _, off := range [...]int64{int64(pos.Offset), pagefile.FileHeaderBlock} {
		if off == torn {
			continue
		}
		if b := w.link(off, func(h *pagefile.BlobHeader) bool { return l.follows(h, pos) }); b != nil {
			return b, off
		}
	}
	return nil, 0
}

// follows reports whether a link comes after pos in the record's history. The
// opens of the record tell nothing: a later process may have restated it before
// it went on with the chain.
func (l *load) follows(h *pagefile.BlobHeader, pos pagefile.WeakPos) bool {
	return h.Kind == pagefile.BlobWeak && h.Number == pos.Number+1 && h.Prev == pos.Hash &&
		h.Lineage == l.res.Record.Lineage && h.Opens <= pagefile.MaxOpens
}

// prove verifies and decodes the whole link. The drafts are read only.
func (lk *link) prove(drafts []draft) {
	if lk.torn = lk.blob.Verify(); lk.torn != nil {
		return
	}
	lk.sections = make([]pagefile.Section, len(lk.blob.Header.Sections))
	for i := range lk.sections {
		s := &lk.sections[i]
		if lk.nonsense = lk.blob.Decode(i, s); lk.nonsense != nil {
			return
		}
		if s.Shard >= len(drafts) {
			lk.nonsense = fmt.Errorf("%w: section of shard %d", pagefile.ErrCorrupt, s.Shard)
			return
		}
		if lk.nonsense = drafts[s.Shard].checkSection(s); lk.nonsense != nil {
			return
		}
	}
}

// holding returns how many links hold, and moves tails to where they end.
func (l *load) holding(links []*link, tails [][2]uint64, name string) int {
	for i, lk := range links {
		if lk.torn != nil {
			l.met(ChainTorn, name, 1, lk.torn)
			return i
		}
		if err := lk.follow(tails); err != nil {
			l.met(ChainNonsense, name, 1, err)
			return i
		}
	}
	return len(links)
}

// follow checks a link against the tails before it, and moves them.
func (lk *link) follow(tails [][2]uint64) error {
	if lk.nonsense != nil {
		return lk.nonsense
	}
	for i := range lk.sections {
		s := &lk.sections[i]
		if err := checkOrder(tails[s.Shard], s); err != nil {
			return err
		}
	}
	for i := range lk.sections {
		tails[lk.sections[i].Shard] = lk.sections[i].State.Tails
	}
	return nil
}

// applyLinks applies links of which all is proved.
func (l *load) applyLinks(links []*link, name string) {
	if len(links) == 0 {
		return
	}
	each(l.Workers, len(l.drafts), func(i int) {
		d := &l.drafts[i]
		d.out.Journals = slices.Grow(d.out.Journals, len(links))
		for _, lk := range links {
			if k, ok := sectionOf(lk.blob.Header.Sections, i); ok {
				d.apply(&lk.sections[k], name)
			}
		}
	})
	for _, lk := range links {
		l.res.Clock = max(l.res.Clock, lk.blob.Header.Clock)
	}
	l.res.Weak, l.res.Chain = len(links), links[len(links)-1].next
	l.met(ChainApplied, name, len(links), nil)
}
