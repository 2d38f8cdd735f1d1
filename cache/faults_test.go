package cache

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

var faultCount = flag.Int("faults", 0, "faults to inject; 0: as many as suit every test run")

// A mishap is what befalls operations of a disk.
type mishap struct {
	name  string
	err   error
	times int // 0: until it is lifted
	short int // of a write, bytes that get through
	loss  crashfs.Loss
	hang  bool
	delay time.Duration
}

// mishaps are all that a disk is made to do here. EINTR is what is left when the
// system's own calls have been repeated.
var mishaps = []mishap{
	{name: "EIO", err: syscall.EIO},
	{name: "EIO, its writes lost at once", err: syscall.EIO, loss: crashfs.LossAtOnce},
	{name: "EIO, its writes kept", err: syscall.EIO, loss: crashfs.LossNone},
	{name: "EIO once", err: syscall.EIO, times: 1},
	{name: "EIO twice after a part", err: syscall.EIO, times: 2, short: 700},
	{name: "ENOSPC", err: syscall.ENOSPC},
	{name: "ENOSPC once after a part", err: syscall.ENOSPC, times: 1, short: 5000},
	{name: "EDQUOT", err: syscall.EDQUOT},
	{name: "EINTR once", err: syscall.EINTR, times: 1},
	{name: "EACCES", err: syscall.EACCES},
	{name: "EROFS", err: syscall.EROFS},
	{name: "EMFILE", err: syscall.EMFILE},
	{name: "hang", hang: true},
	{name: "slow", delay: 10 * time.Millisecond, times: 5},
}

// A moment is when it happens.
type moment string

const (
	atFirst  moment = "first start"
	atWeak   moment = "weak generation"
	atLight  moment = "light generation"
	atFull   moment = "full generation"
	atClose  moment = "close"
	atReopen moment = "open"
)

// touched are the kinds of operations of each moment.
var touched = map[moment][]crashfs.Kind{
	atFirst:  {crashfs.OpOpen, crashfs.OpCreate, crashfs.OpAllocate, crashfs.OpWrite, crashfs.OpSync, crashfs.OpPush, crashfs.OpSyncDir, crashfs.OpRead, crashfs.OpReadDir, crashfs.OpLock, crashfs.OpMkdir, 0},
	atWeak:   {crashfs.OpWrite, 0},
	atLight:  {crashfs.OpOpen, crashfs.OpCreate, crashfs.OpAllocate, crashfs.OpWrite, crashfs.OpSync, crashfs.OpPush, crashfs.OpSyncDir, crashfs.OpRead, crashfs.OpLock, crashfs.OpRemove, 0},
	atFull:   {crashfs.OpOpen, crashfs.OpCreate, crashfs.OpAllocate, crashfs.OpWrite, crashfs.OpSync, crashfs.OpPush, crashfs.OpSyncDir, crashfs.OpRead, crashfs.OpLock, crashfs.OpRemove, 0},
	atClose:  {crashfs.OpCreate, crashfs.OpAllocate, crashfs.OpWrite, crashfs.OpSync, crashfs.OpPush, crashfs.OpSyncDir, crashfs.OpRemove, 0},
	atReopen: {crashfs.OpOpen, crashfs.OpRead, crashfs.OpMap, crashfs.OpReadDir, crashfs.OpLock, 0},
}

// touchedFiles are parts of names; "" is any.
var touchedFiles = []string{"", "", "pages-", "blobs-", "image-", "weak-", "records.0", "records.1", "LOCK", "lease"}

// A fault is one mishap at one moment: what the law is held to.
type fault struct {
	mishap
	kind crashfs.Kind
	path string
	skip int
	at   moment
}

func (tr fault) String() string {
	return fmt.Sprintf("%s, %s: %v of %q after %d", tr.at, tr.name, tr.kind, tr.path, tr.skip)
}

