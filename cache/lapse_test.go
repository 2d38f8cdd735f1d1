package cache

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A lapser is a directory whose processes are closed and killed while somebody sets the
// wall clock, and what has certainly passed there: while a process ran, and while none
// did by the difference that the wall clock shows.
type lapser struct {
	t    *testing.T
	rng  *rand.Rand
	k    *wallClock
	o    *Options
	c    *Cache
	sets bool // somebody sets the wall clock
	// The last process wrote. Where it did not, its record tells an earlier time: nobody
	// sets the wall clock while no process runs then.
	wrote bool

	passed       time.Duration // in all
	noted        time.Duration // passed, when the newest record was cut
	wall         time.Time     // the wall clock then
	entries      map[string]*lapsing
	kept, missed int
}

type lapsing struct {
	stored, ttl time.Duration // since the start
	over        bool          // it was seen to be
}

func (l *lapser) set() {
	if !l.sets || l.rng.Intn(3) > 0 {
		return
	}
	sets := []time.Duration{time.Second, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour}
	d := sets[l.rng.Intn(len(sets))]
	l.k.jump([]time.Duration{d, -d}[l.rng.Intn(2)])
}

func (l *lapser) pass(most int) {
	d := time.Duration(l.rng.Intn(most)) * time.Minute
	l.k.pass(d)
	l.passed += d
}

func (l *lapser) store() {
	key := fmt.Sprint(l.rng.Intn(40))
	e := &lapsing{stored: l.passed, ttl: time.Duration(1+l.rng.Intn(600)) * time.Minute}
	must(l.t, l.c.SetWithTTL([]byte(key), nil, e.ttl))
	l.entries[key] = e
}

// check holds what is served against what has passed.
func (l *lapser) check() {
	l.t.Helper()
	for key, e := range l.entries {
		left := e.ttl - (l.passed - e.stored)
		switch got := l.c.Has([]byte(key)); {
		case got && left <= 0:
			l.t.Fatalf("%s was stored for %v, and is there after %v", key, e.ttl, l.passed-e.stored)
		case got && e.over:
			l.t.Fatalf("%s was over, and is back", key)
		case got:
			l.kept++
		case left > 0 && !l.sets:
			l.t.Fatalf("%s was stored for %v, and is gone after %v", key, e.ttl, l.passed-e.stored)
		default:
			e.over = true
			l.missed++
		}
	}
}

func (l *lapser) note() { l.noted, l.wall = l.passed, l.k.now() }

// life is one process.
func (l *lapser) life() {
	l.c = openOn(l.t, l.o)
	l.check()
	for range l.rng.Intn(4) {
		l.set()
		if l.rng.Intn(2) == 0 {
			l.store()
		}
		l.pass(60)
		l.check()
	}
	switch l.rng.Intn(4) {
	case 0: // no record has what came last, its link does not tell the wall clock
		l.store()
		l.wrote = true
		mustWeak(l.t, l.c)
		drop(l.c)
	case 1:
		l.store()
		l.wrote = true
		mustFlush(l.t, l.c)
		l.note()
		drop(l.c)
	default:
		if l.wrote = l.rng.Intn(3) > 0; l.wrote {
			l.store()
		}
		mustClose(l.t, l.c)
		l.note()
	}
}

// down is the time to the next process.
func (l *lapser) down() {
	l.k.pass(time.Duration(l.rng.Intn(120)) * time.Minute)
	if l.wrote {
		l.set()
	}
	if told := l.noted + l.k.now().Round(0).Sub(l.wall.Round(0)); told > l.passed {
		l.passed = told
	}
}

// TestNothingOutlivesItsTimeOverRestarts: what passes while no process runs counts, as
// far as the wall clock tells, also where it was once ahead; and what was over stays so,
// wherever the wall clock is set to. Where it is right nothing ends early.
func TestNothingOutlivesItsTimeOverRestarts(t *testing.T) {
	rng := newRand(t)
	kept, missed := 0, 0
	for run := range 24 {
		k := newWallClock()
		o := quietOptions(crashfs.New(), 1)
		o.Clock, o.Freshness.Jitter = k.now, -1
		l := &lapser{t: t, rng: rng, k: k, o: o, sets: run%4 > 0, entries: make(map[string]*lapsing)}
		mustClose(t, openOn(t, o)) // no chain begins before a record
		l.note()
		for range 12 {
			l.life()
			l.down()
		}
		kept, missed = kept+l.kept, missed+l.missed
	}
	if t.Logf("%d times there, %d times over", kept, missed); kept < 1000 || missed < 1000 {
		t.Error("that proves little")
	}
}

