package cache

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"sort"

	"github.com/embercache/ember/pagefile"
)

// Of a memory limit, the share that the cache may take on its own, and together
// with Go's memory limit where that is set. The rest is for a program whose needs
// nobody has said, and for the kernel's own.
const (
	shareAlone  = 3.0 / 4
	shareWithGo = 9.0 / 10
)

// defaultMaxBytes is Options.MaxBytes where it is 0: a full cache then takes under
// a third of the limit, and twice that with all that the kernel caches of it.
func (o *Options) defaultMaxBytes() int64 {
	const most = 256 << 20
	limit, _ := memoryLimit(o.machine())
	if limit == 0 {
		return most
	}
	return max(min(most, limit/4&^(1<<20-1)), minBytes)
}

// inMemory says which files lie where files are memory, as on a tmpfs.
type inMemory struct{ all, ring bool }

// filesInMemory looks where the files of o are. What a reader finds is there
// already, and somebody else's.
func (p *persistence) filesInMemory(o *Options) (m inMemory) {
	if !o.readOnly() {
		m.all = pagefile.InMemory(p.fs, p.dir)
		m.ring = pagefile.InMemory(p.fs, cmp.Or(o.Durability.WeakDir, p.dir))
	}
	return m
}

// need is what a full cache takes of a memory limit beside Go's heap, in bytes. The
// page cache is not in it: the kernel gives that back before anything else.
func (o *Options) need(m inMemory) (own, heap int64) {
	f := o.footprint(o.shape())
	if own, heap = f.own, f.heap; m.all {
		own += f.disk - f.ring
	}
	if m.ring {
		own += f.ring
	}
	return own, heap
}

// fitsInto reports whether a full cache has room in a limit, beside a program of
// which goLimit is known, 0 if nothing is.
func (o *Options) fitsInto(limit, goLimit int64, m inMemory) bool {
	own, heap := o.need(m)
	if goLimit > 0 {
		return own <= int64(float64(limit)*shareWithGo)-goLimit
	}
	return own <= int64(float64(limit)*shareAlone)-heap
}

// largest is the largest MaxBytes that would fit, whole MiB; 0: none does.
func (o *Options) largest(limit, goLimit int64, m inMemory) int64 {
	return minBytes * int64(sort.Search(int(o.MaxBytes/minBytes), func(i int) bool {
		smaller := *o
		smaller.MaxBytes = minBytes * int64(i+1)
		return !smaller.fitsInto(limit, goLimit, m)
	}))
}

// adviseMemory says once, on the goroutine of notices, if the process may take less
// memory than the cache will once it is full: the kernel would kill it then.
func (c *Cache) adviseMemory(m inMemory) {
	c.notices.send(func() {
		o, goLimit := &c.opts, debug.SetMemoryLimit(-1)
		if goLimit == math.MaxInt64 {
			goLimit = 0
		}
		limit, by := memoryLimit(o.machine())
		if limit == 0 || o.fitsInto(limit, goLimit, m) {
			return
		}
		own, _ := o.need(m)
		c.notices.log.Log(context.Background(), slog.LevelWarn,
			"the cache may not fit into memory once it is full: lower MaxBytes or Go's memory limit, or raise the limit",
			"event", "low_memory", "takes", own, "go_limit", goLimit, "limit", limit, "by", by,
			"max_bytes", o.MaxBytes, "fits", o.largest(limit, goLimit, m))
	})
}