// faultList are all combinations, in the order of rng.
func faultList(rng *rand.Rand) (list []fault) {
	for at, kinds := range touched {
		for _, kind := range kinds {
			for _, m := range mishaps {
				for _, path := range touchedFiles {
					list = append(list, fault{m, kind, path, 0, at})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b fault) int { return strings.Compare(a.String(), b.String()) })
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// An affliction is a fault on its disk.
type affliction struct {
	fault
	hits    atomic.Int64
	blocked chan struct{} // closed when the first operation hangs
	lift    func()
}

func (tr fault) on(fs *crashfs.FS) *affliction {
	a := &affliction{fault: tr, blocked: make(chan struct{})}
	gate, seen := make(chan struct{}), atomic.Int64{}
	first := sync.OnceFunc(func() { close(a.blocked) })
	fs.SetSyncLoss(tr.loss)
	remove := fs.Inject(func(op crashfs.Op) error {
		if tr.kind != 0 && tr.kind != op.Kind || !strings.Contains(op.Path, tr.path) {
			return nil
		}
		n := int(seen.Add(1)) - 1 - tr.skip
		if n < 0 || tr.times > 0 && n >= tr.times {
			return nil
		}
		a.hits.Add(1)
		if tr.hang {
			first()
			<-gate
		}
		time.Sleep(tr.delay)
		if tr.err != nil && op.Kind == crashfs.OpWrite {
			return &crashfs.Short{N: tr.short, Err: tr.err}
		}
		return tr.err
	})
	a.lift = sync.OnceFunc(func() { remove(); close(gate) })
	return a
}

// promptly fails a call that the disk seems to hold up, and returns what is said.
func promptly(t testing.TB, what string, do func()) {
	t.Helper()
	start := time.Now()
	do()
	if took := time.Since(start); took > stalls {
		t.Fatalf("%s took %v", what, took)
	}
}

// serves gets and sets, and changes nothing that an oracle looks at.
func (w *world) serves() {
	w.t.Helper()
	promptly(w.t, "serving", func() {
		for range 20 {
			key := w.key()
			v, ok := w.c.Get(key)
			if !ok {
				continue
			}
			if err := w.c.Set(key, v); err != nil {
				w.fatalf("Set returned %v", err)
			}
			wantValue(w.t, w.c, key, v)
		}
	})
}

// under does what may wait for the disk, serves meanwhile, and where the disk
// hangs ends it by its context.
func (w *world) under(a *affliction, do func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err = <-done:
		return err
	case <-a.blocked:
	}
	if a.at != atClose {
		w.serves()
		_, _, _ = w.c.Stats(), w.c.Health(), w.c.Len()
	}
	cancel()
	if a.at == atWeak {
		a.lift()
	}
	select {
	case err = <-done:
	case <-time.After(stalls):
		w.fatalf("%v: it does not end with its context", a)
	}
	return err
}

// acts does what the moment is of, under the fault, and says how it ended.
func (w *world) acts(a *affliction) (err error) {
	w.note(func() bool {
		err = w.under(a, func(ctx context.Context) error {
			switch a.at {
			case atWeak:
				return w.c.persist.dumper.Weak()
			case atClose:
				return w.c.Shutdown(ctx)
			}
			_, err := w.c.Flush(ctx)
			return err
		})
		w.did("%v: %v", a, err)
		return err == nil && a.at != atWeak
	})
	if a.at == atFirst && err != nil {
		w.cuts[len(w.cuts)-1].weak = false // a link is found through a record
	}
	return err
}

// wantHealth wants Health to say what a failure was.
func (w *world) wantHealth(a *affliction, err error) {
	w.t.Helper()
	if err == nil || a.at == atClose || a.hang && a.at == atWeak {
		return
	}
	switch health := w.c.Health(); {
	case errors.Is(err, context.Canceled) && a.hang: // it takes seconds until Health calls that a stall
	case a.err == nil:
		w.fatalf("%v: it failed with %v, and the disk failed nothing", a, err)
	case !errors.Is(err, a.err) && !errors.Is(err, ErrNoSpace):
		w.fatalf("%v: it failed with another error: %v", a, err)
	case !errors.Is(health, a.err) && !errors.Is(health, ErrNoSpace):
		w.fatalf("%v: it failed with %v, Health is %v", a, err, health)
	}
}

// heals wants a generation and a Health without complaint, once the disk is well.
func (w *world) heals(a *affliction) {
	w.t.Helper()
	for range 2 { // a chain that was given up begins again with the first
		w.flush()
	}
	last := w.cuts[len(w.cuts)-1]
	if err := w.c.Health(); !last.durable || err != nil && err != w.c.persist.stale {
		w.fatalf("%v: lifted, durable %v, Health %v", a, last.durable, err)
	}
}

// faultLaw is what one fault is held to. It reports whether the fault was met.
func (o *faultTour) faultLaw(t *testing.T, rng *rand.Rand, tr fault) bool {
	if tr.at == atFirst {
		return o.firstStart(t, rng, tr)
	}
	w := flushed(t, rng, tr.at == atFull)
	if tr.at == atReopen {
		w.sets(60)
		w.weak()
		n := w.fs.Ops()
		drop(w.c)
		return o.nextOpen(w, w.fs.Kill(n), n, tr)
	}
	w.sets(60)
	a := tr.on(w.fs)
	defer a.lift()
	before := stateOf(w.c)
	err := w.acts(a)
	w.wantHealth(a, err)
	o.count(tr, a, err)
	switch {
	case tr.at == atClose:
		a.lift()
		w.again()
		before = stateOf(w.c) // again has looked at it
	case a.hits.Load() == 0:
		drop(w.c)
		return false
	}
	if diff := stateOf(w.c).differs(before); diff != "" {
		w.fatalf("%v: what is served has changed: %s", a, diff)
	}
	n := w.fs.Ops()
	o.nextOpen(w, w.fs.Kill(n), n, tr)
	w.ends()
	a.lift()
	w.heals(a)
	w.ends()
	w.sets(20)
	w.reopen()
	drop(w.c)
	return true
}

// firstStart has the fault before there is anything.
func (o *faultTour) firstStart(t *testing.T, rng *rand.Rand, tr fault) bool {
	w := newWorld(t, rng, crashfs.New(), 1)
	if tr.hang {
		w.o.Recovery.Timeout = 50 * time.Millisecond
	}
	a := tr.on(w.fs)
	defer a.lift()
	err := w.opensUnder(a)
	w.o.Recovery.Timeout = time.Minute // for those that hang nowhere
	if err != nil {
		o.count(tr, a, err)
		a.lift()
		soon(t, "it opens", func() (ok bool) { w.c, err = Open(context.Background(), worldDir, w.o); return err == nil })
	}
	w.cuts = append(w.cuts, cutNote{state: state{}, durable: true, weak: true})
	if w.c.persist.loadErr != nil { // no answer: nothing is written by this process
		o.unanswered(w, w.fs, a, 0)
		return true
	}
	w.sets(60)
	err = w.acts(a)
	w.wantHealth(a, err)
	o.count(tr, a, err)
	if a.hits.Load() > 0 {
		w.ends()
		a.lift()
		w.heals(a)
		w.ends()
		w.reopen()
	}
	drop(w.c)
	return a.hits.Load() > 0
}

// opensUnder opens the world's files under a fault. An error has to be the
// fault's, of the directory or its lock, and nothing else has happened.
func (w *world) opensUnder(a *affliction) (err error) {
	w.t.Helper()
	before := w.fs.Ops()
	promptly(w.t, "Open", func() { w.c, err = Open(context.Background(), worldDir, w.o) })
	if err == nil {
		return nil
	}
	if a.err == nil || !errors.Is(err, a.err) && !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), worldDir) {
		w.fatalf("%v: Open returned %v", a, err)
	}
	for _, op := range w.fs.Log()[before:] {
		if !strings.HasSuffix(op.Path, "/LOCK") && op.Kind != crashfs.OpMkdir {
			w.fatalf("%v: Open failed and changed files: %v", a, op)
		}
	}
	return err
}

