package power

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated runs a test once more, in a mount namespace that ends with it.
func isolated(t *testing.T) (inside bool) {
	t.Helper()
	const env = "EMBER_POWER_TEST"
	if os.Getenv(env) == t.Name() {
		return true
	}
	if err := able(); err != nil {
		if os.Getenv("EMBER_CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("EMBER_CI") == "" {
		t.Skip(err)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

func testServer(t *testing.T) *server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disks")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// What is written to a block device, and when it is flushed, arrives as it was asked:
// nothing stays in a cache of the file behind it.
func TestADiskIsAskedInOrder(t *testing.T) {
	if !isolated(t) {
		return
	}
	s, d := testServer(t), newDisk(&image{make([]*[pageSize]byte, 1024)})
	path, remove := s.add(d)
	defer remove()
	fd, _, err := attach(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const rounds = 40
	began := d.position() // the driver flushes when it begins
	for i := range rounds {
		if _, err := unix.Pwrite(fd, filled(pageSize, byte(i+1)), int64(i)*3*pageSize); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fsync(fd); err != nil {
			t.Fatal(err)
		}
	}
	log := d.log[began:]
	if len(log) != 2*rounds {
		t.Fatalf("%d operations, want %d", len(log), 2*rounds)
	}
	for i := range rounds {
		w, f := log[2*i], log[2*i+1]
		if w.flush() || !f.flush() || w.off != int64(i)*3*pageSize || !bytes.Equal(w.data, filled(pageSize, byte(i+1))) {
			t.Fatalf("round %d: %d bytes at %d, then %d bytes", i, len(w.data), w.off, len(f.data))
		}
	}
}

// A file that was synced is there after a cut at that moment that loses everything
// which no flush covers; one that was not synced is lost with its bytes.
func TestWhatAFileSystemSyncsIsFlushed(t *testing.T) {
	if !isolated(t) {
		return
	}
	s := testServer(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			base, err := k.format(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			d, dir := newDisk(base), t.TempDir()
			unmount, err := s.mountDisk(d, k, dir)
			if err != nil {
				t.Fatal(err)
			}
			synced, loose := filepath.Join(dir, "synced"), filepath.Join(dir, "loose")
			writeSynced(t, synced, dir)
			at := d.position()
			err = os.WriteFile(loose, filled(100<<10, 2), 0o600)
			if err := errors.Join(err, unmount()); err != nil {
				t.Fatal(err)
			}
			m, _ := newCutter(d).after(cut{at: at, fate: fateLost})
			if unmount, err = s.mountDisk(newDisk(m), k, dir); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(synced)
			if err != nil || !bytes.Equal(got, filled(100<<10, 1)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if _, err := os.Stat(loose); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file that was not there yet: %v", err)
			}
			if err := unmount(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func writeSynced(t *testing.T, name, dir string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(filled(100<<10, 1)); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if err := errors.Join(f.Sync(), folder.Sync()); err != nil {
		t.Fatal(err)
	}
}

// A child that had the connection would wait for ever for a server that was killed.
func TestNoChildHasTheConnection(t *testing.T) {
	if !isolated(t) {
		return
	}
	testServer(t)
	out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("->")) || bytes.Contains(out, []byte("/dev/fuse")) {
		t.Errorf("%v\n%s", err, out)
	}
}
