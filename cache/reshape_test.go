package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestCrashAnywhereInAConversion writes in one shape, goes on in another, and
// puts every prefix of what the disk was asked for to every end. Whoever opens
// what is left asks for the second shape, or for a third, and finds the state of a
// cut, never of two.
func TestCrashAnywhereInAConversion(t *testing.T) {
	rng := newRand(t)
	shapes := []sizing{{1 << 20, 1}, {8 << 20, 4}, {4 << 20, 2}}
	o := &tour{budget: *crashStates}
	if o.budget == 0 {
		o.budget = 1500
		if racing || testing.Short() {
			o.budget = 60
		}
	}
	for worlds := 0; o.states < o.budget; worlds++ {
		w := newWorld(t, rand.New(rand.NewSource(rng.Int63())), crashfs.New(), 1)
		first, second, third := shapes[worlds%3], shapes[(worlds+1)%3], shapes[(worlds+2)%3]
		w.o = first.of(w.o)
		w.begin(state{})
		for range 12 {
			w.step()
		}
		w.flush()
		w.sets(20)
		w.weak()
		from := w.fs.Ops()
		w.o = second.of(w.o)
		w.kill()
		for range 6 {
			w.step()
		}
		w.flush()
		drop(w.c)
		if worlds%2 == 1 {
			w.o = third.of(w.o)
		}
		w.start = max(from-20, 0)
		o.visit(w, 2)
	}
	t.Logf("%d states after %d prefixes", o.states, o.prefixes)
}

// TestFailuresInAConversion: whatever fails while the first generation of the new
// shape is written, serving goes on, Health says why, the former generation stays
// the newest, and when the disk is well again the new one follows.
func TestFailuresInAConversion(t *testing.T) {
	rng := newRand(t)
	for i, f := range failures() {
		if f.times == 1 || i%5 > 0 && fewer(4) == 1 {
			continue
		}
		w := flushed(t, rng, false)
		drop(w.c)
		w.fs = w.fs.Clone()
		w.o = sizing{8 << 20, 4}.of(w.on(w.fs))
		remove := w.fs.Fail(crashfs.Rule{Kind: f.kind, Path: f.path, Err: syscall.EIO})
		w.fs.SetSyncLoss(f.loss)
		w.c = openOn(t, w.o)
		if len(w.c.shards) != 4 {
			t.Fatalf("%v of %q fails: %d shards", f.kind, f.path, len(w.c.shards))
		}
		w.set(100)
		w.flush()
		if w.c.Health() == nil {
			t.Errorf("%v of %q fails, and Health does not say so", f.kind, f.path)
		}
		w.start = w.fs.Ops()
		w.ends()
		remove()
		w.sets(10)
		w.flush()
		if err := w.c.Health(); err != nil {
			t.Errorf("%v of %q failed: %v", f.kind, f.path, err)
		}
		w.ends()
		drop(w.c)
	}
}

// TestDiskFullInAConversion: there is no room for both shapes. The cache serves
// from memory and says why; the directory keeps its generation, for whoever comes
// next, and once there is room the new one.
func TestDiskFullInAConversion(t *testing.T) {
	w := flushed(t, newRand(t), false)
	w.sets(100)
	w.flush()
	drop(w.c)
	known := w.cuts[len(w.cuts)-1].state
	w.fs = w.fs.Clone()
	w.o = sizing{8 << 20, 4}.of(w.on(w.fs))
	w.fs.SetBudget(w.fs.Used() + 1<<20)
	w.c = openOn(t, w.o)
	if diff := stateOf(w.c).differs(known); diff != "" {
		t.Fatal(diff)
	}
	w.sets(5)
	if _, err := w.c.Flush(context.Background()); !errors.Is(err, ErrNoSpace) || !errors.Is(w.c.Health(), ErrNoSpace) {
		t.Errorf("Flush: %v, Health: %v", err, w.c.Health())
	}
	st := stateOf(w.c)
	back := sizing{1 << 20, 1}.of(w.on(w.fs.Clone()))
	c := openOn(t, back)
	if diff := stateOf(c).differs(known); diff != "" {
		t.Errorf("in the former shape: %s", diff)
	}
	drop(c)
	w.fs.SetBudget(1 << 40)
	mustFlush(t, w.c)
	drop(w.c)
	w.c = openOn(t, w.on(w.fs.Clone()))
	if diff := stateOf(w.c).differs(st); diff != "" {
		t.Errorf("with room: %s", diff)
	}
	drop(w.c)
}

// TestDamageInAConversion opens a damaged directory in another shape: that costs
// the entries that were damaged, and the report says so, as without; what is
// written then leans on nothing that is damaged.
func TestDamageInAConversion(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, life := range []life{killed, closed} {
		t.Run(string(life), func(t *testing.T) {
			d := newDirectory(t, life)
			d.o = sizing{8 << 20, 8}.of(d.o)
			offsets := make([][]int, len(d.names))
			for i, name := range d.names {
				offsets[i] = d.offsets(name)
			}
			for range fewer(300) {
				i := d.rng.Intn(len(d.names))
				name, off := d.names[i], int64(offsets[i][d.rng.Intn(len(offsets[i]))])
				d.damage(fmt.Sprintf("%s flipped at %d", name, off), name, func(fs *crashfs.FS, file string) error {
					return fs.Flip(file, off, byte(1+d.rng.Intn(255)))
				})
			}
			if d.lost == 0 && !racing && !testing.Short() {
				t.Error("no damage cost anything")
			}
			t.Logf("%d damaged directories, %d lost entries, %d may be stale", d.opened, d.lost, d.alarms)
		})
	}
}

// TestWeakRingOfTheFormerShapeGoes from a folder of its own too.
func TestWeakRingOfTheFormerShapeGoes(t *testing.T) {
	o := stepOptions(1 << 20)
	o.Shards = 1
	o.Durability.WeakDir = t.TempDir()
	dir := warmDir(t, o, 100)
	former := rings(t, o.Durability.WeakDir)
	o.MaxBytes, o.Shards = 4<<20, 4
	c := open(t, dir, o)
	for i := range 3 {
		mustSet(t, c, testKey(i), testValue(i, 100))
		mustFlush(t, c)
	}
	if now := rings(t, o.Durability.WeakDir); len(former) != 1 || len(now) != 1 || now[0] == former[0] {
		t.Errorf("rings %v, before %v", now, former)
	}
	mustClose(t, c)
}
