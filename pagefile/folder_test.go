//go:build linux || darwin

package pagefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func enter(t *testing.T, fsys FS, dir string) io.Closer {
	t.Helper()
	leave, err := fsys.Enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave.Close() })
	return leave
}

// write makes files under names, each with its own path in it.
func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func wantNames(t *testing.T, dir, want string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}

// TestEnteredDirectoryIsTheOneThatWasEntered: all that an FS does to a path in it. When
// all have left nothing can be done there, in neither directory, until somebody enters
// the other.
func TestEnteredDirectoryIsTheOneThatWasEntered(t *testing.T) {
	root, fsys := t.TempDir(), OS()
	dir, moved := filepath.Join(root, "dir"), filepath.Join(root, "moved")
	must(t, os.Mkdir(dir, 0o700))
	write(t, dir, "a", "b")
	leave, again := enter(t, fsys, dir), enter(t, fsys, dir+"/.")
	must(t, os.Rename(dir, moved))
	must(t, os.Mkdir(dir, 0o700))
	write(t, dir, "b", "c")

	f, err := fsys.OpenFile(filepath.Join(dir, "new"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	must(t, err)
	f.Close()
	for _, open := range []func(string) (File, error){
		fsys.OpenDirect,
		func(path string) (File, error) { return fsys.OpenFile(path, os.O_RDONLY, 0) },
	} {
		if f, err = open(filepath.Join(dir, "a")); err == nil {
			err = f.Close()
		}
		must(t, err)
	}
	must(t, fsys.Remove(filepath.Join(dir, "b")))
	must(t, fsys.SyncDir(dir))
	if err := fsys.Remove(filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("removing what the other directory has: %v, want its path and ErrNotExist", err)
	}
	if names, err := fsys.ReadDir(dir); err != nil || strings.Join(names, " ") != "a new" {
		t.Errorf("ReadDir = %q, %v", names, err)
	}
	must(t, again.Close())
	must(t, again.Close())
	lock, err := fsys.Lock(filepath.Join(dir, "LOCK"))
	must(t, err)
	if _, err := OS().Lock(filepath.Join(moved, "LOCK")); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock is held, and another gets %v", err)
	}
	wantNames(t, moved, "LOCK a new")
	wantNames(t, dir, "b c")
	must(t, lock.Close())

	must(t, leave.Close())
	if err := fsys.Remove(filepath.Join(dir, "b")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Remove after all have left: %v, want ErrClosed", err)
	}
	if _, err := fsys.OpenFile(filepath.Join(dir, "late"), os.O_RDWR|os.O_CREATE, 0o600); err == nil {
		t.Error("a file was made after all have left")
	}
	enter(t, fsys, dir)
	must(t, fsys.Remove(filepath.Join(dir, "b")))
	wantNames(t, moved, "LOCK a new")
	wantNames(t, dir, "c")
}

// TestEnteredDirectoryIsRemoved: nothing can be made, and the error says why.
func TestEnteredDirectoryIsRemoved(t *testing.T) {
	dir, fsys := filepath.Join(t.TempDir(), "dir"), OS()
	must(t, os.Mkdir(dir, 0o700))
	enter(t, fsys, dir)
	must(t, os.Remove(dir))
	must(t, os.Mkdir(dir, 0o700))
	_, create := fsys.OpenFile(filepath.Join(dir, "a"), os.O_RDWR|os.O_CREATE, 0o600)
	_, list := fsys.ReadDir(dir)
	_, lock := fsys.Lock(filepath.Join(dir, "LOCK"))
	for what, err := range map[string]error{"OpenFile": create, "ReadDir": list, "Lock": lock} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir+" was removed while it was open") {
			t.Errorf("%s: %v, want ErrNotExist that says that %s was removed", what, err, dir)
		}
	}
	wantNames(t, dir, "")
}

func TestEnterWantsADirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file")
	for _, name := range []string{"missing", "file"} {
		if _, err := OS().Enter(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("entering what is %s: %v", name, err)
		}
	}
}

// TestLockedFolderIsSaidToBe: a program that knows nothing of us has locked the folder,
// and has left no name.
func TestLockedFolderIsSaidToBe(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	if ok, err := lockFile(f); !ok {
		t.Skipf("folders cannot be locked here: %v", err)
	}
	_, err = OS().Lock(filepath.Join(dir, "LOCK"))
	if says := "on the folder " + dir + " itself"; !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want ErrLocked that says %q", err, says)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
