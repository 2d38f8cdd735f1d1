package cache

import "sync/atomic"

// A gauge is a number that is changed under the shard's lock only and that anybody
// may read at any time: so no read-modify-write is needed, and its store does not
// wait for those before it.
type gauge struct {
	_ [0]atomic.Uint64 // where words have 4 bytes: aligned to 8
	n uint64
}

func (g *gauge) Load() int64   { return int64(atomic.LoadUint64(&g.n)) }
func (g *gauge) Store(n int64) { publish(&g.n, uint64(n)) }
func (g *gauge) Add(n int64)   { publish(&g.n, g.n+uint64(n)) }
