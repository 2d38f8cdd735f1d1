package cache

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// liveDirOptions are those of a cache whose log is a file on a real tmpfs. Open waits
// for it, however slow the disk is.
func liveDirOptions(t *testing.T) *Options {
	t.Helper()
	o := stepOptions(2 << 20)
	o.Durability.Live, o.Recovery.Timeout = tmpfs(t), time.Minute
	return o
}

// liveFiles are the logs in a folder.
func liveFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLiveFolderIsMade: what a process that is killed has in it is there, with the
// folder that Open made, and a good Close leaves the folder empty.
func TestLiveFolderIsMade(t *testing.T) {
	o, dir := liveDirOptions(t), t.TempDir()
	o.Durability.Live = filepath.Join(o.Durability.Live, "made", "here")
	for round := range 3 {
		c := open(t, dir, o)
		if err := c.Health(); err != nil {
			t.Fatal(err)
		}
		if round > 0 {
			wantFilled(t, c, 100*round)
		}
		fill(t, c, 100*(round+1))
		if names := liveFiles(t, o.Durability.Live); len(names) != 1 {
			t.Errorf("files: %v", names)
		}
		checkModes(t, filepath.Dir(o.Durability.Live))
		drop(c)
	}
	mustClose(t, open(t, dir, o))
	if names := liveFiles(t, o.Durability.Live); len(names) != 0 {
		t.Errorf("after a good Close: %v", names)
	}
}

// TestFoldersThatHoldNoLog: Open serves without one at once, Health and one line of the
// log say why, and weak generations are what a killed process leaves.
func TestFoldersThatHoldNoLog(t *testing.T) {
	for _, c := range []struct {
		name, says string
		root       bool
		folder     func(t *testing.T, dir string) (string, error)
	}{
		{"too small", "no room", true, func(t *testing.T, dir string) (string, error) {
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			return dir, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k")
		}},
		{"on a disk", "not on a tmpfs", false, func(t *testing.T, dir string) (string, error) {
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil || uint32(st.Type) == unix.TMPFS_MAGIC {
				return dir, errors.Join(err, errors.New("TMPDIR is on a tmpfs"))
			}
			return dir, nil
		}},
		{"a file", "not a directory", false, func(t *testing.T, dir string) (string, error) {
			path := filepath.Join(dir, "file")
			return path, os.WriteFile(path, nil, 0o600)
		}},
		{"of another user", "belongs to user 54321", true, func(t *testing.T, _ string) (string, error) {
			dir := tmpfs(t)
			return dir, os.Chown(dir, 54321, -1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root can")
			}
			folder, err := c.folder(t, t.TempDir())
			if err != nil {
				t.Skip(err)
			}
			servesWithoutLog(t, t.TempDir(), folder, c.says)
		})
	}
}

// servesWithoutLog opens a directory whose log cannot be had, twice.
func servesWithoutLog(t *testing.T, dir, folder, says string) {
	t.Helper()
	o := stepOptions(2 << 20)
	o.Durability.Live, o.Recovery.Timeout = folder, time.Hour
	for round := range 2 {
		log := newRecorder()
		o.Logger = slog.New(log)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		c, err := Open(ctx, dir, o)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("Open: %v, %v", err, ctx.Err())
		}
		if round > 0 {
			wantFilled(t, c, 50)
			wantValue(t, c, []byte("linked"), []byte("1"))
		}
		fill(t, c, 50*(round+1))
		mustFlush(t, c)
		mustSet(t, c, []byte("linked"), []byte("1"))
		mustWeak(t, c)
		if err := c.Health(); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), folder) {
			t.Errorf("Health %v, want %q of %s", err, says, folder)
		}
		lines := log.of("no_live_log")
		if len(lines) != 1 || lines[0].level != slog.LevelWarn || !strings.Contains(lines[0].text, says) || len(log.of("live_log_waits")) > 0 {
			t.Errorf("logged: %v", log.of(""))
		}
		if round == 0 {
			drop(c)
		} else if err := c.Shutdown(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("Shutdown: %v, %v", err, ctx.Err())
		}
		cancel()
	}
	o.Durability.Live = ""
	c := open(t, dir, o)
	wantValue(t, c, []byte("linked"), []byte("1"))
	mustClose(t, c)
}

