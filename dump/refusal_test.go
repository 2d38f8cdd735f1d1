package dump

import (
	"errors"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// restart is the next process after a kill, which may have found damage.
func (r *rig) restart(damaged bool) {
	r.t.Helper()
	fsys := r.fs.Clone()
	got := r.recover(fsys, true)
	start := got.start()
	start.NeedFull = damaged
	r.f.revive(got)
	r.fs, r.cfg.FS = fsys, fsys
	r.d = New(r.cfg, r.f, start)
}

// After damage no link follows those that are there, and the next generation is full:
// who opens the directory next may be able to read what could not be read. // I10
func TestDamageAsksForAnImage(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		r := newRig(t, 1, nil)
		r.f.churn(100)
		r.flush()
		r.f.churn(20)
		if err := r.d.Weak(); err != nil {
			t.Fatal(err)
		}
		r.restart(damaged)
		r.f.churn(20)
		if err := r.d.Weak(); errors.Is(err, errDamage) != damaged || r.d.chain.links > 0 == damaged {
			t.Errorf("damaged %v: %d links, %v", damaged, r.d.chain.links, err)
		}
		g := r.flush()
		if full := r.d.base.record.Image == g; full != damaged {
			t.Errorf("damaged %v: generation %d is full: %v", damaged, g, full)
		}
		r.f.churn(20)
		if err := r.d.Weak(); err != nil {
			t.Errorf("damaged %v: after a generation: %v", damaged, err)
		}
		r.verify()
	}
}

// beforeALap is a head that a tail is just more than a lap beyond, whatever the tail.
func beforeALap(tail uint64) uint64 { return tail - pagefile.Lap - 1 }

// Beyond a lap a word may mean two positions: neither a link nor a generation is
// written on that image.
func TestNothingIsWrittenBeyondALap(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	r.f.churn(20)
	d := r.d
	heads := [][fileQueues]uint64{d.chain.heads[0], d.chain.heads[1]}
	d.chain.heads = [][fileQueues]uint64{heads[0], {heads[1][0], beforeALap(r.f.shards[1].queues[1].tail)}}
	if err := d.Weak(); !errors.Is(err, errLap) {
		t.Errorf("a link: %v, want %v", err, errLap)
	}
	d.chain.heads = heads

	d.cutMu.Lock()
	c := d.cutLocked(true)
	begun := *c
	begun.Shards = append([]ShardCut(nil), c.Shards...)
	begun.Shards[0].State.Heads[0] = beforeALap(c.Shards[0].State.Tails[0])
	g := &generation{d: d, full: true, begun: &begun, held: []*Cut{c}}
	g.takeLocked(c)
	d.cutMu.Unlock()
	if err := g.sweep(); !errors.Is(err, errLap) {
		t.Errorf("a generation: %v, want %v", err, errLap)
	}
	g.giveUp()
	g.release()
	r.flush()
	r.verify()
}

// A record in limbo may be the newest when the power goes, and a generation that is
// read may have no record any more: nobody can tell which places they name. // I8, I11
func TestNobodyCanTellThePlacesOfLimbo(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	none := func([]uint64) (map[uint32]bool, error) { return nil, nil }
	if _, err := r.d.namedPlaces(none); err != nil {
		t.Errorf("places cannot be told: %v", err)
	}
	r.d.limbo = &generation{d: r.d}
	if _, err := r.d.namedPlaces(none); err == nil {
		t.Error("places are told while a record is in limbo")
	}
	r.d.limbo = nil
	r.d.history.pinned = []pinned{{1, nil}}
	if _, err := r.d.namedPlaces(none); err == nil {
		t.Error("places are told while a generation without a record is read")
	}
}
