package cache

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

var crashStates = flag.Int("crashstates", 0, "states after a crash to visit; 0: as many as suit every test run")

// A crash is a way to end: what a power cut may leave, or a kill.
type crash struct {
	name string
	kill bool
	cut  crashfs.Cut
}

// crashes are the ways to end that each prefix is put to.
func crashes(rng *rand.Rand) []crash {
	return []crash{
		{name: "killed", kill: true},
		{name: "unsynced lost", cut: crashfs.Cut{Fate: crashfs.FateLost}},
		{name: "unsynced kept", cut: crashfs.Cut{Fate: crashfs.FateKept}},
		{name: "reordered", cut: crashfs.Cut{Seed: rng.Uint64(), Whole: true}},
		{name: "torn at 512", cut: crashfs.Cut{Seed: rng.Uint64(), Sector: 512, Garbage: true}},
		{name: "torn at 4096", cut: crashfs.Cut{Seed: rng.Uint64(), Sector: 4096}},
		{name: "names lost", cut: crashfs.Cut{Fate: crashfs.FateKept, Names: crashfs.NamesLost}},
		{name: "bytes lost", cut: crashfs.Cut{Fate: crashfs.FateLost, Names: crashfs.NamesKept}},
	}
}

// someCrashes are the first three and two of the others, for a run that is short.
func someCrashes(rng *rand.Rand) []crash {
	list := crashes(rng)
	rest := list[3:]
	rng.Shuffle(len(rest), func(i, k int) { rest[i], rest[k] = rest[k], rest[i] })
	return list[:5]
}

// after is what the next process finds. The boot id lies half the time.
func (w *world) after(n int, how crash) (fs *crashfs.FS) {
	lies := w.rng.Intn(2) == 0
	if how.kill {
		if fs = w.fs.Kill(n); lies {
			fs.SetBootID("00000000-0000-4000-8000-00000000dead")
		}
	} else if fs = w.fs.Crash(n, how.cut); lies {
		fs.SetBootID(w.fs.BootID())
	}
	return fs
}

// A tour visits crash points until it has seen enough.
type tour struct {
	states, budget int
	every, seldom  int // one prefix in so many is visited, one state in so many lives on; 0: as ever
	prefixes       int
	deepest        int
	seen           map[string]int // states, by what made them
}

func (o *tour) count(what string) {
	if o.seen == nil {
		o.seen = make(map[string]int)
	}
	o.seen[what]++
}

// String is what the tour has seen.
func (o *tour) String() string {
	s := fmt.Sprintf("%d states after %d prefixes, up to %d crashes in a row", o.states, o.prefixes, o.deepest)
	for _, what := range slices.Sorted(maps.Keys(o.seen)) {
		s += fmt.Sprintf("; %s: %d", what, o.seen[what])
	}
	return s
}

// visit puts every prefix of a world's log to every way to end. Some of the
// states that this gives live on in a world of their own, for a crash during the
// first generations after recovery, and so on.
func (o *tour) visit(w *world, depth int) {
	end := w.fs.Ops()
	o.deepest = max(o.deepest, depth)
	ways, seldom := someCrashes, 800
	if *crashStates > 0 {
		ways, seldom = crashes, 1500
	}
	seldom = cmp.Or(o.seldom, seldom)
	for n := w.start; n <= end; n++ {
		if o.every > 1 && w.rng.Intn(o.every) > 0 {
			continue
		}
		o.prefixes++
		for _, how := range ways(w.rng) {
			o.states++
			o.count(how.name)
			if w.recovers {
				o.count("in recovery")
			}
			if w.doomed {
				o.count("write-back had failed")
			}
			fs := w.after(n, how)
			if (fs.BootID() == w.fs.BootID()) != how.kill {
				o.count("the boot id lied")
			}
			st := w.checkFiles(fs, n, how.kill)
			switch {
			case w.o.Durability.NoSync && !how.kill: // what it lost would be told again
			case depth < 3 && w.rng.Intn(seldom) == 0:
				o.liveOn(w, fs, n, how, st, depth, 4+w.rng.Intn(12))
			case depth < 3 && w.rng.Intn(seldom) == 0:
				o.liveOn(w, fs, n, how, st, depth, 0)
			}
			if o.states%64 == 0 {
				runtime.GC() // address space
			}
		}
	}
	o.seen["retained generations opened"] += w.retained
	o.seen["entries were left out"] += w.lacking
}

