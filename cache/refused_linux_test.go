//go:build linux

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
)

// TestDiskTurnsReadOnly: the kernel finds an error in the file system and lets
// nobody write to it any more, under an open cache. Serving goes on, Health says
// why, and Open says so too until the disk is mounted again; then all is there that
// was acknowledged.
func TestDiskTurnsReadOnly(t *testing.T) {
	e := newExt4(t, "errors=remount-ro")
	dir := filepath.Join(e.dir, "cache")
	d := &diskLoad{t: t, c: open(t, dir, diskOptions())}
	d.serve()
	mustFlush(t, d.c)
	good := d.round
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(e.device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skipf("no way to make the file system fail: %v", err)
	}
	soon(t, "Health says so", func() bool { d.serve(); return d.c.Health() != nil })
	if _, err := d.c.Flush(context.Background()); !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.EIO) {
		t.Errorf("Flush returned %v", err)
	}
	t.Logf("Health: %v", d.c.Health())
	for range fewer(50) {
		d.serve()
	}
	if err := d.c.Close(); err == nil {
		t.Error("Close has written to it")
	}
	if c, err := Open(context.Background(), dir, diskOptions()); err == nil || !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.EIO) {
		t.Errorf("Open returned %v, %v", c, err)
	}
	if err := unix.Unmount(e.dir, 0); err != nil {
		t.Fatal(err)
	}
	mount(t, e.device, e.dir, "ext4", "")
	d.wantRounds(open(t, dir, diskOptions()), good)
}

const refusedEnv = "EMBER_REFUSED_DIR" // makes this executable one that root's powers do not help

// TestPermissionsTaken takes the right to read and write from files and folder of
// an open cache, and of one that is to be opened.
func TestPermissionsTaken(t *testing.T) {
	if dir := os.Getenv(refusedEnv); dir != "" {
		permissionsTaken(t, dir)
		return
	}
	if os.Getuid() != 0 {
		permissionsTaken(t, filepath.Join(t.TempDir(), "cache"))
		return
	}
	base, err := os.MkdirTemp("", "ember-refused-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(base, "test")
	if err := os.WriteFile(exe, program, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := errors.Join(os.Chmod(base, 0o755), os.Chown(base, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestPermissionsTaken$")
	cmd.Env = append(os.Environ(), refusedEnv+"="+filepath.Join(base, "cache"), "TMPDIR="+base)
	cmd.Dir = base
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v: %s", err, out)
	}
}

// modes sets the mode of the files in dir, and then its own.
func modes(t *testing.T, dir string, file, folder os.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.Chmod(filepath.Join(dir, e.Name()), file))
	}
	if err := errors.Join(err, os.Chmod(dir, folder)); err != nil {
		t.Fatal(err)
	}
}

func permissionsTaken(t *testing.T, dir string) {
	o := diskOptions()
	o.Durability.Interval = time.Hour
	d := &diskLoad{t: t, c: open(t, dir, o)}
	d.serve()
	mustFlush(t, d.c)

	// No new file: what is open goes on, a full generation fails and says so.
	modes(t, dir, 0, 0o500)
	d.serve()
	if _, err := d.c.Flush(t.Context()); err != nil {
		t.Errorf("what is open can be written: %v", err)
	}
	good := d.round
	d.serve()
	d.c.persist.dumper.Mend() // wants a full one
	if _, err := d.c.Flush(context.Background()); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Flush returned %v without the right to make an image", err)
	}
	if err := d.c.Health(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Health is %v", err)
	}
	d.serve()
	if err := d.c.Close(); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Close returned %v", err)
	}

	// Nothing can be read, nor locked: an error. Then only the lock can.
	for _, folder := range []os.FileMode{0, 0o700} {
		modes(t, dir, 0, folder)
		if c, err := Open(context.Background(), dir, o); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("Open returned %v, %v", c, err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "LOCK"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir, o)
	mustSet(t, c, testKey(1), []byte("new"))
	if r := c.Recovery(); r.Outcome != OutcomeCold || r.Reason == nil {
		t.Errorf("nothing can be read: %+v", r)
	}
	if _, err := c.Flush(context.Background()); !errors.Is(err, fs.ErrPermission) || !errors.Is(c.Health(), fs.ErrPermission) {
		t.Errorf("nothing can be written: %v, Health %v", err, c.Health())
	}
	wantValue(t, c, testKey(1), []byte("new"))
	_ = c.Close()
	modes(t, dir, 0o600, 0o700)
	d.wantRounds(open(t, dir, o), good)
}

// TestSlowDisk: every sync and every write takes from 10 ms on, to 10 s with
// -faults. Nobody who gets or sets waits for it; from 5 s on Health says so; Close
// ends in its time.
func TestSlowDisk(t *testing.T) {
	delays := []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}
	if *faultCount > 0 {
		delays = append(delays, time.Second, 10*time.Second)
	}
	for _, delay := range delays {
		for _, kind := range []crashfs.Kind{crashfs.OpSync, crashfs.OpWrite} {
			t.Run(fmt.Sprintf("%v takes %v", kind, delay), func(t *testing.T) { slowDisk(t, kind, delay) })
		}
	}
}

func slowDisk(t *testing.T, kind crashfs.Kind, delay time.Duration) {
	fsys := crashfs.New()
	o := backgroundOptions(fsys)
	o.MaxBytes = 64 << 20 // nothing has to be left out
	o.hooks.slow = min(delay/2, time.Second)
	told := make(chan struct{}, 1)
	o.Events = &Events{DiskSlow: func(string, time.Duration) {
		select {
		case told <- struct{}{}:
		default:
		}
	}}
	c := openOn(t, o)
	mustSet(t, c, []byte("before"), []byte("1"))
	mustFlush(t, c)
	remove := fsys.Fail(crashfs.Rule{Kind: kind, Delay: delay})
	rounds, worst := 0, time.Duration(0)
	stalled := delay < 6*time.Second
	for end := time.Now().Add(2*delay + 100*time.Millisecond); !stalled || time.Now().Before(end); rounds++ {
		start := time.Now()
		serveRound(t, c, rounds)
		worst = max(worst, time.Since(start))
		stalled = stalled || errors.Is(c.Health(), dump.ErrStalled)
	}
	select {
	case <-told:
	case <-time.After(stalls):
		t.Error("nobody was told that the disk is slow")
	}
	start := time.Now()
	err := c.Close()
	if took := time.Since(start); took > o.CloseTimeout+stalls {
		t.Errorf("Close took %v: %v", took, err)
	}
	remove()
	var again *Cache
	soon(t, "the directory is free again", func() bool {
		again, err = Open(context.Background(), worldDir, o)
		return err == nil
	})
	defer again.Close()
	wantValue(t, again, []byte("before"), []byte("1"))
	mustFlush(t, again)
	if err := again.Health(); err != nil {
		t.Errorf("Health is %v", err)
	}
	t.Logf("%d rounds of 400 Sets and Gets, %v the longest", rounds, worst)
}
