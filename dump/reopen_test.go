package dump

import (
	"context"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A page file that is gone is replaced; all that is in memory goes to the new
// one, with an image that says so.
func TestPageFileLost(t *testing.T) {
	for _, how := range []string{"missing", "foreign", "of another directory"} {
		t.Run(how, func(t *testing.T) {
			s := &story{rig: newRig(t, 1, nil)}
			s.f.churn(150)
			s.flush()
			s.reopen(s.fs.Kill(s.fs.Ops()))
			name := fakeDir + "/" + pagefile.FileName(pagefile.KindPages, s.d.base.record.PageFile)
			switch how {
			case "missing":
				s.fs.Erase(name)
			case "foreign":
				s.fs.Plant(name, make([]byte, 1<<20))
			default:
				h := pagefile.FileHeader{Kind: pagefile.KindPages, ID: s.d.base.record.PageFile, Geometry: s.f.geo}
				h.Geometry.DirID++
				b, err := h.MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				s.fs.Overwrite(name, 0, b)
			}
			s.f.churn(10)
			s.flush()
			got, err := s.f.recover(s.fs.Crash(s.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), false)
			if err != nil {
				t.Fatal(err)
			}
			if id := pagefile.FileName(pagefile.KindPages, got.record.PageFile); fakeDir+"/"+id == name {
				t.Error("the page file is the same")
			}
			s.f.churn(50)
			s.flush()
			s.f.churn(50)
			s.flush()
			s.verify()
		})
	}
}

// Somebody rolls back: a new lineage, that no link of the old one follows.
func TestRollBack(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.flush()
	s.f.churn(50)
	s.flush()
	s.f.churn(20)
	s.weak()
	fsys := s.fs.Kill(s.fs.Ops())
	newest := s.recover(fsys, true)
	older, err := replayOlder(fsys, newest.retained[0])
	if err != nil {
		t.Fatal(err)
	}
	older.retained, older.mirror, older.last = newest.retained, true, newest.record.Generation
	start := older.start()
	start.NewLineage, start.Chain = true, pagefile.WeakPos{}
	s.f.revive(older)
	s.fs, s.cfg.FS = fsys, fsys
	s.d, s.acks = New(s.cfg, s.f, start), nil
	s.weak()
	s.f.churn(20)
	s.weak()
	s.flush()
	got := s.verify()
	if got.record.Lineage == newest.record.Lineage || got.record.Generation <= newest.record.Generation {
		t.Errorf("got generation %d of lineage %d after %d of %d", got.record.Generation, got.record.Lineage,
			newest.record.Generation, newest.record.Lineage)
	}
	s.f.churn(20)
	s.weak()
	s.flush()
	s.verify()
	s.visit(1)
}

// A cold start goes on with new numbers beside the old files, and removes them
// only when its own first generation is durable twice.
func TestColdBesideOldFiles(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.flush()
	s.f.churn(20)
	s.flush()
	old, last := len(s.fs.List()), s.d.base.record.Generation
	s.fs = s.fs.Kill(s.fs.Ops())
	s.cfg.FS = s.fs
	s.f.forget()
	s.d = New(s.cfg, s.f, Start{LastGeneration: last, LastOpens: 1, Opens: 2})
	s.f.churn(100)
	s.failOnce(crashfs.OpSync, pagefile.MirrorName)
	s.flush()
	if got := len(s.fs.List()); got < old+2 {
		t.Errorf("got %d files before the mirror is durable, want the %d old ones too", got, old)
	}
	s.flush()
	if n := len(s.files(pagefile.KindPages)) + len(s.files(pagefile.KindImage)); n != 2 {
		t.Errorf("got %d page files and images, want 2", n)
	}
	got := s.verify()
	if got.record.Generation <= last || got.record.Opens != 2 {
		t.Errorf("got generation %d, opens %d", got.record.Generation, got.record.Opens)
	}
	s.visit(1)
}

// After a ring that was full the chain begins again with the next durable cut.
func TestChainBeginsAgain(t *testing.T) {
	s := &story{rig: newRig(t, 1, func(c *Config) { c.WeakBytes = minRing })}
	s.f.churn(20)
	s.flush()
	s.f.churn(400)
	if err := s.d.Weak(); err == nil {
		t.Fatal("a link longer than the ring was written")
	}
	s.flush()
	s.f.churn(5)
	s.weak()
	want := s.f.clock
	if got := s.verify(); got.clock != want || got.links != 1 {
		t.Errorf("got cut %d with %d links, want %d with 1", got.clock, got.links, want)
	}
	s.visit(1)
}

// A weak ring that fails is given up for another, and is not written again.
func TestFailedRing(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(20)
	s.flush()
	first := s.files(pagefile.KindWeak)
	s.f.churn(20)
	s.failOnce(crashfs.OpWrite, "weak-")
	if err := s.d.Weak(); err == nil || s.d.Health() == nil {
		t.Errorf("got %v, health %v", err, s.d.Health())
	}
	s.f.churn(5)
	s.flush()
	if err := s.d.Health(); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
	s.f.churn(5)
	s.weak()
	s.verify()
	if ids := s.files(pagefile.KindWeak); len(ids) != 2 || ids[0] != first[0] {
		t.Errorf("got rings %v, want %v and another", ids, first)
	}
	s.f.churn(5)
	s.flush()
	if ids := s.files(pagefile.KindWeak); len(ids) != 1 || ids[0] == first[0] {
		t.Errorf("got rings %v, want only the new one", ids)
	}
	s.visit(1)
}

// While a generation has no mirror, the links that lead to it from the one before
// are not written over: that one may be opened next.
func TestLinksKeptUntilTheMirror(t *testing.T) {
	s := &story{rig: newRig(t, 1, func(c *Config) { c.WeakBytes = minRing })}
	s.f.churn(20)
	s.flush()
	before := s.verify().record
	for s.d.Stats().WeakHeld < minRing/2 {
		s.f.churn(5)
		s.weak()
	}
	s.failOnce(crashfs.OpSync, pagefile.MirrorName)
	s.flush()
	want := s.d.base.record.Clock
	for err := error(nil); err == nil; err = s.d.Weak() {
		s.f.churn(5)
	}
	older := &replayed{record: before}
	if err := older.load(s.fs.Clone(), true); err != nil {
		t.Fatal(err)
	}
	if older.clock < want {
		t.Errorf("got cut %d from the generation before, want %d at least", older.clock, want)
	}
	if err := s.f.check(older); err != nil {
		t.Error(err)
	}
	s.flush()
	s.f.churn(5)
	s.weak()
	s.verify()
	s.visit(3)
}

// In a folder of its own, the ring of another cache is left alone, and durable
// generations do without the folder.
func TestWeakDir(t *testing.T) {
	const dir = "/tmpfs"
	r := newRig(t, 1, func(c *Config) { c.WeakDir = dir })
	r.f.churn(20)
	r.flush()
	if r.d.Health() == nil {
		t.Error("health: got nil without the folder")
	}
	if err := r.fs.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := pagefile.FileHeader{Kind: pagefile.KindWeak, ID: 9, Geometry: r.f.geo}
	stranger.Geometry.DirID = 99
	header, err := stranger.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	name := dir + "/" + pagefile.FileName(pagefile.KindWeak, 9)
	if err := r.fs.Plant(name, header); err != nil {
		t.Fatal(err)
	}
	r.d.files.known[fileKey{pagefile.KindWeak, 9}] = true
	for range 3 {
		r.f.churn(20)
		r.flush()
	}
	if err := r.d.Health(); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
	if _, err := r.fs.ReadFile(name); err != nil {
		t.Error(err)
	}
}

func TestNoRing(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.WeakBytes = 0 })
	r.f.churn(20)
	r.flush()
	r.f.churn(20)
	if err := r.d.Weak(); err != nil {
		t.Error(err)
	}
	if got := r.verify(); got.record.Weak != (pagefile.WeakPos{}) || got.links != 0 {
		t.Errorf("got %+v, %d links", got.record.Weak, got.links)
	}
}

// Ten clean restarts in a row keep everything.
func TestTenRestarts(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.limit = 1000
	s.f.churn(100)
	for range 10 {
		if err := s.d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := s.reopen(s.fs.Crash(s.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost})); !got.record.Clean {
			t.Fatal("the record does not say that nothing follows")
		}
		s.f.churn(20)
	}
	s.flush()
	s.verify()
}
