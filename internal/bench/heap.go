package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
)

// heapSize is what Go has from the system and did not give back, in bytes.
func heapSize() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// heapObjects is how many are live, after a collection.
func heapObjects() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapObjects)
}

// filesIn calls fn with every file below dir.
func filesIn(dir string, fn func(path string) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was retired meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if err := fn(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}
