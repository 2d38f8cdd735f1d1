package main

import (
	"errors"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt" // MIT
)

// bbolt is a B+ tree in one mapped file. It writes within transactions, of which
// each is synced.
type bboltPeer struct{ db *bbolt.DB }

var bboltBucket = []byte("cache")

func openBbolt(s sizing) (peer, error) {
	db, err := bbolt.Open(filepath.Join(s.dir, "bbolt"), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	return &bboltPeer{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bboltBucket)
		return err
	})
}

func (b *bboltPeer) get(dst, key []byte) (value []byte, ok bool) {
	err := b.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bboltBucket).Get(key)
		value, ok = append(dst, v...), v != nil
		return nil
	})
	return value, ok && err == nil
}

func (b *bboltPeer) set(key, value []byte) bool {
	return b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bboltBucket).Put(key, value) }) == nil
}

func (b *bboltPeer) setMany(n int, entry func(i int) (key, value []byte)) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bboltBucket)
		for i := range n {
			if key, value := entry(i); bucket.Put(key, value) != nil {
				return errors.New("put refused")
			}
		}
		return nil
	})
}

func (b *bboltPeer) close() error { return b.db.Close() }
