package cache

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A truth is what loads read: a version of each key, and the least that may still be
// served, since a write of it has returned.
type truth struct {
	o      *Options
	view   *Typed[int, []byte]
	c      *Cache
	source []atomic.Int64
	least  []atomic.Int64
	writes []sync.Mutex // one writer a key at a time
}

func valueOf(version int64, size int) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(version)), make([]byte, size)...)
}

func newTruth(keys int, hash func([]byte) uint64) (*truth, *handClock) {
	o, k := quietOptions(crashfs.New(), 1), newHandClock()
	o.Clock, o.OnEvict = k.now, func([]byte, []byte, Cause) {}
	o.Freshness = Freshness{
		TTL: time.Minute, Sliding: true, RefreshAfter: 20 * time.Second, StaleFor: time.Minute, NegativeTTL: time.Second,
	}
	o.hooks.hash, o.hooks.lazily = hash, true
	return &truth{o: o, source: make([]atomic.Int64, keys), least: make([]atomic.Int64, keys), writes: make([]sync.Mutex, keys)}, k
}

// open begins another process.
func (w *truth) open(t testing.TB) {
	w.c = openOn(t, w.o)
	w.view = mustOf(t, w.c, Int[int](), Bytes(), &TypedOptions[int, []byte]{
		Migrate: func(_ string, _ int, old []byte) ([]byte, bool) { return old, len(old) >= 8 },
		Load: func(_ context.Context, key int) ([]byte, error) {
			v := w.source[key].Load()
			for range v % 64 {
				runtime.Gosched() // others write meanwhile
			}
			if v%16 == 15 {
				return nil, ErrNotFound
			}
			return valueOf(v, int(v%7)*3000), nil
		},
	})
}

// write has the source change, then the cache, in one of the ways that there are.
func (w *truth) write(t testing.TB, r *rand.Rand, key int) {
	w.writes[key].Lock()
	defer w.writes[key].Unlock()
	v := w.source[key].Add(1)
	value := valueOf(v, r.IntN(4)*r.IntN(20000))
	stored := append([]byte(nil), w.view.keyPrefix...)
	stored = append(stored, mustAppend(t, Int[int](), key)...)
	var err error
	switch r.IntN(8) {
	case 0, 1:
		w.view.Delete(key)
	case 2:
		err = w.view.Set(key, value)
	case 3:
		err = w.view.SetMany(map[int][]byte{key: value})
	case 4:
		err = w.c.Set(stored, append(appendName(nil, "former"), value...))
	case 5:
		err = w.c.Set(stored, append(appendName(nil, "former"), 'x'))
	case 6:
		err = w.view.Compute(key, func(old []byte, found bool) ([]byte, Op) {
			if found && int64(binary.LittleEndian.Uint64(old)) > v {
				t.Errorf("key %d: Compute is given a version from the future", key)
			}
			return value, OpWrite
		})
	case 7:
		err = w.view.Compute(key, func([]byte, bool) ([]byte, Op) { return nil, OpDelete })
	}
	if err != nil {
		t.Error(err)
	}
	w.least[key].Store(v)
}

// clear removes everything, which what was true before must not outlive.
func (w *truth) clear(t testing.TB, all bool) {
	was := make([]int64, len(w.source))
	for key := range was {
		was[key] = w.source[key].Load()
	}
	clear := w.view.Clear
	if all {
		clear = w.c.Clear
	}
	if err := clear(); err != nil {
		t.Error(err)
	}
	if !all {
		return // what is written meanwhile may stay
	}
	for key, v := range was {
		for old := w.least[key].Load(); old < v && !w.least[key].CompareAndSwap(old, v); old = w.least[key].Load() {
		}
	}
}

func (w *truth) read(t testing.TB, r *rand.Rand) {
	key := r.IntN(len(w.source))
	keys := []int{key, r.IntN(len(w.source)), r.IntN(len(w.source))}
	least := make(map[int]int64)
	for _, key := range keys {
		least[key] = w.least[key].Load()
	}
	check := func(how string, key int, value []byte) {
		if v := int64(binary.LittleEndian.Uint64(value)); v < least[key] {
			t.Errorf("%s: version %d of key %d after a write of %d had returned", how, v, key, least[key])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch r.IntN(6) {
	case 0:
		if v, ok := w.view.Get(key); ok {
			check("Get", key, v)
		}
	case 1, 2:
		if v, err := w.view.GetOrLoad(ctx, key, nil); err == nil {
			check("GetOrLoad", key, v)
		}
	case 3:
		m, _ := w.view.GetOrLoadMany(ctx, keys, nil)
		for key, v := range m {
			check("GetOrLoadMany", key, v)
		}
	case 4:
		if v, err := w.view.Refresh(ctx, key); err == nil {
			check("Refresh", key, v)
		}
	case 5:
		w.view.View(key, func(v []byte) error { check("View", key, v); return nil })
	}
}

// turmoil reads and writes from all sides.
func (w *truth) turmoil(t testing.TB, clock *handClock, rounds int, seed uint64) {
	var all sync.WaitGroup
	for n := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, n))
			for range rounds {
				w.read(t, r)
			}
		})
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 100+n))
			for i := range rounds / 4 {
				w.write(t, r, r.IntN(len(w.source)))
				if n == 0 && i%50 == 20 {
					w.clear(t, i%100 == 20)
				}
				if n == 1 {
					clock.pass(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	atRest(t, w.c)
	wantNoFlights(t, w.c)
}

// TestNothingOutdatedIsServed once a write has returned: by no reader, whatever
// loads, migrates, slides, is renewed, expires, is evicted and cleared meanwhile, in
// a later process either, and though all keys have one hash.
func TestNothingOutdatedIsServed(t *testing.T) {
	rounds := 1200
	if racing {
		rounds = 150
	}
	for name, hash := range map[string]func([]byte) uint64{"hashes": nil, "one hash": func([]byte) uint64 { return 7 << 40 }} {
		keys := 150
		if hash != nil {
			keys = 6
		}
		w, clock := newTruth(keys, hash)
		for life := range uint64(3) {
			w.open(t)
			w.turmoil(t, clock, rounds, uint64(*seedFlag)<<8+life)
			st := w.c.Stats()
			t.Logf("%s: seed %d: %d loads, %d shared, %d stale, %d negative, %d undecoded, %d evictions",
				name, *seedFlag, st.Loads, st.LoadsShared, st.StaleHits, st.NegativeHits, st.Undecoded, st.Evictions)
			mustClose(t, w.c)
		}
	}
}
