package dump

import (
	"fmt"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// A reader holds a generation that the policy has dropped long ago: its places
// and files stay until it lets go.
func TestReaderPinsItsGeneration(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(150)
	g := r.flush()
	rec := r.verify().record
	lease, err := pagefile.OpenLease(r.fs, fakeDir)
	if err != nil {
		t.Fatal(err)
	}
	release, err := lease.Hold(g)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		r.f.churn(80)
		r.d.needFull = i%3 == 0
		r.flush()
		older, err := replayOlder(r.fs, rec)
		if err == nil {
			err = r.f.check(older)
		}
		if err != nil {
			t.Fatalf("after %d generations: %v", i+1, err)
		}
	}
	images := len(r.files(pagefile.KindImage))
	release()
	r.f.churn(10)
	r.flush()
	r.f.churn(10)
	r.flush()
	if got := len(r.files(pagefile.KindImage)); got >= images {
		t.Errorf("got %d images after the reader left, want fewer than %d", got, images)
	}
	if got := r.verify(); len(got.record.Retained) != 2 {
		t.Errorf("got %v retained, want 2", got.record.Retained)
	}
}

// With readers on more generations than a record has room for, those that are
// named no more are still not written over.
func TestMoreReadersThanARecordNames(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.Frames *= 10 })
	lease, err := pagefile.OpenLease(r.fs, fakeDir)
	if err != nil {
		t.Fatal(err)
	}
	var held []*pagefile.Record
	for range pagefile.MaxRetained + 6 {
		r.f.churn(60)
		if _, err := lease.Hold(r.flush()); err != nil {
			t.Fatal(err)
		}
		held = append(held, r.verify().record)
	}
	if n := len(r.verify().record.Retained); n != pagefile.MaxRetained {
		t.Errorf("got %d retained, want %d", n, pagefile.MaxRetained)
	}
	for _, rec := range held {
		older, err := replayOlder(r.fs, rec)
		if err == nil {
			err = r.f.check(older)
		}
		if err != nil {
			t.Fatalf("generation %d: %v", rec.Generation, err)
		}
	}
}

// Places come back: a cache that turns over for ever has a page file of bounded
// length, and never runs out.
func TestPlacesAreReused(t *testing.T) {
	r := newRig(t, 1, nil)
	for range 60 {
		r.f.churn(150)
		r.flush()
	}
	if got, limit := r.d.home.places.total, r.cfg.maxPlaces(); got >= limit {
		t.Errorf("got %d places, want fewer than %d", got, limit)
	}
	r.verify()
	checkPlaces(t, &r.d.home.places)
}

// checkPlaces recounts: no place is in two states.
func checkPlaces(t *testing.T, p *places) {
	t.Helper()
	seen := map[uint32]string{}
	note := func(place uint32, state string) {
		if old, ok := seen[place]; ok {
			t.Errorf("place %d is %s and %s", place, old, state)
		}
		seen[place] = state
	}
	free := 0
	for place := range p.near() {
		if p.free[place/64]>>(place%64)&1 != 0 {
			note(place, "free")
			free++
		}
	}
	for _, place := range p.leaving {
		note(place, "leaving")
	}
	for _, place := range p.tainted {
		note(place, "tainted")
	}
	for _, rp := range p.retired {
		note(rp.place, "retired")
	}
	if free != p.count {
		t.Errorf("got a count of %d free places, want %d", p.count, free)
	}
}

// With places for two generations only, those that Keep asks for beyond go.
func TestPlacesBeforeRetention(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.Keep, c.Frames = 8, 26 })
	dropped := false
	for i := range 30 {
		r.f.churn(200)
		if _, err := r.d.Flush(t.Context()); err != nil {
			t.Fatalf("with %d places: %v", r.d.home.places.total, err)
		}
		dropped = dropped || i > 8 && len(r.d.history.retained) < 5
	}
	r.verify()
	if !dropped {
		t.Error("no generation was dropped for its places")
	}
}

