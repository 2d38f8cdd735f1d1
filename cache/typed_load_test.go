package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A table is what loads read, and what they asked it for.
type table struct {
	mu    sync.Mutex
	has   map[int]string
	asked [][]int
}

func (s *table) one(_ context.Context, key int) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, []int{key})
	if v, ok := s.has[key]; ok {
		return v, nil
	}
	return "", fmt.Errorf("row %d: %w", key, ErrNotFound)
}

func (s *table) many(_ context.Context, keys []int) (map[int]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, slices.Clone(keys))
	found := make(map[int]string)
	for _, key := range keys {
		if v, ok := s.has[key]; ok {
			found[key] = v
		}
	}
	clear(keys) // they are the load's own
	return found, nil
}

// wantAsked wants these calls since the last time.
func (s *table) wantAsked(t testing.TB, want ...[]int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.EqualFunc(s.asked, want, slices.Equal) {
		t.Errorf("asked for %v, want %v", s.asked, want)
	}
	s.asked = nil
}

func rows(t testing.TB, c *Cache, o *TypedOptions[int, string]) *Typed[int, string] {
	t.Helper()
	return mustOf(t, c, Int[int](), String(), o)
}

func wantMany(t testing.TB, v *Typed[int, string], keys []int, want map[int]string) {
	t.Helper()
	got, err := v.GetOrLoadMany(context.Background(), keys, nil)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("GetOrLoadMany(%v): %v, %v, want %v", keys, got, err, want)
	}
}

// TestManyKeysOneLoad: one call covers what is missing; what it leaves out does not
// exist, and that is kept.
func TestManyKeysOneLoad(t *testing.T) {
	o, k := freshOptions(Freshness{NegativeTTL: time.Minute, Jitter: -1})
	c := openMemory(t, o)
	db := &table{has: map[int]string{1: "one", 2: "two", 3: "three"}}
	v := rows(t, c, &TypedOptions[int, string]{LoadMany: db.many})
	must(t, v.Set(2, "set"))
	want := map[int]string{1: "one", 2: "set", 3: "three"}
	wantMany(t, v, []int{1, 2, 9, 3, 1}, want)
	db.wantAsked(t, []int{1, 9, 3})
	wantMany(t, v, []int{1, 2, 9, 3, 1}, want)
	db.wantAsked(t)
	if _, err := v.GetOrLoad(context.Background(), 9, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("what a load left out: %v", err)
	}
	db.wantAsked(t)
	k.pass(time.Minute)
	db.has[9] = "nine"
	if got, err := v.GetOrLoad(context.Background(), 9, nil); got != "nine" || err != nil {
		t.Errorf("after NegativeTTL: %q, %v", got, err)
	}
	db.wantAsked(t, []int{9})
	wantMany(t, v, nil, map[int]string{})
	st := c.Stats()
	if st.Loads != 2 || st.LoadErrors != 0 || st.LoadsShared != 0 || st.NegativeHits != 2 {
		t.Errorf("%d loads, %d errors, %d shared, %d negative hits", st.Loads, st.LoadErrors, st.LoadsShared, st.NegativeHits)
	}
	wantNoFlights(t, c)
}

