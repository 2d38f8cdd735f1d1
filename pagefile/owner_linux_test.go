package pagefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNothingOfAnotherOwnerIsTrusted: neither a file nor a folder, to read or to
// write, and the error says who owns it.
func TestNothingOfAnotherOwnerIsTrusted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	const other = 54321
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	createFile(t, path)
	lock := filepath.Join(dir, "LOCK")
	for _, c := range []struct {
		name, path string
		open       func() error
	}{
		{"to read", path, func() error { _, err := OS().OpenFile(path, os.O_RDONLY, 0); return err }},
		{"to write", path, func() error { _, err := OS().OpenFile(path, os.O_RDWR, 0); return err }},
		{"past the page cache", path, func() error { _, err := OS().OpenDirect(path); return err }},
		{"a folder", dir, func() error { _, err := OS().Lock(lock); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Chown(c.path, other, -1); err != nil {
				t.Fatal(err)
			}
			err := c.open()
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "user 54321") {
				t.Errorf("got %v, want an error that names user %d", err, other)
			}
			if err := os.Chown(c.path, 0, -1); err != nil {
				t.Fatal(err)
			}
			if err := c.open(); err != nil {
				t.Errorf("its own: %v", err)
			}
		})
	}
}
