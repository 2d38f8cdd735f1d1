package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/embercache/ember/cache"
)

// counts writes generation after generation, each with changes, with the least and
// the most shards, and opens the newest now and then.
func counts(ctx context.Context, o *options, w io.Writer) error {
	for _, shards := range []int{1, 256} {
		dir, err := os.MkdirTemp(o.Dir, "counts")
		if err != nil {
			return err
		}
		x := &countsRun{ctx: ctx, dir: filepath.Join(dir, "cache"), shards: shards, rng: rand.New(rand.NewPCG(uint64(o.Seed), 1)),
			versions: make([]uint64, 20_000), generations: o.count(10, 1000)}
		err = x.run(w)
		os.RemoveAll(dir)
		if err != nil {
			return fmt.Errorf("%d shards: %w", shards, err)
		}
	}
	return nil
}

type countsRun struct {
	ctx         context.Context
	dir         string
	shards      int
	rng         *rand.Rand
	versions    []uint64 // by key; 0: not there
	generations int
	c           *cache.Cache
	all         []vitals
	newest      uint64
}

func (x *countsRun) run(w io.Writer) error {
	began := time.Now()
	if err := x.open(); err != nil {
		return err
	}
	defer func() { x.c.Close() }()
	for n := range x.generations {
		if err := x.change(uint64(n + 1)); err != nil {
			return err
		}
		if n%(x.generations/10) != x.generations/10-1 {
			continue
		}
		if err := x.c.Close(); err != nil {
			return err
		}
		if err := x.open(); err != nil {
			return fmt.Errorf("after %d generations: %w", n+1, err)
		}
	}
	fmt.Fprintf(w, "  %d shards: %d generations, the newest is %d, each tenth time opened: all as it was; %.0f s\n", x.shards, x.generations, x.newest, time.Since(began).Seconds())
	return flat(x.all, func(format string, args ...any) { fmt.Fprintf(w, "    "+format+"\n", args...) })
}

// open opens the cache and finds exactly what was stored.
func (x *countsRun) open() (err error) {
	x.c, err = cache.Open(x.ctx, x.dir, &cache.Options{MaxBytes: 256 << 20, Shards: x.shards, Logger: slog.New(slog.DiscardHandler),
		Durability: cache.Durability{Interval: -1}})
	if err != nil {
		return err
	}
	if r := x.c.Recovery(); r.Generation < x.newest || r.MayBeStale || x.newest > 0 && r.Outcome != cache.OutcomeWarm {
		return fmt.Errorf("generation %d was the newest: %+v", x.newest, r)
	}
	for key, version := range x.versions {
		v, ok := x.c.Get(fillKey(key))
		if ok != (version > 0) {
			return fmt.Errorf("key %d: found %v, its version was %d", key, ok, version)
		}
		if !ok {
			continue
		}
		if e, err := decodeEntry(v); err != nil || e.key != key || e.version != version {
			return fmt.Errorf("key %d: %+v, %w; its version was %d", key, e, err, version)
		}
	}
	return nil
}

// change stores and deletes some, and flushes.
func (x *countsRun) change(n uint64) error {
	for range 200 {
		key := x.rng.IntN(len(x.versions))
		if x.rng.IntN(8) == 0 {
			x.c.Delete(fillKey(key))
			x.versions[key] = 0
			continue
		}
		if err := x.c.Set(fillKey(key), appendEntry(nil, entry{key: key, version: n}, 100+x.rng.IntN(2000))); err != nil {
			return err
		}
		x.versions[key] = n
	}
	g, err := x.c.Flush(x.ctx)
	if err != nil {
		return err
	}
	if g <= x.newest {
		return fmt.Errorf("generation %d follows %d", g, x.newest)
	}
	if x.newest = g; n%8 == 0 {
		x.all = append(x.all, readVitals(x.dir))
	}
	return nil
}
