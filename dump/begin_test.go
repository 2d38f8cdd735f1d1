package dump

import (
	"context"
	"path"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// rollBack kills a cache that has written two generations and links, and takes up
// the older of them.
func rollBack(t *testing.T) (s *story, newest, older *replayed) {
	s = &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.flush()
	s.weak()
	s.f.churn(50)
	s.flush()
	s.f.churn(20)
	s.weak()
	fsys := s.fs.Kill(s.fs.Ops())
	newest = s.recover(fsys, true)
	older, err := replayOlder(fsys, newest.retained[0])
	if err != nil {
		t.Fatal(err)
	}
	older.retained, older.mirror, older.last = newest.retained, true, newest.record.Generation
	start := older.start()
	start.NewLineage, start.RolledBack, start.Chain = true, true, pagefile.WeakPos{}
	s.f.revive(older)
	s.fs, s.cfg.FS = fsys, fsys
	s.d, s.acks = New(s.cfg, s.f, start), nil
	return s, newest, older
}

// Rolling back is done when Begin returns: a kill right after it, or the loss of
// the power, brings nothing of the newer generation back. Before that the newer
// generation is all there.
func TestRollBackBegins(t *testing.T) {
	s, newest, older := rollBack(t)
	from := s.fs.Ops()
	if err := s.d.Begin(context.Background()); err != nil {
		t.Fatal(err)
	}
	for n := from; n <= s.fs.Ops(); n++ {
		for _, fsys := range []*crashfs.FS{s.fs.Kill(n), s.fs.Crash(n, crashfs.Cut{Fate: crashfs.FateLost})} {
			got, err := replay(fsys, true)
			if err != nil {
				t.Fatalf("after %d operations: %v", n, err)
			}
			old := got.record.Generation == newest.record.Generation
			if !old && (got.clock != older.clock || got.links > 0 || got.record.Lineage == newest.record.Lineage) {
				t.Fatalf("after %d operations: generation %d of lineage %d, clock %d; rolled back to clock %d", n,
					got.record.Generation, got.record.Lineage, got.clock, older.clock)
			}
			if old && n == s.fs.Ops() {
				t.Fatal("the newer generation is the newest after Begin")
			}
		}
	}
	s.f.churn(20)
	s.weak()
	s.flush()
	s.verify()
}

// The same when the first generation finds no place: what is stated again then is
// of the new lineage too.
func TestRolledBackRecordIsStatedAgain(t *testing.T) {
	s, newest, older := rollBack(t)
	s.flush()
	s.d.severed = true
	s.d.base.record = older.record // as if nothing had been written yet
	if err := s.d.restate(false, minKeep); err != nil {
		t.Fatal(err)
	}
	if r := s.d.base.record; r.Lineage == newest.record.Lineage || r.Weak.File != 0 {
		t.Errorf("got lineage %d and links after %d", r.Lineage, r.Weak.Number)
	}
}

// What Close wrote says that nothing follows, and Begin takes that back before
// anything can, without another change; Close says it anew.
func TestBeginTakesTheCleanMarkBack(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.flush()
	if err := s.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := s.reopen(s.fs.Kill(s.fs.Ops()))
	clock := got.clock
	if !got.record.Clean {
		t.Fatal("Close left a record that is not clean")
	}
	for range 2 { // the second changes nothing
		if err := s.d.Begin(context.Background()); err != nil {
			t.Fatal(err)
		}
		got = s.recover(s.fs.Crash(s.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), true)
		if got.record.Clean || got.clock != clock {
			t.Errorf("clean %v, clock %d, want %d", got.record.Clean, got.clock, clock)
		}
	}
	if s.d.takeNumber() != got.record.Generation+1 {
		t.Error("the second Begin wrote a record")
	}
	if err := s.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got = s.recover(s.fs.Crash(s.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), true); !got.record.Clean {
		t.Error("not clean after Close")
	}
}

// A cache that is closed after a long time without a write was in use until then.
func TestCloseTellsTheTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := &story{rig: newRig(t, 1, func(c *Config) {
		c.MaxAge, c.Now = time.Hour, func() time.Time { return now }
	})}
	s.f.wall = s.cfg.Now
	s.f.churn(100)
	s.flush()
	for _, idle := range []time.Duration{time.Minute, time.Hour, time.Hour, time.Hour} {
		if err := s.d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		got := s.reopen(s.fs.Kill(s.fs.Ops()))
		if age := now.Sub(time.Unix(0, got.record.Wall)); age > s.cfg.MaxAge/agedPart {
			t.Errorf("a record of %v ago, closed just now", age)
		}
		now = now.Add(idle)
	}
}

// What is obsolete goes when a generation is complete, not before. While it is
// there nobody would open that generation, so nobody is told that it is durable.
func TestObsoleteFiles(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.Obsolete = []string{"OLD"} })
	name := path.Join(fakeDir, "OLD")
	if err := r.fs.Plant(name, nil); err != nil {
		t.Fatal(err)
	}
	r.f.churn(20)
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.MirrorName, Times: 1, Err: syscall.EIO})
	r.flushFails()
	remove()
	if !slices.Contains(r.fs.List(), name) {
		t.Fatal("it is gone before there is a mirror")
	}
	remove = r.fs.Fail(crashfs.Rule{Kind: crashfs.OpRemove, Path: name, Times: 1, Err: syscall.EACCES})
	r.f.churn(1)
	r.flushFails()
	remove()
	if !slices.Contains(r.fs.List(), name) || r.d.Health() == nil {
		t.Fatal("it is gone though it could not be removed, or nobody was told")
	}
	remove = r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSyncDir, Path: fakeDir, Times: 1, Err: syscall.EIO})
	r.flushFails()
	remove()
	r.flush() // nothing has changed
	if fsys := r.fs.Crash(r.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}); slices.Contains(fsys.List(), name) {
		t.Error("it is there after a generation")
	}
}