// TestManyShareWithOthers: a key that another is loading is waited for, not asked
// for; writes during the load win, key by key.
func TestManyShareWithOthers(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	v := rows(t, c, nil)
	type result struct {
		m   map[int]string
		err error
	}
	// run begins a call whose load waits for what it is to bring.
	run := func(bring <-chan map[int]string, asked []int, keys ...int) <-chan result {
		done, begun := make(chan result, 1), make(chan []int)
		go func() {
			m, err := v.GetOrLoadMany(context.Background(), keys, func(_ context.Context, keys []int) (map[int]string, error) {
				begun <- keys
				return <-bring, nil
			})
			done <- result{m, err}
		}()
		if got := <-begun; !slices.Equal(got, asked) {
			t.Errorf("of %v it asks for %v, want %v", keys, got, asked)
		}
		return done
	}
	first, second, third := make(chan map[int]string, 1), make(chan map[int]string, 1), make(chan map[int]string, 1)
	a := run(first, []int{1, 2, 3, 4}, 1, 2, 3, 4)
	b := run(second, []int{5}, 3, 4, 5)
	must(t, v.Set(1, "set"))
	v.Delete(2)
	after := run(third, []int{2}, 2, 1)
	third <- map[int]string{2: "new"}
	if r := <-after; r.err != nil || !maps.Equal(r.m, map[int]string{1: "set", 2: "new"}) {
		t.Errorf("after the writes: %v, %v", r.m, r.err)
	}
	second <- map[int]string{5: "five"}
	old := map[int]string{1: "one", 2: "two", 3: "three"}
	first <- old
	if r := <-a; r.err != nil || !maps.Equal(r.m, old) {
		t.Errorf("who began: %v, %v", r.m, r.err)
	}
	if r := <-b; r.err != nil || !maps.Equal(r.m, map[int]string{3: "three", 5: "five"}) {
		t.Errorf("who joined: %v, %v", r.m, r.err)
	}
	if n := c.Stats().LoadsShared; n != 2 {
		t.Errorf("%d keys were waited for, want 2", n)
	}
	for key, want := range map[int]string{1: "set", 2: "new", 3: "three", 5: "five"} {
		wantTyped(t, v, key, want)
	}
	wantMiss(t, v, 4)
	wantNoFlights(t, c)
}

// TestWhichLoadIsTaken: what is given, or what the options say; without any of them
// an error tells.
func TestWhichLoadIsTaken(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	ctx := context.Background()
	for name, tt := range map[string]struct {
		o               TypedOptions[int, string]
		one, many, last string
	}{
		"nothing": {TypedOptions[int, string]{}, "", "", ""},
		"Load": {TypedOptions[int, string]{
			Load: func(context.Context, int) (string, error) { return "L", nil }}, "L", "L", "L"},
		"LoadMany": {TypedOptions[int, string]{LoadMany: manyOf("M")}, "M", "M", "M"},
		"both": {TypedOptions[int, string]{
			Load: func(context.Context, int) (string, error) { return "L", nil }, LoadMany: manyOf("M")}, "L", "M", "L"},
	} {
		tt.o.Namespace = name
		v := rows(t, c, &tt.o)
		one, err1 := v.GetOrLoad(ctx, 1, nil)
		many, err2 := v.GetOrLoadMany(ctx, []int{2}, nil)
		last, err3 := v.Refresh(ctx, 2)
		if one != tt.one || many[2] != tt.many || last != tt.last {
			t.Errorf("%s: %q, %q, %q, want %q, %q, %q", name, one, many[2], last, tt.one, tt.many, tt.last)
		}
		for _, err := range []error{err1, err2, err3} {
			if (tt.one == "") != errors.Is(err, errNoTypedLoad) {
				t.Errorf("%s: %v", name, err)
			}
		}
		given, err := v.GetOrLoad(ctx, 3, func(context.Context, int) (string, error) { return "given", nil })
		m, err2 := v.GetOrLoadMany(ctx, []int{4}, manyOf("given"))
		if given != "given" || m[4] != "given" || err != nil || err2 != nil {
			t.Errorf("%s: a load that is given: %q %v, %v %v", name, given, err, m, err2)
		}
	}
}

func manyOf(value string) func(context.Context, []int) (map[int]string, error) {
	return func(_ context.Context, keys []int) (map[int]string, error) {
		m := make(map[int]string)
		for _, key := range keys {
			m[key] = value
		}
		return m, nil
	}
}

