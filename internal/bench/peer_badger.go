package main

import (
	"path/filepath"

	"github.com/dgraph-io/badger/v4" // Apache-2.0
)

// badger is a log-structured merge tree that keeps large values in a log of their
// own. It does not sync unless asked.
type badgerPeer struct{ db *badger.DB }

func openBadger(s sizing) (peer, error) {
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(s.dir, "badger")).WithLogger(nil))
	if err != nil {
		return nil, err
	}
	return &badgerPeer{db}, nil
}

func (b *badgerPeer) get(dst, key []byte) (value []byte, ok bool) {
	err := b.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(dst)
		return err
	})
	return value, err == nil
}

func (b *badgerPeer) set(key, value []byte) bool {
	return b.db.Update(func(tx *badger.Txn) error { return tx.Set(key, value) }) == nil
}

func (b *badgerPeer) setMany(n int, entry func(i int) (key, value []byte)) error {
	w := b.db.NewWriteBatch()
	defer w.Cancel()
	for i := range n {
		key, value := entry(i)
		if err := w.Set(append([]byte(nil), key...), append([]byte(nil), value...)); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return b.db.Sync()
}

func (b *badgerPeer) close() error { return b.db.Close() }
