package cache

import (
	"maps"
	"testing"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A hurried source has the cache go on between a cut and its writing, and may deny
// that it has a segment.
type hurried struct {
	dump.Source
	cut  func()
	gone func(q uint8, seq uint64) bool // of a large value: its number
}

func (h *hurried) Cut() *dump.Cut {
	c := h.Source.Cut()
	if h.cut != nil {
		h.cut()
	}
	return c
}

func (h *hurried) Segment(shard int, q uint8, seq uint64) (number uint64, fill uint32, ok bool) {
	if h.gone != nil && h.gone(q, seq) {
		return 0, 0, false
	}
	return h.Source.Segment(shard, q, seq)
}

func (h *hurried) Copy(dst []byte, shard int, id dump.SegmentID, off int) bool {
	return (h.gone == nil || !h.gone(id.Queue, id.Seq)) && h.Source.Copy(dst, shard, id, off)
}

// Pin has everything copied.
func (h *hurried) Pin(int, dump.SegmentID, int, int) ([]byte, dump.Pin, bool) {
	return nil, 0, false
}

const danglingKeys = 1400 // of 352 bytes: under half of the memory

// A danglingRig is a cache whose files have words of segments that no file knows.
type danglingRig struct {
	t  *testing.T
	fs *crashfs.FS
	o  *Options
	h  *hurried
	c  *Cache
}

func newDanglingRig(t *testing.T) *danglingRig {
	r := &danglingRig{t: t, fs: crashfs.New(), h: new(hurried)}
	r.o = quietOptions(r.fs, 1)
	r.o.hooks.source = func(s dump.Source) dump.Source { r.h.Source = s; return r.h }
	r.c = openOn(t, r.o)
	mustFlush(t, r.c)
	for i := range danglingKeys {
		r.set(i)
	}
	return r
}

func (r *danglingRig) set(i int) {
	mustSet(r.t, r.c, testKey(i%danglingKeys), testValue(i%danglingKeys, 300))
}

// kill ends the process and opens what it left.
func (r *danglingRig) kill() RecoveryReport {
	*r.h = hurried{}
	drop(r.c)
	r.fs = r.fs.Kill(r.fs.Ops())
	r.o.hooks.fs = r.fs
	r.c = openOn(r.t, r.o)
	return reopened(r.t, r.c)
}

// keys are those that are there, each with its value.
func (r *danglingRig) keys() map[int]bool {
	have := make(map[int]bool)
	for i := range danglingKeys {
		if r.c.Has(testKey(i)) {
			wantValue(r.t, r.c, testKey(i), testValue(i, 300))
			have[i] = true
		}
	}
	return have
}

// goOn kills the process and has the next one write what it found: links, then a
// generation. All that is written from then on is what memory has.
func (r *danglingRig) goOn() {
	t := r.t
	t.Helper()
	report := r.kill()
	was := r.keys()
	if lost := danglingKeys - len(was); lost == 0 || lost == danglingKeys || report.Dropped != lost {
		t.Fatalf("%d of %d entries are lost, %d reported: nothing dangled", lost, danglingKeys, report.Dropped)
	}
	mustWeak(t, r.c)
	if report := r.kill(); report.Dropped != 0 {
		t.Errorf("%d entries were dropped once more", report.Dropped)
	}
	proved(t, r.c, mustFlush(t, r.c))
	if report := r.kill(); report.Dropped != 0 || !maps.Equal(r.keys(), was) {
		t.Errorf("%d entries, want %d; report %+v", r.c.Len(), len(was), report)
	}
	checkInvariants(t, r.c)
	drop(r.c)
}

// TestALinkWithoutAllBytes: the cache turns over between a cut and its link. The
// oldest segments are held, for the others there is no room: the link has their words
// and not their bytes.
func TestALinkWithoutAllBytes(t *testing.T) {
	r := newDanglingRig(t)
	s := r.c.shards[0]
	main := func() queue { // the background cleans
		s.lock()
		defer s.unlock()
		return s.queues[mainQueue]
	}
	newest := s.seqOf(main().tail) - 1
	r.h.cut = func() {
		for i := 0; s.seqOf(main().head) <= newest; i++ {
			r.set(i)
		}
	}
	mustWeak(t, r.c)
	r.goOn()
}

// TestAnImageWithoutAllSegments: segments ended before their generation had written
// them, and its image has words that lead there.
func TestAnImageWithoutAllSegments(t *testing.T) {
	r := newDanglingRig(t)
	r.c.persist.dumper.Mend() // full
	r.h.gone = func(q uint8, seq uint64) bool { return q == mainQueue && seq%3 == 1 }
	mustFlush(t, r.c)
	r.goOn()
}

// TestALinkWithoutALargeValue: a large value ended before the link of its cut was
// written, and it was the only one. The link has the record that lists its segments.
func TestALinkWithoutALargeValue(t *testing.T) {
	r := newDanglingRig(t)
	mustWeak(t, r.c)
	large := []byte("large")
	mustSet(t, r.c, large, testValue(1, 50_000))
	r.h.gone = func(q uint8, _ uint64) bool { return q == pagefile.QueueLarge }
	mustWeak(t, r.c)
	if report := r.kill(); report.Outcome != OutcomeWarm || report.Dropped != 1 {
		t.Errorf("%d entries are left out; report %+v", report.Dropped, report)
	}
	if v, ok := r.c.Get(large); ok {
		t.Errorf("a value of %d bytes that no link carried", len(v))
	}
	proved(t, r.c, mustFlush(t, r.c))
	if report := r.kill(); report.Dropped != 0 || r.c.Has(large) || len(r.keys()) != danglingKeys {
		t.Errorf("%d entries, want %d; report %+v", r.c.Len(), danglingKeys, report)
	}
	checkInvariants(t, r.c)
	drop(r.c)
}
