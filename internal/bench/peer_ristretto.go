package main

import (
	"bytes"

	"github.com/dgraph-io/ristretto/v2" // Apache-2.0
)

// ristrettoPeer is bounded by cost, here bytes. It stores in the background, may
// refuse, and keeps hashes in place of keys.
type ristrettoPeer struct {
	c *ristretto.Cache[[]byte, []byte]
}

func newRistretto(s sizing) (peer, error) {
	c, err := ristretto.NewCache(&ristretto.Config[[]byte, []byte]{
		NumCounters: 10 * int64(s.maxEntries()),
		MaxCost:     s.maxBytes(),
		BufferItems: 64,
	})
	if err != nil {
		return nil, err
	}
	return &ristrettoPeer{c}, nil
}

func (r *ristrettoPeer) get(_, key []byte) ([]byte, bool) { return r.c.Get(key) }

func (r *ristrettoPeer) set(key, value []byte) bool {
	return r.c.Set(key, bytes.Clone(value), int64(len(key)+len(value)))
}

func (r *ristrettoPeer) settle() { r.c.Wait() }

func (r *ristrettoPeer) close() error {
	r.c.Close()
	return nil
}
