package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/embercache/ember/cache"
)

// ember is Ember with what Open sets up by default.
type ember struct {
	c      *cache.Cache
	memory bool // no files
}

// warnings go where a process that fails is heard.
var warnings = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

func (s sizing) ember() *cache.Options {
	return &cache.Options{MaxBytes: s.maxBytes(), Logger: warnings}
}

func openEmber(s sizing, o *cache.Options) (peer, error) {
	c, err := cache.Open(context.Background(), filepath.Join(s.dir, "ember"), o)
	if err != nil {
		return nil, err
	}
	return &ember{c: c}, nil
}

func newEmber(s sizing) (peer, error) { return openEmber(s, s.ember()) }

// newEmberStill has files, and writes nothing to them until Close.
func newEmberStill(s sizing) (peer, error) {
	o := s.ember()
	o.Durability = cache.Durability{Interval: -1, Weak: -1}
	return openEmber(s, o)
}

// newEmberFulls writes an image with every generation.
func newEmberFulls(s sizing) (peer, error) {
	o := s.ember()
	o.Recovery.Budget = 1
	return openEmber(s, o)
}

func newEmberMemory(s sizing) (peer, error) {
	c, err := cache.OpenMemory(s.ember())
	if err != nil {
		return nil, err
	}
	return &ember{c, true}, nil
}

func (e *ember) get(dst, key []byte) ([]byte, bool) { return e.c.AppendGet(dst, key) }
func (e *ember) set(key, value []byte) bool         { return e.c.Set(key, value) == nil }

func (e *ember) view(key []byte, look func(value []byte)) bool {
	return e.c.View(key, func(value []byte) error { look(value); return nil }) == nil
}

func (e *ember) getMany(dst []byte, ends []int, keys [][]byte) ([]byte, []int) {
	return e.c.GetMany(dst, ends, keys)
}

// filled makes what was stored durable, so that dumping it is not measured with
// what follows.
func (e *ember) filled() error {
	if e.memory {
		return nil
	}
	_, err := e.c.Flush(context.Background())
	return err
}

func (e *ember) save(string) error {
	_, err := e.c.Flush(context.Background())
	return err
}

func (e *ember) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return e.c.Shutdown(ctx)
}

// extras are what a row on writes shows of Ember alone.
func (e *ember) extras(got figures) {
	st := e.c.Stats()
	got["failed dumps"] = float64(st.FlushErrors)
	got["pages left out"] = float64(st.LeftOut)
	got["generations"] = float64(st.Flushes)
	got["full generations"] = float64(st.FullGenerations)
}
