package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oneShard is a cache in memory whose entries all meet.
func oneShard(t testing.TB, maxBytes int64) *Cache {
	o := testOptions(maxBytes)
	o.Shards = 1
	return openMemory(t, o)
}

// moveOn has the cleaner move on everything that is there, and key with it.
func moveOn(t testing.TB, c *Cache, key []byte) {
	t.Helper()
	before := wordOf(t, c, key)
	for range 1000 {
		if c.shardOf(c.hash.sum(key)).clean(&pressure{keep: true}); wordOf(t, c, key) != before {
			return
		}
	}
	t.Fatal("the cleaner did not move the key on")
}

func TestIfAbsentStoresOnlyWhatIsNotThere(t *testing.T) {
	var now atomic.Int64
	o := testOptions(8 << 20)
	o.Clock = func() time.Time { return time.UnixMilli(1_700_000_000_000 + now.Load()) }
	c := openMemory(t, o)
	key, once := []byte("k"), EntryOptions{IfAbsent: true, TTL: time.Second}
	for _, size := range []int{10, 300_000} {
		a, b := testValue(1, size), testValue(2, size)
		if err := c.SetEntry(key, a, once); err != nil {
			t.Fatalf("%d bytes over nothing: %v", size, err)
		}
		if err := c.SetEntry(key, b, once); !errors.Is(err, ErrConflict) {
			t.Errorf("%d bytes over a value: %v, want ErrConflict", size, err)
		}
		wantValue(t, c, key, a)
		now.Add(1500)
		if err := c.SetEntry(key, b, once); err != nil {
			t.Errorf("%d bytes over an expired value: %v", size, err)
		}
		wantValue(t, c, key, b)
		c.Delete(key)
		if err := c.SetEntry(key, a, once); err != nil {
			t.Errorf("%d bytes after a Delete: %v", size, err)
		}
		wantValue(t, c, key, a)
		if err := c.SetEntry(key, a, EntryOptions{IfAbsent: true, IfStamp: 1}); !errors.Is(err, ErrConflict) {
			t.Errorf("both conditions: %v, want ErrConflict", err)
		}
		c.Delete(key)
	}
	checkInvariants(t, c)
}

func TestIfStampStoresOnlyOverThatValue(t *testing.T) {
	c := oneShard(t, 8<<20)
	key := []byte("k")
	if err := c.SetEntry(key, []byte("v"), EntryOptions{IfStamp: 1}); !errors.Is(err, ErrConflict) {
		t.Errorf("over nothing: %v, want ErrConflict", err)
	}
	for _, size := range []int{10, 300_000} {
		a, b, z := testValue(1, size), testValue(2, size), testValue(3, size)
		mustSet(t, c, key, a)
		first, _ := c.Info(key)
		moveOn(t, c, key) // which is no write
		if err := c.SetEntry(key, b, EntryOptions{IfStamp: first.Stamp}); err != nil {
			t.Errorf("over that value: %v", err)
		}
		wantValue(t, c, key, b)
		if err := c.SetEntry(key, z, EntryOptions{IfStamp: first.Stamp}); !errors.Is(err, ErrConflict) {
			t.Errorf("over another value: %v, want ErrConflict", err)
		}
		wantValue(t, c, key, b)
	}
	c.Delete(key)
	if err := c.SetEntry(key, []byte("v"), EntryOptions{IfStamp: 1}); !errors.Is(err, ErrConflict) || c.Has(key) {
		t.Errorf("after a Delete: %v, want ErrConflict and nothing stored", err)
	}
	checkInvariants(t, c)
}

// TestAGuardPassesForOneRecordAlone: not for the same word a lap later, whose
// segment has another number.
func TestAGuardPassesForOneRecordAlone(t *testing.T) {
	c := oneShard(t, 1<<20)
	there, none := []byte("there"), []byte("none")
	mustSet(t, c, there, []byte("v"))
	r := c.look(nil, there)
	lapped := r.guard
	lapped.number++
	for name, tt := range map[string]struct {
		key   []byte
		guard guard
		want  outcome
	}{
		"absent over a record":   {there, guard{kind: ifAbsent}, conflict},
		"a lap later":            {there, lapped, conflict},
		"a record over nothing":  {none, r.guard, conflict},
		"no guard, over nothing": {none, guard{}, miss},
		"absent over nothing":    {none, guard{kind: ifAbsent}, miss},
	} {
		if got, _ := c.removeIf(tt.key, tt.guard, CauseDeleted); got != tt.want {
			t.Errorf("%s: outcome %d of removing, want %d", name, got, tt.want)
		}
		if got := c.store(tt.key, []byte("w"), EntryOptions{}, tt.guard); (got == conflict) != (tt.want == conflict) {
			t.Errorf("%s: outcome %d of storing, conflict wanted: %v", name, got, tt.want == conflict)
		}
		c.Delete(none)
	}
	wantValue(t, c, there, []byte("v"))
}

