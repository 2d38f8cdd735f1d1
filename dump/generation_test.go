package dump

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

func TestFlushAndReplay(t *testing.T) {
	eachSeed(t, 8, func(t *testing.T, seed uint64) {
		r := newRig(t, seed, nil)
		for range 12 {
			r.f.churn(60)
			if r.f.rng.IntN(3) == 0 {
				r.f.grow()
			}
			if err := r.d.Weak(); err != nil {
				t.Fatal(err)
			}
			r.f.churn(30)
			g := r.flush()
			got := r.verify()
			if got.record.Generation != g || got.record.Clock != r.f.clock {
				t.Fatalf("got generation %d at cut %d, want %d at %d", got.record.Generation, got.record.Clock, g, r.f.clock)
			}
		}
	})
}

func TestNothingChangedNothingWritten(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(50)
	want := r.flush()
	ops := r.fs.Ops()
	if got := r.flush(); got != want {
		t.Errorf("got generation %d, want %d", got, want)
	}
	if err := r.d.Weak(); err != nil {
		t.Error(err)
	}
	if got := r.fs.Ops(); got != ops {
		t.Errorf("got %d operations, want none", got-ops)
	}
}

func TestCloseSaysThatNothingFollows(t *testing.T) {
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("changed=%v", changed), func(t *testing.T) {
			r := newRig(t, 1, nil)
			r.f.churn(50)
			r.flush()
			if changed {
				r.f.churn(1)
			}
			if err := r.d.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := r.verify(); !got.record.Clean || !got.mirror {
				t.Errorf("got clean %v, mirror %v", got.record.Clean, got.mirror)
			}
			if _, err := r.d.Flush(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("flush after close: got %v, want %v", err, ErrClosed)
			}
			if err := r.d.Close(context.Background()); err != nil {
				t.Errorf("second close: got %v, want nil", err)
			}
			if open := r.fs.OpenHandles(); len(open) > 0 {
				t.Errorf("left open: %v", open)
			}
			<-r.d.Done()
		})
	}
}

// Writers run while an image is copied and pages are: the cut divides them.
func TestWritersDuringADump(t *testing.T) {
	eachSeed(t, 8, func(t *testing.T, seed uint64) {
		r := newRig(t, seed, nil)
		r.f.during = func() { r.f.churn(2) }
		for i := range 10 {
			r.f.churn(40)
			r.d.needFull = i%2 == 0
			r.flush()
			r.verify()
			if err := r.d.Weak(); err != nil {
				t.Fatal(err)
			}
			r.verify()
		}
	})
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		label string
		tweak func(d *Dumper)
		want  bool
	}{
		{"light when nothing speaks against it", func(*Dumper) {}, false},
		{"full when something is damaged", func(d *Dumper) { d.needFull = true }, true},
		{"full without an image's heads", func(d *Dumper) { d.base.heads = nil }, true},
		{"full when a journal is lost", func(d *Dumper) { d.pending.stock.lostNewer = true }, true},
		{"full when the record has no room for a blob", func(d *Dumper) {
			for len(d.base.record.Blobs) < pagefile.MaxExtents {
				d.base.record.Blobs = append(d.base.record.Blobs, d.base.record.Blobs[0])
			}
		}, true},
		{"light while links still have their share of the budget", func(d *Dumper) { d.base.record.Stores = 2_700_000 }, false},
		{"full when journals take what the rest of a start leaves of it", func(d *Dumper) { d.base.record.Stores = 2_800_000 }, true},
		{"full when journals and blobs together do", func(d *Dumper) {
			d.base.record.Stores, d.base.blobBytes, d.base.imageSize = 2_500_000, 12*2_500_000, 40<<20
		}, true},
		{"light in a quarter of a budget that a start alone uses up", func(d *Dumper) {
			d.cfg.Budget, d.base.record.Stores = 2*time.Millisecond, 17_000
		}, false},
		{"full beyond that quarter", func(d *Dumper) { d.cfg.Budget, d.base.record.Stores = 2*time.Millisecond, 20_000 }, true},
		{"full when blobs are longer than an image", func(d *Dumper) { d.base.blobBytes = leastImage + d.base.imageSize + 1 }, true},
	} {
		t.Run(c.label, func(t *testing.T) {
			r := newRig(t, 1, nil)
			r.f.churn(50)
			r.flush()
			r.d.forecast = forecast{workers: 1, shards: 1} // whatever the machine has
			c.tweak(r.d)
			r.f.churn(5)
			g := r.d.begin(order{})
			if g == nil || g.full != c.want {
				t.Errorf("got %v, want full %v", g != nil && g.full, c.want)
			}
		})
	}
}

func TestLightGenerationsKeepTheImage(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	image := r.verify().record.Image
	for i := range 5 {
		r.f.churn(30)
		r.flush()
		got := r.verify().record
		if got.Image != image || len(got.Blobs) != i+2 {
			t.Errorf("got image %d with %d blobs, want %d with %d", got.Image, len(got.Blobs), image, i+2)
		}
	}
}