// TestLoadPerKeyRunsSixteen at a time, and each key has a fate of its own.
func TestLoadPerKeyRunsSixteen(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	var begun atomic.Int64
	down := errors.New("down")
	full := make(chan struct{})
	v := rows(t, c, &TypedOptions[int, string]{Load: func(_ context.Context, key int) (string, error) {
		begun.Add(1)
		<-full
		switch {
		case key == 50:
			return "", down
		case key%7 == 0:
			return "", ErrNotFound
		}
		return fmt.Sprint(key), nil
	}})
	var keys []int
	for i := range 100 {
		keys = append(keys, i)
	}
	var most int64
	go func() {
		defer close(full)
		soon(t, "as many as may have begun", func() bool { return begun.Load() >= bulkLanes })
		for range 1000 {
			runtime.Gosched() // no one more does
		}
		most = begun.Load()
	}()
	got, err := v.GetOrLoadMany(context.Background(), keys, nil)
	if !errors.Is(err, down) || len(got) != 100-15-1 || got[51] != "51" {
		t.Errorf("%d values, %v", len(got), err)
	}
	if most != bulkLanes {
		t.Errorf("%d loads at a time, want %d", most, bulkLanes)
	}
	wantMiss(t, v, 50)
	wantTyped(t, v, 51, "51")
}

