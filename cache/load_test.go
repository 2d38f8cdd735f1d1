package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A stall is a load that waits until it is let go.
type stall struct {
	begun, release chan struct{}
	value          []byte
	err            error
}

func newStall(value string) *stall {
	return &stall{begun: make(chan struct{}), release: make(chan struct{}), value: []byte(value)}
}

func (l *stall) load(context.Context) ([]byte, error) {
	close(l.begun)
	<-l.release
	return l.value, l.err
}

func brings(value string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(value), nil }
}

func fails(err error) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return nil, err }
}

func noLoad(t testing.TB) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		t.Error("a load was begun")
		return nil, errors.New("unwanted")
	}
}

// A got is what GetOrLoad returned, or panicked with.
type got struct {
	value string
	err   error
	panic any
}

// start calls GetOrLoad on a goroutine.
func start(ctx context.Context, c *Cache, key string, load func(context.Context) ([]byte, error)) <-chan got {
	done := make(chan got, 1)
	go func() {
		var g got
		defer func() { g.panic = recover(); done <- g }()
		v, err := c.GetOrLoad(ctx, []byte(key), load)
		g.value, g.err = string(v), err
	}()
	return done
}

// joined waits until n callers wait for the load of another.
func joined(t testing.TB, c *Cache, n uint64) {
	t.Helper()
	soon(t, fmt.Sprint(n, " callers wait"), func() bool { return c.Stats().LoadsShared == n })
}

func wantGot(t testing.TB, what string, g got, value string) {
	t.Helper()
	if g.err != nil || g.panic != nil || g.value != value {
		t.Errorf("%s: %q, %v, panic %v, want %q", what, g.value, g.err, g.panic, value)
	}
}

func mustLoad(t testing.TB, c *Cache, key string, load func(context.Context) ([]byte, error), want string) {
	t.Helper()
	v, err := c.GetOrLoad(context.Background(), []byte(key), load)
	if err != nil || string(v) != want {
		t.Fatalf("GetOrLoad(%q): %q, %v, want %q", key, v, err, want)
	}
}

// TestOneLoadForAll: a thousand callers of one key, and one load that takes 50 ms
// and more, of which each has a copy of its own.
func TestOneLoadForAll(t *testing.T) {
	const callers = 1000
	c := openMemory(t, testOptions(1<<20))
	var all sync.WaitGroup
	load := func(context.Context) ([]byte, error) {
		time.Sleep(50 * time.Millisecond) // what it costs
		joined(t, c, callers-1)
		return []byte("value"), nil
	}
	for range callers {
		all.Go(func() {
			v, err := c.GetOrLoad(context.Background(), []byte("k"), load)
			if string(v) != "value" || err != nil {
				t.Errorf("%q, %v", v, err)
			} else {
				v[0]++ // a race, if others had it
			}
		})
	}
	all.Wait()
	wantValue(t, c, []byte("k"), []byte("value"))
	if st := c.Stats(); st.Loads != 1 || st.Misses != callers || st.LoadsShared != callers-1 || st.LoadErrors != 0 || st.LoadTime <= 0 {
		t.Errorf("%d loads, %d shared, %d misses, %d errors in %v", st.Loads, st.LoadsShared, st.Misses, st.LoadErrors, st.LoadTime)
	}
}

// TestWhoMissedBeforeTheStoreLoadsNothing: a caller that misses, and comes to begin
// a load when another has stored its result, finds that.
func TestWhoMissedBeforeTheStoreLoadsNothing(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	const keys = 300
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range keys {
				v, err := c.GetOrLoad(context.Background(), testKey(i), brings("v"))
				if string(v) != "v" || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			}
		})
	}
	all.Wait()
	if n := c.Stats().Loads; n != keys {
		t.Errorf("%d loads of %d keys", n, keys)
	}
	key, hash := testKey(0), c.hash.sum(testKey(0)) // what such a caller does next
	if f, own := c.shardOf(hash).claim(key, hash, c.newCrew(EntryOptions{})); f != nil || own {
		t.Error("a flight begins over a value that is there")
	}
}

