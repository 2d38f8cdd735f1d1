package dump

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

var errDisk = errors.New("input/output error")

// failOnce makes the next operation of a kind on a path fail.
func (r *rig) failOnce(kind crashfs.Kind, path string) (remove func()) {
	return r.fs.Fail(crashfs.Rule{Kind: kind, Path: path, Times: 1, Err: errDisk, Short: 100})
}

var parts = []struct {
	path string
	full bool // only a full generation writes there
	long bool // what is written there is pushed before it is synced
}{
	{"pages-", false, true}, {"blobs-", false, false}, {"image-", true, true}, {pagefile.RecordsName, false, false},
}

// Each thing that a generation writes, pushes or syncs fails once. The state stays what
// it was, Health says so, and the next generation is whole.
func TestFailedOnce(t *testing.T) {
	for _, kind := range []crashfs.Kind{crashfs.OpWrite, crashfs.OpPush, crashfs.OpSync} {
		for _, p := range parts {
			if kind == crashfs.OpPush && !p.long {
				continue
			}
			for loss := range crashfs.Loss(3) {
				t.Run(fmt.Sprintf("%v of %s, loss %d", kind, p.path, loss), func(t *testing.T) {
					s := &story{rig: newRig(t, 1, nil)}
					s.fs.SetSyncLoss(loss)
					s.f.churn(150)
					s.flush()
					s.f.churn(60)
					s.weak()
					s.d.needFull = p.full
					s.failOnce(kind, p.path)
					if err := s.flushFails(); !errors.Is(err, errDisk) || !errors.Is(s.d.Health(), errDisk) {
						t.Errorf("got %v, health %v", err, s.d.Health())
					}
					s.f.churn(20)
					s.weak()
					s.flush()
					if err := s.d.Health(); err != nil {
						t.Errorf("health: got %v, want nil", err)
					}
					s.verify()
					s.f.churn(20)
					s.flush()
					s.visit(23)
				})
			}
		}
	}
}

// After a failed sync of the page file what was written lies in other places.
func TestFailedPageSyncMoves(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	before := placesOf(r.d)
	r.f.churn(100)
	var written []int64
	r.fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpWrite && strings.Contains(op.Path, "pages-") {
			written = append(written, op.Off)
		}
		return nil
	})
	r.failOnce(crashfs.OpSync, "pages-")
	r.flushFails()
	first := slices.Clone(written)
	written = nil
	r.flush()
	for _, off := range written {
		if slices.Contains(first, off) {
			t.Errorf("offset %d was written again after its sync failed", off)
		}
	}
	moved := 0
	for number, place := range placesOf(r.d) {
		if old, ok := before[number]; ok && old != place {
			moved++
		}
	}
	if moved == 0 {
		t.Error("no segment has moved")
	}
	r.verify()
}

// A blob whose sync failed is written again, to another file. // I8
func TestFailedBlobSyncMoves(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	r.f.churn(10)
	r.failOnce(crashfs.OpSync, "blobs-")
	r.flushFails()
	failed := r.d.base.record.Blobs[len(r.d.base.record.Blobs)-1].File
	r.flush()
	if last := r.d.base.record.Blobs[len(r.d.base.record.Blobs)-1].File; last == failed {
		t.Errorf("blob file %d is written to after its sync failed", last)
	}
	r.verify()
}

func placesOf(d *Dumper) map[uint64]uint32 {
	m := map[uint64]uint32{}
	for number, i := range d.home.table.at {
		if p := d.home.table.rows[i].place; p != pagefile.NoPlace {
			m[number] = p
		}
	}
	return m
}

// A record that failed may be durable or not. What it names is kept, and it is
// written again under the next number, in another slot.
func TestLimbo(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("full=%v", full), func(t *testing.T) {
			s := &story{rig: newRig(t, 1, nil)}
			s.f.churn(100)
			s.flush()
			for range 3 {
				s.f.churn(60)
				s.d.needFull = full
				s.failOnce(crashfs.OpSync, pagefile.RecordsName)
				s.flushFails()
				s.failOnce(crashfs.OpWrite, pagefile.RecordsName)
				s.flushFails()
				images := len(s.files(pagefile.KindImage))
				s.failOnce(crashfs.OpSync, pagefile.RecordsName)
				s.flushFails()
				if got := len(s.files(pagefile.KindImage)); got != images {
					t.Errorf("got %d images after another failure, want %d", got, images)
				}
				s.weak()
				s.f.churn(20)
				s.flush()
				s.verify()
			}
			s.visit(7)
		})
	}
}

