package hitratio

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
	writeTrace(t, filepath.Join(dir, "one"+Suffix), 7, 9, 7, 1<<31)
	paths, err := Paths(dir)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	tr, err := Read(paths[0])
	if want := []uint32{0, 1, 0, 2}; err != nil || tr.Name != "one" || tr.Keys != 3 || !slices.Equal(tr.Accesses, want) {
		t.Errorf("%+v, %v, want accesses %v", tr, err, want)
	}
	if _, err := Paths(t.TempDir()); err == nil {
		t.Error("a folder without traces is no error")
	}
}

// TestTenantsShareNothing: each plays the whole trace, with keys of its own.
func TestTenantsShareNothing(t *testing.T) {
	one := Trace{Keys: 3, Accesses: []uint32{0, 1, 2, 0, 0}}
	many := one.Tenants(4)
	uses := make([]int, many.Keys)
	for _, key := range many.Accesses {
		uses[key]++
	}
	for key, got := range uses {
		if want := []int{3, 1, 1}[key%3]; got != want {
			t.Errorf("key %d is used %d times, want %d", key, got, want)
		}
	}
	if got, want := many.Keys, 12; got != want {
		t.Errorf("%d keys, want %d", got, want)
	}
}
