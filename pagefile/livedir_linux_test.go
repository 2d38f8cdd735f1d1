package pagefile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const liveFile = "ember-1.live"

// memory makes a folder on a tmpfs.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ember-live")
	if err == nil {
		var st unix.Statfs_t
		if err = unix.Statfs(dir, &st); err == nil && st.Type != unix.TMPFS_MAGIC {
			err = errors.New("something else is there")
		}
	}
	if err != nil {
		t.Skip("no tmpfs at /dev/shm: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func openLiveDir(t *testing.T, dir string) *LiveDir {
	t.Helper()
	d, err := OpenLiveDir(dir, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); d.Release() })
	return d
}

// leaveLog is what a process leaves that had a log when it was killed.
func leaveLog(t *testing.T, dir string) (size int64) {
	t.Helper()
	size = LiveSize(1, 0)
	d := openLiveDir(t, dir)
	b, err := d.Make(liveFile, size)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLive(b, 1, liveSession, liveDirID)
	l.SetBase(7, WeakPos{Hash: 1, Number: 2})
	d.Close()
	return size
}

// TestLiveDirKeepsWhatWasStored: what is stored in the memory is there when the
// process has ended, for the same directory to read, and to write over. Files and
// folders that are made are ours alone, whatever the umask.
func TestLiveDirKeepsWhatWasStored(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(memory(t), "a", "b")
	d := openLiveDir(t, dir)
	if b, err := d.Read(liveFile); b != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is one: %d bytes, %v", len(b), err)
	}
	size := LiveSize(2, 100<<10)
	b, err := d.Make(liveFile, size)
	if err != nil || int64(len(b)) != size || !allZero(b) {
		t.Fatalf("made %d bytes, %v", len(b), err)
	}
	for path, want := range map[string]os.FileMode{filepath.Dir(dir): 0o700, dir: 0o700, filepath.Join(dir, liveFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, liveFile)); err != nil || st.Sys().(*syscall.Stat_t).Blocks*512 < size {
		t.Errorf("not all of %d bytes are allocated: %+v, %v", size, st.Sys(), err)
	}
	copy(b[size-8:], "the last")
	l := NewLive(b, 2, liveSession, liveDirID)
	l.SetBase(7, WeakPos{Hash: 1, Number: 2})
	want := bytes.Clone(b)
	if got := openLiveCopy(t, d, dir); !bytes.Equal(got, want) {
		t.Errorf("read %d bytes that are not the %d that were stored", len(got), len(want))
	}
}

// openLiveCopy ends what has the log, and reads it as the next process does.
func openLiveCopy(t *testing.T, d *LiveDir, dir string) []byte {
	t.Helper()
	d.Close()
	next := openLiveDir(t, dir)
	b, err := next.Read(liveFile)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
	return b
}

// TestLiveDirClosedTakesStores: whoever is late stores into memory of the process
// alone, and the file stays as it was.
func TestLiveDirClosedTakesStores(t *testing.T) {
	dir := memory(t)
	size := leaveLog(t, dir)
	d := openLiveDir(t, dir)
	before, err := d.Read(liveFile)
	if err != nil || int64(len(before)) != size {
		t.Fatalf("%d bytes, %v", len(before), err)
	}
	b, err := d.Make(liveFile, size)
	if err != nil || !bytes.Equal(b, before) {
		t.Fatalf("what was read is gone: %v", err)
	}
	d.Close()
	b[100] = 77
	if after := openLiveCopy(t, d, dir); !bytes.Equal(after, before) {
		t.Error("the file has changed")
	}
	d.Release()
	d.Release()
}