// unanswered is for a cache whose disk has not answered Open: it serves, says so,
// and leaves the files as they are.
func (o *faultTour) unanswered(w *world, fs *crashfs.FS, a *affliction, n int) {
	w.t.Helper()
	if w.c.Health() == nil || w.c.Len() != 0 || w.c.Recovery().Reason == nil {
		w.fatalf("%v: no answer, Health %v, %d entries, %+v", a, w.c.Health(), w.c.Len(), w.c.Recovery())
	}
	mustSet(w.t, w.c, []byte("a"), []byte("1"))
	wantValue(w.t, w.c, []byte("a"), []byte("1"))
	if _, err := w.c.Flush(context.Background()); err == nil {
		w.fatalf("%v: no answer, and Flush has written", a)
	}
	o.count(a.fault, a, w.c.Health())
	a.lift()
	mustClose(w.t, w.c)
	w.checkFiles(fs.Clone(), n, false)
}

// nextOpen opens what n operations of a world left, with the fault on that disk
// too: an error, or some of what was acknowledged, and a report that explains what
// is missing; an older state only with an alarm. Then the fault is lifted. Whoever
// ends without having written leaves all that was there; whoever writes goes on.
func (o *faultTour) nextOpen(w *world, fs *crashfs.FS, n int, tr fault) bool {
	next := newWorld(w.t, rand.New(rand.NewSource(w.rng.Int63())), fs, w.o.Shards)
	next.o.Recovery, next.last, next.value = w.o.Recovery, w.last, w.value+1_000_000
	next.o.Recovery.Positional = w.rng.Intn(3) == 0
	if tr.hang {
		next.o.Recovery.Timeout = 50 * time.Millisecond
	}
	tr.at = atReopen
	a := tr.on(fs)
	defer a.lift()
	err := next.opensUnder(a)
	next.o.Recovery.Timeout = time.Minute
	if err != nil {
		o.count(tr, a, err)
		a.lift()
		w.checkFiles(fs.Clone(), n, false)
		return true
	}
	if next.c.persist.loadErr != nil {
		next.cuts = w.cuts
		o.unanswered(next, fs, a, n)
		return true
	}
	if tr.hang {
		a.lift() // the first touch of a page may wait for it
	}
	next.verified()
	st := stateOf(next.c)
	o.count(tr, a, w.explained(a, next.c, st, n))
	if a.hits.Load() == 0 || w.rng.Intn(2) == 0 {
		drop(next.c)
		a.lift()
		w.checkFiles(fs.Clone(), n, false)
		return a.hits.Load() > 0
	}
	next.hurt = true
	next.cuts = append(next.cuts, cutNote{from: n, to: n, state: st})
	next.sets(20)
	next.serves()
	next.wantHealth(a, next.acts(a))
	a.lift()
	next.heals(a)
	next.sets(20)
	next.reopen()
	drop(next.c)
	return true
}

