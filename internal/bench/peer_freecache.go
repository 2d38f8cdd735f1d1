package main

import "github.com/coocood/freecache" // MIT

// freecachePeer is bounded by bytes: 256 rings. It keeps nothing that is longer than
// 1/1024 of its size.
type freecachePeer struct{ c *freecache.Cache }

func newFreecache(s sizing) (peer, error) {
	return &freecachePeer{freecache.NewCache(int(s.maxBytes()))}, nil
}

func (f *freecachePeer) get(dst, key []byte) ([]byte, bool) {
	value, err := f.c.GetWithBuf(key, dst[:cap(dst)])
	return value, err == nil
}

func (f *freecachePeer) set(key, value []byte) bool { return f.c.Set(key, value, 0) == nil }

func (f *freecachePeer) close() error {
	f.c.Clear()
	return nil
}