// liveOn goes on from a state after a crash for some steps and visits what follows:
// without a step that is recovery alone, Open and the generation that it asks for.
// Write-back of what a kill left fails at times, and no sync tells.
func (o *tour) liveOn(w *world, fs *crashfs.FS, n int, how crash, st state, depth, steps int) {
	next := newWorld(w.t, rand.New(rand.NewSource(w.rng.Int63())), fs, w.o.Shards)
	next.o, next.keys, next.turnover = w.on(fs), w.keys, w.turnover
	next.recovers, next.doomed, next.told = steps == 0, w.doomed, w.left
	next.value = w.value + 1000000
	next.last = append(append(next.last, w.last...), fmt.Sprintf("%s after %d operations", how.name, n))
	if how.kill {
		// What the kill found may be lost with the power, down to what was durable.
		next.start = n
		for _, c := range w.cuts {
			if c.from < n {
				if c.to > n {
					c.durable, c.weak, c.generation = false, false, 0
				}
				next.cuts = append(next.cuts, c)
			}
		}
		if w.rng.Intn(2) == 0 {
			next.did("write-back failed")
			next.doomed = true
			fs.FailWriteback()
		}
		next.begin(nil)
		next.cuts = append(next.cuts, cutNote{from: n, to: n, state: st, weak: true})
	} else {
		next.begin(st)
	}
	for range steps {
		next.step()
	}
	next.flush()
	drop(next.c)
	o.visit(next, depth+1)
}

// TestCrashAnywhere holds every prefix of what a cache asked of its disk to the
// law: the state after Open is the state at some cut not older than the last
// acknowledged one, and equal to it, since nothing was damaged.
func TestCrashAnywhere(t *testing.T) {
	rng := newRand(t)
	o := &tour{budget: *crashStates}
	if o.budget == 0 {
		o.budget = 12000
		if racing || testing.Short() {
			o.budget = 500
		}
	}
	for worlds := 0; o.states < o.budget; worlds++ {
		w := crashWorld(t, rand.New(rand.NewSource(rng.Int63())), worlds)
		o.count("worlds")
		for range 16 + w.rng.Intn(16) {
			w.step()
		}
		drop(w.c)
		o.visit(w, 1)
	}
	t.Log(o)
}

// TestClearBeforePagesAreRead clears while the sizes of most entries are unknown.
func TestClearBeforePagesAreRead(t *testing.T) {
	rng := newRand(t)
	for range 8 {
		clearUnread(t, rng)
	}
}

func clearUnread(t *testing.T, rng *rand.Rand) {
	fs := crashfs.New()
	w := newWorld(t, rng, fs, 1)
	w.begin(nil)
	w.sets(200)
	if err := w.c.Close(); err != nil {
		t.Fatal(err)
	}
	release, _ := holdReads(fs)
	c := openOn(t, w.o)
	for i := range 40 {
		mustSet(t, c, fmt.Appendf(nil, "new-%d", i), testValue(i, 50*i))
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if c.Len() != 0 || c.Bytes() != 0 {
		t.Errorf("%d entries of %d bytes after Clear", c.Len(), c.Bytes())
	}
	release()
	if r, err := c.WaitVerified(context.Background()); err != nil || r.Dropped != 0 {
		t.Errorf("%v, report %+v: what Clear removed is not lost", err, r)
	}
	checkInvariants(t, c)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRestatedRecordKeepsItsChain kills a process that has written the record
// that it found again, for want of a mirror, and nothing after it.
func TestRestatedRecordKeepsItsChain(t *testing.T) {
	fs := crashfs.New()
	w := newWorld(t, newRand(t), fs, 1)
	w.begin(nil)
	g := mustFlush(t, w.c)
	mustSet(t, w.c, []byte("a"), []byte("1"))
	if err := w.c.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
	drop(w.c)
	fs = fs.Clone()
	mirror := worldDir + "/" + pagefile.MirrorName
	if err := fs.Flip(mirror, int64(pagefile.RingSlot(g)*pagefile.MaxRecord), 1); err != nil {
		t.Fatal(err)
	}
	c := openOn(t, w.on(fs))
	wantValue(t, c, []byte("a"), []byte("1"))
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpCreate, Path: "blobs-", Err: syscall.EIO})
	if _, err := c.Flush(context.Background()); err == nil {
		t.Fatal("Flush wrote its blob nowhere")
	}
	remove()
	drop(c)
	fs = fs.Clone()
	c = openOn(t, w.on(fs))
	defer drop(c)
	if r := c.Recovery(); r.Generation <= g {
		t.Fatalf("generation %d was not restated: %+v", g, r)
	}
	wantValue(t, c, []byte("a"), []byte("1"))
}