// TestManyFail: an error goes to all keys of the call, and what was there comes with
// it.
func TestManyFail(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	v := rows(t, c, nil)
	must(t, v.Set(1, "one"))
	down := errors.New("down")
	got, err := v.GetOrLoadMany(context.Background(), []int{1, 2, 3}, func(context.Context, []int) (map[int]string, error) {
		return map[int]string{2: "ignored"}, down
	})
	if !errors.Is(err, down) || !maps.Equal(got, map[int]string{1: "one"}) {
		t.Errorf("%v, %v", got, err)
	}
	wantMiss(t, v, 2)
	ended, end := context.WithCancel(context.Background())
	end()
	got, err = v.GetOrLoadMany(ended, []int{2, 1}, func(context.Context, []int) (map[int]string, error) {
		t.Error("a load was begun under a context that has ended")
		return nil, nil
	})
	if !errors.Is(err, context.Canceled) || !maps.Equal(got, map[int]string{1: "one"}) {
		t.Errorf("under a context that has ended: %v, %v", got, err)
	}
	_, err = v.GetOrLoadMany(context.Background(), []int{4}, func(ctx context.Context, _ []int) (map[int]string, error) {
		return v.GetOrLoadMany(ctx, []int{5, 4}, manyOf("x"))
	})
	if !errors.Is(err, errOwnKey) {
		t.Errorf("a load that asks for its own key: %v", err)
	}
	wantTyped(t, v, 5, "x")
	mustClose(t, c)
	if _, err := v.GetOrLoadMany(context.Background(), []int{1}, manyOf("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestPanicsOfManyLoads: one reaches the caller, any other the log; other callers
// get an error. So with a caller that has left.
func TestPanicsOfManyLoads(t *testing.T) {
	var log lockedBuffer
	o := testOptions(1 << 20)
	o.Logger = log.logger()
	c := openMemory(t, o)
	ctx, leave := context.WithCancel(context.Background())
	release := make(chan struct{})
	var begun sync.WaitGroup
	v := rows(t, c, &TypedOptions[int, string]{Load: func(_ context.Context, key int) (string, error) {
		begun.Done()
		<-release
		boom(fmt.Sprint("key ", key))
		return "", nil
	}})
	caught := func(ctx context.Context, keys ...int) <-chan got {
		done := make(chan got, 1)
		go func() {
			var g got
			defer func() { g.panic = recover(); done <- g }()
			_, g.err = v.GetOrLoadMany(ctx, keys, nil)
		}()
		return done
	}
	begun.Add(5)
	a, gone := caught(context.Background(), 1, 2, 3), caught(ctx, 4, 5)
	begun.Wait()
	b := caught(context.Background(), 2)
	joined(t, c, 1)
	leave()
	if g := <-gone; !errors.Is(g.err, context.Canceled) {
		t.Errorf("who left: %v, panic %v", g.err, g.panic)
	}
	close(release)
	if g := <-a; g.panic == nil || !strings.Contains(fmt.Sprint(g.panic), "panicked: key 1") || !strings.Contains(fmt.Sprint(g.panic), "cache.boom(") {
		t.Errorf("the caller: %v, panic %v", g.err, g.panic)
	}
	if g := <-b; g.panic != nil || g.err == nil || !strings.Contains(g.err.Error(), "panicked: key 2") {
		t.Errorf("the other: %v, panic %v", g.err, g.panic)
	}
	soon(t, "the other four panics are logged", func() bool { return strings.Count(log.String(), "event=load_panicked") == 4 })
}

// TestRefreshLoadsNow: over what is there and over a load that is under way. An
// error leaves what was stored, that there is nothing removes it.
func TestRefreshLoadsNow(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	db := &table{has: map[int]string{1: "new"}}
	v := rows(t, c, &TypedOptions[int, string]{Load: db.one})
	must(t, v.Set(1, "old"))
	if got, err := v.Refresh(context.Background(), 1); got != "new" || err != nil {
		t.Errorf("Refresh: %q, %v", got, err)
	}
	wantTyped(t, v, 1, "new")
	v.Delete(1)
	l := newStall("older")
	a := make(chan string, 1)
	go func() {
		got, _ := v.GetOrLoad(context.Background(), 1, func(ctx context.Context, _ int) (string, error) { b, err := l.load(ctx); return string(b), err })
		a <- got
	}()
	<-l.begun
	db.has[1] = "newest"
	if got, err := v.Refresh(context.Background(), 1); got != "newest" || err != nil {
		t.Errorf("Refresh during a load: %q, %v", got, err)
	}
	close(l.release)
	if got := <-a; got != "older" {
		t.Errorf("who waits for the load: %q", got)
	}
	wantTyped(t, v, 1, "newest")
	delete(db.has, 1)
	if _, err := v.Refresh(context.Background(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Refresh of what is gone: %v", err)
	}
	wantMiss(t, v, 1)
	down := rows(t, c, &TypedOptions[int, string]{Load: func(context.Context, int) (string, error) { return "", errors.New("down") }})
	must(t, v.Set(1, "kept"))
	if _, err := down.Refresh(context.Background(), 1); err == nil || err.Error() != "down" {
		t.Errorf("Refresh that fails: %v", err)
	}
	wantTyped(t, v, 1, "kept")
	wantNoFlights(t, c)
}

// TestViewsHaveFreshnessOfTheirOwn, each in all respects, beside the Cache's.
func TestViewsHaveFreshnessOfTheirOwn(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Minute, Jitter: -1})
	c := openMemory(t, o)
	ctx := context.Background()
	var loads atomic.Int64
	load := func(_ context.Context, key int) (string, error) {
		n := loads.Add(1)
		if key < 0 {
			return "", ErrNotFound
		}
		return fmt.Sprint("load ", n), nil
	}
	view := func(name string, f Freshness) *Typed[int, string] {
		return rows(t, c, &TypedOptions[int, string]{Namespace: name, Freshness: &f, Load: load})
	}
	expires := func(v *Typed[int, string]) time.Duration { e, _ := v.Info(1); return e.Expires.Sub(k.now()) }
	own := view("own", Freshness{TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Minute, RefreshAfter: 30 * time.Minute, Jitter: -1})
	slides := view("slides", Freshness{TTL: time.Hour, Sliding: true, Jitter: -1})
	jitter := view("jitter", Freshness{TTL: time.Hour})
	for _, v := range []*Typed[int, string]{own, slides, jitter} {
		if _, err := v.GetOrLoad(ctx, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if expires(own) != time.Hour || expires(jitter) >= time.Hour || expires(jitter) < 57*time.Minute {
		t.Errorf("they end in %v and %v", expires(own), expires(jitter))
	}
	for range 2 {
		if _, err := own.GetOrLoad(ctx, -1, nil); !errors.Is(err, ErrNotFound) || loads.Load() != 4 {
			t.Errorf("absence: %v after %d loads", err, loads.Load())
		}
	}
	k.pass(40 * time.Minute)
	for _, use := range []func() bool{
		func() bool { _, ok := slides.Get(1); return ok },
		func() bool { return slides.View(1, func([]byte) error { return nil }) == nil },
		func() bool { _, err := slides.GetOrLoad(ctx, 1, nil); return err == nil },
		func() bool { m, err := slides.GetOrLoadMany(ctx, []int{1}, nil); return err == nil && len(m) == 1 },
	} {
		if !use() {
			t.Fatal("missing")
		}
		soon(t, "its time is restarted", func() bool { return expires(slides) == time.Hour })
		k.pass(40 * time.Minute)
	}
	wantRenewed(t, own, 5, "past StaleFor")
	must(t, own.Set(1, "set"))
	k.pass(31 * time.Minute)
	if got, _ := own.GetOrLoad(ctx, 1, nil); got != "set" {
		t.Errorf("due: %q", got)
	}
	atRest(t, c)
	wantRenewed(t, own, 6, "due")
	k.pass(61 * time.Minute)
	if e, ok := own.Info(1); !ok || !e.Stale || own.Has(1) {
		t.Errorf("stale: %+v %v", e, ok)
	}
	wantRenewed(t, own, 6, "stale, served once more")
	atRest(t, c)
	if e, ok := own.Info(1); !ok || e.Stale {
		t.Errorf("renewed: %+v %v", e, ok)
	}
	if _, err := Of(c, Int[int](), String(), &TypedOptions[int, string]{Freshness: &Freshness{TTL: -1}}); err == nil || !strings.Contains(err.Error(), "Freshness.TTL") {
		t.Errorf("a bad Freshness: %v", err)
	}
}

// wantRenewed wants the value that load n brought.
func wantRenewed(t testing.TB, v *Typed[int, string], n int, what string) {
	t.Helper()
	if got, err := v.GetOrLoad(context.Background(), 1, nil); got != fmt.Sprint("load ", n) || err != nil {
		t.Errorf("%s: %q, %v, want load %d", what, got, err, n)
	}
}

// TestDueKeysAreRenewedTogether: one call in the background for those of a
// GetOrLoadMany.
func TestDueKeysAreRenewedTogether(t *testing.T) {
	o, k := freshOptions(Freshness{RefreshAfter: time.Minute, Jitter: -1})
	c := openMemory(t, o)
	db := &table{has: map[int]string{1: "one", 2: "two", 3: "three"}}
	v := rows(t, c, &TypedOptions[int, string]{LoadMany: db.many})
	each := rows(t, c, &TypedOptions[int, string]{Load: db.one})
	for i, v := range []*Typed[int, string]{v, each} {
		before := c.Stats().Loads
		must(t, v.SetMany(map[int]string{1: "old", 2: "old", 4: "old"}))
		k.pass(2 * time.Minute)
		must(t, v.Set(5, "young"))
		wantMany(t, v, []int{1, 2, 3, 4, 5}, map[int]string{1: "old", 2: "old", 3: "three", 4: "old", 5: "young"})
		atRest(t, c)
		wantTyped(t, v, 1, "one")
		wantTyped(t, v, 2, "two")
		wantMiss(t, v, 4) // it exists no more
		if n, want := c.Stats().Loads-before, []uint64{2, 4}[i]; n != want {
			t.Errorf("%d loads, want %d", n, want) // each key of the second lands by itself
		}
		v.Delete(3)
	}
	var calls []string
	for _, keys := range db.asked[:2] {
		calls = append(calls, fmt.Sprint(keys))
	}
	slices.Sort(calls)
	if want := []string{"[1 2 4]", "[3]"}; !slices.Equal(calls, want) || len(db.asked) != 2+4 {
		t.Errorf("asked for %v, want %v and four single keys", db.asked, want)
	}
}

// TestLoadsReplaceWhatDoesNotDecode, and take what Migrate makes of it.
func TestLoadsReplaceWhatDoesNotDecode(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	ctx := context.Background()
	old := rows(t, c, nil)
	must(t, old.SetMany(map[int]string{1: "Ada Lovelace", 2: "nobody", 3: "Kurt Gödel"}))
	c.namespaces.uses = nil // as in a later process
	v := mustOf(t, c, Int[int](), userV2, &TypedOptions[int, v2]{
		Migrate: func(codec string, _ int, old []byte) (v v2, ok bool) {
			v.First, v.Last, ok = strings.Cut(string(old), " ")
			return v, ok && codec == String().Name()
		},
		LoadMany: func(_ context.Context, keys []int) (map[int]v2, error) {
			m := make(map[int]v2)
			for _, key := range keys {
				m[key] = v2{"loaded", fmt.Sprint(key)}
			}
			return m, nil
		},
	})
	if got, err := v.GetOrLoad(ctx, 1, nil); got != (v2{"Ada", "Lovelace"}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	got, err := v.GetOrLoadMany(ctx, []int{2, 3}, nil)
	if want := map[int]v2{2: {"loaded", "2"}, 3: {"Kurt", "Gödel"}}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if st := c.Stats(); st.Loads != 1 || st.Undecoded != 1 {
		t.Errorf("%d loads, %d undecoded", st.Loads, st.Undecoded)
	}
	must(t, c.Set(append(v.keyPrefix, mustAppend(t, Int[int](), 4)...), []byte("nonsense")))
	if got, err := v.GetOrLoad(ctx, 4, nil); got != (v2{"loaded", "4"}) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func mustAppend[T any](t testing.TB, codec Codec[T], v T) []byte {
	t.Helper()
	b, err := codec.Append(nil, v)
	must(t, err)
	return b
}

// TestClearOfANamespaceOvertakes the loads of its keys, and no others.
func TestClearOfANamespaceOvertakes(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	var begun sync.WaitGroup
	release := make(chan struct{})
	load := func(context.Context, int) (string, error) { begun.Done(); <-release; return "loaded", nil }
	var all sync.WaitGroup
	views := make(map[string]*Typed[int, string])
	for _, name := range []string{"a", "b"} {
		v := rows(t, c, &TypedOptions[int, string]{Namespace: name, Load: load})
		views[name] = v
		for key := range 20 {
			begun.Add(1)
			all.Go(func() {
				if got, err := v.GetOrLoad(context.Background(), key, nil); got != "loaded" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	}
	begun.Wait()
	must(t, views["a"].Clear())
	close(release)
	all.Wait()
	for key := range 20 {
		wantMiss(t, views["a"], key)
		wantTyped(t, views["b"], key, "loaded")
	}
	wantNoFlights(t, c)
}

// TestEntriesOfLoadsHaveTheirTTL: that of TypedOptions.TTL, and MemoryOnly.
func TestEntriesOfLoadsHaveTheirTTL(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Hour, Jitter: -1, NegativeTTL: time.Minute})
	c := openMemory(t, o)
	v := rows(t, c, &TypedOptions[int, string]{
		MemoryOnly: true,
		TTL: func(key int, v string) time.Duration {
			if v != "loaded" {
				t.Errorf("TTL of %q", v)
			}
			return []time.Duration{0, time.Second, -1}[key]
		},
		LoadMany: manyOf("loaded"),
	})
	wantMany(t, v, []int{0, 1, 2}, map[int]string{0: "loaded", 1: "loaded", 2: "loaded"})
	for key, want := range []time.Duration{time.Hour, time.Second, 0} {
		e, ok := v.Info(key)
		if got := e.Expires.Sub(k.now()); !ok || want != 0 && got != want || want == 0 && !e.Expires.IsZero() {
			t.Errorf("key %d ends in %v, want %v", key, got, want)
		}
	}
	if _, err := v.GetOrLoad(context.Background(), 7, func(context.Context, int) (string, error) { return "", ErrNotFound }); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for _, s := range c.shards {
		if s.fileEntries != 0 {
			t.Errorf("%d entries that files may hold", s.fileEntries)
		}
	}
}

// TestReadOnlyViewsLoad, and store nothing of it.
func TestReadOnlyViewsLoad(t *testing.T) {
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, Jitter: -1})
	c := openMemory(t, o)
	v := rows(t, c, &TypedOptions[int, string]{LoadMany: manyOf("new")})
	must(t, v.Set(1, "old"))
	k.pass(time.Minute)
	c.mode.Store(modeRead)
	wantMany(t, v, []int{1, 2}, map[int]string{1: "old", 2: "new"})
	for _, load := range []func() (string, error){
		func() (string, error) { return v.GetOrLoad(context.Background(), 2, nil) },
		func() (string, error) { return v.Refresh(context.Background(), 1) },
	} {
		if got, err := load(); got != "new" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if st := c.Stats(); st.Loads != 3 || st.Entries != 1 {
		t.Errorf("%d loads, %d entries, want 3 and 1", st.Loads, st.Entries)
	}
	c.mode.Store(modeWrite)
	wantTyped(t, v, 1, "old")
}

// TestReadOnlyViewsLoadWhatDoesNotDecode: it cannot be dropped, and is found again
// each time.
func TestReadOnlyViewsLoadWhatDoesNotDecode(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	v := rows(t, c, &TypedOptions[int, string]{LoadMany: manyOf("new")})
	for key := range 3 {
		must(t, c.Set(append(bytes.Clone(v.keyPrefix), mustAppend(t, Int[int](), key)...), []byte("nonsense")))
	}
	c.mode.Store(modeRead)
	wantMany(t, v, []int{0, 1, 7}, map[int]string{0: "new", 1: "new", 7: "new"})
	if got, err := v.GetOrLoad(context.Background(), 2, nil); got != "new" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	down := errors.New("down")
	if _, err := v.GetOrLoad(context.Background(), 2, func(context.Context, int) (string, error) { return "", down }); err != down {
		t.Errorf("%v, want %v", err, down)
	}
	if st := c.Stats(); st.Loads != 3 || st.LoadErrors != 1 || st.Undecoded != 0 || st.Entries != 3 {
		t.Errorf("%d loads, %d failed, %d undecoded, %d entries", st.Loads, st.LoadErrors, st.Undecoded, st.Entries)
	}
	wantNoFlights(t, c)
}

// TestMigrateInACallOfManyKeys may panic, and may load a key that the call misses.
func TestMigrateInACallOfManyKeys(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(t, mustOf(t, c, Int[int](), Versioned(String(), 1), nil).SetMany(map[int]string{2: "panics", 3: "loads"}))
	c.namespaces.uses = nil // as in a later process
	var v *Typed[int, string]
	v = rows(t, c, &TypedOptions[int, string]{
		Migrate: func(_ string, key int, _ []byte) (string, bool) {
			if key == 2 {
				boom("migrated")
			}
			got, err := v.GetOrLoad(ctx, 1, nil)
			return "with " + got, err == nil
		},
		LoadMany: manyOf("loaded"),
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		v.GetOrLoadMany(ctx, []int{0, 2}, nil)
	}()
	wantNoFlights(t, c)
	got, err := v.GetOrLoadMany(ctx, []int{0, 1, 3}, nil)
	if want := map[int]string{0: "loaded", 1: "loaded", 3: "with loaded"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// TestLoadsOfACallWaitForEachOther: more than run at a time, each for the next.
func TestLoadsOfACallWaitForEachOther(t *testing.T) {
	const n = 3 * bulkLanes
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var v *Typed[int, string]
	v = rows(t, openMemory(t, testOptions(1<<20)), &TypedOptions[int, string]{Load: func(inner context.Context, key int) (string, error) {
		if key == n-1 {
			return "last", nil
		}
		return v.GetOrLoad(inner, key+1, nil)
	}})
	var keys []int
	want := make(map[int]string)
	for key := range n {
		keys, want[key] = append(keys, key), "last"
	}
	got, err := v.GetOrLoadMany(ctx, keys, nil)
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%d values, %v, want %d", len(got), err, n)
	}
}
