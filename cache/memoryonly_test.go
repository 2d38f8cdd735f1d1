package cache

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// A watchedFS shows every byte that is written to it.
type watchedFS struct {
	pagefile.FS
	see func(name string, p []byte)
}

func (w watchedFS) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	f, err := w.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return watchedFile{f, w.see}, nil
}

type watchedFile struct {
	pagefile.File
	see func(name string, p []byte)
}

func (f watchedFile) WriteAt(p []byte, off int64) (int, error) {
	f.see(f.Name(), p)
	return f.File.WriteAt(p, off)
}

func (f watchedFile) WriteVAt(parts [][]byte, off int64) (int, error) {
	return f.WriteAt(slices.Concat(parts...), off)
}

// The marks are in keys and values of MemoryOnly entries, and in those of others
// to prove that they would be found.
var (
	secretMark = []byte{0xd3, 'm', 0x91, 'e', 0xfe, 'm', 0x07, 'o', 'r', 0x88, 'y', 0xa1, 'o', 'n', 0xc4, 'l'}
	publicMark = []byte{0xd3, 'p', 0x91, 'u', 0xfe, 'b', 0x07, 'l', 'i', 0x88, 'c', 0xa1, 'd', 'i', 0xc4, 's'}
)

// shows reports whether half a mark is in b.
func shows(b, mark []byte) bool {
	return bytes.Contains(b, mark[:8]) || bytes.Contains(b, mark[8:])
}

func marked(mark []byte, n int) []byte { return bytes.Repeat(mark, n/len(mark)+1)[:n] }

// TestMemoryOnlyIsInNoFile stores entries of both kinds, small and large, under
// the same keys in turn, evicts them, moves them on, clears, and writes
// generations all the while: no write carries a byte of a MemoryOnly key or
// value, no file has one, and after a restart none is there.
func TestMemoryOnlyIsInNoFile(t *testing.T) {
	var secret, public atomic.Int64
	o := stepOptions(2 << 20)
	o.hooks.fs = watchedFS{pagefile.OS(), func(name string, p []byte) {
		if shows(p, secretMark) && secret.Add(1) == 1 {
			t.Errorf("MemoryOnly bytes are written to %s", filepath.Base(name))
		}
		if shows(p, publicMark) {
			public.Add(1)
		}
	}}
	dir := t.TempDir()
	rng := newRand(t)
	c := open(t, dir, o)
	secrets := make(map[string]bool)
	for round := range fewer(120) {
		for range 40 {
			n := rng.Intn(1500)
			if rng.Intn(8) == 0 {
				n = rng.Intn(200 << 10)
			}
			shared := fmt.Appendf(nil, "shared-%d", rng.Intn(50)) // of either kind
			hidden := fmt.Appendf(bytes.Clone(secretMark), "-%d", rng.Intn(500))
			for key, only := range map[string]bool{
				string(hidden): true,
				string(shared): rng.Intn(2) == 0,
				string(fmt.Appendf(bytes.Clone(publicMark), "-%d", rng.Intn(500))): false,
			} {
				mark := publicMark
				if only {
					mark = secretMark
				}
				secrets[key] = only
				if err := c.SetEntry([]byte(key), marked(mark, n), EntryOptions{MemoryOnly: only}); err != nil {
					t.Fatal(err)
				}
				wantValue(t, c, []byte(key), marked(mark, n))
			}
			c.Delete(fmt.Appendf(bytes.Clone(secretMark), "-%d", rng.Intn(500)))
		}
		if round%40 == 20 {
			if err := c.Clear(); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.persist.dumper.Weak() // a full ring pauses it
		if round%3 == 0 {
			mustFlush(t, c)
		}
		if round%30 == 29 {
			c = restartWithSecrets(t, c, dir, o, secrets)
		}
	}
	if public.Load() == 0 {
		t.Error("nothing was found of what had to be written")
	}
	mustClose(t, c)
	wantNoSecrets(t, dir)
}

func restartWithSecrets(t *testing.T, c *Cache, dir string, o *Options, secrets map[string]bool) *Cache {
	t.Helper()
	there, public := 0, 0
	for key, only := range secrets {
		if c.Has([]byte(key)) {
			if only {
				there++
			} else {
				public++
			}
		}
	}
	mustClose(t, c)
	wantNoSecrets(t, dir)
	c = open(t, dir, o)
	if r := reopened(t, c); c.Len() > public || c.Len() == 0 || there == 0 || r.Entries > public || c.Len()+r.Dropped != r.Entries {
		t.Errorf("%d entries, of %d that are in files and %d that are not; report %+v", c.Len(), public, there, r)
	}
	for key, only := range secrets {
		v, ok := c.Get([]byte(key))
		if ok && (only || shows(v, secretMark)) {
			t.Errorf("%q is back", key)
		}
	}
	checkInvariants(t, c)
	return c
}

// wantNoSecrets reads every file.
func wantNoSecrets(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if shows(b, secretMark) {
			t.Errorf("%s holds MemoryOnly bytes", e.Name())
		}
	}
}
