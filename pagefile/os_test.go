package pagefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func createFile(t *testing.T, path string) File {
	t.Helper()
	f, err := OS().OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOSFile(t *testing.T) {
	dir := t.TempDir()
	f := createFile(t, filepath.Join(dir, "a"))

	t.Run("what is written is read, and the end is io.EOF", func(t *testing.T) {
		want := []byte("forty-two bytes of no meaning whatsoever..")
		if n, err := f.WriteAt(want, 8192); n != len(want) || err != nil {
			t.Fatalf("WriteAt = %d, %v", n, err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want)+1)
		n, err := f.ReadAt(got, 8192)
		if n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
			t.Errorf("ReadAt = %q, %v", got[:n], err)
		}
		if size, err := f.Size(); size != 8192+int64(len(want)) || err != nil {
			t.Errorf("Size = %d, %v", size, err)
		}
	})
	t.Run("a missing file and a taken name are told apart", func(t *testing.T) {
		if _, err := OS().OpenFile(filepath.Join(dir, "b"), os.O_RDWR, 0); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open of a missing file: %v", err)
		}
		_, err := OS().OpenFile(filepath.Join(dir, "a"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("exclusive create of a taken name: %v", err)
		}
	})
	t.Run("a file is never truncated by opening it", func(t *testing.T) {
		if _, err := OS().OpenFile(filepath.Join(dir, "a"), os.O_RDWR|os.O_TRUNC, 0); err == nil {
			t.Error("O_TRUNC was accepted")
		}
	})
	t.Run("a directory is no file", func(t *testing.T) {
		if _, err := OS().OpenFile(dir, os.O_RDONLY, 0); err == nil {
			t.Error("a directory was opened")
		}
	})
	t.Run("names are sorted, and removing takes one away", func(t *testing.T) {
		createFile(t, filepath.Join(dir, "0"))
		if got, err := OS().ReadDir(dir); err != nil || strings.Join(got, " ") != "0 a" {
			t.Errorf("ReadDir = %q, %v", got, err)
		}
		if err := OS().Remove(filepath.Join(dir, "0")); err != nil && runtime.GOOS != "windows" {
			t.Error(err)
		}
		if err := OS().SyncDir(dir); err != nil {
			t.Error(err)
		}
	})
}

func TestOSMkdirAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		if err := OS().MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("mode of a parent = %v, want 0700", info.Mode())
	}
	createFile(t, filepath.Join(dir, "f"))
	if err := OS().MkdirAll(filepath.Join(dir, "f", "g"), 0o700); err == nil {
		t.Error("a directory was made below a file")
	}
}

func TestOSAllocate(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a"))
	if _, err := f.WriteAt([]byte("kept"), 100); err != nil {
		t.Fatal(err)
	}
	const n = 3<<20 + 5
	if err := f.Allocate(0, n); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != n || err != nil {
		t.Errorf("Size = %d, %v, want %d", size, err, n)
	}
	got := make([]byte, n)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, n)
	copy(want[100:], "kept")
	if !bytes.Equal(got, want) {
		t.Error("allocating changed bytes, or new ones are not zero")
	}
	if err := f.Allocate(4096, 1); err != nil {
		t.Error(err)
	}
	if size, _ := f.Size(); size != n {
		t.Errorf("allocating inside the file changed its size to %d", size)
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, 0}, {1 << 62, 1 << 62}} {
		if err := f.Allocate(bad[0], bad[1]); err == nil {
			t.Errorf("Allocate(%d, %d) was accepted", bad[0], bad[1])
		}
	}
}

func TestOSAllocateByWriting(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a")).(*osFile)
	want := make([]byte, 2*zeroChunk+17)
	copy(want[5:], "kept")
	if _, err := f.WriteAt(want[5:9], 5); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 6, 9} {
		if err := writeZeroes(f.f, 9, off, int64(len(want))); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeZeroes(f.f, int64(len(want)), 0, 20); err != nil {
		t.Errorf("nothing to write: %v", err)
	}
	got := make([]byte, len(want)+1)
	n, err := f.ReadAt(got, 0)
	if n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
		t.Errorf("%d bytes, %v, want %d with %q kept", n, err, len(want), want[5:9])
	}
}

func TestNoSpaceError(t *testing.T) {
	full := syscall.ENOSPC
	if runtime.GOOS == "windows" {
		full = syscall.Errno(112)
	}
	err := wrapSpace("allocate "+sizeText(64<<20)+" of /x/pages-0", 64<<20, &fs.PathError{Op: "write", Path: "/x/pages-0", Err: full})
	if got := Needed(fmt.Errorf("dump: %w", err)); got != 64<<20 {
		t.Errorf("%d bytes were needed, want %d", got, 64<<20)
	}
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, full) {
		t.Errorf("%v is not both ErrNoSpace and the system's error", err)
	}
	want := "allocate 64 MiB of /x/pages-0: no space on device: free some or lower MaxBytes"
	if got := err.Error(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if err := wrapSpace("x", 0, io.ErrUnexpectedEOF); errors.Is(err, ErrNoSpace) {
		t.Error("another error became ErrNoSpace")
	}
	if err := wrapSpace("x", 0, nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}

func TestBootID(t *testing.T) {
	if got, again := OS().BootID(), OS().BootID(); got != again {
		t.Errorf("boot id changed from %q to %q", got, again)
	}
	if runtime.GOOS == "linux" && len(OS().BootID()) != 36 {
		t.Errorf("BootID = %q, want a UUID", OS().BootID())
	}
}

func TestNetworkOfNothing(t *testing.T) {
	if name, ok := OS().Network(filepath.Join(t.TempDir(), "missing")); ok {
		t.Errorf("a missing directory lies on %q", name)
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err, is error
		want    string
	}{
		{&CorruptionError{Path: "p", Shard: 2, Page: 7, Generation: 9, Want: 1, Got: 0xab}, ErrCorrupt,
			"corrupt page: p page 7 (shard 2, generation 9): checksum 00000000000000ab, want 0000000000000001"},
		{&LockError{Dir: "/d"}, ErrLocked,
			"lock /d: directory in use, by a lock (flock) on /d/LOCK that lsof, fuser and /proc/locks tell of: close it there, or use another directory"},
		{&LockError{Dir: "/d", folder: true}, ErrLocked,
			"lock /d: directory in use, by a lock (flock) on the folder /d itself that lsof, fuser and /proc/locks tell of: close it there, or use another directory"},
		{&LockError{Dir: "/d", PID: os.Getpid()}, ErrLocked, "lock /d: directory in use by this process: close it there, or use another directory"},
		{&LockError{Dir: "/d", PID: -2, Host: "h"}, ErrLocked, "lock /d: directory in use by process -2 on h: close it there, or use another directory"},
		{&FaultError{Path: "p", Off: 4096, Len: 8}, ErrFault, "read p at 4096, 8 bytes: fault in mapped file"},
	} {
		if got := c.err.Error(); got != c.want || !errors.Is(c.err, c.is) {
			t.Errorf("got  %q (is %v: %v)\nwant %q", got, c.is, errors.Is(c.err, c.is), c.want)
		}
	}
}
