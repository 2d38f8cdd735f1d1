package cache

import (
	"context"
	"math/rand"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// crashWorlds are what caches are asked for that crash: one after the other, each
// with full generations that are rare, frequent, or all there is.
var crashWorlds = []struct {
	name   string
	shards int
	with   func(*world)
}{
	{"one shard", 1, func(w *world) {}},
	{"two shards", 2, func(w *world) {}},
	{"the ring elsewhere", 2, func(w *world) { w.o.Durability.WeakDir = "/weak" }},
	{"more kept", 4, func(w *world) { w.o.Durability.Keep = 3 + w.rng.Intn(3) }},
	{"growth", 1, func(w *world) { w.keys = 900 }},
	{"no ring", 1, func(w *world) { w.o.Durability.Weak = -1 }},
	{"no sync", 2, func(w *world) { w.o.Durability.NoSync = true }},
	{"read by position", 1, func(w *world) { w.o.Recovery.Positional = true }},
}

var crashBudgets = []time.Duration{0, 20 * time.Microsecond, 100 * time.Microsecond, 1}

func crashWorld(t testing.TB, rng *rand.Rand, i int) *world {
	kind := &crashWorlds[i%len(crashWorlds)]
	w := newWorld(t, rng, crashfs.New(), kind.shards)
	w.o.Recovery.Budget = crashBudgets[(i+i/len(crashWorlds))%len(crashBudgets)]
	kind.with(w)
	w.did("%s, budget %v", kind.name, w.o.Recovery.Budget)
	w.begin(state{})
	for range w.keys/worldKeys - 1 { // buckets are split
		w.sets(worldKeys)
		w.weak()
		w.sets(worldKeys)
		w.flush()
	}
	return w
}

// checkUnsynced is the law of a cache without syncs after a power cut: what is there
// is of one cut, whichever, and what is not there is counted.
func (w *world) checkUnsynced(c *Cache, st state) {
	w.t.Helper()
	defer drop(c)
	if _, err := c.WaitVerified(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	checkInvariants(w.t, c)
	for i := range w.cuts {
		if st.within(w.cuts[i].state) {
			return
		}
	}
	w.fatalf("%d entries are of no cut: report %+v", len(st), c.Recovery())
}

// checkRetained opens the generations that a directory still has beside the newest,
// at times: each is what it was when it was acknowledged. // I1
func (w *world) checkRetained(fs *crashfs.FS, c *Cache) {
	w.t.Helper()
	if w.rng.Intn(8) != 0 {
		return
	}
	for _, g := range c.Generations() {
		want := w.acknowledged(g)
		if want == nil {
			continue
		}
		o := w.on(fs)
		o.ReadOnly, o.Recovery.Generation = true, g
		o.MaxBytes = max(o.MaxBytes, 8<<20) // it may be of another shape
		old := openOn(w.t, o)
		if diff := want.differs(stateOfKeys(old, w.keys)); diff != "" {
			w.fatalf("generation %d, which is retained: %s", g, diff)
		}
		drop(old)
		w.retained++
	}
}

// acknowledged is a generation's cut, nil if its number was not acknowledged.
func (w *world) acknowledged(generation uint64) *cutNote {
	for i := range w.cuts {
		if c := &w.cuts[i]; c.generation == generation && generation != 0 {
			return c
		}
	}
	return nil
}