func TestLimboOfTheFirst(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.failOnce(crashfs.OpSync, pagefile.RecordsName)
	s.flushFails()
	s.f.churn(100)
	s.weak()
	s.flush()
	s.verify()
	s.visit(1)
}

// A generation without a mirror is durable; nothing is retired for it, and it is
// stated again.
func TestFailedMirror(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	r.f.churn(20)
	r.d.needFull = true
	r.flush()
	r.f.churn(20)
	r.d.needFull = true
	removed := r.noRemoves()
	r.failOnce(crashfs.OpSync, pagefile.MirrorName)
	g := r.flush()
	if err := r.d.Health(); !errors.Is(err, errDisk) {
		t.Errorf("health: got %v, want %v", err, errDisk)
	}
	if len(*removed) > 0 {
		t.Errorf("removed %v before the mirror was durable", *removed)
	}
	if got := r.verify(); got.record.Generation != g {
		t.Errorf("got generation %d, want %d", got.record.Generation, g)
	}
	if got := r.flush(); got <= g {
		t.Errorf("got generation %d, want one after %d", got, g)
	}
	if got := r.verify(); !got.mirror || len(*removed) == 0 {
		t.Errorf("got mirror %v, removed %v", got.mirror, *removed)
	}
}

// noRemoves lists what is removed from now on.
func (r *rig) noRemoves() *[]string {
	var list []string
	r.fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpRemove {
			list = append(list, op.Path)
		}
		return nil
	})
	return &list
}

func TestMissingMirrorIsMendedFirst(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(100)
	s.flush()
	s.f.churn(30)
	s.failOnce(crashfs.OpWrite, pagefile.MirrorName)
	s.flush()
	s.f.churn(10)
	s.weak()
	got := s.reopen(s.fs.Kill(s.fs.Ops()))
	if got.mirror || got.links == 0 {
		t.Fatalf("got mirror %v, %d links", got.mirror, got.links)
	}
	s.f.churn(10)
	s.weak()
	s.flush()
	if got := s.verify(); !got.mirror {
		t.Error("the mirror is still missing")
	}
	log := s.fs.Log()
	records := slices.IndexFunc(log, func(op crashfs.Op) bool {
		return op.Kind == crashfs.OpWrite && strings.Contains(op.Path, pagefile.MirrorName) && op.Off == slotOff(got.record.Generation+1)
	})
	blob := slices.IndexFunc(log, func(op crashfs.Op) bool {
		return op.Kind == crashfs.OpRemove
	})
	if records < 0 || blob >= 0 && blob < records {
		t.Errorf("mirror written at operation %d, first removal at %d", records, blob)
	}
}

func slotOff(generation uint64) int64 {
	return int64(pagefile.RingSlot(generation)) * pagefile.MaxRecord
}

// Anything fails at any time, processes come and go: what is acknowledged is
// there, and what is there is right.
func TestStorms(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		s := &story{rig: newRig(t, seed, func(c *Config) { c.WeakBytes = 4 * minRing })}
		for range 4 {
			storm := s.storm()
			s.live(12)
			storm()
			s.flush()
			if seed%2 == 0 {
				s.restart(seed%4 == 0)
			}
		}
		s.f.churn(10)
		s.flush()
		if err := s.d.Health(); err != nil {
			t.Errorf("health after the storm: %v", err)
		}
		s.verify()
		s.visit(41)
	})
}

// storm makes one operation in eight fail.
func (s *story) storm() (end func()) {
	s.fs.SetSyncLoss(crashfs.Loss(s.f.rng.IntN(3)))
	return s.fs.Inject(func(op crashfs.Op) error {
		switch op.Kind {
		case crashfs.OpWrite, crashfs.OpPush, crashfs.OpSync, crashfs.OpAllocate, crashfs.OpCreate, crashfs.OpSyncDir, crashfs.OpRemove:
			if s.f.rng.IntN(8) == 0 {
				return errDisk
			}
		}
		return nil
	})
}

