package cache

import (
	"math/rand"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestReadsThatFailOnce opens a cache while reads of some file fail, goes on, and
// ends as a kill does. The next process can read all of it: what the one between
// them had forgotten, overwritten or deleted must not come back.
func TestReadsThatFailOnce(t *testing.T) {
	rng := newRand(t)
	for _, path := range []string{"image-", "blobs-", "records.", "weak-", "pages-", ""} {
		for _, kind := range []crashfs.Kind{crashfs.OpOpen, crashfs.OpRead} {
			t.Run(kind.String()+" "+path, func(t *testing.T) {
				for range fewer(16) {
					r := crashfs.Rule{Kind: kind, Path: path, Skip: rng.Intn(3) * rng.Intn(6), Times: rng.Intn(3), Err: syscall.EIO}
					if path == "" {
						r.Skip++ // the lock
					}
					readFailsOnce(t, rand.New(rand.NewSource(rng.Int63())), r)
				}
			})
		}
	}
}

func readFailsOnce(t *testing.T, rng *rand.Rand, r crashfs.Rule) {
	w := flushed(t, rng, rng.Intn(2) == 0)
	for range rng.Intn(8) {
		w.sets(20)
		w.flush()
	}
	w.sets(20)
	w.weak()
	drop(w.c)
	w.fs = w.fs.Clone()
	w.o, w.cuts = w.on(w.fs), nil
	remove := w.fs.Fail(r)
	w.c = openOn(t, w.o)
	w.verified()
	remove()
	w.cuts = append(w.cuts, cutNote{state: stateOf(w.c)})
	for range 1 + rng.Intn(6) {
		w.sets(5)
		w.deletes(20)
		if rng.Intn(3) == 0 {
			w.flush()
		} else {
			w.weak()
		}
	}
	drop(w.c)
	w.foundByNext(r)
}

// foundByNext opens the files again and wants a cut of the world, the newest that
// was acknowledged or a later one. If none was, a state from before it may be all
// there is.
func (w *world) foundByNext(r crashfs.Rule) {
	w.t.Helper()
	c := openOn(w.t, w.on(w.fs.Clone()))
	defer drop(c)
	st := stateOf(c)
	least, why := w.floor(w.fs.Ops(), true), ""
	if !w.cuts[least].durable && !w.cuts[least].weak {
		return
	}
	for i := len(w.cuts) - 1; i >= least; i-- {
		diff := st.differs(w.cuts[i].state)
		if diff == "" {
			return
		}
		why += "\n  " + diff
	}
	w.fatalf("%+v: %d entries are no state at a cut from %d of %d on%s\nreport %+v", r, len(st), least, len(w.cuts), why, c.Recovery())
}

// TestRecordsThatWereNotReadStayBehind: whoever starts cold because no file could
// be opened writes a record that wins over those that it has not seen.
func TestRecordsThatWereNotReadStayBehind(t *testing.T) {
	fs := crashfs.New()
	w := newWorld(t, newRand(t), fs, 1)
	w.begin(nil)
	for range 40 {
		w.sets(1)
		mustFlush(t, w.c)
	}
	drop(w.c)
	fs = fs.Clone()
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpOpen, Skip: 1, Err: syscall.EMFILE}) // not the lock
	c := openOn(t, w.on(fs))
	remove()
	mustSet(t, c, []byte("a"), []byte("1"))
	g := mustFlush(t, c)
	drop(c)
	c = openOn(t, w.on(fs.Clone()))
	defer drop(c)
	if r := c.Recovery(); r.Generation != g {
		t.Errorf("got generation %d, want %d", r.Generation, g)
	}
	wantValue(t, c, []byte("a"), []byte("1"))
}
