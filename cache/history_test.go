package cache

import (
	"errors"
	"flag"
	"math/rand"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

var historyStates = flag.Int("historystates", 0, "states of directories that change shape and go back to visit; 0: as many as suit every test run")

// historyShapes are shapes that all keys of a world fit into.
var historyShapes = []sizing{{8 << 20, 1}, {8 << 20, 2}, {32 << 20, 2}, {2 << 20, 1}, {16 << 20, 8}}

// TestCrashAnywhereInAHistory holds directories to the law whose processes want
// other shapes, go back to older generations, both at once, or find a file named
// RESET: whatever the prefix, the state is that of a cut not older than the last
// acknowledged one, and going back and RESET are cuts.
func TestCrashAnywhereInAHistory(t *testing.T) {
	alone(t)
	rng := newRand(t)
	o := &tour{budget: *historyStates}
	if o.budget == 0 {
		o.budget = fewer(1000)
	}
	for o.states < o.budget {
		w := newWorld(t, rand.New(rand.NewSource(rng.Int63())), crashfs.New(), 1)
		w.reshape()
		w.o.Durability.Keep = 2 + w.rng.Intn(3)
		w.begin(state{})
		for range 3 {
			w.history(o)
		}
	}
	t.Logf("%d states after %d prefixes, up to %d crashes in a row", o.states, o.prefixes, o.deepest)
}

// history is some steps of a directory's life, with turns of its fate in between;
// then a crash anywhere, and at last a RESET.
func (w *world) history(o *tour) {
	for range 4 {
		for range 4 + w.rng.Intn(6) {
			w.step()
		}
		if w.rng.Intn(2) == 0 {
			w.reshape()
		}
		w.turn(w.rng.Intn(3))
	}
	w.sets(3)
	w.weak()
	drop(w.c)
	o.visit(w, 3)
	w.fs = w.fs.Clone()
	if w.rng.Intn(2) == 0 {
		w.did("RESET")
		if err := w.fs.Plant(worldDir+"/RESET", nil); err != nil {
			w.t.Fatal(err)
		}
		w.cuts = nil
	}
	w.o, w.start = w.on(w.fs), w.fs.Ops()
	var known state
	if w.cuts == nil {
		known = state{}
	}
	w.begin(known)
	if known == nil {
		w.cuts = append(w.cuts, cutNote{from: w.start, to: w.start, state: stateOf(w.c), weak: true})
	}
}

// reshape has the next process ask for another shape.
func (w *world) reshape() {
	f := historyShapes[w.rng.Intn(len(historyShapes))]
	w.did("%v", f)
	w.o = f.of(w.o)
}

// turn ends the process; the next one refuses the newest n generations.
func (w *world) turn(n int) {
	if w.rng.Intn(2) == 0 {
		w.did("kill")
		drop(w.c)
	} else {
		w.did("close")
		w.note(func() bool { return w.c.Close() == nil })
	}
	if n == 0 {
		w.again()
		return
	}
	w.fs = w.fs.Clone()
	w.o = w.on(w.fs)
	from, refused := w.fs.Ops(), 0
	o := *w.o
	o.Recovery.Validate = func(*Cache) error {
		if refused++; refused > n {
			return nil
		}
		return errors.New("refused")
	}
	w.c = openOn(w.t, &o)
	w.c.persist.stale = nil // Health tells of links
	at, st := w.fs.Ops(), stateOf(w.c)
	back := w.c.opened != 0
	w.did("refused %d generations, opened %d in %d shards: %d entries", n, w.c.opened, len(w.c.shards), len(st))
	w.cuts = append(w.cuts, cutNote{from: from, to: at, state: st, durable: back, weak: back})
}
