//go:build unix

package cache

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFilesAreOursAlone: whatever the umask, nobody else may read what Ember creates,
// in the directory and in WeakDir.
func TestFilesAreOursAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	root := t.TempDir()
	o := testOptions(4 << 20)
	o.Durability.WeakDir = filepath.Join(root, "weak")
	c := open(t, filepath.Join(root, "cache"), o)
	fill(t, c, 200)
	mustFlush(t, c)
	checkModes(t, filepath.Join(root, "cache"))
	checkModes(t, filepath.Join(root, "weak"))
	mustClose(t, c)
	checkModes(t, filepath.Join(root, "cache"))
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %v, want %v", path, got, want)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%d files below %s, %v", files, dir, err)
	}
}

// TestPlantedNamesNeitherHangNorAreFollowed: a fifo, a folder, a link and a dangling
// link under the names of our files. Open returns, and writes to none of them.
func TestPlantedNamesNeitherHangNorAreFollowed(t *testing.T) {
	plant := map[string]func(path, target string) error{
		"fifo":          func(path, _ string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":        func(path, _ string) error { return os.Mkdir(path, 0o700) },
		"link":          func(path, target string) error { return os.Symlink(target, path) },
		"dangling link": func(path, target string) error { return os.Symlink(target+".made", path) },
	}
	for what, put := range plant {
		for _, name := range []string{"LOCK", "LEASE", "records.0", "RESET"} {
			t.Run(what+" under "+name, func(t *testing.T) {
				dir, target := t.TempDir(), filepath.Join(t.TempDir(), "precious")
				if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := put(filepath.Join(dir, name), target); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				if c, err := Open(ctx, dir, testOptions(4<<20)); err == nil {
					fill(t, c, 10)
					_, _ = c.Flush(ctx)
					_ = c.Close()
				} else if ctx.Err() != nil {
					t.Errorf("Open took the whole of its time: %v", err)
				}
				if got, _ := os.ReadFile(target); string(got) != "precious" {
					t.Errorf("the target of the link has changed: %d bytes, want 8", len(got))
				}
				if _, err := os.Lstat(target + ".made"); err == nil {
					t.Error("the target of a dangling link was created")
				}
			})
		}
	}
}
