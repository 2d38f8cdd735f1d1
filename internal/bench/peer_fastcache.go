package main

import (
	"path/filepath"

	"github.com/VictoriaMetrics/fastcache" // MIT
)

// fastcachePeer is bounded by bytes: 512 buckets, each a ring of chunks of 64 KiB,
// which drops the oldest when it is full, whether it is live or not.
type fastcachePeer struct{ c *fastcache.Cache }

func newFastcache(s sizing) (peer, error) {
	return &fastcachePeer{fastcache.New(int(s.maxBytes()))}, nil
}

func (f *fastcachePeer) get(dst, key []byte) ([]byte, bool) { return f.c.HasGet(dst, key) }

func (f *fastcachePeer) set(key, value []byte) bool {
	f.c.Set(key, value)
	return true
}

func (f *fastcachePeer) save(dir string) error {
	return f.c.SaveToFileConcurrent(filepath.Join(dir, "fastcache"), 0) // 0: all cores
}

func (f *fastcachePeer) close() error {
	f.c.Reset()
	return nil
}
