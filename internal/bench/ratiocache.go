package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/Yiling-J/theine-go"
	"github.com/allegro/bigcache/v3"
	"github.com/coocood/freecache"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/embercache/ember/cache"
)

// How the caches of the hit ratios are sized: each has room for the same number of
// entries. Where a cache counts entries it is told that number. A byte cache gets
// the bytes that so many entries take there with their headers, and where it can
// only be made in large steps (fastcache: 32 MiB, bigcache: 1 MiB) the value is
// made long enough to fill them.
const (
	ratioKey   = 8
	ratioValue = 200
	ratioEntry = 224     // of Ember, with a header of 16
	ratioLeast = 1 << 20 // Ember's least MaxBytes
)

// A ratioCache plays a trace: cache-aside, Get and on a miss Set. What a cache does
// in the background is awaited after each Set, so that nothing depends on time.
type ratioCache struct {
	get   func(key []byte) (value []byte, ok bool)
	set   func(key, value []byte)
	close func() error // also what went wrong before

	key, value []byte
	wrong      int // hits with another key's value
}

func (c *ratioCache) Access(key uint32) bool {
	binary.LittleEndian.PutUint64(c.key, uint64(key))
	value, ok := c.get(c.key)
	if ok {
		if len(value) < 4 || binary.LittleEndian.Uint32(value) != key {
			c.wrong++
		}
		return true
	}
	binary.LittleEndian.PutUint32(c.value, key)
	c.set(c.key, c.value)
	return false
}

func newRatioCache(who string, room int, dir string) (*ratioCache, error) {
	open := map[string]func(room int, dir string) (*ratioCache, error){
		"ember": ratioEmber, "fastcache": ratioFastcache, "freecache": ratioFreecache, "bigcache": ratioBigcache,
		"ristretto": ratioRistretto, "otter": ratioOtter, "theine": ratioTheine,
	}[who]
	if open == nil {
		return nil, fmt.Errorf("no cache %q", who)
	}
	c, err := open(room, dir)
	if err != nil {
		return nil, err
	}
	c.key = make([]byte, ratioKey)
	if c.value == nil {
		c.value = make([]byte, ratioValue)
	}
	return c, nil
}

// ratioEmber has persistence on. A trace's hours pass in seconds here, so that time
// says nothing of when to dump: a generation is written, and awaited, whenever as
// much was stored as there is room for.
func ratioEmber(room int, dir string) (*ratioCache, error) {
	o := cache.Options{MaxBytes: int64(room) * ratioEntry, Logger: warnings}
	o.Durability.Interval, o.Durability.Weak = -1, -1
	c, err := cache.Open(context.Background(), dir, &o)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, 0, ratioValue)
	var failed error
	sets := 0
	return &ratioCache{
		get: func(key []byte) ([]byte, bool) { return c.AppendGet(buf, key) },
		set: func(key, value []byte) {
			failed = errors.Join(failed, c.Set(key, value))
			if sets++; sets%room == 0 {
				_, err := c.Flush(context.Background())
				failed = errors.Join(failed, err)
			}
		},
		close: func() error { return errors.Join(failed, c.Close()) },
	}, nil
}

// ratioFastcache: 512 rings of chunks of 64 KiB, whose end an entry never crosses,
// so a chunk holds a whole number of entries.
func ratioFastcache(room int, _ string) (*ratioCache, error) {
	const rings, chunk, header = 512, 64 << 10, 4
	chunks := max(1, room*(header+ratioKey+ratioValue)/(rings*chunk))
	perChunk := (room + rings*chunks - 1) / (rings * chunks)
	c := fastcache.New(rings * chunks * chunk)
	buf := make([]byte, 0, chunk)
	return &ratioCache{
		get:   func(key []byte) ([]byte, bool) { return c.HasGet(buf, key) },
		set:   c.Set,
		close: func() error { c.Reset(); return nil },
		value: make([]byte, (chunk-1)/perChunk-header-ratioKey),
	}, nil
}

// ticks counts accesses instead of seconds: freecache spares what was used lately,
// and would take a whole run for one moment.
type ticks uint32

func (t *ticks) Now() uint32 { *t++; return uint32(*t) }

func ratioFreecache(room int, _ string) (*ratioCache, error) {
	const header = 24
	c := freecache.NewCacheCustomTimer(room*(header+ratioKey+ratioValue), new(ticks))
	var failed error
	return &ratioCache{
		get:   func(key []byte) ([]byte, bool) { v, err := c.Get(key); return v, err == nil },
		set:   func(key, value []byte) { failed = errors.Join(failed, c.Set(key, value, 0)) },
		close: func() error { return failed },
	}, nil
}

// ratioBigcache has 16 shards: its default of 1024 would leave each but a handful of
// entries.
func ratioBigcache(room int, _ string) (*ratioCache, error) {
	const shards, header = 16, 20 // with a length of two bytes
	mib := (room*(header+ratioKey+ratioValue) + 1<<20 - 1) >> 20
	perShard := (room + shards - 1) / shards
	entry := (mib<<20/shards - 1) / perShard
	c, err := bigcache.New(context.Background(), bigcache.Config{
		Shards: shards, LifeWindow: 24 * time.Hour, HardMaxCacheSize: mib,
		MaxEntriesInWindow: 2 * room, MaxEntrySize: entry, Logger: discard{},
	})
	if err != nil {
		return nil, err
	}
	var failed error
	return &ratioCache{
		get:   func(key []byte) ([]byte, bool) { v, err := c.Get(string(key)); return v, err == nil },
		set:   func(key, value []byte) { failed = errors.Join(failed, c.Set(string(key), value)) },
		close: func() error { return errors.Join(failed, c.Close()) },
		value: make([]byte, entry-header-ratioKey),
	}, nil
}

// discard is a bigcache.Logger.
type discard struct{}

func (discard) Printf(string, ...any) {}

// Those that count entries keep the value as their own object: four bytes will do.

func ratioRistretto(room int, _ string) (*ratioCache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, []byte]{
		NumCounters: 10 * int64(room), MaxCost: int64(room), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return nil, err
	}
	return objects(c.Get, func(k uint64, v []byte) { c.Set(k, v, 1); c.Wait() }, c.Close), nil
}

func ratioOtter(room int, _ string) (*ratioCache, error) {
	c, err := otter.New(&otter.Options[uint64, []byte]{MaximumSize: room, Executor: func(do func()) { do() }})
	if err != nil {
		return nil, err
	}
	return objects(c.GetIfPresent, func(k uint64, v []byte) { c.Set(k, v); c.CleanUp() }, func() { c.StopAllGoroutines() }), nil
}

func ratioTheine(room int, _ string) (*ratioCache, error) {
	c, err := theine.NewBuilder[uint64, []byte](int64(room)).Build()
	if err != nil {
		return nil, err
	}
	return objects(c.Get, func(k uint64, v []byte) { c.Set(k, v, 1); c.Wait() }, c.Close), nil
}

func objects(get func(uint64) ([]byte, bool), set func(uint64, []byte), close func()) *ratioCache {
	return &ratioCache{
		get: func(key []byte) ([]byte, bool) { return get(binary.LittleEndian.Uint64(key)) },
		set: func(key, value []byte) {
			set(binary.LittleEndian.Uint64(key), append([]byte(nil), value...))
		},
		close: func() error { close(); return nil },
		value: make([]byte, 4),
	}
}
