package dump

import (
	"errors"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// read holds a generation as a reader does.
func (r *rig) read(generation uint64) {
	r.t.Helper()
	lease, err := pagefile.OpenLease(r.fs, fakeDir)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := lease.Hold(generation); err != nil {
		r.t.Fatal(err)
	}
}

// turnOver writes generations until everything was written over many times, and
// wants a record's to lose nothing.
func (r *rig) turnOver(rec *pagefile.Record) {
	r.t.Helper()
	for i := range 12 {
		r.f.churn(80)
		r.d.needFull = i%3 == 0
		r.flush()
		older, err := replayOlder(r.fs, rec)
		if err == nil {
			err = r.f.check(older)
		}
		if err != nil {
			r.t.Fatalf("generation %d after %d more: %v", rec.Generation, i+1, err)
		}
	}
}

// A record whose sync failed is there to be read all the same, under a number
// that no later record retains.
func TestReaderOfARecordInLimbo(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(150)
	r.flush()
	r.f.churn(150)
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Times: 1, Err: syscall.EIO})
	r.flushFails()
	remove()
	rec := r.recover(r.fs.Kill(r.fs.Ops()), false).record
	if rec.Generation != r.d.limbo.number {
		t.Fatalf("a reader finds generation %d, %d is in limbo", rec.Generation, r.d.limbo.number)
	}
	r.read(rec.Generation)
	r.turnOver(rec)
}

// Records in limbo are remembered, but not without bound.
func TestLimboHasABound(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(20)
	r.flush()
	r.f.churn(20)
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Err: syscall.EIO})
	for range 2 * pagefile.RingSlots {
		r.flushFails()
	}
	remove()
	if n := len(r.d.history.pinned); n > pagefile.RingSlots {
		t.Errorf("%d generations are remembered", n)
	}
	r.flush()
	if n := len(r.d.history.pinned); n > 0 {
		t.Errorf("%d generations are remembered after one was complete", n)
	}
	r.verify()
}

// Somebody takes a generation up when the record that drops it is being written,
// and the process that learns of it then is killed: the next one asks.
func TestReaderOutlivesTheOneWhoKnew(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	for range 2 {
		s.f.churn(150)
		s.flush()
	}
	rec := s.recover(s.fs.Clone(), false).retained[0]
	remove := s.fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpSync && op.Path == fakeDir+"/"+pagefile.RecordsName {
			s.read(rec.Generation) // the rings that it reads again have no newer record yet
		}
		return nil
	})
	s.f.churn(20)
	s.flush()
	remove()
	if len(s.d.history.pinned) != 1 {
		t.Fatalf("%d generations are pinned, want the one that is read", len(s.d.history.pinned))
	}
	s.reopen(s.fs.Kill(s.fs.Ops()))
	s.read(rec.Generation) // a kill of the owner leaves the reader's locks, Kill of an FS does not
	s.turnOver(rec)
}

// A process that began cold, in a directory of which somebody reads an older
// generation: it goes on writing however long that takes.
func TestColdStartBesideAReader(t *testing.T) {
	for _, whose := range []string{"from before", "its own", "both"} {
		t.Run(whose, func(t *testing.T) {
			s := &story{rig: newRig(t, 1, nil)}
			s.f.churn(100)
			s.flush()
			rec := s.d.base.record
			s.fs = s.fs.Kill(s.fs.Ops())
			s.cfg.FS = s.fs
			s.f.forget()
			s.d = New(s.cfg, s.f, Start{LastGeneration: rec.Generation, LastOpens: 1, Opens: 2,
				Retained: []*pagefile.Record{rec}, Named: s.named})
			if whose != "its own" {
				s.read(rec.Generation)
			}
			if whose != "from before" {
				s.f.churn(100)
				s.flush()
				s.read(s.d.base.record.Generation)
			}
			for range 60 {
				s.f.churn(150)
				s.rig.flush()
			}
			if places := &s.d.home.places; places.total != places.limit {
				t.Errorf("%d of %d places: nothing was scarce", places.total, places.limit)
			}
			checkPlaces(t, &s.d.home.places)
			s.verify()
		})
	}
}

