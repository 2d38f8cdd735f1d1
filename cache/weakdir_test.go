package cache

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// rings are the weak rings in dir.
func rings(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "weak-*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestWeakDirHoldsTheRing: links go to that folder alone, a killed process finds
// them there, and without the folder the durable state stands.
func TestWeakDirHoldsTheRing(t *testing.T) {
	o := stepOptions(4 << 20)
	o.Durability.WeakDir = t.TempDir()
	dir := warmDir(t, o, 300)
	c := open(t, dir, o)
	mustFlush(t, c)
	mustSet(t, c, []byte("linked"), []byte("1"))
	mustWeak(t, c)
	drop(c)
	if in, out := rings(t, o.Durability.WeakDir), rings(t, dir); len(in) != 1 || len(out) != 0 {
		t.Fatalf("rings in WeakDir %v, in the cache's own %v", in, out)
	}
	elsewhere := *o
	elsewhere.Durability.WeakDir = t.TempDir() // as after a reboot, of a tmpfs
	c = open(t, dir, &elsewhere)
	wantFilled(t, c, 300)
	if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Weak != 0 || c.Has([]byte("linked")) {
		t.Errorf("without its ring: %+v", r)
	}
	drop(c) // nothing was written: the first folder still counts
	c = open(t, dir, o)
	if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Weak != 1 {
		t.Errorf("with its ring: %+v", r)
	}
	wantFilled(t, c, 300)
	wantValue(t, c, []byte("linked"), []byte("1"))
	mustClose(t, c)
}

// TestWeakDirMoves: a ring that lies where none is any more is removed once what
// replaces it is durable twice, and not before.
func TestWeakDirMoves(t *testing.T) {
	o := stepOptions(4 << 20)
	dir := warmDir(t, o, 300)
	old := rings(t, dir)
	moved := *o
	moved.Durability.WeakDir = t.TempDir()
	c := open(t, dir, &moved)
	if now := rings(t, dir); len(old) != 1 || len(now) != 1 {
		t.Fatalf("rings %v, then %v", old, now)
	}
	mustSet(t, c, []byte("k"), []byte("v"))
	mustFlush(t, c)
	if now := rings(t, dir); len(now) != 0 {
		t.Errorf("a ring that nobody reads stays: %v", now)
	}
	if now := rings(t, moved.Durability.WeakDir); len(now) != 1 {
		t.Errorf("rings in WeakDir: %v", now)
	}
	mustSet(t, c, []byte("linked"), []byte("1"))
	mustWeak(t, c)
	drop(c)
	c = open(t, dir, &moved)
	wantValue(t, c, []byte("linked"), []byte("1"))
	wantFilled(t, c, 300)
}

// TestCachesShareAWeakDir: each finds its own links there, and none removes or
// overwrites another's ring, whatever the order in which they come and go.
func TestCachesShareAWeakDir(t *testing.T) {
	shared := t.TempDir()
	var o [3]*Options
	var dirs [3]string
	var caches [3]*Cache
	for i := range o {
		o[i] = stepOptions(2 << 20)
		o[i].hooks.seed = uint64(i + 1)
		o[i].Durability.WeakDir = shared
		dirs[i] = t.TempDir()
		caches[i] = open(t, dirs[i], o[i])
	}
	value := func(i, round int) []byte { return testValue(i*1000+round, 500) }
	for round := range 12 {
		for i, c := range caches {
			for range 3 {
				mustSet(t, c, fmt.Appendf(nil, "flushed-%d", round), value(i, round))
				if _, err := c.Flush(t.Context()); err != nil { // a number may be taken: the next is not
					t.Fatal(err)
				}
			}
			mustSet(t, c, fmt.Appendf(nil, "linked-%d", round), value(i, round))
			mustWeak(t, c)
		}
		who := round % 3
		for _, i := range []int{who, (who + 1) % 3} {
			if round%2 == 0 {
				drop(caches[i])
			} else {
				mustClose(t, caches[i])
			}
		}
		for _, i := range []int{who, (who + 1) % 3} {
			c := open(t, dirs[i], o[i])
			if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Entries != 2*(round+1) || c.Health() != nil {
				t.Fatalf("round %d, cache %d: Health %v, report %+v", round, i, c.Health(), r)
			}
			for old := range round + 1 {
				wantValue(t, c, fmt.Appendf(nil, "flushed-%d", old), value(i, old))
				wantValue(t, c, fmt.Appendf(nil, "linked-%d", old), value(i, old))
			}
			caches[i] = c
		}
	}
	owners := make(map[uint64]int)
	for _, name := range rings(t, shared) {
		owners[ownerOf(t, name)]++
	}
	if len(owners) != 3 {
		t.Errorf("rings by owner: %v, want those of 3", owners)
	}
	for owner, n := range owners {
		if n > 2 {
			t.Errorf("%d rings of %x add up", n, owner)
		}
	}
}

// ownerOf reads whose a ring is.
func ownerOf(t *testing.T, name string) uint64 {
	t.Helper()
	f, err := pagefile.OS().OpenFile(name, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, id, _ := pagefile.ParseName(filepath.Base(name))
	h, err := pagefile.ReadFileHeader(f, pagefile.KindWeak, id)
	if err != nil {
		t.Fatal(err)
	}
	return h.Geometry.DirID
}

// TestRingOfAnotherSchemaGoes from a folder of its own too.
func TestRingOfAnotherSchemaGoes(t *testing.T) {
	o := stepOptions(1 << 20)
	o.Durability.WeakDir = t.TempDir()
	dir := warmDir(t, o, 100)
	o.Schema = "another"
	c := open(t, dir, o)
	for i := range 3 {
		mustSet(t, c, testKey(i), testValue(i, 100))
		mustFlush(t, c)
	}
	if list := rings(t, o.Durability.WeakDir); len(list) != 1 {
		t.Errorf("rings %v", list)
	}
	mustClose(t, c)
}
