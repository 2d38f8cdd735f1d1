package main

import (
	"context"
	"time"

	"github.com/allegro/bigcache/v3" // Apache-2.0
)

// bigcachePeer is bounded by mebibytes: 1024 rings. Entries do not expire within a
// run. Its keys are strings.
type bigcachePeer struct{ c *bigcache.BigCache }

func newBigcache(s sizing) (peer, error) {
	c, err := bigcache.New(context.Background(), bigcache.Config{
		Shards:             1024,
		LifeWindow:         24 * time.Hour,
		MaxEntriesInWindow: s.maxEntries(),
		MaxEntrySize:       s.value + keySize,
		HardMaxCacheSize:   int(s.maxBytes()>>20) + 1,
	})
	if err != nil {
		return nil, err
	}
	return &bigcachePeer{c}, nil
}

func (b *bigcachePeer) get(_, key []byte) ([]byte, bool) {
	value, err := b.c.Get(string(key))
	return value, err == nil
}

func (b *bigcachePeer) set(key, value []byte) bool { return b.c.Set(string(key), value) == nil }
func (b *bigcachePeer) close() error               { return b.c.Close() }