// TestChainBegunAnewIsNamed loses the weak ring and flushes when nothing has
// changed: what follows in the new ring has to be found.
func TestChainBegunAnewIsNamed(t *testing.T) {
	fs := crashfs.New()
	w := newWorld(t, newRand(t), fs, 1)
	w.begin(nil)
	mustFlush(t, w.c)
	mustSet(t, w.c, []byte("a"), []byte("1"))
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: "weak-", Err: syscall.EIO})
	mustFlush(t, w.c)
	remove()
	mustFlush(t, w.c)
	mustSet(t, w.c, []byte("b"), []byte("2"))
	if err := w.c.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
	drop(w.c)
	fs = fs.Clone()
	c := openOn(t, w.on(fs))
	defer drop(c)
	wantValue(t, c, []byte("a"), []byte("1"))
	wantValue(t, c, []byte("b"), []byte("2"))
}

// chainEnd is where the weak chain ends, and the ring's name.
func chainEnd(t *testing.T, fs *crashfs.FS) (name string, off int64) {
	t.Helper()
	res, err := loader.Load(context.Background(), loader.Options{FS: fs, Dir: worldDir})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	return worldDir + "/" + pagefile.FileName(pagefile.KindWeak, res.Chain.File), int64(res.Chain.Offset)
}

// TestTornLinkHidesNoOther tears the last link before the ring's end. The next
// process takes up the chain before it with a link that only fits at the ring's
// start, and is killed: that link counts, though the torn one still lies where it
// would be looked for first.
func TestTornLinkHidesNoOther(t *testing.T) {
	w := newWorld(t, newRand(t), crashfs.New(), 1)
	w.begin(nil)
	link := func(c *Cache, key string, n int) {
		mustSet(t, c, []byte(key), testValue(n, n))
		if err := c.persist.dumper.Weak(); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, w.c)
	size := weakRing(w.o.MaxBytes)
	off := int64(0)
	for i := 0; off < size-16<<10; i++ {
		link(w.c, "filling", 7<<10)
		if _, off = chainEnd(t, w.fs); i > 200 {
			t.Fatalf("the ring of %d bytes is not full at %d", size, off)
		}
	}
	mustFlush(t, w.c) // the ring may be written over from here on
	link(w.c, "torn", 500)
	drop(w.c)
	fs := w.fs.Clone()
	name, end := chainEnd(t, fs)
	if end < off {
		t.Fatalf("the chain goes from %d to %d", off, end)
	}
	if err := fs.Flip(name, end-200, 1); err != nil {
		t.Fatal(err)
	}
	c := openOn(t, w.on(fs))
	link(c, "long", 20<<10)
	drop(c)
	fs = fs.Clone()
	c = openOn(t, w.on(fs))
	defer drop(c)
	wantValue(t, c, []byte("long"), testValue(20<<10, 20<<10))
	if _, ok := c.Get([]byte("torn")); ok {
		t.Error("half of a link counts")
	}
}

// TestLinksOfAnotherHistoryStayOut: a link that was lost is written anew by the
// next process, exactly as long; the old one after it has the right number and the
// right place, and follows another.
func TestLinksOfAnotherHistoryStayOut(t *testing.T) {
	w := newWorld(t, newRand(t), crashfs.New(), 1)
	w.begin(nil)
	weak := func(c *Cache, key string, n int) {
		mustSet(t, c, []byte(key), testValue(n, n))
		if err := c.persist.dumper.Weak(); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, w.c)
	weak(w.c, "lost", 2000)
	name, end := chainEnd(t, w.fs)
	weak(w.c, "old", 500)
	drop(w.c)
	for n := 1000; n < 2200; n += 16 {
		fs := w.fs.Clone()
		if err := fs.Flip(name, end-200, 1); err != nil {
			t.Fatal(err)
		}
		c := openOn(t, w.on(fs))
		weak(c, "anew", n)
		drop(c)
		fs = fs.Clone()
		_, now := chainEnd(t, fs)
		c = openOn(t, w.on(fs))
		_, ok := c.Get([]byte("old"))
		wantValue(t, c, []byte("anew"), testValue(n, n))
		drop(c)
		if ok {
			t.Fatal("a link counts that follows another")
		}
		if now == end {
			return
		}
	}
	t.Fatal("no link is as long as the one that was lost")
}
