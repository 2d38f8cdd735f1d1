package cache

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/pagefile"
)

func mustOf[K comparable, V any](t testing.TB, c *Cache, keys Codec[K], values Codec[V], o *TypedOptions[K, V]) *Typed[K, V] {
	t.Helper()
	v, err := Of(c, keys, values, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ints is a view of one namespace, from strings to integers.
func ints(t testing.TB, c *Cache, namespace string) *Typed[string, int] {
	t.Helper()
	return mustOf(t, c, String(), Int[int](), &TypedOptions[string, int]{Namespace: namespace})
}

func wantTyped[K, V comparable](t testing.TB, v *Typed[K, V], key K, want V) {
	t.Helper()
	for name, get := range map[string]func(K) (V, bool){"Get": v.Get, "Peek": v.Peek} {
		if got, ok := get(key); !ok || got != want {
			t.Fatalf("%s(%v) = %v, %v, want %v", name, key, got, ok, want)
		}
	}
}

func wantMiss[K comparable, V any](t testing.TB, v *Typed[K, V], key K) {
	t.Helper()
	_, got := v.Get(key)
	_, peeked := v.Peek(key)
	if got || peeked || v.Has(key) || v.View(key, func([]byte) error { return nil }) == nil {
		t.Fatalf("%v is there", key)
	}
}

// A v1 and a v2 are a struct before and after a deploy.
type v1 struct{ Name string }
type v2 struct{ First, Last string }

var (
	userV1 = Versioned(JSON[v1](), 1)
	userV2 = Versioned(JSON[v2](), 2)
)

// migrateUser is what the second build brings along.
func migrateUser(codec string, _ int, old []byte) (v v2, ok bool) {
	if codec != userV1.Name() {
		return v, false
	}
	o, err := JSON[v1]().Decode(old)
	if err != nil {
		return v, false
	}
	first, last, ok := strings.Cut(o.Name, " ")
	return v2{first, last}, ok
}

func TestTypedStoresWhatItSays(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	v := ints(t, c, "ns")
	must(t, v.Set("key", 258))
	for key, value := range c.All() {
		if got, want := hex.EncodeToString(key), "026e7306737472696e676b6579"; got != want {
			t.Errorf("the key is stored as %s, want %s", got, want)
		}
		if got, want := hex.EncodeToString(value), "03696e740201000000000000"; got != want {
			t.Errorf("the value is stored as %s, want %s", got, want)
		}
		info, ok := v.Info("key")
		if raw, _ := c.Info(key); !ok || info != raw {
			t.Errorf("Info is %+v, that of the stored entry %+v", info, raw)
		}
	}
	if err := v.View("key", func(raw []byte) error {
		if !bytes.Equal(raw, []byte{2, 1, 0, 0, 0, 0, 0, 0}) {
			t.Errorf("View shows %x", raw)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	wantTyped(t, v, "key", 258)
	if !v.Has("key") || !v.Delete("key") || v.Delete("key") {
		t.Error("Has or Delete is wrong about what is there")
	}
	wantMiss(t, v, "key")
}

// TestNamespacesNeverMeet, whatever their names and keys would be put together.
func TestNamespacesNeverMeet(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	want := make(map[string]map[string]int)
	views := make(map[string]*Typed[string, int])
	for i, namespace := range []string{"", "a", "ab", "\x01a", "\x00", "a\x06string", strings.Repeat("n", 255)} {
		views[namespace], want[namespace] = ints(t, c, namespace), make(map[string]int)
		for j, key := range []string{"", "bc", "c", "a", "\x06stringc", "string", "\x01abc"} {
			want[namespace][key] = 100*i + j
			must(t, views[namespace].Set(key, 100*i+j))
		}
	}
	must(t, c.Set([]byte("plain"), []byte("value")))
	check := func() {
		t.Helper()
		for namespace, v := range views {
			if got := maps.Collect(v.All()); !maps.Equal(got, want[namespace]) {
				t.Errorf("namespace %q holds %v, want %v", namespace, got, want[namespace])
			}
			if got := slices.Sorted(v.Keys()); !slices.Equal(got, slices.Sorted(maps.Keys(want[namespace]))) {
				t.Errorf("namespace %q has the keys %q", namespace, got)
			}
			if got := slices.Sorted(v.Values()); !slices.Equal(got, slices.Sorted(maps.Values(want[namespace]))) {
				t.Errorf("namespace %q has the values %v", namespace, got)
			}
		}
	}
	check()
	for _, namespace := range []string{"a", ""} {
		must(t, views[namespace].Clear())
		clear(want[namespace])
		check()
	}
	wantValue(t, c, []byte("plain"), []byte("value"))
	for range views["ab"].All() {
		break
	}
	checkInvariants(t, c)
}

// TestADeployIsWarm: a changed struct with Migrate is there after a restart and
// keeps its expiry, without it is not, and neither is an error. Others stay.
func TestADeployIsWarm(t *testing.T) {
	dir, o := t.TempDir(), stepOptions(4<<20)
	var now atomic.Int64
	o.Clock = func() time.Time { return time.UnixMilli(1_700_000_000_000 + now.Load()) }
	const n = 500
	c := open(t, dir, o)
	old := mustOf(t, c, Int[int](), userV1, &TypedOptions[int, v1]{Namespace: "user"})
	left := mustOf(t, c, Int[int](), userV1, &TypedOptions[int, v1]{Namespace: "left"})
	for i := range n {
		must(t, old.SetWithTTL(i, v1{fmt.Sprintf("Ada %d", i)}, time.Hour))
		must(t, left.Set(i, v1{"x"}))
		must(t, ints(t, c, "other").Set(fmt.Sprint(i), i))
	}
	must(t, old.Set(n, v1{"nospace"})) // which Migrate refuses
	stored, _ := old.Info(0)
	mustClose(t, c)

	now.Add(1000)
	c = open(t, dir, o)
	calls := 0
	user := mustOf(t, c, Int[int](), userV2, &TypedOptions[int, v2]{Namespace: "user", Migrate: func(codec string, key int, old []byte) (v2, bool) {
		calls++
		return migrateUser(codec, key, old)
	}})
	cold := mustOf(t, c, Int[int](), userV2, &TypedOptions[int, v2]{Namespace: "left"})
	for range 2 { // the second time without Migrate
		for i := range n {
			wantTyped(t, user, i, v2{"Ada", fmt.Sprint(i)})
			wantMiss(t, cold, i)
			wantTyped(t, ints(t, c, "other"), fmt.Sprint(i), i)
		}
	}
	wantMiss(t, user, n)
	if calls != n+1 {
		t.Errorf("Migrate was called %d times for %d values", calls, n+1)
	}
	if got := c.Stats().Undecoded; got != n+1 {
		t.Errorf("%d entries were dropped, want %d", got, n+1)
	}
	info, _ := user.Info(0)
	if info.Expires != stored.Expires || info.Stored != stored.Stored || info.Stamp == stored.Stamp {
		t.Errorf("migrated as %+v from %+v: another value with the same times is wanted", info, stored)
	}
	mustClose(t, c)

	c = open(t, dir, o) // the build after: Migrate is gone, what it made is not
	user = mustOf(t, c, Int[int](), userV2, &TypedOptions[int, v2]{Namespace: "user"})
	for i := range n {
		wantTyped(t, user, i, v2{"Ada", fmt.Sprint(i)})
	}
	mustClose(t, c)
}

// TestAReaderMigratesAndKeepsNothing: a cache that is read-only gives out what
// Migrate makes, each time anew, and drops nothing.
func TestAReaderMigratesAndKeepsNothing(t *testing.T) {
	dir, o := t.TempDir(), stepOptions(1<<20)
	c := open(t, dir, o)
	must(t, ofUsers(t, c, userV1, nil).Set(1, v1{"Ada L"}))
	must(t, ofUsers(t, c, userV1, nil).Set(2, v1{"nospace"}))
	mustClose(t, c)
	ro := *o
	ro.ReadOnly = true
	c = open(t, dir, &ro)
	v := ofUsers(t, c, userV2, migrateUser)
	wantTyped(t, v, 1, v2{"Ada", "L"})
	wantMiss(t, v, 2)
	shown := v.View(1, func(raw []byte) error {
		if got, err := userV2.Decode(raw); err != nil || got != (v2{"Ada", "L"}) {
			t.Errorf("View shows %q", raw)
		}
		return nil
	})
	if shown != nil || !v.Has(1) || !slices.Equal(slices.Collect(v.Keys()), []int{1}) {
		t.Errorf("View gives %v, Has %v, Keys %v", shown, v.Has(1), slices.Collect(v.Keys()))
	}
	if err := v.Clear(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Clear: %v, want ErrReadOnly", err)
	}
	if st := c.Stats(); c.Len() != 2 || st.Undecoded != 0 || st.Deletes != 0 {
		t.Errorf("%d entries of 2 are there, %d were dropped", c.Len(), st.Undecoded)
	}
	mustClose(t, c)
}

// TestEveryMethodMigrates.
func TestEveryMethodMigrates(t *testing.T) {
	want := v2{"Ada", "L"}
	for name, read := range map[string]func(v *Typed[int, v2]) bool{
		"Has":  func(v *Typed[int, v2]) bool { return v.Has(1) },
		"Info": func(v *Typed[int, v2]) bool { _, ok := v.Info(1); return ok },
		"View": func(v *Typed[int, v2]) bool {
			return v.View(1, func(raw []byte) error {
				if got, err := userV2.Decode(raw); err != nil || got != want {
					t.Errorf("View shows %q", raw)
				}
				return nil
			}) == nil
		},
		"All":    func(v *Typed[int, v2]) bool { return maps.Collect(v.All())[1] == want },
		"Keys":   func(v *Typed[int, v2]) bool { return slices.Equal(slices.Collect(v.Keys()), []int{1}) },
		"Values": func(v *Typed[int, v2]) bool { return slices.Equal(slices.Collect(v.Values()), []v2{want}) },
		"Compute": func(v *Typed[int, v2]) (same bool) {
			_ = v.Compute(1, func(old v2, found bool) (v2, Op) { same = found && old == want; return old, OpWrite })
			return same
		},
	} {
		c := openMemory(t, testOptions(1<<20))
		must(t, ofUsers(t, c, userV1, nil).Set(1, v1{"Ada L"}))
		c.namespaces = namespaces{} // as after a restart
		if !read(ofUsers(t, c, userV2, migrateUser)) {
			t.Errorf("%s does not find what Migrate takes", name)
		}
		c.namespaces = namespaces{}
		wantTyped(t, ofUsers(t, c, userV2, nil), 1, want)
	}
}

func ofUsers[V any](t testing.TB, c *Cache, codec Codec[V], migrate func(string, int, []byte) (V, bool)) *Typed[int, V] {
	t.Helper()
	return mustOf(t, c, Int[int](), codec, &TypedOptions[int, V]{Namespace: "user", Migrate: migrate})
}

// TestAWriteWinsOverAMigration, and over dropping what does not decode.
func TestAWriteWinsOverAMigration(t *testing.T) {
	newer := v2{"Grace", "H"}
	for _, takes := range []bool{true, false} {
		for name, write := range map[string]func(v *Typed[int, v2]) error{
			"Set":         func(v *Typed[int, v2]) error { return v.Set(1, newer) },
			"Delete":      func(v *Typed[int, v2]) error { v.Delete(1); return nil },
			"Clear":       func(v *Typed[int, v2]) error { return v.Clear() },
			"Cache.Clear": func(v *Typed[int, v2]) error { return v.c.Clear() },
		} {
			c := openMemory(t, testOptions(1<<20))
			must(t, ofUsers(t, c, userV1, nil).Set(1, v1{"Ada L"}))
			c.namespaces = namespaces{}
			var v *Typed[int, v2]
			v = ofUsers(t, c, userV2, func(codec string, key int, old []byte) (v2, bool) {
				must(t, write(v))
				made, _ := migrateUser(codec, key, old)
				return made, takes
			})
			if got, ok := v.Get(1); ok != takes || ok && got != (v2{"Ada", "L"}) {
				t.Errorf("%s: the Get that migrates returns %v, %v", name, got, ok)
			}
			if name == "Set" {
				wantTyped(t, v, 1, newer)
			} else {
				wantMiss(t, v, 1)
			}
			if got := c.Stats().Undecoded; got != 0 {
				t.Errorf("%s: %d entries were dropped", name, got)
			}
		}
	}
}

// TestWhatDoesNotDecodeIsDroppedAndCounted: values, keys, and what is no view's.
func TestWhatDoesNotDecodeIsDroppedAndCounted(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	wide := mustOf(t, c, String(), Int[int64](), &TypedOptions[string, int64]{Namespace: "n"})
	narrow := mustOf(t, c, String(), Int[int32](), &TypedOptions[string, int32]{Namespace: "n"}) // the same name
	for i, read := range []func() bool{
		func() bool { _, ok := narrow.Get("k"); return ok },
		func() bool { _, ok := narrow.Peek("k"); return ok },
		func() bool { _, ok := maps.Collect(narrow.All())["k"]; return ok },
		func() bool {
			return narrow.Compute("k", func(_ int32, found bool) (int32, Op) {
				if found {
					t.Error("Compute found what does not decode")
				}
				return 0, OpKeep
			}) != nil
		},
	} {
		must(t, wide.Set("k", 1<<40))
		must(t, wide.Set("fits", 7))
		before := c.Stats()
		if read() {
			t.Errorf("reader %d: it decodes", i)
		}
		if got := c.Stats().Sub(before).Undecoded; got != 1 || wide.Has("k") {
			t.Errorf("reader %d: %d dropped, there: %v", i, got, wide.Has("k"))
		}
		wantTyped(t, narrow, "fits", 7)
	}
	for _, garbage := range [][]byte{nil, {200}, {3, 'i', 'n'}, {0}, {3, 'i', 'n', 't', 1}} {
		must(t, wide.Set("k", 1))
		for key := range c.Keys() {
			must(t, c.Set(key, garbage))
		}
		if _, ok := narrow.Get("k"); ok {
			t.Errorf("%x decodes", garbage)
		}
	}
	numbers := mustOf(t, c, Int[int32](), String(), &TypedOptions[int32, string]{Namespace: "keys"})
	must(t, numbers.Set(1, "one"))
	must(t, mustOf(t, c, Int[int64](), String(), &TypedOptions[int64, string]{Namespace: "keys"}).Set(1<<40, "many"))
	before := c.Stats()
	if got := maps.Collect(numbers.All()); len(got) != 1 || c.Stats().Sub(before).Undecoded != 1 {
		t.Errorf("with a key that does not decode: %v, %d dropped", got, c.Stats().Sub(before).Undecoded)
	}
}

// A moodyCodec panics or fails when it is told to.
type moodyCodec struct {
	Codec[string]
	mood *string
}

func (m moodyCodec) Append(dst []byte, v string) ([]byte, error) {
	switch *m.mood {
	case "panic":
		panic("Append")
	case "fail":
		return nil, errors.New("no")
	case "own bytes":
		return []byte(strings.Repeat(v, 20)), nil
	case "large":
		return append(dst, make([]byte, 2<<20)...), nil
	}
	return m.Codec.Append(dst, v)
}

func (m moodyCodec) Decode(src []byte) (string, error) {
	if *m.mood == "panic" {
		panic("Decode")
	}
	return m.Codec.Decode(src)
}

// TestACodecThatFailsOrPanicsChangesNothing.
func TestACodecThatFailsOrPanicsChangesNothing(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	mood := ""
	moody := moodyCodec{String(), &mood}
	v := mustOf(t, c, Codec[string](moody), Codec[string](moody), nil)
	must(t, v.Set("k", "v"))
	for _, m := range []string{"panic", "fail", "own bytes", "large"} {
		for name, do := range map[string]func() error{
			"Get":     func() error { v.Get("k"); return nil },
			"Set":     func() error { return v.Set("k", "w") },
			"SetMany": func() error { return v.SetMany(map[string]string{"k": "w", "l": "w"}) },
			"Compute": func() error { return v.Compute("k", func(string, bool) (string, Op) { return "w", OpWrite }) },
			"Delete":  func() error { v.Delete("k"); return nil },
		} {
			err := func() (err error) {
				defer func() {
					if r := recover(); r != nil {
						err = fmt.Errorf("%v", r)
					}
				}()
				mood = m
				defer func() { mood = "" }()
				return do()
			}()
			if err == nil && (m == "panic" || name != "Get" && name != "Delete") {
				t.Errorf("a codec with mood %q: %s returns nil", m, name)
			}
			if mood = ""; c.Len() != 1 {
				t.Fatalf("a codec with mood %q: after %s there are %d entries", m, name, c.Len())
			}
			wantTyped(t, v, "k", "v")
		}
	}
	func() {
		defer func() { _ = recover() }()
		_ = v.Compute("k", func(string, bool) (string, Op) { panic("fn") })
	}()
	wantTyped(t, v, "k", "v")
	checkInvariants(t, c)
}

func TestOfRefusesMisuse(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	in := func(name string) *TypedOptions[string, string] { return &TypedOptions[string, string]{Namespace: name} }
	named := func(n int) Codec[string] { return versioned[string]{Codec: String(), name: strings.Repeat("c", n)} }
	for name, tt := range map[string]struct {
		c            *Cache
		keys, values Codec[string]
		o            *TypedOptions[string, string]
	}{
		"no cache":         {nil, String(), String(), nil},
		"no key codec":     {c, nil, String(), nil},
		"no value codec":   {c, String(), nil, nil},
		"an empty name":    {c, named(0), String(), nil},
		"a long name":      {c, String(), named(256), nil},
		"a long namespace": {c, String(), String(), in(strings.Repeat("n", 256))},
		"a bad version":    {c, String(), Versioned(String(), -1), nil},
	} {
		if _, err := Of(tt.c, tt.keys, tt.values, tt.o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	mustOf(t, c, String(), named(255), in(strings.Repeat("n", 255)))
	mustOf(t, c, String(), String(), in("users"))
	mustOf(t, c, String(), String(), in("users")) // the same again
	_, err := Of(c, String(), Versioned(String(), 7), in("users"))
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), `"string"`) || !strings.Contains(err.Error(), `"string/v7"`) {
		t.Errorf("another codec: %v", err)
	}
	_, err = Of(c, String(), String(), &TypedOptions[string, string]{Namespace: "users", MemoryOnly: true})
	if !errors.Is(err, ErrSchema) {
		t.Errorf("MemoryOnly: %v", err)
	}
}

func TestTheNearestTTLCounts(t *testing.T) {
	o := testOptions(1 << 20)
	o.Freshness = Freshness{TTL: time.Hour, Jitter: -1}
	c := openMemory(t, o)
	byValue := func(_ string, v int) time.Duration { return time.Duration(v) * time.Second }
	for name, tt := range map[string]struct {
		freshness *Freshness
		byValue   func(string, int) time.Duration
		v         int
		own, want time.Duration
	}{
		"the Cache's":               {nil, nil, 1, 0, time.Hour},
		"the view's":                {&Freshness{TTL: time.Minute, Jitter: -1}, nil, 1, 0, time.Minute},
		"the view's none":           {&Freshness{}, nil, 1, 0, 0},
		"by value":                  {&Freshness{TTL: time.Minute, Jitter: -1}, byValue, 5, 0, 5 * time.Second},
		"by value, the view's":      {&Freshness{TTL: time.Minute, Jitter: -1}, byValue, 0, 0, time.Minute},
		"by value, none":            {&Freshness{TTL: time.Minute, Jitter: -1}, byValue, -1, 0, 0},
		"its own":                   {&Freshness{TTL: time.Minute, Jitter: -1}, byValue, 5, time.Second, time.Second},
		"none of its own":           {&Freshness{TTL: time.Minute, Jitter: -1}, byValue, 5, -1, 0},
		"by value, the Cache's":     {nil, byValue, 0, 0, time.Hour},
		"none of its own, no other": {nil, nil, 1, -1, 0},
	} {
		v := mustOf(t, c, String(), Int[int](), &TypedOptions[string, int]{Freshness: tt.freshness, TTL: tt.byValue})
		for how, store := range map[string]func() error{
			"SetWithTTL": func() error { return v.SetWithTTL("k", tt.v, tt.own) },
			"SetEntry":   func() error { return v.SetEntry("k", tt.v, EntryOptions{TTL: tt.own}) },
			"SetMany":    func() error { return v.SetMany(map[string]int{"k": tt.v}) },
			"Compute":    func() error { return v.Compute("k", func(int, bool) (int, Op) { return tt.v, OpWrite }) },
		} {
			if tt.own != 0 && (how == "SetMany" || how == "Compute") {
				continue
			}
			must(t, store())
			e, _ := v.Info("k")
			got := time.Duration(0)
			if !e.Expires.IsZero() {
				got = e.Expires.Sub(e.Stored)
			}
			if got != tt.want {
				t.Errorf("%s, %s: lives for %v, want %v", name, how, got, tt.want)
			}
		}
	}
}

// TestTypedCounts: hits and misses are of Get and View, and no update of Compute
// is lost.
func TestTypedCounts(t *testing.T) {
	c := openMemory(t, testOptions(2<<20))
	v := ints(t, c, "n")
	const each = 500
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range each {
				if err := v.Compute("k", func(old int, found bool) (int, Op) { return old + 1, OpWrite }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if st := c.Stats(); st.Hits != 0 || st.Misses != 0 {
		t.Errorf("Compute counts %d hits and %d misses", st.Hits, st.Misses)
	}
	wantTyped(t, v, "k", 4*each)
	v.Get("none")
	v.Peek("none")
	v.Has("k")
	if st := c.Stats(); st.Hits != 1 || st.Misses != 1 {
		t.Errorf("%d hits and %d misses, want one of each", st.Hits, st.Misses)
	}
	must(t, v.SetEntry("once", 1, EntryOptions{IfAbsent: true}))
	if err := v.SetEntry("once", 2, EntryOptions{IfAbsent: true}); !errors.Is(err, ErrConflict) {
		t.Errorf("IfAbsent: %v, want ErrConflict", err)
	}
	e, _ := v.Info("once")
	must(t, v.SetEntry("once", 3, EntryOptions{IfStamp: e.Stamp}))
	wantTyped(t, v, "once", 3)
	must(t, v.Compute("once", func(int, bool) (int, Op) { return 0, OpDelete }))
	wantMiss(t, v, "once")
	must(t, v.SetMany(map[string]int{"a": 1, "b": 2}))
	wantTyped(t, v, "a", 1)
	wantTyped(t, v, "b", 2)
	mustClose(t, c)
	wantMiss(t, v, "a")
	for name, err := range map[string]error{
		"Set": v.Set("a", 1), "SetMany": v.SetMany(map[string]int{"a": 1}), "Clear": v.Clear(),
		"Compute": v.Compute("a", func(int, bool) (int, Op) { return 0, OpKeep }),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// TestClearOvertakesTheLoadsOfItsNamespace alone.
func TestClearOvertakesTheLoadsOfItsNamespace(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	cleared, other := ints(t, c, "cleared"), ints(t, c, "other")
	begun, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for _, v := range []*Typed[string, int]{cleared, other} {
		b := new(typedBuffer)
		must(t, v.encodeKey(b, "k"))
		must(t, v.encodeValue(b, 1))
		wg.Go(func() {
			if _, err := c.GetOrLoad(context.Background(), b.key, func(context.Context) ([]byte, error) {
				begun <- struct{}{}
				<-end
				return b.value, nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	<-begun
	<-begun
	must(t, cleared.Clear())
	close(end)
	wg.Wait()
	wantMiss(t, cleared, "k")
	wantTyped(t, other, "k", 1)
}

// TestAViewSlidesOnItsOwnTerms, by Get and View, and the Cache need not.
func TestAViewSlidesOnItsOwnTerms(t *testing.T) {
	var now atomic.Int64
	o := testOptions(1 << 20)
	o.Clock = func() time.Time { return time.UnixMilli(1_700_000_000_000 + now.Load()) }
	c := openMemory(t, o)
	sliding := &Freshness{TTL: time.Minute, Sliding: true, Jitter: -1}
	for name, use := range map[string]func(v *Typed[string, int]){
		"Get":  func(v *Typed[string, int]) { v.Get("k") },
		"View": func(v *Typed[string, int]) { _ = v.View("k", func([]byte) error { return nil }) },
	} {
		v := mustOf(t, c, String(), Int[int](), &TypedOptions[string, int]{Namespace: name, Freshness: sliding})
		must(t, v.Set("k", 1))
		before, _ := v.Info("k")
		now.Add(40_000)
		after := before
		soon(t, "its time is restarted", func() bool {
			use(v)
			after, _ = v.Info("k")
			return after.Expires != before.Expires
		})
		if got := after.Expires.Sub(before.Expires); got != 40*time.Second || after.Stored != before.Stored {
			t.Errorf("%s: the entry expires %v later, want 40s, and was stored at %v, not %v", name, got, after.Stored, before.Stored)
		}
	}
	if _, err := Of(c, String(), Int[int](), &TypedOptions[string, int]{Freshness: &Freshness{TTL: -1}}); err == nil {
		t.Error("a negative TTL is accepted")
	}
}

// TestATypedHitDoesNotAllocate with codecs of fixed size.
func TestATypedHitDoesNotAllocate(t *testing.T) {
	if racing {
		t.Skip("readers copy what they pin")
	}
	c := openMemory(t, testOptions(1<<20))
	numbers := ints(t, c, "numbers")
	values := mustOf(t, c, String(), Fixed[dense](), &TypedOptions[string, dense]{Namespace: "fixed"})
	must(t, numbers.Set("key", 7))
	must(t, values.Set("key", dense{A: 7}))
	for name, f := range map[string]func(){
		"Get of Int":   func() { numbers.Get("key") },
		"Get of Fixed": func() { values.Get("key") },
		"Set of Int":   func() { _ = numbers.Set("key", 8) },
		"Has":          func() { numbers.Has("key") },
	} {
		if got := testing.AllocsPerRun(1000, f); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

// TestAMemoryOnlyNamespaceIsInNoFile, whatever stores in it.
func TestAMemoryOnlyNamespaceIsInNoFile(t *testing.T) {
	var secret, public atomic.Int64
	o := stepOptions(2 << 20)
	dir := t.TempDir()
	o.hooks.fs = watchedFS{pagefile.OS(), func(_ string, p []byte) {
		if shows(p, secretMark) {
			secret.Add(1)
		}
		if shows(p, publicMark) {
			public.Add(1)
		}
	}}
	c := open(t, dir, o)
	hidden := mustOf(t, c, String(), String(), &TypedOptions[string, string]{Namespace: "hidden", MemoryOnly: true})
	shown := mustOf(t, c, String(), String(), &TypedOptions[string, string]{Namespace: "shown"})
	mark := func(m []byte, i, n int) string { return string(marked(m, 32)) + fmt.Sprint(i) + string(marked(m, n)) }
	for i := range 300 {
		n := i * 7
		if i%50 == 0 {
			n = 100_000
		}
		key, value := mark(secretMark, i%100, 16), mark(secretMark, i, n)
		must(t, hidden.Set(key, value))
		must(t, hidden.SetMany(map[string]string{key: value, mark(secretMark, 1000+i%50, 16): value}))
		must(t, hidden.SetEntry(key, value, EntryOptions{}))
		must(t, hidden.Compute(key, func(old string, _ bool) (string, Op) { return old + "x", OpWrite }))
		must(t, shown.Set(mark(publicMark, i%100, 16), mark(publicMark, i, 50)))
		if i%30 == 0 {
			mustFlush(t, c)
		}
		if i%100 == 99 {
			must(t, hidden.Clear())
		}
	}
	// A migration in such a namespace is no way out either.
	must(t, hidden.Set("old", mark(secretMark, 0, 100)))
	c.namespaces = namespaces{}
	hidden = mustOf(t, c, String(), Versioned(String(), 2), &TypedOptions[string, string]{
		Namespace: "hidden", MemoryOnly: true, Migrate: func(_, _ string, old []byte) (string, bool) { return string(old), true },
	})
	wantTyped(t, hidden, "old", mark(secretMark, 0, 100))
	mustClose(t, c)
	wantNoSecrets(t, dir)
	if secret.Load() != 0 || public.Load() == 0 {
		t.Errorf("%d writes had MemoryOnly bytes, %d others that were to be found", secret.Load(), public.Load())
	}
	c = open(t, dir, o)
	hidden = mustOf(t, c, String(), String(), &TypedOptions[string, string]{Namespace: "hidden", MemoryOnly: true})
	for key := range hidden.Keys() {
		t.Errorf("%q is back", key)
	}
	mustClose(t, c)
}

// TestIfAbsentTakesThePlaceOfWhatIsNoValue: of a codec that this view does not know.
// What Migrate takes is there.
func TestIfAbsentTakesThePlaceOfWhatIsNoValue(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	must(t, mustOf(t, c, Int[int](), userV1, nil).SetMany(map[int]v1{1: {"Ada Lovelace"}, 2: {"Kurt Gödel"}}))
	c.namespaces.uses = nil // as in a later process
	without := mustOf(t, c, Int[int](), userV2, nil)
	must(t, without.SetEntry(1, v2{"first", "come"}, EntryOptions{IfAbsent: true}))
	wantTyped(t, without, 1, v2{"first", "come"})
	with := mustOf(t, c, Int[int](), userV2, &TypedOptions[int, v2]{Migrate: migrateUser})
	for key := range 2 {
		if err := with.SetEntry(1+key, v2{"too", "late"}, EntryOptions{IfAbsent: true}); !errors.Is(err, ErrConflict) {
			t.Errorf("key %d: %v, want ErrConflict", 1+key, err)
		}
	}
	wantTyped(t, with, 2, v2{"Kurt", "Gödel"})
}
