package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A turn makes the path of an open cache lead elsewhere.
type turn struct {
	name string
	open func(t *testing.T, root string) (path string) // before
	do   func(t *testing.T, root string)
	now  string // where the directory lies afterwards, below root; "": nowhere
}

var turns = []turn{
	{"the working directory is another", func(t *testing.T, root string) string {
		t.Chdir(filepath.Join(root, "v1"))
		return "cache"
	}, func(t *testing.T, root string) {
		t.Chdir(filepath.Join(root, "v2"))
	}, "v1/cache"},
	{"it was moved", func(_ *testing.T, root string) string {
		return filepath.Join(root, "cache")
	}, func(t *testing.T, root string) {
		must(t, os.Rename(filepath.Join(root, "cache"), filepath.Join(root, "moved")))
	}, "moved"},
	{"a link on its path was turned", func(t *testing.T, root string) string {
		must(t, os.Symlink("v1", filepath.Join(root, "current")))
		return filepath.Join(root, "current", "cache")
	}, func(t *testing.T, root string) {
		must(t, os.Symlink("v2", filepath.Join(root, "next")))
		must(t, os.Rename(filepath.Join(root, "next"), filepath.Join(root, "current")))
	}, "v1/cache"},
	{"it was removed", func(_ *testing.T, root string) string {
		return filepath.Join(root, "cache")
	}, func(t *testing.T, root string) {
		must(t, removeAll(filepath.Join(root, "cache")))
	}, ""},
}

// removeAll is os.RemoveAll of a directory in which a cache may make files meanwhile.
func removeAll(dir string) (err error) {
	for range 100 {
		if err = os.RemoveAll(dir); !errors.Is(err, syscall.ENOTEMPTY) {
			break
		}
	}
	return err
}

// TestFilesStayInTheLockedDirectory: whatever the path of an open cache leads to
// afterwards, its files are made, and removed, in the directory that it has locked. One
// that is opened at the old path loses nothing; nor does the first, unless somebody has
// removed its files: then Health says what to do.
func TestFilesStayInTheLockedDirectory(t *testing.T) {
	for _, turn := range turns {
		t.Run(turn.name, func(t *testing.T) {
			root := t.TempDir()
			must(t, os.Mkdir(filepath.Join(root, "v1"), 0o700))
			must(t, os.Mkdir(filepath.Join(root, "v2"), 0o700))
			path := turn.open(t, root)
			o := diskOptions()
			o.Durability.WeakDir, o.hooks.scrub = filepath.Join(path, "weak"), time.Millisecond
			o.Recovery.Budget = time.Microsecond // each generation has an image of its own
			d := &diskLoad{t: t, c: open(t, path, o)}
			d.serve()
			mustFlush(t, d.c)
			turn.do(t, root)

			still := *o
			still.hooks.step = true
			second := open(t, path, &still)
			fill(t, second, 300)
			mustFlush(t, second)
			want := list(t, path)
			d.serveOn(turn.now == "")
			wantListing(t, list(t, path), want)
			if err := d.c.Close(); (err == nil) != (turn.now != "") {
				t.Errorf("Close returned %v", err)
			}
			wantListing(t, list(t, path), want)

			mustClose(t, second)
			wantFilled(t, openWarm(t, path, &still), 300)
			if turn.now != "" {
				now := filepath.Join(root, turn.now)
				o.Durability.WeakDir = filepath.Join(now, "weak")
				d.wantRounds(openWarm(t, now, o), d.round)
			}
		})
	}
}

// serveOn writes until files have been made, and old ones removed, more than once, or
// Health has said that none can be.
func (d *diskLoad) serveOn(gone bool) {
	d.t.Helper()
	if !gone {
		for full := d.c.Stats().FullGenerations + 3; d.c.Stats().FullGenerations < full; {
			d.serve()
			mustFlush(d.t, d.c)
		}
		return
	}
	soon(d.t, "Health says that the directory was removed", func() bool {
		d.serve()
		health := d.c.Health()
		return errors.Is(health, fs.ErrNotExist) &&
			strings.Contains(health.Error(), "was removed while it was open: no file can be made there until the cache is closed and opened again")
	})
	for range 5 {
		d.serve()
		if g, err := d.c.Flush(context.Background()); err == nil {
			d.t.Fatalf("generation %d is acknowledged, and nobody will find it", g)
		}
	}
	d.wantRounds(d.c, d.round)
}

func openWarm(t *testing.T, path string, o *Options) *Cache {
	t.Helper()
	c := open(t, path, o)
	if r := c.Recovery(); r.Outcome != OutcomeWarm {
		t.Errorf("report of %s: %+v, want it warm", path, r)
	}
	return c
}