// named tells which places generations name, as a cache does.
func (r *rig) named(generations []uint64) (map[uint32]bool, error) {
	places := make(map[uint32]bool)
	for _, rec := range r.d.history.retained {
		for _, g := range generations {
			if rec.Generation != g {
				continue
			}
			if rec.PageFile != r.d.home.id {
				return nil, errors.New("a loader takes it for another directory's")
			}
			older, err := replayOlder(r.fs, rec)
			if err != nil {
				return nil, err
			}
			for _, s := range older.shards {
				for _, row := range s.rows {
					places[row.Place] = true
				}
			}
		}
	}
	return places, nil
}

// While the disk does not tell who reads what, everything counts as read. // I11
func TestLeaseThatCannotBeAsked(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(50)
	first := r.flush()
	heal := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpLock, Path: "LEASE", Err: syscall.EIO})
	for range 5 {
		r.f.churn(50)
		r.flush()
	}
	if got := r.d.history.oldest(); got != first {
		t.Errorf("generation %d is the oldest that may be read, want %d", got, first)
	}
	heal()
	r.f.churn(50)
	r.flush()
	r.f.churn(50)
	r.flush()
	if got := r.d.history.oldest(); got == first {
		t.Errorf("generation %d stays though nobody reads it", got)
	}
	r.verify()
}

// flipRecord damages a generation's record in the rings that have it, or undoes that.
func flipRecord(t *testing.T, fsys *crashfs.FS, rec *pagefile.Record, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := fsys.Flip(fakeDir+"/"+name, int64(pagefile.RingSlot(rec.Generation)*pagefile.MaxRecord), 1); err != nil {
			t.Fatal(err)
		}
	}
}

// Somebody reads a generation that the next process knows nothing of: its record
// cannot be read for a while, and the one before is opened. No page of a segment that
// was open there goes home over a page of what is read.
func TestReaderOfWhatIsNotRetained(t *testing.T) {
	both := []string{pagefile.RecordsName, pagefile.MirrorName}
	for _, c := range []struct {
		label string
		rings []string // that have the record
		kill  bool     // of the process that stated the one before again
		late  bool     // it can be read only when that process has written its own
	}{
		{"in one ring", both[:1], false, false},
		{"in one ring, for longer", both[:1], false, true},
		{"in both, and the process that found out is killed", both, true, false},
	} {
		t.Run(c.label, func(t *testing.T) {
			s := &story{rig: newRig(t, 1, func(c *Config) { c.WeakBytes = 0 })}
			s.f.churn(60) // segments with some pages at home that go on
			s.flush()
			s.f.churn(60)
			if len(c.rings) == 1 {
				s.fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: pagefile.MirrorName, Times: 1, Err: errDisk})
			}
			s.flush()
			rec := s.d.base.record
			fsys := s.fs.Kill(s.fs.Ops())
			flipRecord(t, fsys, rec, c.rings...)
			got := s.recover(fsys, false)
			start := got.start()
			start.NewLineage = len(c.rings) == 2 // where one has it, it may be one that was never whole
			s.f.revive(got)
			s.fs, s.cfg.FS = fsys, fsys
			s.d = New(s.cfg, s.f, start)
			if !c.late {
				flipRecord(t, fsys, rec, c.rings...)
			}
			if c.kill {
				if err := s.d.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.reopen(s.fs.Kill(s.fs.Ops()))
			}
			s.read(rec.Generation)
			s.f.churn(5)
			s.flush()
			if c.late {
				flipRecord(t, s.fs, rec, c.rings...)
			}
			if s.d.base.record.Generation <= rec.Generation {
				t.Errorf("number %d is used again", s.d.base.record.Generation)
			}
			older, err := replayOlder(s.fs, rec)
			if err == nil {
				err = s.f.check(older)
			}
			if err != nil {
				t.Fatalf("what is read is not whole: %v", err)
			}
			if !c.late { // else only its reader knows its files, and has them open
				s.turnOver(rec)
			}
			s.verify()
		})
	}
}
