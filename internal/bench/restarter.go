package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/Yiling-J/theine-go"
	"github.com/maypok86/otter/v2"

	"github.com/embercache/ember/cache"
)

// A restarter can take up what another process left.
type restarter struct {
	open func(s sizing) (peer, error)   // what is in s.dir; empty if nothing is
	save func(p peer, dir string) error // where close does not make everything durable
	kill bool                           // it has something after a kill without having saved
}

var restarters = map[string]restarter{
	"ember":     {open: openRoomyEmber, save: flushEmber, kill: true},
	"fastcache": {open: loadFastcache, save: saveFastcache},
	"otter":     {open: loadOtter, save: saveOtter},
	"theine":    {open: loadTheine, save: saveTheine},
	"bbolt":     {open: openBbolt, kill: true},
	"pebble":    {open: openPebble, kill: true},
	"badger":    {open: openBadger, kill: true},
}

// roomy is a quarter more than the entries need.
func (s sizing) roomy() int64 { return max(1<<20, s.emberBytes()*5/4) }

func openRoomyEmber(s sizing) (peer, error) {
	return openEmber(s, &cache.Options{MaxBytes: s.roomy(), Logger: warnings})
}

func flushEmber(p peer, _ string) error {
	_, err := p.(*ember).c.Flush(context.Background())
	return err
}

func loadFastcache(s sizing) (peer, error) {
	path := filepath.Join(s.dir, "fastcache")
	if _, err := os.Stat(path); err != nil {
		return &fastcachePeer{fastcache.New(int(s.roomy()))}, nil
	}
	c, err := fastcache.LoadFromFile(path)
	return &fastcachePeer{c}, err
}

func saveFastcache(p peer, dir string) error {
	return p.(*fastcachePeer).c.SaveToFileConcurrent(filepath.Join(dir, "fastcache"), 0)
}

func loadOtter(s sizing) (peer, error) {
	c, err := otter.New(&otter.Options[string, []byte]{MaximumSize: s.entries})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(s.dir, "otter")
	if _, err := os.Stat(path); err == nil {
		return &otterPeer{c}, otter.LoadCacheFromFile(c, path)
	}
	return &otterPeer{c}, nil
}

func saveOtter(p peer, dir string) error {
	return otter.SaveCacheToFile(p.(*otterPeer).c, filepath.Join(dir, "otter"))
}

func loadTheine(s sizing) (peer, error) {
	c, err := theine.NewBuilder[string, []byte](int64(s.entries)).Build()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(s.dir, "theine"))
	if err != nil {
		return &theinePeer{c}, nil
	}
	defer f.Close()
	return &theinePeer{c}, c.LoadCache(0, f)
}

func saveTheine(p peer, dir string) error {
	f, err := os.Create(filepath.Join(dir, "theine"))
	if err != nil {
		return err
	}
	return errors.Join(p.(*theinePeer).c.SaveCache(0, f), f.Sync(), f.Close())
}
