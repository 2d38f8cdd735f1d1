package dump

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// scrubAll compares every page that is home, and returns how many are damaged.
func (r *rig) scrubAll() (damaged int) {
	r.d.scrub.rest = time.Time{}
	for first := true; first || r.d.scrub.next > 0; first = false {
		damaged += r.d.scrubPieces()
	}
	return damaged
}

// homes lists a page of each segment that has pages home.
func (r *rig) homes() (rows []int32) {
	for shard := range r.d.home.table.lines {
		r.d.home.table.each(shard, func(i int32, row *row) {
			if row.place != pagefile.NoPlace && r.d.home.table.sumsOf(i)[0] != 0 {
				rows = append(rows, i)
			}
		})
	}
	return rows
}

// What a disk has lost since it took it is found and written again elsewhere:
// the next process misses nothing.
func TestScrubMendsWhatTheDiskLost(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(map[bool]string{false: "in the same process", true: "in the next"}[restarted], func(t *testing.T) {
			r := newRig(t, 1, nil)
			var events []Event
			r.cfg.Event = func(e Event) { events = append(events, e) }
			r.d = New(r.cfg, r.f, Start{Opens: 1})
			r.f.churn(200)
			r.flush()
			if restarted {
				r.reopen(r.fs.Kill(r.fs.Ops()))
				r.flush()
			}
			if n := r.scrubAll(); n != 0 || r.d.Stats().Scrubbed == 0 {
				t.Fatalf("%d of %d pages damaged before any was", n, r.d.Stats().Scrubbed)
			}
			name := fakeDir + "/" + pagefile.FileName(pagefile.KindPages, r.d.home.id)
			rows := r.homes()
			moved := map[uint64]uint32{}
			for _, i := range rows[:len(rows)/2] {
				row := &r.d.home.table.rows[i]
				moved[row.number] = row.place
				if err := r.fs.Flip(name, r.d.home.offset(i, 0)+77, 4); err != nil {
					t.Fatal(err)
				}
			}
			generation := r.d.base.record.Generation
			if n := r.scrubAll(); n != len(moved) || len(moved) == 0 {
				t.Fatalf("found %d damaged pages, want %d", n, len(moved))
			}
			last := events[len(events)-1]
			if corrupt := new(pagefile.CorruptionError); last.Kind != Scrub || !errors.As(last.Err, &corrupt) {
				t.Errorf("the event is %+v", last)
			}
			if got := r.flush(); got == generation {
				t.Error("no generation follows")
			}
			for number, place := range moved {
				if row := r.d.home.table.rows[r.d.home.table.at[number]]; row.place == place || row.place == pagefile.NoPlace {
					t.Errorf("segment %x is still at its damaged place %d", number, place)
				}
			}
			if n := r.scrubAll(); n != 0 {
				t.Errorf("%d pages are damaged afterwards", n)
			}
			r.recover(r.fs.Kill(r.fs.Ops()), true) // older generations keep their damage
		})
	}
}

// A scrub happens by itself, after which a generation follows without any write.
func TestScrubByItself(t *testing.T) {
	r := newRig(t, 1, func(c *Config) {
		c.Interval, c.WeakInterval, c.ScrubPause = time.Hour, time.Millisecond, time.Millisecond
	})
	r.f.churn(200)
	before := r.flush()
	i := r.homes()[0]
	name := fakeDir + "/" + pagefile.FileName(pagefile.KindPages, r.d.home.id)
	if err := r.fs.Flip(name, r.d.home.offset(i, 0), 1); err != nil {
		t.Fatal(err)
	}
	r.d.Start()
	deadline := time.Now().Add(time.Minute)
	for r.d.Stats().Generation == before {
		if time.Now().After(deadline) {
			t.Fatal("a damaged page is not found")
		}
		time.Sleep(time.Millisecond)
	}
	if s := r.d.Stats(); s.Damaged != 1 {
		t.Errorf("%d pages counted as damaged, want 1", s.Damaged)
	}
	if err := r.d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.recover(r.fs.Kill(r.fs.Ops()), true)
}

// A page that cannot be read past the page cache is read through it; one that
// cannot be read at all is written again.
func TestScrubReadsWhatItCan(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(200)
	r.flush()
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpOpen, Path: "pages-", Err: errors.New("no second handle")})
	if n := r.scrubAll(); n != 0 || r.d.Stats().Scrubbed == 0 {
		t.Errorf("%d of %d pages count as damaged that one handle can read", n, r.d.Stats().Scrubbed)
	}
	remove()
	r.fs.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: "pages-", Times: 1, Err: errors.New("no direct reads")})
	if n := r.scrubAll(); n != 0 {
		t.Errorf("%d pages count as damaged that can be read", n)
	}
	r.fs.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: "pages-", Times: 2, Err: errors.New("bad sector")})
	if n := r.scrubAll(); n == 0 {
		t.Error("no page counts as damaged, though one cannot be read")
	}
	r.flush()
	r.verify()
}

// While a record is in limbo nothing is scrubbed: it may be durable, and a place
// that it alone names would count as named by nobody. // I11
func TestScrubWaitsForARecordInLimbo(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(80)
	r.flush()
	r.f.churn(80)
	r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Times: 1, Err: errors.New("record disk")})
	r.flushFails()
	if r.d.limbo == nil {
		t.Fatal("no record is in limbo")
	}
	name := fakeDir + "/" + pagefile.FileName(pagefile.KindPages, r.d.home.id)
	for _, i := range r.homes() {
		if err := r.fs.Flip(name, r.d.home.offset(i, 0), 1); err != nil {
			t.Fatal(err)
		}
	}
	r.d.scrub.rest = time.Time{}
	if n := r.d.scrubPieces(); n != 0 || len(r.d.home.places.tainted) != 0 {
		t.Errorf("%d pages moved; of their places %d count as named by nobody", n, len(r.d.home.places.tainted))
	}
	r.flush()
	if n := r.scrubAll(); n == 0 {
		t.Error("nothing is found afterwards")
	}
	r.flush()
	r.recover(r.fs.Kill(r.fs.Ops()), true)
}