func TestPlaces(t *testing.T) {
	p := places{limit: 70}
	if n := p.step(1); n != 64 {
		t.Errorf("first growth: got %d, want 64", n)
	}
	p.grow(64)
	if n := p.step(1); n != 6 {
		t.Errorf("growth at the limit: got %d, want 6", n)
	}
	p.grow(6)
	if n := p.step(1); n != 0 {
		t.Errorf("growth beyond the limit: got %d, want 0", n)
	}
	for want := range uint32(70) {
		if got, ok := p.take(pagefile.NoPlace); !ok || got != want {
			t.Fatalf("got place %d, %v, want %d", got, ok, want)
		}
	}
	p.leave(3, true)
	p.leave(4, false)
	if _, ok := p.take(4); ok {
		t.Error("a tainted place was given to the one that it failed for")
	}
	if got, ok := p.take(5); !ok || got != 4 {
		t.Errorf("got %d, %v, want the tainted place", got, ok)
	}
	p.commit(10)
	p.release(9)
	if p.count != 0 {
		t.Error("a place was released that generation 9 names")
	}
	p.release(10)
	if got, ok := p.take(pagefile.NoPlace); !ok || got != 3 {
		t.Errorf("got %d, %v, want place 3", got, ok)
	}
	p.leave(6, false)
	p.synced()
	if p.count != 1 {
		t.Errorf("got %d free places after a good sync, want 1", p.count)
	}
	checkPlaces(t, &p)
}

func TestRingFit(t *testing.T) {
	const size = minRing
	head := int64(pagefile.FileHeaderBlock)
	for _, c := range []struct {
		label      string
		keep, next int64
		n          int64
		anchor     bool
		want       int64
		ok         bool
	}{
		{"an empty ring", 0, 0, 64, false, 0, true},
		{"as long as it may be", 0, 0, size - anchorRoom, false, 0, true},
		{"longer", 0, 0, size - anchorRoom + 64, false, 0, false},
		{"an anchor takes the rest", 0, size - anchorRoom, 128, true, size - anchorRoom, true},
		{"nothing else does", 0, size - anchorRoom, 128, false, size - anchorRoom, false},
		{"at the end it begins anew", size / 2, size - 64, 128, false, size, true},
		{"but not over what is kept", 64, size - 64, 128, false, size, false},
		{"it ends right at the end", size / 2, size - 128, 128, false, size - 128, true},
	} {
		t.Run(c.label, func(t *testing.T) {
			r := &ring{size: size, keep: c.keep, next: c.next}
			got, ok := r.fit(c.n, c.anchor)
			if got != c.want || ok != c.ok {
				t.Errorf("got %d, %v, want %d, %v", got, ok, c.want, c.ok)
			}
			if off := r.offset(got); ok && (off < head || off+c.n > head+size) {
				t.Errorf("offset %d is outside", off)
			}
		})
	}
}

func TestRingReopened(t *testing.T) {
	const size, length = int64(minRing), int64(minRing + pagefile.FileHeaderBlock)
	at := func(pos int64) int64 { return pos%size + pagefile.FileHeaderBlock }
	for _, c := range []struct {
		keep, next int64
		any        bool
		held       int64
	}{{0, 0, false, 0}, {0, 128, true, 128}, {640, 128, true, size - 512}, {640, 640, true, size}} {
		t.Run(fmt.Sprintf("%d to %d", c.keep, c.next), func(t *testing.T) {
			r := reopened(nil, 1, length, at(c.keep), at(c.next), c.any)
			if r == nil || r.held() != c.held || r.offset(r.next) != at(c.next) || r.offset(r.keep) != at(c.keep) {
				t.Errorf("got %+v", r)
			}
		})
	}
	if r := reopened(nil, 1, length, 4096, 8010, true); r != nil {
		t.Errorf("got %+v for a position between links", r)
	}
}
