package main

import (
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func writeTrace(t *testing.T, path string, keys ...uint32) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	for _, key := range keys {
		if err := binary.Write(z, binary.LittleEndian, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTracesAreRead(t *testing.T) {
	dir := t.TempDir()
	writeTrace(t, filepath.Join(dir, "one"+traceSuffix), 7, 9, 7, 1<<31)
	paths, err := tracePaths(dir)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	tr, err := readTrace(paths[0])
	if want := []uint32{0, 1, 0, 2}; err != nil || tr.name != "one" || tr.keys != 3 || !slices.Equal(tr.accesses, want) {
		t.Errorf("%+v, %v, want accesses %v", tr, err, want)
	}
	if _, err := tracePaths(t.TempDir()); err == nil {
		t.Error("a folder without traces is no error")
	}
}

// TestTenantsShareNothing: each plays the whole trace, with keys of its own.
func TestTenantsShareNothing(t *testing.T) {
	one := trace{keys: 3, accesses: []uint32{0, 1, 2, 0, 0}}
	many := one.tenants(4)
	uses := make([]int, many.keys)
	for _, key := range many.accesses {
		uses[key]++
	}
	for key, got := range uses {
		if want := []int{3, 1, 1}[key%3]; got != want {
			t.Errorf("key %d is used %d times, want %d", key, got, want)
		}
	}
	if got, want := many.keys, 12; got != want {
		t.Errorf("%d keys, want %d", got, want)
	}
}

// TestOutdatedIsAnError: what was not set last does not count as there.
func TestOutdatedIsAnError(t *testing.T) {
	const entries = 1 << 14 // of which two are stored
	s := shape{value: 64, entries: entries}
	p, err := newEmberMemory(sizing{s, ""})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := storeRange(p, s, 0, 2); err != nil {
		t.Fatal(err)
	}
	e := p.(*ember)
	if lost, err := e.compare(s, []uint32{0, 0, 0}); lost != 1 || err != nil {
		t.Errorf("%d lost, %v, want 1 and no error", lost, err)
	}
	if _, err := e.compare(s, []uint32{0, 1, 0}); err == nil {
		t.Error("an outdated value is no error")
	}
}
