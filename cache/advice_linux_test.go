package cache

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// memoryDir is a folder of the test's own on a tmpfs.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "ember-test-")
	if err != nil {
		t.Skipf("no tmpfs: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if !onMemory(dir) {
		t.Skip("no tmpfs at /dev/shm")
	}
	return dir
}

func onMemory(dir string) bool { return pagefile.InMemory(pagefile.OS(), dir) }

// TestFilesInMemoryCount: what lies on a tmpfs is memory that nobody gets back.
func TestFilesInMemoryCount(t *testing.T) {
	shm := memoryDir(t)
	for _, c := range []struct {
		dir, weak string
		warns     bool
	}{{t.TempDir(), "", false}, {t.TempDir(), shm, true}, {shm, "", true}} {
		if c.dir != shm && onMemory(c.dir) {
			continue // TMPDIR is one as well
		}
		log, o := newRecorder(), testOptions(64<<20)
		d, _ := o.withDefaults()
		f := d.footprint(d.shape())
		o.Durability.WeakDir, o.Logger, o.hooks.machine = c.weak, slog.New(log), machineOf((f.own+f.heap+f.ring/2)*4/3)
		mustClose(t, open(t, filepath.Join(c.dir, "c"), o))
		if got := len(log.of("low_memory")) > 0; got != c.warns {
			t.Errorf("files in %s, links in %q: warned %v, want %v", c.dir, c.weak, got, c.warns)
		}
	}
}