func TestDiskFull(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(200)
	s.flush()
	s.fs.SetBudget(s.fs.Used() + 20000)
	var last error
	for range 30 {
		s.f.churn(100)
		s.weak()
		if _, err := s.d.Flush(t.Context()); err != nil {
			last = err
		}
		s.verify()
	}
	if !errors.Is(last, pagefile.ErrNoSpace) || !errors.Is(s.d.Health(), pagefile.ErrNoSpace) {
		t.Fatalf("got %v, health %v, want %v", last, s.d.Health(), pagefile.ErrNoSpace)
	}
	files := len(s.fs.List())
	for range 10 {
		s.f.churn(10)
		s.d.Flush(t.Context())
	}
	if got := len(s.fs.List()); got > files {
		t.Errorf("got %d files while the disk was full, want %d", got, files)
	}
	s.fs.SetBudget(-1)
	s.f.churn(10)
	s.flush()
	if err := s.d.Health(); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
	s.verify()
	s.visit(31)
}

// A page that cannot be copied is left out and costs its entries alone.
func TestSpoiltSegmentIsLeftOut(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(80)
	for _, seg := range r.f.shards[0].queues[0].segments {
		r.f.spoilt[seg.number] = true
	}
	r.flush()
	if n := r.d.Stats().LeftOut; n == 0 {
		t.Error("nothing was left out")
	}
	r.verify()
	r.f.churn(80)
	r.flush()
	r.verify()
}

// What is gone behind a segment that is held is counted as left out, also where it is
// but the page that is not full: head moves past what is gone before all that is held
// alone.
func TestAnEndThatIsGoneIsLeftOut(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(80)
	r.flush()
	qu := &r.f.shards[0].queues[0]
	for inPage := false; !inPage || len(qu.segments) < 2; {
		r.flush()
		before := qu.tail
		r.f.set(r.f.rng.IntN(r.f.keys()))
		inPage = qu.tail > before && qu.tail/unitsPerPage == before/unitsPerPage
	}
	r.f.spoilt[qu.segments[len(qu.segments)-1].number] = true
	before := r.d.Stats().LeftOut
	r.flush()
	if r.d.Stats().LeftOut == before {
		t.Error("nothing was left out")
	}
	r.verify()
}

// A disk is slow between the cut and the pages, and the cache turns over: the
// generation contains a newer cut, and leaves nothing out.
func TestWhatMovedMeanwhileIsTakenIn(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("full=%v", full), func(t *testing.T) {
			r := newRig(t, 1, nil)
			r.f.churn(80)
			r.flush()
			r.f.churn(80)
			r.d.needFull = full
			turned := false
			r.f.during = func() {
				if !turned && r.d.Stats().Busy == "write pages" {
					turned = true
					r.f.churn(500)
				}
			}
			r.flush()
			if !turned {
				t.Fatal("no page was written")
			}
			if n := r.d.Stats().LeftOut; n != 0 {
				t.Errorf("%d pages were left out", n)
			}
			if got := r.verify(); got.record.Clock != r.f.clock {
				t.Errorf("got the cut at %d, want %d", got.record.Clock, r.f.clock)
			}
			r.f.during = nil
			r.f.churn(80)
			if err := r.d.Weak(); err != nil {
				t.Fatal(err)
			}
			r.verify()
		})
	}
}

// A journal that overflowed ends the chain and makes the next generation full.
func TestLostJournal(t *testing.T) {
	for _, how := range []string{"in the source", "in the dumper"} {
		t.Run(how, func(t *testing.T) {
			s := &story{rig: newRig(t, 1, func(c *Config) {
				if how == "in the dumper" {
					c.PendingBytes = 3000
				}
			})}
			s.f.churn(20)
			s.flush()
			full := s.d.Stats().Full
			s.f.shards[0].lose = how == "in the source"
			s.f.churn(20)
			err := s.d.Weak()
			if lost := errors.Is(err, errJournalLost); lost != s.f.shards[0].lose {
				t.Errorf("got %v", err)
			}
			s.f.shards[0].lose = false
			s.f.churn(300)
			s.d.Weak()
			s.verify()
			s.flush()
			if got := s.d.Stats().Full; got != full+1 {
				t.Errorf("got %d full generations, want %d", got, full+1)
			}
			s.verify()
			s.weak()
			s.verify()
			s.visit(1)
		})
	}
}

// The journal overflows while the image is written: the image is of no use.
func TestJournalLostDuringImage(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(50)
	r.flush()
	r.d.needFull = true
	once := false
	r.f.during = func() {
		if !once {
			once = true
			r.f.shards[1].lose = true
			r.f.churn(30)
			r.f.shards[1].lose = false
		}
	}
	r.flush()
	if got := r.verify(); got.record.Blobs == nil || len(r.files(pagefile.KindImage)) > 2 {
		t.Errorf("got images %v", r.files(pagefile.KindImage))
	}
}
