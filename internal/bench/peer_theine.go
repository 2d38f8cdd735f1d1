package main

import (
	"bytes"

	"github.com/Yiling-J/theine-go" // MIT
)

// theinePeer counts entries. Its keys are strings.
type theinePeer struct {
	c *theine.Cache[string, []byte]
}

func newTheine(s sizing) (peer, error) {
	c, err := theine.NewBuilder[string, []byte](int64(s.maxEntries())).Build()
	if err != nil {
		return nil, err
	}
	return &theinePeer{c}, nil
}

func (t *theinePeer) get(_, key []byte) ([]byte, bool) { return t.c.Get(borrowed(key)) }

func (t *theinePeer) set(key, value []byte) bool {
	return t.c.Set(string(key), bytes.Clone(value), 1)
}

func (t *theinePeer) settle() { t.c.Wait() }

func (t *theinePeer) close() error {
	t.c.Close()
	return nil
}
