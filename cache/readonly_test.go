package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A sealedFS is a file system that is mounted read-only: whatever changes
// something fails, and so does a lock that only a writer needs.
type sealedFS struct{ pagefile.FS }

func (s sealedFS) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	if flag != os.O_RDONLY {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	return s.FS.OpenFile(path, flag, perm)
}
func (s sealedFS) Remove(path string) error            { return syscall.EROFS }
func (s sealedFS) MkdirAll(string, os.FileMode) error  { return syscall.EROFS }
func (s sealedFS) SyncDir(string) error                { return syscall.EROFS }
func (s sealedFS) Lock(path string) (io.Closer, error) { return nil, syscall.EROFS }

// readerOn are options of a reader of a world's directory, which loads nothing
// before it is asked for.
func readerOn(fsys pagefile.FS, shards int) *Options {
	o := quietOptions(nil, shards)
	o.hooks.fs, o.hooks.lazily, o.ReadOnly = fsys, true, true
	return o
}

// rewrite sets all keys to values of a round; one that is even is a large one.
func rewrite(t testing.TB, c *Cache, round int) {
	t.Helper()
	for i := range worldKeys {
		mustSet(t, c, worldKey(i), testValue(round*worldKeys+i, 300+i))
	}
	if round%2 == 0 {
		mustSet(t, c, worldKey(0), testValue(round, 60<<10))
	}
}

func wantState(t testing.TB, c *Cache, want state) {
	t.Helper()
	if diff := stateOf(c).differs(want); diff != "" {
		t.Fatalf("%s; report %+v", diff, c.Recovery())
	}
}

// TestReadOnlyChangesNothing: on a file system that is read-only, beside a live
// owner, with the links that follow the newest generation.
func TestReadOnlyChangesNothing(t *testing.T) {
	fsys := crashfs.New()
	owner := openOn(t, quietOptions(fsys, 1))
	rewrite(t, owner, 1)
	mustFlush(t, owner)
	owner.Delete(worldKey(7))
	mustSet(t, owner, worldKey(8), []byte("linked"))
	if err := owner.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
	before := fsys.Ops()
	want := stateOf(owner)
	c := openOn(t, readerOn(sealedFS{fsys}, 1))
	wantState(t, c, want)
	if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Weak != 1 || c.Health() != nil {
		t.Errorf("report %+v, health %v", r, c.Health())
	}
	wantReadOnly(t, c)
	wantState(t, c, want)
	mustSet(t, owner, worldKey(9), []byte("later"))
	wantState(t, c, want)
	if _, err := Open(context.Background(), worldDir, readerOn(fsys, 1)); err != nil {
		t.Errorf("a second reader: %v", err)
	}
	mustClose(t, c)
	for _, op := range fsys.Log()[before:] {
		t.Errorf("a reader changed files: %v", op)
	}
	if err := c.Set(worldKey(1), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Set after Close: %v", err)
	}
	mustClose(t, owner)
}

func wantReadOnly(t *testing.T, c *Cache) {
	t.Helper()
	for name, do := range map[string]func() error{
		"Set":        func() error { return c.Set(worldKey(1), []byte("x")) },
		"SetWithTTL": func() error { return c.SetWithTTL(worldKey(1), []byte("x"), -1) },
		"SetEntry":   func() error { return c.SetEntry(worldKey(1), []byte("x"), EntryOptions{MemoryOnly: true}) },
		"Batch":      func() error { return c.Batch([]BatchOp{{Key: worldKey(1)}}) },
		"Compute":    func() error { return c.Compute(worldKey(1), func([]byte, bool) ([]byte, Op) { return nil, OpDelete }) },
		"no Batch":   func() error { return c.Batch(nil) },
		"Clear":      c.Clear,
		"Flush":      func() error { _, err := c.Flush(context.Background()); return err },
	} {
		if err := do(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: got %v, want ErrReadOnly", name, err)
		}
	}
	if c.Delete(worldKey(1)) {
		t.Error("Delete: got true")
	}
	for _, result := range []error{nil, ErrNotFound} { // given to who asks, and not stored
		_, err := c.GetOrLoad(context.Background(), []byte("loaded"), func(context.Context) ([]byte, error) { return []byte("v"), result })
		if !errors.Is(err, result) || c.Has([]byte("loaded")) {
			t.Errorf("GetOrLoad: got %v, want %v, and nothing stored: %v", err, result, c.Has([]byte("loaded")))
		}
	}
}

// TestReadOnlyWithoutADirectory: none is an error, an empty one is cold and says
// why.
func TestReadOnlyWithoutADirectory(t *testing.T) {
	o := testOptions(4 << 20)
	o.ReadOnly = true
	missing := filepath.Join(t.TempDir(), "c")
	if _, err := Open(context.Background(), missing, o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("a reader made the directory")
	}
	dir := t.TempDir()
	c := open(t, dir, o)
	if r := c.Recovery(); r.Outcome != OutcomeCold || r.Reason == nil || len(list(t, dir)) != 1 {
		t.Errorf("report %+v, files %v", r, list(t, dir))
	}
	wantReadOnly(t, c)
	o.ReadOnly, o.Recovery.Generation = false, 3
	if _, err := Open(context.Background(), dir, o); err == nil || !strings.Contains(err.Error(), "none can") {
		t.Errorf("got %v, want an error that says that none can be opened", err)
	}
}

