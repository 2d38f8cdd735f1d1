package cache

import (
	"context"
	"errors"
	"math/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
)

// turnOver replaces everything that is in the cache.
func (r *checkRig) turnOver() {
	r.t.Helper()
	if err := r.c.Clear(); err != nil { // what has proved useful would stay
		r.t.Fatal(err)
	}
	for range int(r.c.opts.MaxBytes>>10) * 5 / 4 {
		r.n++
		mustSet(r.t, r.c, testKey(r.n), testValue(r.n, 1<<10-60))
	}
}

// notes writes and proves a few generations and returns what each had.
func (r *checkRig) notes(n int) (list []*dump.Note) {
	r.t.Helper()
	for range n {
		r.work(150)
		proved(r.t, r.c, r.flush(false))
		h := r.c.persist.dumper.HoldNewest()
		list = append(list, h.Note)
		h.Release()
	}
	return list
}

// wantReadable opens older generations and compares them with what they were.
func (r *checkRig) wantReadable(list []*dump.Note) {
	r.t.Helper()
	for _, note := range list {
		if err := r.c.checkGeneration(note, 0); err != nil {
			r.t.Fatalf("generation %d: %v", note.Generation, err)
		}
		res, err := loader.Load(context.Background(), loader.Options{FS: r.fs.Clone(), Dir: worldDir, Generation: note.Generation})
		if err != nil || res.Record == nil || res.Reason != nil {
			r.t.Fatalf("generation %d: %v, %v", note.Generation, err, res.Reason)
		}
		_ = res.Close()
	}
}

// mismatch writes a generation that is not what memory holds, and has it found.
func (r *checkRig) mismatch() uint64 {
	r.t.Helper()
	r.l.cut = func(c *dump.Cut) { c.Shards[0].Digest++ }
	r.work(50)
	g := r.flush(false)
	r.l.cut = nil
	if err := r.c.selfCheck(0); !errors.Is(err, errMismatch) {
		r.t.Fatalf("generation %d: %v", g, err)
	}
	return g
}

// TestMismatchKeepsWhatCameBefore: the generations before one that is not what
// memory held can be opened for as long as the process lives, and files do not
// grow beyond their bound.
func TestMismatchKeepsWhatCameBefore(t *testing.T) {
	r := newCheckRig(t, nil)
	before := r.notes(3)[1:]
	g := r.mismatch()
	_, disk := r.c.opts.Footprint()
	for round := range 80 { // more than the rings of records have slots
		r.work(400)
		proved(t, r.c, r.flush(round%9 == 0))
		if round%10 == 9 {
			r.wantReadable(before)
		}
		if used := r.fs.Used(); used > disk*11/10 { // with the images of what is kept
			t.Fatalf("round %d: %d bytes on disk, Footprint says %d", round, used, disk)
		}
	}
	if err := r.c.Health(); !errors.Is(err, errMismatch) {
		t.Errorf("generation %d was not what memory held, and Health is %v", g, err)
	}
	mustClose(t, r.c)
	r.c.opts.hooks.source = nil
	r.c = openOn(t, &r.c.opts) // the mark is this process's: the next one retires as ever
	reopened(t, r.c)
	r.work(10)
	r.flush(false)
	r.work(10)
	r.flush(false)
	r.work(10)
	r.flush(false)
	res, err := loader.Load(context.Background(), loader.Options{FS: r.fs.Clone(), Dir: worldDir})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if n := len(res.Retained); n != r.c.opts.Durability.Keep {
		t.Errorf("%d generations are retained after a restart", n)
	}
}

// TestKeptGenerationsMayTakeThePlaces: when what is kept leaves no place,
// persistence stops and says so. Nothing else does.
func TestKeptGenerationsMayTakeThePlaces(t *testing.T) {
	r := newCheckRig(t, nil)
	before := r.notes(3)[1:]
	for range 3 { // three states that share nothing
		r.turnOver()
		before = append(before, r.notes(1)...)
	}
	g := r.mismatch()
	before = before[len(before)-2:]
	_, disk := r.c.opts.Footprint()
	full := false
	for range 8 {
		r.turnOver()
		_, err := r.c.Flush(context.Background())
		full = full || errors.Is(err, ErrNoSpace)
		if err != nil && !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		if used := r.fs.Used(); used > disk {
			t.Fatalf("%d bytes on disk, Footprint says %d", used, disk)
		}
		wantValue(t, r.c, testKey(r.n), testValue(r.n, 1<<10-60))
		r.wantReadable(before)
	}
	st := r.c.Stats()
	if health := r.c.Health(); !full || !errors.Is(health, ErrNoSpace) || st.Rejected != 0 {
		t.Errorf("after generation %d: full %v, Health %v, %+v", g, full, health, st)
	}
}

// TestHoldsGiveWay: the generation that was proved last is held, but not at the
// price of the next one.
func TestHoldsGiveWay(t *testing.T) {
	r := newCheckRig(t, func(o *Options) { o.Durability.Keep = 2 })
	r.turnOver()
	r.notes(1)
	hold := r.c.persist.checks.proved
	for !hold.Broken() {
		r.turnOver()
		r.flush(false)
		if !hold.Broken() {
			r.wantReadable([]*dump.Note{hold.Note})
		}
		if r.c.Stats().Flushes > 100 {
			t.Fatal("a hold does not give way")
		}
	}
	r.turnOver()
	r.notes(1)
	if hold = r.c.persist.checks.proved; hold.Broken() {
		t.Error("what was proved is not held")
	}
	if err := r.c.Health(); err != nil {
		t.Error(err)
	}
}

// TestChecksRunInTheBackground: beside writers that turn the cache over and
// generations without a pause, and end with it.
func TestChecksRunInTheBackground(t *testing.T) {
	r := newCheckRig(t, func(o *Options) {
		o.hooks.step, o.hooks.checkRest = false, time.Millisecond
		o.Durability.Interval, o.Durability.Weak = 5*time.Millisecond, time.Millisecond
	})
	t.Logf("seed %d (set with -seed)", *seedFlag)
	for round := range 4 {
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() { churn(t, r.c, 2*round+w) })
		}
		writers.Wait()
		r.work(10)
		g := r.flush(round%2 == 1)
		soon(t, "the generation is verified", func() bool { return r.c.Stats().LastVerified >= g })
		if err := r.c.persist.checkHealth(); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, r.c)
	if left := r.fs.OpenHandles(); len(left) != 0 {
		t.Errorf("files left open: %v", left)
	}
}

// churn writes values of all sizes, and clears now and then.
func churn(t *testing.T, c *Cache, writer int) {
	rng := rand.New(rand.NewSource(*seedFlag + int64(writer)))
	for i := range 1500 {
		n := rng.Intn(2000)
		if rng.Intn(40) == 0 {
			n = rng.Intn(100 << 10)
		}
		key := testKey(rng.Intn(2000))
		err := c.Set(key, testValue(i, n))
		switch rng.Intn(1000) {
		case 0:
			err = c.Clear()
		case 1, 2, 3, 4, 5, 6, 7:
			c.Delete(key)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// TestAPaceEndsWithTheCache: what waits for its turn to read does not hold up
// Close.
func TestAPaceEndsWithTheCache(t *testing.T) {
	stop := make(chan struct{})
	p := pace{rate: 1, stop: stop}
	if err := p.wait(1 << 40); err != nil { // the first bytes are due at once
		t.Fatal(err)
	}
	close(stop)
	if err := p.wait(1); err != stopped || !strings.Contains(err.Error(), "closed") {
		t.Errorf("got %v, want %v", err, stopped)
	}
}