// TestOneOfManyIsFirst: of goroutines that store a key if it is absent one does.
func TestOneOfManyIsFirst(t *testing.T) {
	c := openMemory(t, testOptions(8<<20))
	for round := range 50 {
		key := testKey(round)
		var stored atomic.Int32
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				err := c.SetEntry(key, testValue(g, 100+g*20_000), EntryOptions{IfAbsent: true})
				if err == nil {
					stored.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
			})
		}
		if wg.Wait(); stored.Load() != 1 {
			t.Fatalf("%d of 8 stored the key, want 1", stored.Load())
		}
	}
	checkInvariants(t, c)
}

// TestComputeSeesWhatItReplaces: a write during fn, and a move of the record, run
// fn again; whatever the first run returned has left nothing behind.
func TestComputeSeesWhatItReplaces(t *testing.T) {
	for _, size := range []int{16, 5000, 300_000} {
		for name, meanwhile := range map[string]func(c *Cache, key []byte){
			"a Set":       func(c *Cache, key []byte) { mustSet(t, c, key, testValue(7, size)) },
			"the cleaner": func(c *Cache, key []byte) { moveOn(t, c, key) },
			"a Delete":    func(c *Cache, key []byte) { c.Delete(key) },
			"a Clear":     func(c *Cache, _ []byte) { _ = c.Clear() },
		} {
			for _, op := range []Op{OpWrite, OpDelete} {
				t.Run(fmt.Sprint(size, " ", name, " ", op), func(t *testing.T) {
					c := oneShard(t, 8<<20)
					key := []byte("k")
					mustSet(t, c, key, testValue(1, size))
					runs := 0
					var want []byte
					if err := c.Compute(key, func(old []byte, found bool) ([]byte, Op) {
						got, ok := c.Get(key)
						if ok != found || !bytes.Equal(got, old) {
							t.Errorf("run %d: fn sees another value than Get", runs)
						}
						clear(old) // its own copy
						if runs++; runs == 1 {
							meanwhile(c, key)
						}
						want = testValue(100+runs, size)
						return want, op
					}); err != nil {
						t.Fatal(err)
					}
					if runs != 2 {
						t.Errorf("fn ran %d times, want 2", runs)
					}
					if op == OpDelete {
						if c.Has(key) {
							t.Error("the key is still there")
						}
					} else {
						wantValue(t, c, key, want)
					}
					checkInvariants(t, c)
				})
			}
		}
	}
}

// TestNothingOutlivesAClear: while Clear has moved the heads and not yet swept the
// index, an entry is found, but nothing that was made of it may be stored.
func TestNothingOutlivesAClear(t *testing.T) {
	c := oneShard(t, 1<<20)
	s, key := c.shards[0], []byte("k")
	mustSet(t, c, key, []byte("old"))
	s.sweepMu.Lock()
	heads, tails := s.passAll(underWay{slot: -1})
	r := c.look(nil, key)
	if !r.found {
		t.Fatal("Clear has no order that this test could hit")
	}
	if got := c.store(key, []byte("made of old"), EntryOptions{}, r.guard); got != conflict {
		t.Errorf("a write over what Clear has passed: outcome %d, want conflict", got)
	}
	if got, _ := c.removeIf(key, r.guard, CauseDeleted); got != conflict {
		t.Errorf("a removal of what Clear has passed: outcome %d, want conflict", got)
	}
	s.sweepCleared(heads, tails)
	s.sweepMu.Unlock()
	if c.Has(key) {
		t.Error("the key is there after Clear")
	}
	checkInvariants(t, c)
}

