package main

import (
	"errors"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2" // BSD-3-Clause
)

// pebble is a log-structured merge tree. Its log is not synced with each write
// here, but once for a batch.
type pebblePeer struct{ db *pebble.DB }

func openPebble(s sizing) (peer, error) {
	db, err := pebble.Open(filepath.Join(s.dir, "pebble"), &pebble.Options{Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	return &pebblePeer{db}, nil
}

func (p *pebblePeer) get(dst, key []byte) ([]byte, bool) {
	value, done, err := p.db.Get(key)
	if err != nil {
		return nil, false
	}
	dst = append(dst, value...)
	return dst, done.Close() == nil
}

func (p *pebblePeer) set(key, value []byte) bool { return p.db.Set(key, value, pebble.NoSync) == nil }

func (p *pebblePeer) setMany(n int, entry func(i int) (key, value []byte)) error {
	b := p.db.NewBatch()
	for i := range n {
		key, value := entry(i)
		if err := b.Set(key, value, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(b.Commit(pebble.Sync), b.Close())
}

func (p *pebblePeer) close() error { return p.db.Close() }

// quiet is a pebble.Logger that says nothing but why it must end.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { pebble.DefaultLogger.Fatalf(format, a...) }
