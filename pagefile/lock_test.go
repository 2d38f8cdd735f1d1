package pagefile

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A test that needs another process starts this binary again. The child does
// what childEnv says, prints "ready", and stays until its input ends.
const (
	childEnv    = "PAGEFILE_TEST_CHILD" // "lock" or "lease"
	childDirEnv = "PAGEFILE_TEST_DIR"
)

// childGeneration is what the child of a lease test holds.
const childGeneration = 41

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		os.Exit(child(what, os.Getenv(childDirEnv)))
	}
	os.Exit(m.Run())
}

func child(what, dir string) int {
	var err error
	switch what {
	case "lock":
		_, err = OS().Lock(filepath.Join(dir, "LOCK"))
	case "lease":
		var l *Lease
		if l, err = OpenLease(OS(), dir); err == nil {
			_, err = l.Hold(childGeneration)
		}
	}
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return 1
	}
	os.Stdout.WriteString("ready\n")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

// startChild returns once the child holds what it is to hold. kill ends it as
// kill -9 does and waits.
func startChild(t *testing.T, what, dir string) (pid int, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what, childDirEnv+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
	}
	t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return cmd.Process.Pid, kill
}

func TestLockWithinOneProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "LOCK")
	before := time.Now()
	first, err := OS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OS().Lock(path)
	var locked *LockError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v, want a LockError", err)
	}
	host, _ := os.Hostname()
	if locked.Dir != dir || locked.PID != os.Getpid() || locked.Host != host {
		t.Errorf("the holder is %+v, want this process", *locked)
	}
	if locked.Since.Before(before.Add(-time.Minute)) || locked.Since.After(time.Now().Add(time.Minute)) {
		t.Errorf("held since %v, want about %v", locked.Since, before)
	}
	if !strings.Contains(err.Error(), "this process") {
		t.Errorf("%q does not say that this process is the holder", err)
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	second, err := OS().Lock(path)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	second.Close()
}

func TestLockBetweenProcesses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "LOCK")
	pid, kill := startChild(t, "lock", dir)
	_, err := OS().Lock(path)
	var locked *LockError
	if !errors.As(err, &locked) {
		t.Fatalf("lock held by a child: %v, want a LockError", err)
	}
	if locked.PID != pid || !strings.Contains(err.Error(), "process "+strconv.Itoa(pid)) {
		t.Errorf("%v does not name process %d", err, pid)
	}
	kill()
	lock, err := OS().Lock(path)
	if err != nil {
		t.Fatalf("lock after the holder was killed: %v", err)
	}
	lock.Close()
}

func TestLockOfARemovedFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed here")
	}
	d, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	path := filepath.Join(d.path, "LOCK")
	f, err := openRegular(d, path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !d.has(f, path) {
		t.Error("an open file is not at its own path")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if d.has(f, path) {
		t.Error("a removed file is taken for the one at its path")
	}
	createFile(t, path)
	if d.has(f, path) {
		t.Error("a replaced file is taken for the one at its path")
	}
}

func TestHolderText(t *testing.T) {
	since := time.Date(2026, 1, 2, 15, 4, 5, 6, time.UTC)
	text := holderText(4711, "web-1", "pid:[1]", since)
	for _, c := range []struct {
		name, text, host, ns string
		pid                  int
		wantHost             string
	}{
		{"same host and namespace", string(text), "web-1", "pid:[1]", 4711, "web-1"},
		{"another host", string(text), "web-2", "pid:[1]", 0, "web-1"},
		{"another container", string(text), "web-1", "pid:[2]", 0, "web-1"},
		{"empty", "", "web-1", "", 0, ""},
		{"nonsense", "pid\npid x\n\x00\xff\nhost a\x1b[2Jb\xff\nsince yesterday", "", "", 0, "a[2Jb"},
		{"negative", "pid -1\nhost h\n", "h", "", 0, "h"},
	} {
		got := parseHolder([]byte(c.text), "/d", c.host, c.ns)
		if got.Dir != "/d" || got.PID != c.pid || got.Host != c.wantHost {
			t.Errorf("%s: %+v, want process %d on %q", c.name, *got, c.pid, c.wantHost)
		}
	}
	if got := parseHolder(text, "/d", "", ""); !got.Since.Equal(since) {
		t.Errorf("since %v, want %v", got.Since, since)
	}
}

func TestLockRange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "LEASE")
	a, b := createFile(t, path), createFile(t, path)
	lock := func(f File, off int64, exclusive, want bool) {
		t.Helper()
		if got, err := f.LockRange(off, 1, exclusive); got != want || err != nil {
			t.Fatalf("LockRange(%d, exclusive %v) = %v, %v, want %v", off, exclusive, got, err, want)
		}
	}
	const far = 1<<62 - 1
	lock(a, far, false, true)
	lock(b, far, false, true) // shared twice
	lock(b, far-1, true, true)
	lock(a, far-1, false, false)
	if err := b.UnlockRange(far, 1); err != nil {
		t.Fatal(err)
	}
	lock(b, far, true, false) // a still shares it
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	lock(b, far, true, true)
	if _, err := b.LockRange(-1, 1, false); err == nil {
		t.Error("a negative offset was accepted")
	}
}

// TestRemovedLockExcludes: whoever removes the lock file of a process that lives
// does not let a second one in.
func TestRemovedLockExcludes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a file that is open cannot be removed")
	}
	path := filepath.Join(t.TempDir(), "LOCK")
	first, err := OS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OS().Lock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	first.Close()
	second, err := OS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