// explained holds what was opened under a fault to the law, and returns the
// report's reason.
func (w *world) explained(a *affliction, c *Cache, st state, n int) error {
	w.t.Helper()
	r, least := c.Recovery(), w.floor(n, false)
	for i := len(w.cuts) - 1; i >= 0; i-- {
		cut := &w.cuts[i]
		if i > least && cut.from >= n || !st.within(cut.state) {
			continue
		}
		missing := len(cut.state) - len(st)
		switch {
		case i < least && !r.MayBeStale && missing == 0 && len(st) > 0:
			w.fatalf("%v: the state of cut %d, the last acknowledged is %d, and no alarm: %+v", a, i, least, r)
		case missing == 0:
			return r.Reason
		case r.Reason == nil || r.Outcome == OutcomeWarm:
			continue // perhaps a later cut was cut short, and this is none of it
		case r.Outcome == OutcomePartial && r.Dropped == 0:
			w.fatalf("%v: %d entries are missing, and none was counted: %+v", a, missing, r)
		}
		return r.Reason
	}
	w.fatalf("%v: %d entries are no part of a state that was acknowledged: %+v", a, len(st), r)
	return nil
}

// A faultTour counts what was injected, and what came of it.
type faultTour struct {
	injected int
	outcomes map[string]int
}

func (o *faultTour) count(tr fault, a *affliction, err error) {
	if a.hits.Load() == 0 {
		return
	}
	what := "went on"
	switch {
	case err != nil && tr.err != nil && errors.Is(err, tr.err):
		what = "its error"
	case errors.Is(err, context.Canceled):
		what = "given up"
	case err != nil:
		what = "another reason"
	}
	o.injected++
	kind := tr.kind.String()
	if tr.kind == 0 {
		kind = "any"
	}
	o.outcomes[fmt.Sprintf("%-16s %-8s %-14s", tr.at, kind, what)]++
}

// TestEveryFault: whatever a disk does, whenever and to whatever operation,
// serving goes on and promptly; Health says it for as long as it matters; what was
// acknowledged durable is there at the next Open, with the disk still failing as far
// as it can be read, and nothing older without an alarm.
func TestEveryFault(t *testing.T) {
	alone(t)
	rng := newRand(t)
	want := *faultCount
	if want == 0 {
		want = fewer(24)
	}
	o := &faultTour{outcomes: make(map[string]int)}
	for cases := 0; o.injected < want; {
		for _, tr := range faultList(rng) {
			tr.skip = rng.Intn(3) * rng.Intn(4)
			o.faultLaw(t, rand.New(rand.NewSource(rng.Int63())), tr)
			if cases++; cases%32 == 0 {
				runtime.GC() // address space
			}
			if o.injected >= want {
				break
			}
		}
	}
	t.Logf("%d faults were injected and met", o.injected)
	var lines []string
	for what, n := range o.outcomes {
		lines = append(lines, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(lines)
	if *faultCount > 0 {
		for _, line := range lines {
			t.Log(line)
		}
	}
}

// TestWhatMayNotBeMadeIsNamed: the lease may not be made. That, and not that it is
// missing, is what Health says.
func TestWhatMayNotBeMadeIsNamed(t *testing.T) {
	fs := crashfs.New()
	c := openOn(t, quietOptions(fs, 1))
	defer drop(c)
	fs.Fail(crashfs.Rule{Kind: crashfs.OpCreate, Path: "LEASE", Err: syscall.EACCES})
	mustSet(t, c, []byte("a"), []byte("1"))
	if _, err := c.Flush(context.Background()); !errors.Is(err, syscall.EACCES) || !errors.Is(c.Health(), syscall.EACCES) {
		t.Errorf("Flush: %v; Health: %v", err, c.Health())
	}
}