// TestCallersLeaveAlone: a caller whose context ends gets its error at once. The
// load goes on under the first caller's values, without that end.
func TestCallersLeaveAlone(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	type name struct{}
	first, leaveFirst := context.WithCancel(context.WithValue(context.Background(), name{}, "first"))
	second, leaveSecond := context.WithCancel(context.Background())
	l := newStall("value")
	var inside context.Context
	a := start(first, c, "k", func(ctx context.Context) ([]byte, error) { inside = ctx; return l.load(ctx) })
	<-l.begun
	b, third := start(second, c, "k", noLoad(t)), start(context.Background(), c, "k", noLoad(t))
	joined(t, c, 2)
	leaveFirst()
	leaveSecond()
	for what, g := range map[string]got{"first": <-a, "second": <-b} {
		if !errors.Is(g.err, context.Canceled) || g.panic != nil {
			t.Errorf("%s caller: %v, panic %v", what, g.err, g.panic)
		}
	}
	if inside.Err() != nil || inside.Value(name{}) != "first" {
		t.Errorf("the load's context: %v, value %v", inside.Err(), inside.Value(name{}))
	}
	close(l.release)
	wantGot(t, "third", <-third, "value")
	wantValue(t, c, []byte("k"), []byte("value"))
	if _, err := c.GetOrLoad(first, []byte("other"), noLoad(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("a miss under a context that has ended: %v", err)
	}
	if v, err := c.GetOrLoad(first, []byte("k"), noLoad(t)); err != nil || string(v) != "value" {
		t.Errorf("a hit under a context that has ended: %q, %v", v, err)
	}
}

// writesOf are all ways to write key, and what they leave, "" for nothing.
var writesOf = map[string]struct {
	do   func(c *Cache, key []byte) error
	want string
}{
	"Set":        {func(c *Cache, key []byte) error { return c.Set(key, []byte("set")) }, "set"},
	"SetWithTTL": {func(c *Cache, key []byte) error { return c.SetWithTTL(key, []byte("set"), time.Hour) }, "set"},
	"SetEntry": {func(c *Cache, key []byte) error {
		return c.SetEntry(key, []byte("set"), EntryOptions{MemoryOnly: true})
	}, "set"},
	"Delete": {func(c *Cache, key []byte) error { c.Delete(key); return nil }, ""},
	"Clear":  {func(c *Cache, key []byte) error { return c.Clear() }, ""},
	"Compute": {func(c *Cache, key []byte) error {
		return c.Compute(key, func([]byte, bool) ([]byte, Op) { return []byte("set"), OpWrite })
	}, "set"},
	"Compute deletes": {func(c *Cache, key []byte) error {
		return c.Compute(key, func([]byte, bool) ([]byte, Op) { return nil, OpDelete })
	}, ""},
	"Batch sets":   {func(c *Cache, key []byte) error { return c.Batch([]BatchOp{{Key: key, Value: []byte("set")}}) }, "set"},
	"Batch delete": {func(c *Cache, key []byte) error { return c.Batch([]BatchOp{{Key: key}}) }, ""},
}

// TestWritesDuringALoadWin: what is written while a load runs stays, also that a
// key which was not there is deleted. Who waits gets the load's result, who comes
// after the write does not.
func TestWritesDuringALoadWin(t *testing.T) {
	for name, w := range writesOf {
		for _, size := range []int{10, 100 << 10} {
			t.Run(fmt.Sprint(name, " during a load of ", size), func(t *testing.T) {
				c := openMemory(t, testOptions(4<<20))
				old := newStall(strings.Repeat("o", size))
				a := start(context.Background(), c, "k", old.load)
				<-old.begun
				b := start(context.Background(), c, "k", noLoad(t))
				joined(t, c, 1)
				if err := w.do(c, []byte("k")); err != nil {
					t.Fatal(err)
				}
				want, load := w.want, noLoad(t)
				if want == "" {
					want, load = "new", brings("new")
				}
				mustLoad(t, c, "k", load, want)
				close(old.release)
				wantGot(t, "who began the load", <-a, string(old.value))
				wantGot(t, "who joined it", <-b, string(old.value))
				wantValue(t, c, []byte("k"), []byte(want))
				wantNoFlights(t, c)
				checkInvariants(t, c)
			})
		}
	}
}

// TestRefusedWritesDoNotOvertake: what a condition or Compute leaves as it was is no
// write.
func TestRefusedWritesDoNotOvertake(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	l := newStall("value")
	a := start(context.Background(), c, "k", l.load)
	<-l.begun
	if err := c.SetEntry([]byte("k"), nil, EntryOptions{IfStamp: 7}); !errors.Is(err, ErrConflict) {
		t.Errorf("IfStamp: %v", err)
	}
	must(t, c.Compute([]byte("k"), func([]byte, bool) ([]byte, Op) { return nil, OpKeep }))
	close(l.release)
	wantGot(t, "caller", <-a, "value")
	wantValue(t, c, []byte("k"), []byte("value"))
}

// wantNoFlights wants the tables to be empty.
func wantNoFlights(t testing.TB, c *Cache) {
	t.Helper()
	for _, s := range c.shards {
		s.mu.Lock()
		if len(s.flights) != 0 {
			t.Errorf("shard %d has %d flights", s.id, len(s.flights))
		}
		s.mu.Unlock()
	}
}

// TestKeysOfOneHashFlyAlone: flights are told apart by key, so neither results nor
// writes of another key with the same hash touch them.
func TestKeysOfOneHashFlyAlone(t *testing.T) {
	o := testOptions(1 << 20)
	o.hooks.hash = badHashes["constant"]
	c := openMemory(t, o)
	stalls := map[string]*stall{"a": newStall("of a"), "b": newStall("of b"), "c": newStall("of c")}
	results := make(map[string]<-chan got)
	for key, l := range stalls {
		results[key] = start(context.Background(), c, key, l.load)
		<-l.begun
	}
	c.Delete([]byte("b"))
	mustSet(t, c, []byte("d"), []byte("d"))
	for key, l := range stalls {
		close(l.release)
		wantGot(t, key, <-results[key], "of "+key)
	}
	if c.Has([]byte("b")) {
		t.Error("the result of an overtaken load was stored")
	}
	wantValue(t, c, []byte("a"), []byte("of a"))
	wantValue(t, c, []byte("c"), []byte("of c"))
	wantNoFlights(t, c)
}

// TestEvictionDoesNotOvertake: only writes of the key do.
func TestEvictionDoesNotOvertake(t *testing.T) {
	o := testOptions(1 << 20)
	o.Shards = 1
	c := openMemory(t, o)
	l := newStall("value")
	a := start(context.Background(), c, "k", l.load)
	<-l.begun
	for i := range 5000 {
		mustSet(t, c, testKey(i), testValue(i, 400))
	}
	close(l.release)
	wantGot(t, "caller", <-a, "value")
	if c.Stats().Evictions == 0 {
		t.Error("nothing was evicted")
	}
	wantValue(t, c, []byte("k"), []byte("value"))
}

// TestLoadErrorsReachAll: who waits gets the error itself, nothing is stored, and
// the next call loads again.
func TestLoadErrorsReachAll(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	l := newStall("ignored")
	l.err = errors.New("the source is down")
	a := start(context.Background(), c, "k", l.load)
	<-l.begun
	b := start(context.Background(), c, "k", noLoad(t))
	joined(t, c, 1)
	close(l.release)
	for _, g := range []got{<-a, <-b} {
		if !errors.Is(g.err, l.err) || g.value != "" {
			t.Errorf("%q, %v, want %v", g.value, g.err, l.err)
		}
	}
	if c.Has([]byte("k")) {
		t.Error("something was stored")
	}
	mustLoad(t, c, "k", brings("v"), "v")
	if st := c.Stats(); st.Loads != 2 || st.LoadErrors != 1 {
		t.Errorf("%d loads, %d errors, want 2 and 1", st.Loads, st.LoadErrors)
	}
}

func TestBadLoadsAreRefused(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	if _, err := c.GetOrLoad(context.Background(), []byte("k"), nil); err == nil || !strings.Contains(err.Error(), "nil") {
		t.Errorf("no load: %v", err)
	}
	if _, err := c.GetOrLoad(context.Background(), nil, noLoad(t)); !errors.Is(err, ErrKeySize) {
		t.Errorf("no key: %v", err)
	}
	big := make([]byte, 1<<20)
	mustSet(t, c, []byte("k"), []byte("old"))
	c.Delete([]byte("k"))
	v, err := c.GetOrLoad(context.Background(), []byte("k"), func(context.Context) ([]byte, error) { return big, nil })
	if err != nil || !bytes.Equal(v, big) || c.Stats().Rejected != 1 || c.Has([]byte("k")) {
		t.Errorf("a result too large to store: %d bytes, %v, %d rejected", len(v), err, c.Stats().Rejected)
	}
	mustLoad(t, c, "empty", func(context.Context) ([]byte, error) { return nil, nil }, "")
	if !c.Has([]byte("empty")) {
		t.Error("an empty value was not stored")
	}
}

// boom panics somewhere below a loader.
func boom(v any) { panic(v) }

// TestLoaderPanicReachesItsCaller with the stack that it had; the others get an
// error that says so.
func TestLoaderPanicReachesItsCaller(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	why := fmt.Errorf("torn page: %w", ErrNotFound) // which is no answer
	l := newStall("")
	a := start(context.Background(), c, "k", func(ctx context.Context) ([]byte, error) {
		_, _ = l.load(ctx)
		boom(why)
		return nil, nil
	})
	<-l.begun
	b := start(context.Background(), c, "k", noLoad(t))
	joined(t, c, 1)
	close(l.release)
	owner, other := <-a, <-b
	err, _ := owner.panic.(error)
	if err == nil || !errors.Is(err, why) || !strings.Contains(err.Error(), "torn page") || !strings.Contains(err.Error(), "cache.boom(") {
		t.Errorf("the caller's panic: %v", owner.panic)
	}
	if other.panic != nil || other.err == nil || !strings.Contains(other.err.Error(), "panicked: torn page") || errors.Is(other.err, ErrNotFound) {
		t.Errorf("the other: %v, panic %v", other.err, other.panic)
	}
	mustLoad(t, c, "k", brings("v"), "v")
}

// TestPanicOfALoadWhoseCallerLeft is logged, once, and is an error of the others.
func TestPanicOfALoadWhoseCallerLeft(t *testing.T) {
	var log lockedBuffer
	o := testOptions(1 << 20)
	o.Logger, o.Name = log.logger(), "users"
	c := openMemory(t, o)
	ctx, leave := context.WithCancel(context.Background())
	l := newStall("")
	a := start(ctx, c, "k", func(ctx context.Context) ([]byte, error) { _, _ = l.load(ctx); boom("lost"); return nil, nil })
	<-l.begun
	b := start(context.Background(), c, "k", noLoad(t))
	joined(t, c, 1)
	leave()
	if g := <-a; !errors.Is(g.err, context.Canceled) {
		t.Errorf("who left: %v, panic %v", g.err, g.panic)
	}
	close(l.release)
	if g := <-b; g.panic != nil || g.err == nil || !strings.Contains(g.err.Error(), "panicked: lost") {
		t.Errorf("who stayed: %v, panic %v", g.err, g.panic)
	}
	mustClose(t, c)
	text := log.String()
	if strings.Count(text, "event=load_panicked") != 1 || !strings.Contains(text, "cache=users") || !strings.Contains(text, "cache.boom(") {
		t.Errorf("the log: %s", text)
	}
}

// TestGoexitInALoaderHangsNobody, as when a test's FailNow is called in one.
func TestGoexitInALoaderHangsNobody(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	l := newStall("")
	a := start(context.Background(), c, "k", func(ctx context.Context) ([]byte, error) { _, _ = l.load(ctx); runtime.Goexit(); return nil, nil })
	<-l.begun
	b := start(context.Background(), c, "k", noLoad(t))
	joined(t, c, 1)
	close(l.release)
	for _, g := range []got{<-a, <-b} {
		if !errors.Is(g.err, errGoexit) || g.panic != nil {
			t.Errorf("%v, panic %v", g.err, g.panic)
		}
	}
	mustLoad(t, c, "k", brings("v"), "v")
	wantNoFlights(t, c)
}

// TestLoadersUseTheCache: a loader may load another key and write its own, and is
// told if it waits for itself.
func TestLoadersUseTheCache(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	mustLoad(t, c, "a", func(ctx context.Context) ([]byte, error) {
		v, err := c.GetOrLoad(ctx, []byte("b"), brings("b"))
		return append([]byte("a and "), v...), err
	}, "a and b")
	wantValue(t, c, []byte("a"), []byte("a and b"))
	wantValue(t, c, []byte("b"), []byte("b"))

	mustLoad(t, c, "own", func(context.Context) ([]byte, error) { return []byte("returned"), c.Set([]byte("own"), []byte("set")) }, "returned")
	wantValue(t, c, []byte("own"), []byte("set")) // a write during the load

	for _, depth := range []int{0, 1, 2} {
		_, err := c.GetOrLoad(context.Background(), []byte("loop"), func(ctx context.Context) ([]byte, error) { return loop(ctx, c, depth) })
		if !errors.Is(err, errOwnKey) {
			t.Errorf("a load that asks for its own key, %d loads between: %v", depth, err)
		}
	}
}

func loop(ctx context.Context, c *Cache, depth int) ([]byte, error) {
	if depth == 0 {
		return c.GetOrLoad(ctx, []byte("loop"), unreached)
	}
	return c.GetOrLoad(ctx, fmt.Append(nil, "between ", depth), func(ctx context.Context) ([]byte, error) { return loop(ctx, c, depth-1) })
}

func unreached(context.Context) ([]byte, error) { return nil, errors.New("not reached") }

// TestLoadsAndClose: Shutdown waits for loads as long as its context; what they
// bring is not stored; then their contexts end.
func TestLoadsAndClose(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	before := runtime.NumGoroutine()
	c := openOn(t, o)
	mustSet(t, c, []byte("there"), []byte("v"))
	l := newStall("late")
	a := start(context.Background(), c, "k", l.load)
	<-l.begun
	closed := make(chan error, 1)
	go func() { closed <- c.Shutdown(context.Background()) }()
	soon(t, "Close is under way", func() bool { return !c.Has([]byte("there")) })
	if _, err := c.GetOrLoad(context.Background(), []byte("k"), noLoad(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	select {
	case err := <-closed:
		t.Errorf("Shutdown did not wait for the load: %v", err)
	default:
	}
	close(l.release)
	wantGot(t, "who waits", <-a, "late")
	if err := <-closed; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	c = openOn(t, o)
	if c.Has([]byte("k")) || !c.Has([]byte("there")) {
		t.Error("what came after Close was stored, or what came before was not")
	}
	cancelled := make(chan error)
	begun := make(chan struct{})
	b := start(context.Background(), c, "k", func(ctx context.Context) ([]byte, error) {
		close(begun)
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 load") {
		t.Errorf("Shutdown with a load that does not end: %v", err)
	}
	if err := <-cancelled; !errors.Is(err, ErrClosed) {
		t.Errorf("the load's context ends with %v, want ErrClosed", err)
	}
	if g := <-b; !errors.Is(g.err, context.Canceled) {
		t.Errorf("who waited: %v", g.err)
	}
	soon(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// TestResultsAfterCloseAreNotStored, while the last generation is still to come.
func TestResultsAfterCloseAreNotStored(t *testing.T) {
	o := testOptions(1 << 20)
	o.Freshness.NegativeTTL = time.Hour
	c := openMemory(t, o)
	for _, err := range []error{nil, ErrNotFound} {
		l := newStall("late")
		l.err = err
		a := start(context.Background(), c, "k", l.load)
		<-l.begun
		c.closed.Store(true)
		close(l.release)
		if g := <-a; !errors.Is(g.err, err) {
			t.Errorf("%v, want %v", g.err, err)
		}
		c.closed.Store(false)
		if n := c.Len(); n != 0 {
			t.Errorf("%d entries after a load that ended with %v", n, err)
		}
	}
}

// TestLoadsAmongWriters: whatever comes between, nothing older than a key's last
// write is served or stays. Each key has one writer, who notes a version in the
// source, then deletes it from the cache or sets it; loads read the source.
func TestLoadsAmongWriters(t *testing.T) {
	rounds := 3000
	if racing {
		rounds = 500
	}
	o := testOptions(1 << 20)
	o.Freshness.StaleFor, o.Freshness.RefreshAfter = time.Hour, 1
	c := openMemory(t, o)
	var sources [4]atomic.Int64
	var all sync.WaitGroup
	ctx := context.Background()
	for n := range sources {
		key, source := testKey(n), &sources[n]
		load := func(context.Context) ([]byte, error) { return fmt.Append(nil, source.Load()), nil }
		stop := make(chan struct{})
		for range 2 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						least := sources[n].Load() // not served: refreshes may be behind
						if v, err := c.GetOrLoad(ctx, key, load); err != nil || len(v) == 0 {
							t.Errorf("version %d: %q, %v", least, v, err)
						}
					}
				}
			})
		}
		all.Go(func() {
			defer close(stop)
			for i := range rounds {
				version := source.Add(1)
				if i%3 == 0 {
					mustSet(t, c, key, fmt.Append(nil, version))
				} else {
					c.Delete(key)
				}
				v, err := c.GetOrLoad(ctx, key, load)
				if want := fmt.Sprint(version); err != nil || string(v) != want {
					t.Errorf("after the write of version %s: %q, %v", want, v, err)
					return
				}
			}
		})
	}
	all.Wait()
	soon(t, "loads in the background have ended", func() bool { return c.loads.background.Load() == 0 })
	wantNoFlights(t, c)
	checkInvariants(t, c)
}
