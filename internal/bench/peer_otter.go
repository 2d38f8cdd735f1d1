package main

import (
	"bytes"
	"path/filepath"
	"unsafe"

	"github.com/maypok86/otter/v2" // Apache-2.0
)

// otterPeer counts entries. Its keys are strings; what looks one up is not copied.
type otterPeer struct {
	c *otter.Cache[string, []byte]
}

func newOtter(s sizing) (peer, error) {
	c, err := otter.New(&otter.Options[string, []byte]{MaximumSize: s.maxEntries(), InitialCapacity: s.entries})
	if err != nil {
		return nil, err
	}
	return &otterPeer{c}, nil
}

// borrowed is key as a string, for as long as the caller's bytes stay as they are.
func borrowed(key []byte) string { return unsafe.String(&key[0], len(key)) }

func (o *otterPeer) get(_, key []byte) ([]byte, bool) { return o.c.GetIfPresent(borrowed(key)) }

func (o *otterPeer) set(key, value []byte) bool {
	o.c.Set(string(key), bytes.Clone(value))
	return true
}

func (o *otterPeer) settle() { o.c.CleanUp() }

func (o *otterPeer) save(dir string) error {
	return otter.SaveCacheToFile(o.c, filepath.Join(dir, "otter"))
}

func (o *otterPeer) close() error {
	o.c.StopAllGoroutines()
	return nil
}