// TestLiveDirOfAnotherSize is made anew, and Remove leaves nothing.
func TestLiveDirOfAnotherSize(t *testing.T) {
	dir := memory(t)
	size := leaveLog(t, dir)
	d := openLiveDir(t, dir)
	if b, err := d.Make(liveFile, 2*size); err != nil || int64(len(b)) != 2*size || !allZero(b) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	d.Remove(liveFile)
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// TestLiveDirHasOneUser: who has a copy of the directory neither reads the log nor
// takes it away, whether or not it has a token for it.
func TestLiveDirHasOneUser(t *testing.T) {
	dir := memory(t)
	d := openLiveDir(t, dir)
	b, err := d.Make(liveFile, LiveSize(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{LiveSize(1, 0), LiveSize(1, 1<<20)} {
		other := openLiveDir(t, dir)
		if b, err := other.Make(liveFile, size); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("made %d bytes, %v", len(b), err)
		}
		if b, err := other.Read(liveFile); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
	}
	NewLive(b, 1, liveSession, liveDirID).SetBase(1, WeakPos{})
	if got := openLiveCopy(t, d, dir); len(got) != len(b) {
		t.Errorf("the log has %d bytes, want %d", len(got), len(b))
	}
}

// TestLiveDirWaitsForTheDying: the lock of a process that was killed lasts a little
// longer than the process; or it ended well, and took its file with it.
func TestLiveDirWaitsForTheDying(t *testing.T) {
	for what, use := range map[string]func(d *LiveDir, size int64) ([]byte, error){
		"Read": func(d *LiveDir, _ int64) ([]byte, error) { return d.Read(liveFile) },
		"Make": func(d *LiveDir, size int64) ([]byte, error) { return d.Make(liveFile, size) },
	} {
		for _, removes := range []bool{false, true} {
			dir := memory(t)
			size := leaveLog(t, dir)
			dying := openLiveDir(t, dir)
			if err := dying.open(liveFile, os.O_RDWR); err != nil {
				t.Fatal(err)
			}
			d, err := OpenLiveDir(dir, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			time.AfterFunc(20*time.Millisecond, func() {
				defer close(ended)
				if removes {
					dying.Remove(liveFile)
				}
				dying.Close()
			})
			b, err := use(d, size)
			<-ended
			want, gone := size, removes && what == "Read"
			if gone {
				want = 0
			}
			if errors.Is(err, fs.ErrNotExist) != gone || err != nil && !gone || int64(len(b)) != want {
				t.Errorf("%s, the file is removed: %t: %d bytes, want %d, %v", what, removes, len(b), want, err)
			}
			d.Close()
			d.Release()
		}
	}
}

// TestLiveFileThatIsGone: who locks a file that its holder has removed meanwhile tries
// again, and makes another.
func TestLiveFileThatIsGone(t *testing.T) {
	dir := memory(t)
	leaveLog(t, dir)
	f, err := os.OpenFile(filepath.Join(dir, liveFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := oursAlone(f); err != nil {
		t.Error(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if err := oursAlone(f); !errors.Is(err, errLiveInUse) {
		t.Errorf("got %v, want to try again", err)
	}
}

// TestLiveDirTooSmall: no memory, an error that says so, and nothing that takes room.
func TestLiveDirTooSmall(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no way to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	d := openLiveDir(t, dir)
	if b, err := d.Make(liveFile, 1<<20); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no room for 1048576 bytes") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Errorf("left: %v, %v", list, err)
	}
	if _, err := d.Make(liveFile, 16<<10); err != nil {
		t.Errorf("what fits: %v", err)
	}
}

// TestLiveDirOnADisk is refused: its stores would wait.
func TestLiveDirOnADisk(t *testing.T) {
	dir := t.TempDir()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || uint32(st.Type) == unix.TMPFS_MAGIC {
		t.Skipf("no folder that is not on a tmpfs: %v", err)
	}
	if _, err := OpenLiveDir(dir, 0); err == nil || !strings.Contains(err.Error(), "not on a tmpfs") {
		t.Errorf("got %v", err)
	}
}

// TestLiveDirOfAnother user is refused, and what lies there under our name when it is
// not our file alone: nothing of it is read, written or removed.
func TestLiveDirOfAnother(t *testing.T) {
	const other = 54321
	for what, plant := range map[string]func(dir, path string) error{
		"a link": func(dir, path string) error {
			return errors.Join(os.Rename(path, path+".target"), os.Symlink(path+".target", path))
		},
		"a dangling link":              func(_, path string) error { return errors.Join(os.Remove(path), os.Symlink(path+".made", path)) },
		"a fifo":                       func(_, path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"a folder":                     func(_, path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a file with another name too": func(_, path string) error { return os.Link(path, path+".precious") },
		"a file that others can read":  func(_, path string) error { return os.Chmod(path, 0o644) },
		"a file that a group writes":   func(_, path string) error { return os.Chmod(path, 0o620) },
		"another's file":               func(_, path string) error { return os.Chown(path, other, -1) },
		"another's folder":             func(dir, _ string) error { return os.Chown(dir, other, -1) },
	} {
		t.Run(what, func(t *testing.T) {
			if strings.HasPrefix(what, "another") && os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			dir := memory(t)
			size := leaveLog(t, dir)
			path := filepath.Join(dir, liveFile)
			if err := plant(dir, path); err != nil {
				t.Fatal(err)
			}
			before := listed(t, dir)
			d, err := OpenLiveDir(dir, 0)
			if err == nil {
				if b, err := d.Read(liveFile); err == nil || b != nil {
					t.Errorf("read %d bytes, %v", len(b), err)
				}
				for _, n := range []int64{size, 2 * size} {
					if b, err := d.Make(liveFile, n); err == nil || errors.Is(err, fs.ErrNotExist) {
						t.Errorf("made %d bytes, %v", len(b), err)
					}
				}
				d.Close()
			} else if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("got %v", err)
			}
			if (err != nil) != (what == "another's folder") {
				t.Errorf("opened the folder: %v", err)
			}
			if after := listed(t, dir); after != before {
				t.Errorf("found %s, left %s", before, after)
			}
		})
	}
}

// listed is what lies in a folder.
func listed(t *testing.T, dir string) (text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text += info.Mode().String() + " " + e.Name() + "; "
	}
	return text
}

// TestLiveFileThatClaimsATerabyte: no more is read than its header says, and nothing
// of a file of another length.
func TestLiveFileThatClaimsATerabyte(t *testing.T) {
	dir := memory(t)
	size := leaveLog(t, dir)
	path := filepath.Join(dir, liveFile)
	for _, n := range []int64{1 << 40, size + 1, size - 1, LiveHeader, 100, 0} {
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		d := openLiveDir(t, dir)
		if b, err := d.Read(liveFile); b != nil || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: read %d, %v", n, len(b), err)
		}
		d.Close()
	}
	d := openLiveDir(t, dir)
	if b, err := d.Make(liveFile, size); err != nil || int64(len(b)) != size {
		t.Errorf("made %d bytes, %v", len(b), err)
	}
}

// TestLiveDirStaysWhereItIs: the folder is the one that was opened, whatever becomes of
// its name.
func TestLiveDirStaysWhereItIs(t *testing.T) {
	root := memory(t)
	dir, moved := filepath.Join(root, "dir"), filepath.Join(root, "moved")
	size := leaveLog(t, dir)
	d := openLiveDir(t, dir)
	must(t, os.Rename(dir, moved))
	must(t, os.Mkdir(dir, 0o700))
	write(t, dir, liveFile)
	if _, err := d.Make(liveFile, size); err != nil {
		t.Fatal(err)
	}
	wantNames(t, moved, liveFile)
	d.Remove(liveFile)
	wantNames(t, moved, "")
	wantNames(t, dir, liveFile)
}