// TestNoUpdateIsLost: goroutines count in a few keys, changing what they are
// given, while others turn the cache over.
func TestNoUpdateIsLost(t *testing.T) {
	c := oneShard(t, 2<<20)
	const counters, counting = 3, 8
	rounds := 3000
	if racing {
		rounds = 300
	}
	var done atomic.Bool
	var churn, wg sync.WaitGroup
	churn.Go(func() {
		for i := 0; !done.Load(); i++ {
			mustSet(t, c, testKey(i%300), testValue(i, 1000))
		}
	})
	for g := range counting {
		wg.Go(func() {
			for i := range rounds {
				key := fmt.Appendf(nil, "counter %d", (g+i)%counters)
				if err := c.Compute(key, func(old []byte, found bool) ([]byte, Op) {
					if !found {
						old = make([]byte, 8)
					}
					binary.LittleEndian.PutUint64(old, binary.LittleEndian.Uint64(old)+1)
					return old, OpWrite
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	done.Store(true)
	churn.Wait()
	total := 0
	for i := range counters {
		v, ok := c.Get(fmt.Appendf(nil, "counter %d", i))
		if !ok {
			t.Fatalf("counter %d is gone, with %d evictions", i, c.Stats().Evictions)
		}
		total += int(binary.LittleEndian.Uint64(v))
	}
	if total != counting*rounds {
		t.Errorf("counted to %d, want %d", total, counting*rounds)
	}
	checkInvariants(t, c)
}

func TestComputeThatFailsChangesNothing(t *testing.T) {
	c := oneShard(t, 1<<20)
	key, value := []byte("k"), []byte("value")
	mustSet(t, c, key, value)
	panics := func() (err error) {
		defer func() { err = fmt.Errorf("%v", recover()) }()
		return c.Compute(key, func([]byte, bool) ([]byte, Op) { panic("fn") })
	}
	never := func([]byte, bool) ([]byte, Op) { t.Error("fn ran"); return nil, OpKeep }
	for name, tt := range map[string]struct {
		got  error
		want error // nil: any
	}{
		"a value too large": {c.Compute(key, func([]byte, bool) ([]byte, Op) { return make([]byte, 1<<20), OpWrite }), ErrTooLarge},
		"an unknown Op":     {c.Compute(key, func([]byte, bool) ([]byte, Op) { return nil, 9 }), nil},
		"a panic":           {panics(), nil},
		"no key":            {c.Compute(nil, never), ErrKeySize},
		"a long key":        {c.Compute(make([]byte, maxKey+1), never), ErrKeySize},
	} {
		if tt.got == nil || tt.want != nil && !errors.Is(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, tt.got, tt.want)
		}
	}
	if err := c.Compute(key, func(old []byte, _ bool) ([]byte, Op) { clear(old); return old, OpKeep }); err != nil {
		t.Error(err)
	}
	wantValue(t, c, key, value)
	for _, op := range []Op{OpWrite, OpDelete} {
		c := oneShard(t, 1<<20)
		mustSet(t, c, key, value)
		if err := c.Compute(key, func([]byte, bool) ([]byte, Op) { mustClose(t, c); return value, op }); !errors.Is(err, ErrClosed) {
			t.Errorf("Op %d after Close: %v, want ErrClosed", op, err)
		}
		if err := c.Compute(key, never); !errors.Is(err, ErrClosed) {
			t.Errorf("Compute after Close: %v, want ErrClosed", err)
		}
	}
	checkInvariants(t, c)
}

// TestComputeKeepsAnEntryOutOfFiles, and gives it the default time to live.
func TestComputeKeepsAnEntryOutOfFiles(t *testing.T) {
	o := testOptions(1 << 20)
	o.Freshness = Freshness{TTL: time.Hour, Jitter: -1}
	c := openMemory(t, o)
	key := []byte("k")
	if err := c.SetEntry(key, []byte("a"), EntryOptions{MemoryOnly: true, TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := c.Compute(key, func(old []byte, found bool) ([]byte, Op) { return append(old, 'b'), OpWrite }); err != nil {
		t.Fatal(err)
	}
	if r := c.look(nil, key); !r.memoryOnly() || string(r.value) != "ab" {
		t.Errorf("%q, MemoryOnly %v", r.value, r.memoryOnly())
	}
	if e, _ := c.Info(key); e.Expires.Sub(e.Stored) != time.Hour {
		t.Errorf("it lives for %v, want the default of an hour", e.Expires.Sub(e.Stored))
	}
}

// TestComputeReadsWhatOpenLeftOnFile.
func TestComputeReadsWhatOpenLeftOnFile(t *testing.T) {
	dir, o := t.TempDir(), stepOptions(8<<20)
	o.hooks.lazily = true
	c := open(t, dir, o)
	for i, size := range []int{10, 3000, 400_000} {
		mustSet(t, c, testKey(i), testValue(i, size))
	}
	mustClose(t, c)
	c = open(t, dir, o)
	for i, size := range []int{10, 3000, 400_000} {
		if err := c.Compute(testKey(i), func(old []byte, found bool) ([]byte, Op) {
			if !found || !bytes.Equal(old, testValue(i, size)) {
				t.Errorf("%d bytes are not what was stored", size)
			}
			return append(old, 'x'), OpWrite
		}); err != nil {
			t.Fatal(err)
		}
		wantValue(t, c, testKey(i), append(testValue(i, size), 'x'))
	}
	mustClose(t, c)
}
