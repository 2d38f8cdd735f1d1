package dump

import (
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// However many places there are, and whatever of them is used, they cost what the
// cache may use and what is used.
func TestPlacesCostWhatIsUsed(t *testing.T) {
	const most, far = pagefile.NoPlace - 1, 1 << 31
	p := places{limit: 70}
	p.grow(most)
	for _, place := range []uint32{3, far, most - 1} {
		if !p.claim(place) || p.claim(place) {
			t.Errorf("place %d can be claimed not at all, or twice", place)
		}
	}
	if p.claim(most) {
		t.Error("a place that is not there was claimed")
	}
	p.quarantine()
	if n := len(p.leaving); n != 69 || len(p.free) != 2 || len(p.far) != 2 {
		t.Errorf("%d places are held back, %d words of free ones, %d far ones", n, len(p.free), len(p.far))
	}
	p.leave(far, true)
	p.commit(10)
	p.release(10)
	if n := len(p.far); n != 1 {
		t.Errorf("%d far places are taken, want 1", n)
	}
	for range 69 {
		if place, ok := p.take(pagefile.NoPlace); !ok || place >= p.limit {
			t.Fatalf("got place %d, %v", place, ok)
		}
	}
	if place, ok := p.take(pagefile.NoPlace); ok || p.step(1) != 0 {
		t.Errorf("place %d was given, or there may be more than %d", place, p.limit)
	}
	checkPlaces(t, &p)
}

// A record counts more places than a disk has: there are those that the page file has.
func TestRecordThatLiesOfPlaces(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(150)
	s.flush()
	s.reopen(s.fs.Kill(s.fs.Ops()))
	s.d.start.Record.Places = pagefile.NoPlace - 1
	s.f.churn(10)
	s.flush()
	if got, most := s.verify().record.Places, s.d.home.places.limit; got > most {
		t.Errorf("the record counts %d places, want %d at most", got, most)
	}
	if got := len(s.d.home.places.free); got > int(s.d.home.places.limit)/64+1 {
		t.Errorf("%d words of free places, for at most %d places", got, s.d.home.places.limit)
	}
}

// Numbers begin again over records with higher ones, and whatever fails meanwhile
// the newest record is the newest.
func TestNumbersBeginAnew(t *testing.T) {
	for _, fail := range []string{"", pagefile.RecordsName, pagefile.MirrorName} {
		s := &story{rig: newRig(t, 1, nil)}
		s.d = New(s.cfg, s.f, Start{Opens: 1, LastGeneration: 1 << 62})
		s.f.churn(50)
		s.flush()
		s.fs = s.fs.Kill(s.fs.Ops())
		s.cfg.FS = s.fs
		s.f.forget()
		s.d = New(s.cfg, s.f, Start{Opens: 1, Anew: true})
		s.f.churn(50)
		if fail != "" {
			s.failOnce(crashfs.OpSync, fail)
			if _, err := s.d.Flush(t.Context()); err == nil {
				t.Errorf("with a failing sync of %s: flushed", fail)
			}
		}
		s.flush()
		if got := s.verify().record; got.Generation > 1000 || got.Opens != 1 {
			t.Errorf("got generation %d of open %d", got.Generation, got.Opens)
		}
		s.f.churn(20)
		s.flush()
		s.verify()
	}
}
