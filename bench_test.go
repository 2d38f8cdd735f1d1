package ember_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/embercache/ember/cache"
)

// The whole-system benchmarks: one operation on a cache that holds a million
// entries, in memory alone and with persistence as Open sets it up by default.
//
//	go test -run '^$' -bench . -cpu 1,2,4 -count 6
//
// Every goroutine reads its keys from a table that has them in the order of
// their use, so that neither a generator of random numbers nor a cache miss on
// the key is measured with the cache. An operation is one key, also for GetMany.
const (
	benchEntries = 1_000_000
	benchKeySize = 24
	benchValue   = 256
	benchBatch   = 32   // keys of one GetMany
	benchSkew    = 1.01 // of dist=zipf, as in rand.NewZipf
	benchDraws   = 1 << 20
	benchMix     = 20     // of so many operations one is a Set: 95/5
	benchMisses  = 0.0001 // share of the Gets that may miss
)

var benchDists = []string{"uniform", "zipf"}

// benchKeys holds the keys of all entries, one after the other.
var benchKeys = sync.OnceValue(func() []byte {
	keys := make([]byte, 0, benchEntries*benchKeySize)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range benchEntries {
		keys = binary.LittleEndian.AppendUint64(keys, uint64(i))
		keys = binary.LittleEndian.AppendUint64(keys, r.Uint64())
		keys = binary.LittleEndian.AppendUint64(keys, r.Uint64())
	}
	return keys
})

// keyAt returns key i of a table of keys.
func keyAt(keys []byte, i int) []byte {
	return keys[i*benchKeySize:][:benchKeySize:benchKeySize]
}

// uniformDraws and zipfDraws are tables of keys in the order of their use.
var (
	uniformDraws = sync.OnceValue(func() []byte {
		r := rand.New(rand.NewPCG(2, 2))
		return draw(func() int { return r.IntN(benchEntries) })
	})
	zipfDraws = sync.OnceValue(func() []byte {
		r := rand.New(rand.NewPCG(3, 3))
		z := rand.NewZipf(r, benchSkew, 1, benchEntries-1)
		scatter := r.Perm(benchEntries)
		return draw(func() int { return scatter[z.Uint64()] })
	})
)

func draw(next func() int) []byte {
	draws := make([]byte, 0, benchDraws*benchKeySize)
	for range benchDraws {
		draws = append(draws, keyAt(benchKeys(), next())...)
	}
	return draws
}

func drawsOf(dist string) []byte {
	if dist == "zipf" {
		return zipfDraws()
	}
	return uniformDraws()
}

// fullCache returns a cache with all entries. store=memory has no files.
func fullCache(b *testing.B, store string) *cache.Cache {
	b.Helper()
	opts := &cache.Options{MaxBytes: 2 * benchEntries * (benchKeySize + benchValue)}
	var c *cache.Cache
	var err error
	if store == "memory" {
		c, err = cache.OpenMemory(opts)
	} else {
		c, err = cache.Open(context.Background(), b.TempDir(), opts)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	fill(b, c)
	if store == "files" {
		if _, err := c.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

func fill(b *testing.B, c *cache.Cache) {
	var wg sync.WaitGroup
	workers := runtime.NumCPU()
	for w := range workers {
		wg.Go(func() {
			value := make([]byte, benchValue)
			for i := w; i < benchEntries; i += workers {
				binary.LittleEndian.PutUint64(value, uint64(i))
				if err := c.Set(keyAt(benchKeys(), i), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A worker is one goroutine of a benchmark.
type worker struct {
	c      *cache.Cache
	draws  []byte // keys in the order of their use
	at     int
	misses int
	buf    []byte
	sum    byte // of what was read, so that it is read
}

// key returns the next key.
func (w *worker) key() []byte {
	w.at = (w.at + 1) & (benchDraws - 1)
	return keyAt(w.draws, w.at)
}

func (w *worker) saw(value []byte, ok bool) {
	if !ok {
		w.misses++
		return
	}
	w.sum += value[0] + value[len(value)-1]
}

// run benchmarks loop for both stores and all distributions.
func run(b *testing.B, loop func(w *worker, pb *testing.PB)) {
	for _, store := range []string{"memory", "files"} {
		b.Run("store="+store, func(b *testing.B) {
			c := fullCache(b, store)
			for _, dist := range benchDists {
				name := fmt.Sprintf("value=%d/keys=1M/dist=%s", benchValue, dist)
				b.Run(name, func(b *testing.B) { measure(b, c, drawsOf(dist), loop) })
			}
		})
	}
}

func measure(b *testing.B, c *cache.Cache, draws []byte, loop func(w *worker, pb *testing.PB)) {
	var misses, started atomic.Int64
	before := c.Stats().DiskWritten
	b.SetBytes(benchValue)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		// An odd stride keeps the goroutines apart in the table.
		start := int(started.Add(1)) * 0x9e375 & (benchDraws - 1)
		w := &worker{c: c, draws: draws, at: start, buf: make([]byte, 0, benchBatch*benchValue)}
		loop(w, pb)
		misses.Add(int64(w.misses))
	})
	b.StopTimer()
	if share := float64(misses.Load()) / float64(b.N); share > benchMisses && misses.Load() > 1 {
		b.Errorf("%d misses in %d operations", misses.Load(), b.N)
	}
	b.ReportMetric(float64(c.Stats().DiskWritten-before)/float64(b.N), "disk-B/op")
}

func BenchmarkGet(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		for pb.Next() {
			w.saw(w.c.Get(w.key()))
		}
	})
}

func BenchmarkAppendGet(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		for pb.Next() {
			w.saw(w.c.AppendGet(w.buf[:0], w.key()))
		}
	})
}

func BenchmarkGetMany(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		keys := make([][]byte, 0, benchBatch)
		ends := make([]int, 0, benchBatch)
		for pb.Next() {
			if keys = append(keys, w.key()); len(keys) < benchBatch {
				continue
			}
			w.buf, ends = w.c.GetMany(w.buf[:0], ends[:0], keys)
			for _, end := range ends {
				w.saw(w.buf, end >= 0)
			}
			keys = keys[:0]
		}
	})
}

func BenchmarkView(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		look := func(value []byte) error { w.saw(value, true); return nil }
		for pb.Next() {
			if w.c.View(w.key(), look) != nil {
				w.misses++
			}
		}
	})
}

func BenchmarkSet(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		value := make([]byte, benchValue)
		for pb.Next() {
			w.set(value)
		}
	})
}

// set counts a refused Set as a miss.
func (w *worker) set(value []byte) {
	if w.c.Set(w.key(), value) != nil {
		w.misses++
	}
}

// Benchmark95Get5Set is the mix of a busy cache.
func Benchmark95Get5Set(b *testing.B) {
	run(b, func(w *worker, pb *testing.PB) {
		value := make([]byte, benchValue)
		for n := 0; pb.Next(); n++ {
			if n%benchMix == 0 {
				w.set(value)
			} else {
				w.saw(w.c.AppendGet(w.buf[:0], w.key()))
			}
		}
	})
}