// TestADirectoryAheadOfTheWallClock: after one run under a clock that was ahead, an
// entry lives as long as it was stored for, over restarts, and says when it ends.
func TestADirectoryAheadOfTheWallClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		k := newWallClock()
		o := quietOptions(crashfs.New(), 1)
		o.Clock, o.Freshness.Jitter = k.now, -1
		k.jump(ahead)
		c := openOn(t, o)
		mustSet(t, c, []byte("k"), nil)
		mustClose(t, c)
		k.jump(-ahead)
		c = openOn(t, o)
		must(t, c.SetWithTTL([]byte("hour"), nil, time.Hour))
		ends := k.now().Add(time.Hour)
		for _, left := range []time.Duration{time.Hour, 20 * time.Minute, time.Minute} {
			k.pass(ends.Sub(k.now()) - left)
			if e, ok := c.Info([]byte("hour")); !ok || e.Expires.Sub(ends).Abs() > time.Millisecond || ends.Sub(e.Stored)-time.Hour > time.Millisecond {
				t.Errorf("%v ahead, %v before its end: %v, stored %v, ends %v, want %v", ahead, left, ok, e.Stored, e.Expires, ends)
			}
			mustClose(t, c)
			c = openOn(t, o)
		}
		k.pass(time.Minute)
		wantNothing(t, c, []byte("hour"))
		mustClose(t, c)
		k.pass(20 * time.Hour)
		c = openOn(t, o)
		wantNothing(t, c, []byte("hour"))
		wantValue(t, c, []byte("k"), nil)
		mustClose(t, c)
	}
}

// TestCloseWithoutAChangeKeepsTheTime: what was over while a process served that wrote
// nothing is not back where the wall clock was set back meanwhile.
func TestCloseWithoutAChangeKeepsTheTime(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 2 * time.Hour, 24 * time.Hour} {
		k := newWallClock()
		o := quietOptions(crashfs.New(), 1)
		o.Clock, o.Freshness.Jitter = k.now, -1
		c := openOn(t, o)
		must(t, c.SetWithTTL([]byte("k"), nil, 3*time.Hour))
		for range 2 { // the first Open seals a segment, which is a change
			mustClose(t, c)
			c = openOn(t, o)
		}
		k.pass(3 * time.Hour)
		wantGone := func() {
			t.Helper()
			if c.Has([]byte("k")) {
				t.Errorf("set back by %v: it is there", back)
			}
		}
		wantGone()
		k.jump(-back)
		mustClose(t, c)
		c = openOn(t, o)
		wantGone()
		drop(c)
	}
}

// TestReadersTellTheOwnersTime: a reader beside an owner, and one of an older
// generation, serve nothing that is over for the owner.
func TestReadersTellTheOwnersTime(t *testing.T) {
	k := newWallClock()
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Clock, o.Freshness.Jitter = k.now, -1
	c := openOn(t, o)
	defer func() { drop(c) }()
	must(t, c.SetWithTTL([]byte("hour"), nil, time.Hour))
	mustClose(t, c)
	older := c.persist.dumper.Stats().Generation
	k.jump(24 * time.Hour)
	c = openOn(t, o)
	wantNothing(t, c, []byte("hour"))
	must(t, c.SetWithTTL([]byte("day"), nil, 24*time.Hour))
	mustFlush(t, c)
	k.jump(-24 * time.Hour)
	read := func(generation uint64, day bool) {
		t.Helper()
		r := readerOn(fs, 1)
		r.Clock, r.Recovery.Generation = k.now, generation
		reader := openOn(t, r)
		defer drop(reader)
		if hour, got := reader.Has([]byte("hour")), reader.Has([]byte("day")); hour || got != day {
			t.Errorf("generation %d: hour is there: %v, day %v, want %v", generation, hour, got, day)
		}
	}
	read(0, true)
	read(older, false)
	mustSet(t, c, []byte("k"), nil)
	mustFlush(t, c) // it notes how the clocks are now
	k.pass(24*time.Hour - time.Second)
	read(0, true)
	k.pass(time.Second)
	read(0, false)
	wantNothing(t, c, []byte("day"))
}

// A pausingFS has time pass with each sync of a file that a record names.
type pausingFS struct {
	pagefile.FS
	pause func()
}

type pausingFile struct {
	pagefile.File
	pause func()
}

func (p pausingFS) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	f, err := p.FS.OpenFile(path, flag, perm)
	if base := filepath.Base(path); base == pagefile.RecordsName || base == pagefile.MirrorName {
		return f, err
	}
	return pausingFile{f, p.pause}, err
}

func (f pausingFile) Sync() error {
	f.pause()
	return f.File.Sync()
}

// TestASlowGenerationIsAsOldAsItsCut: the time that a generation took to be written is
// not lost with its process.
func TestASlowGenerationIsAsOldAsItsCut(t *testing.T) {
	k := newWallClock()
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Clock, o.Freshness.Jitter = k.now, -1
	k.jump(24 * time.Hour)
	c := openOn(t, o)
	mustSet(t, c, []byte("k"), nil)
	mustClose(t, c)
	k.jump(-24 * time.Hour)
	o.hooks.fs = pausingFS{fs, func() { k.pass(time.Hour) }}
	c = openOn(t, o)
	must(t, c.SetWithTTL([]byte("hour"), nil, time.Hour))
	mustFlush(t, c)
	wantNothing(t, c, []byte("hour"))
	drop(c)
	o.hooks.fs = fs
	c = openOn(t, o)
	defer drop(c)
	wantNothing(t, c, []byte("hour"))
}