// TestReaderLosesNothing: an owner that turns over many times keeps what a reader
// opened, from whatever moment of its Open on. When the reader is closed, it gets
// the places back.
func TestReaderLosesNothing(t *testing.T) {
	alone(t)
	for fire := 0; ; fire += 1 + fire/12*fewer(4) {
		fsys := crashfs.New()
		owner := openOn(t, quietOptions(fsys, 1))
		var states []state
		generation := func() {
			rewrite(t, owner, len(states))
			owner.persist.dumper.Weak()
			mustFlush(t, owner)
			states = append(states, stateOf(owner))
		}
		generation()
		generation()
		var ops, inside atomic.Int32
		remove := fsys.Inject(func(crashfs.Op) error {
			if inside.Load() == 0 && int(ops.Add(1)) == fire+1 {
				inside.Store(1)
				for range 5 {
					generation()
				}
				inside.Store(0)
			}
			return nil
		})
		reader := openOn(t, readerOn(fsys, 1))
		remove()
		for range 5 {
			generation()
		}
		got, found := stateOf(reader), false
		for _, st := range states {
			found = found || got.differs(st) == ""
		}
		if r := reader.Recovery(); !found || r.Outcome != OutcomeWarm || r.PagesDropped > 0 {
			t.Fatalf("owner at operation %d of the reader: %d entries are of no generation; report %+v", fire, len(got), r)
		}
		held := reader.Recovery().Generation
		if list := retainedBy(t, fsys); !slices.Contains(list, held) {
			t.Errorf("generation %d is read, and %d are retained", held, list)
		}
		mustClose(t, reader)
		generation()
		if slices.Contains(retainedBy(t, fsys), held) {
			t.Errorf("generation %d is retained after its reader left", held)
		}
		drop(owner)
		if int(ops.Load()) <= fire {
			return
		}
	}
}

// retainedBy lists what the newest record retains.
func retainedBy(t testing.TB, fsys *crashfs.FS) []uint64 {
	t.Helper()
	res, err := loader.Load(context.Background(), loader.Options{FS: fsys, Dir: worldDir, Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	return generations(res)
}

// TestGenerationByNumber: exactly that state, beside its owner; or an error that
// names those that can be opened.
func TestGenerationByNumber(t *testing.T) {
	fsys := crashfs.New()
	owner := openOn(t, quietOptions(fsys, 1))
	var states [3]state
	var numbers [3]uint64
	for i := range states {
		rewrite(t, owner, i)
		numbers[i], states[i] = mustFlush(t, owner), stateOf(owner)
	}
	owner.Delete(worldKey(3))
	if err := owner.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
	o := readerOn(sealedFS{fsys}, 1)
	o.ReadOnly, o.Recovery.Unclean, o.Recovery.MaxAge = false, UncleanDiscard, 1
	if err := fsys.Plant(worldDir+"/RESET", nil); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 2} {
		o.Recovery.Generation = numbers[i]
		c := openOn(t, o)
		wantState(t, c, states[i])
		wantReadOnly(t, c)
		if r := c.Recovery(); r.Generation != numbers[i] || r.Weak != 0 || r.Outcome != OutcomeWarm || r.MayBeStale {
			t.Errorf("report %+v", r)
		}
		if got := c.Generations(); len(got) != 2 || got[0] != numbers[1] || got[1] != numbers[2] {
			t.Errorf("got generations %d, want %d", got, numbers[1:])
		}
		defer c.Close()
	}
	for _, g := range []uint64{numbers[0], 1 << 40} {
		o.Recovery.Generation = g
		_, err := Open(context.Background(), worldDir, o)
		if want := fmt.Sprint(numbers[1:]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("generation %d: got %v, want an error with %s", g, err, want)
		}
	}
	o.Recovery.Generation, o.Schema = numbers[1], "other"
	if _, err := Open(context.Background(), worldDir, o); !errors.Is(err, ErrSchema) {
		t.Errorf("got %v, want ErrSchema", err)
	}
	o.Schema, o.Recovery.Validate = "", func(*Cache) error { return io.ErrUnexpectedEOF }
	if _, err := Open(context.Background(), worldDir, o); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want what Validate returned", err)
	}
	drop(owner)
}

// TestReaderWithoutALease reads all the same.
func TestReaderWithoutALease(t *testing.T) {
	fsys := crashfs.New()
	owner := openOn(t, quietOptions(fsys, 1))
	rewrite(t, owner, 1)
	mustFlush(t, owner)
	want := stateOf(owner)
	mustClose(t, owner)
	fsys = fsys.Clone()
	if err := fsys.Erase(worldDir + "/LEASE"); err != nil {
		t.Fatal(err)
	}
	c := openOn(t, readerOn(sealedFS{fsys}, 1))
	wantState(t, c, want)
	mustClose(t, c)
}
