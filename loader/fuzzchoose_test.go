package loader

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/pagefile"
)

// A gamut is the records of both rings, one after the other in one buffer.
type gamut struct {
	records []*pagefile.Record // by slot from 1; the same in both rings
	whole   []byte
	buf     []byte
	page    []byte // a record with its padding
}

// recordStride is the room that a record has in the buffer.
const recordStride = 768

// The modes of FuzzChoose.
const (
	chosenRaw    = iota
	chosenSealed // checksums are put right
	chosenMoved  // and a record retains itself, and lies in its slot
	choiceModes
)

func newGamut(tb testing.TB) *gamut {
	w := newWriter(tb, crashfs.New(), "/c", pagefile.Geometry{Shards: 2, SegmentSize: 16 << 10, BaseBuckets: 64, Seed: 7, DirID: 0xd1})
	w.ringSize = 64 << 10
	m := &gamut{page: make([]byte, pagefile.PageSize)}
	for i := range 5 {
		w.busy(2)
		w.generate(i%2 == 0)
		m.records = append(m.records, w.record)
	}
	for range 2 {
		for _, r := range m.records {
			b, err := r.MarshalBinary()
			w.must(err)
			if slices.ContainsFunc(b[recordStride:], func(c byte) bool { return c != 0 }) {
				tb.Fatalf("a record has more than %d bytes", recordStride)
			}
			m.whole = append(m.whole, b[:recordStride]...)
		}
	}
	return m
}

// rings are those that the script leaves.
func (m *gamut) rings(script []byte, mode byte) (p rings) {
	n := len(m.records)
	touched := uint64(0)
	m.buf = fuzzing.Patch(m.buf[:0], m.whole, script, func(off, n int) {
		touched |= 1<<(off/recordStride) | 1<<((off+n-1)/recordStride)
	})
	for i := range p {
		p[i] = &ring{name: [...]string{pagefile.RecordsName, pagefile.MirrorName}[i]}
		for k := range n {
			at := (i*n + k) * recordStride
			switch {
			case at+recordStride > len(m.buf):
				p[i].gone[k+1] = true
				p[i].damage(k + 1)
			case touched>>(i*n+k)&1 == 0:
				p[i].slots[k+1] = m.records[k]
			default:
				m.read(p[i], k+1, m.buf[at:at+recordStride], mode)
			}
		}
	}
	return p
}

// read reads a record as a ring's slot.
func (m *gamut) read(r *ring, slot int, b []byte, mode byte) {
	clear(m.page)
	copy(m.page, b)
	if mode == chosenMoved {
		retainItself(m.page)
	}
	if mode != chosenRaw {
		forge.SealRecord(&extractFS{}, "/c", m.page)
	}
	rec := new(pagefile.Record)
	err := rec.UnmarshalBinary(m.page)
	own := slot
	if err == nil && mode == chosenMoved {
		own = pagefile.RingSlot(rec.Generation)
	}
	switch {
	case errors.Is(err, pagefile.ErrVersion):
		r.newer = true
	case err != nil || pagefile.RingSlot(rec.Generation) != own:
		r.damage(slot)
	case r.slots[own] == nil || r.slots[own].Generation < rec.Generation:
		r.slots[own] = rec
	}
}

// chooseTarget: what is opened of records, whatever they say: the newest that there
// is, if it is for us; and no number that is given out later was seen.
func chooseTarget(tb testing.TB) *fuzzing.Target {
	m := newGamut(tb)
	check := func(t testing.TB, script []byte, mode byte) bool {
		p := m.rings(script, mode)
		l := &load{ctx: context.Background(), Options: Options{FS: &extractFS{}, Dir: "/c", Schema: "s1", Workers: 1}.withDefaults(),
			res: &Result{Pages: noPages{}}, last: time.Now(), names: []string{pagefile.FileName(pagefile.KindImage, 5)}}
		l.chooseFrom(p)
		l.conclude()
		checkChoice(t, l.res, p)
		if mode == chosenRaw {
			m.checkHonest(t, l.res)
		}
		return l.res.Record != nil
	}
	var list [][]byte
	for i := range 2 * len(m.records) {
		list = append(list, fuzzing.Same(m.whole, i*recordStride, 500))
	}
	list = append(list, nil, fuzzing.Short(7*recordStride+100), fuzzing.Short(9*recordStride), fuzzing.Same(m.whole, 4*recordStride, 32))
	return &fuzzing.Target{Name: "FuzzChoose", Seeds: fuzzing.Inputs(choiceModes, list...), Modes: choiceModes, Most: 1 << 10, Check: check}
}

// retainItself makes the last that a record retains its own generation.
func retainItself(b []byte) {
	lists := func(i int) int { return int(b[188+2*i]) | int(b[189+2*i])<<8 } // extents, retained, shards
	if last := 224 + 48*lists(2) + 32*lists(0) + 8*(lists(1)-1); lists(1) > 0 && last+8 <= len(b) {
		copy(b[last:last+8], b[48:56])
	}
}

func checkChoice(t testing.TB, res *Result, p rings) {
	newest := p.newest()
	for _, r := range p {
		for _, rec := range r.slots {
			if rec != nil && (rec.Generation < maxNumber && rec.Generation > res.LastGeneration || rec.Opens > res.LastOpens) {
				t.Errorf("generation %d of open %d was seen, the last are %d and %d", rec.Generation, rec.Opens, res.LastGeneration, res.LastOpens)
			}
		}
	}
	switch {
	case res.Foreign != (p[0].newer || p[1].newer):
		t.Errorf("of a newer build: %v", res.Foreign)
	case res.Record != nil && (res.Record != p.record(newest.Generation) || res.Record.Schema != "s1" || res.Foreign):
		t.Errorf("opened generation %d of schema %q, the newest is %d", res.Record.Generation, res.Record.Schema, newest.Generation)
	case res.Record == nil && res.Reason == nil:
		t.Error("a cold start without a reason")
	}
	for i, rec := range res.Retained {
		if rec != p[0].record(rec.Generation) && rec != p[1].record(rec.Generation) || rec.Geometry != newest.Geometry ||
			i > 0 && rec.Generation <= res.Retained[i-1].Generation {
			t.Errorf("generation %d is retained", rec.Generation)
		}
	}
}

// checkHonest: damage that checksums tell never goes back without saying so.
func (m *gamut) checkHonest(t testing.TB, res *Result) {
	last := m.records[len(m.records)-1]
	if res.Record == nil || res.Record.Generation == last.Generation || res.MayBeStale {
		return
	}
	t.Errorf("opened %d of %d without saying so", res.Record.Generation, last.Generation)
}