func TestRetention(t *testing.T) {
	for _, keep := range []int{2, 5} {
		t.Run(fmt.Sprintf("keep=%d", keep), func(t *testing.T) {
			r := newRig(t, 1, func(c *Config) { c.Keep = keep })
			for i := range 10 {
				r.f.churn(100)
				r.d.needFull = true
				r.flush()
				got := r.verify()
				if want := min(i+1, keep); len(got.retained) != want || len(r.files(pagefile.KindImage)) != want ||
					len(r.files(pagefile.KindBlobs)) != want {
					t.Fatalf("got %d records, images %v, blobs %v, want %d each",
						len(got.retained), r.files(pagefile.KindImage), r.files(pagefile.KindBlobs), want)
				}
				if n := len(r.files(pagefile.KindPages)); n != 1 {
					t.Fatalf("got %d page files, want 1", n)
				}
			}
		})
	}
}

func TestForeignFilesStay(t *testing.T) {
	r := newRig(t, 1, nil)
	strangers := []string{"notes.txt", "image-1", "image-000000000000000G", "LOCK", "pages-0000000000000001.bak"}
	for _, name := range strangers {
		if err := r.fs.Plant(fakeDir+"/"+name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		r.f.churn(100)
		r.d.needFull = true
		r.flush()
	}
	for _, name := range strangers {
		if _, err := r.fs.ReadFile(fakeDir + "/" + name); err != nil {
			t.Error(err)
		}
	}
}

func TestOrphansGo(t *testing.T) {
	r := newRig(t, 1, nil)
	orphan := fakeDir + "/" + pagefile.FileName(pagefile.KindImage, 40)
	if err := r.fs.Plant(orphan, []byte("half an image")); err != nil {
		t.Fatal(err)
	}
	r.f.churn(10)
	if g := r.flush(); g <= 40 {
		t.Errorf("got generation %d, want one after the orphan's", g)
	}
	if _, err := r.fs.ReadFile(orphan); err == nil {
		t.Error("the orphan is still there")
	}
	r.verify()
}

func TestPrediction(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(200)
	r.flush()
	before := r.d.Stats().Predicted
	r.f.churn(200)
	if err := r.d.Weak(); err != nil {
		t.Fatal(err)
	}
	if got := r.d.Stats().Predicted; got <= before {
		t.Errorf("got %v after links, want more than %v", got, before)
	}
}

// The rests of the rate limit are nobody's work.
func TestWorkedIsWithoutRests(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(50)
	before := r.d.Stats().Worked
	if err := r.d.Weak(); err != nil {
		t.Log(err) // no chain yet: the cut was taken all the same
	}
	weak := r.d.Stats().Worked
	began := time.Now()
	r.flush()
	flushed := r.d.Stats().Worked
	if before > weak || weak >= flushed || flushed-weak > time.Since(began) {
		t.Errorf("got %v, %v after a cut, %v after a generation of %v", before, weak, flushed, time.Since(began))
	}
	remove := r.fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpSync {
			r.d.limit.rested.Add(int64(time.Hour))
		}
		return nil
	})
	defer remove()
	r.f.churn(50)
	r.flush()
	if got := r.d.Stats().Worked; got > flushed {
		t.Errorf("got %v with hours of rest, want less than %v", got, flushed)
	}
}

func TestNoSync(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.NoSync = true })
	r.f.churn(100)
	r.flush()
	for _, op := range r.fs.Log() {
		if op.Kind == crashfs.OpSync || op.Kind == crashfs.OpSyncDir {
			t.Fatalf("got %v", op)
		}
	}
	r.recover(r.fs.Clone(), true)
}

// The cache turns over between the cut and the table: the generation contains a
// newer cut.
func TestWhatEndedBeforeTheTableHadItIsTakenIn(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(80)
	r.flush()
	r.f.churn(80)
	r.flush()
	for range 500 { // the cut has segments that the table does not, and they go
		r.f.set(r.f.rng.IntN(r.f.keys()))
	}
	g := r.d.begin(order{})
	for range 2000 {
		r.f.set(r.f.rng.IntN(r.f.keys()))
	}
	err := g.write()
	g.release()
	r.d.finish(g, err)
	if got := r.verify(); err != nil || got.record.Clock != r.f.clock || got.record.Clock == g.begun.Clock {
		t.Errorf("got the cut at %d, want that at %d after the one at %d: %v", got.record.Clock, r.f.clock, g.begun.Clock, err)
	}
	if n := r.d.Stats().LeftOut; n != 0 {
		t.Errorf("%d pages were left out", n)
	}
}

// The weak ring fails between the cut and a newer one that the generation takes
// in. Its record leads to no link: those that follow the first cut are older.
func TestATakenInCutForgetsTheLinkOfTheFirst(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(80)
	r.flush()
	r.f.churn(80)
	turned := false
	r.f.during = func() {
		if turned || r.d.Stats().Busy != "write pages" {
			return
		}
		turned = true
		r.f.churn(10)
		if err := r.d.Weak(); err != nil {
			t.Errorf("weak: %v", err)
		}
		r.f.churn(500)
		r.fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: "weak-", Times: 1, Err: errors.New("weak disk")})
	}
	r.flush()
	if !turned {
		t.Fatal("no page was written")
	}
	r.f.during = nil
	if got := r.d.base.record; got.Weak != (pagefile.WeakPos{}) {
		t.Errorf("the record leads to link %+v", got.Weak)
	}
	if got := r.verify(); got.record.Clock != r.f.clock {
		t.Errorf("got the cut at %d, want %d", got.record.Clock, r.f.clock)
	}
}
