package dump

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestRemovedFilesAreMadeAnew removes each file of a directory while it is open,
// and all of them. What is written to a file without a name nobody finds, so it is
// noticed, told of, and written again: then a power cut loses nothing.
func TestRemovedFilesAreMadeAnew(t *testing.T) {
	var names []string
	for _, name := range newFileRig(t).fs.List() {
		if base := path.Base(name); base != "LOCK" && !strings.Contains(base, "lease") && !strings.Contains(base, "LEASE") {
			names = append(names, name)
		}
	}
	if len(names) < 6 {
		t.Fatalf("there is no more than %v", names)
	}
	for _, name := range names {
		t.Run(path.Base(name), func(t *testing.T) { removed(t, name) })
	}
	t.Run("all", func(t *testing.T) { removed(t, names...) })
}

func removed(t *testing.T, names ...string) {
	r := newFileRig(t)
	for _, name := range names {
		if err := r.fs.Erase(name); err != nil {
			t.Fatal(err)
		}
	}
	r.events = nil
	if n := r.d.scrubPieces(); n == 0 || len(r.events) != 1 || !errors.Is(r.events[0].Err, fs.ErrNotExist) {
		t.Fatalf("%d noticed, told of %v", n, r.events)
	}
	r.flush()
	if err := r.d.Health(); err != nil {
		t.Errorf("Health is %v", err)
	}
	if n := r.d.scrubPieces(); n != 0 {
		t.Errorf("%d are still missing", n)
	}
	r.f.churn(10)
	r.flush()
	r.recover(r.fs.Crash(r.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), false)
	r.f.churn(10)
	if err := r.d.Weak(); err != nil {
		t.Errorf("there is no chain: %v", err)
	}
	r.recover(r.fs.Kill(r.fs.Ops()), true)
}