// TestLiveFilesThatAreNotOursAlone are left as they are, whatever lies there under the
// log's name; and when it is ours again, the log of before is not applied: another
// process wrote meanwhile.
func TestLiveFilesThatAreNotOursAlone(t *testing.T) {
	for what, plant := range map[string]func(path string) (undo func() error, err error){
		"a link": func(path string) (func() error, error) {
			return func() error { return os.Rename(path+".there", path) }, errors.Join(os.Rename(path, path+".there"), os.Symlink(path+".there", path))
		},
		"a file that others may read": func(path string) (func() error, error) {
			return func() error { return os.Chmod(path, 0o600) }, os.Chmod(path, 0o644)
		},
		"a file of another user": func(path string) (func() error, error) {
			return func() error { return os.Chown(path, os.Geteuid(), -1) }, os.Chown(path, 54321, -1)
		},
		"a file that somebody has locked": func(path string) (func() error, error) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return nil, err
			}
			return f.Close, syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		},
	} {
		t.Run(what, func(t *testing.T) {
			o, dir := liveDirOptions(t), t.TempDir()
			c := open(t, dir, o)
			mustSet(t, c, []byte("logged"), []byte("1"))
			drop(c)
			path := liveFiles(t, o.Durability.Live)[0]
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			undo, err := plant(path)
			if err != nil {
				t.Skip(err)
			}
			servesWithoutLog(t, dir, o.Durability.Live, filepath.Base(path))
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Errorf("the file has changed: %v", err)
			}
			c = open(t, dir, o)
			wantFilled(t, c, 100)
			if c.Has([]byte("logged")) || c.Health() != nil {
				t.Errorf("the log of before is back: %t; Health %v", c.Has([]byte("logged")), c.Health())
			}
			mustClose(t, c)
		})
	}
}

// TestProcessesWithCopiesOfADirectory do not share a log: the second serves without
// one, and takes nothing from the first.
func TestProcessesWithCopiesOfADirectory(t *testing.T) {
	o, dir, other := liveDirOptions(t), t.TempDir(), t.TempDir()
	folder := o.Durability.Live
	o.Durability.Live = ""
	c := open(t, dir, o)
	fill(t, c, 50)
	mustClose(t, c)
	if err := os.CopyFS(filepath.Join(other, "copy"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	o.Durability.Live = folder
	c = open(t, dir, o)
	mustSet(t, c, []byte("first"), []byte("1"))
	second := open(t, filepath.Join(other, "copy"), o)
	if err := second.Health(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Health of the second: %v", err)
	}
	mustSet(t, second, []byte("second"), []byte("2"))
	mustClose(t, second)
	drop(c)
	c = open(t, dir, o)
	wantValue(t, c, []byte("first"), []byte("1"))
	if c.Has([]byte("second")) || c.Health() != nil {
		t.Errorf("the second's entry: %t; Health %v", c.Has([]byte("second")), c.Health())
	}
	mustClose(t, c)
}

// TestLogOfAProcessThatIsDying: of a killed process the kernel lets go of the
// directory's lock first, and of the log's a little later. Whoever waited for the
// directory has all that had returned.
func TestLogOfAProcessThatIsDying(t *testing.T) {
	for dies(t, 20*time.Millisecond) > 500*time.Millisecond {
		t.Log("this machine stood still: who tries for a second may have had no time to")
	}
}

// dies has a log's lock outlive the directory's, and returns by how much it did.
func dies(t *testing.T, later time.Duration) (took time.Duration) {
	o, dir := liveDirOptions(t), t.TempDir()
	c := open(t, dir, o)
	mustSet(t, c, []byte("logged"), []byte("1"))
	if err := c.Health(); err != nil {
		t.Fatal(err)
	}
	drop(c)
	f, err := os.OpenFile(liveFiles(t, o.Durability.Live)[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	began, freed := time.Now(), make(chan time.Time, 1)
	time.AfterFunc(later, func() { f.Close(); freed <- time.Now() })
	c = open(t, dir, o)
	defer mustClose(t, c)
	if took = (<-freed).Sub(began); took > 25*later {
		return took
	}
	wantValue(t, c, []byte("logged"), []byte("1"))
	if err := c.Health(); err != nil {
		t.Error(err)
	}
	return took
}
