package cache

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

func patient(maxBytes int64) *Options {
	o := testOptions(maxBytes)
	o.WhenLocked, o.LockTimeout = LockWait, 60*time.Second
	return o
}

// TestLockWaitSeesTheLastGeneration: as in a rolling update, again and again, on a
// goroutine of the same process.
func TestLockWaitSeesTheLastGeneration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	c := open(t, dir, patient(4<<20))
	for i := range 5 {
		opened := make(chan *Cache)
		go func() {
			next, err := Open(context.Background(), dir, patient(4<<20))
			if err != nil {
				t.Error(err)
			}
			opened <- next
		}()
		for k := range 500 {
			mustSet(t, c, testKey(k), testValue(i*1000+k, 200))
		}
		select {
		case <-opened:
			t.Fatal("two caches have one directory")
		default:
		}
		mustClose(t, c)
		if c = <-opened; c == nil {
			t.FailNow()
		}
		if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Weak != 0 {
			t.Errorf("report %+v", r)
		}
		for k := range 500 {
			wantValue(t, c, testKey(k), testValue(i*1000+k, 200))
		}
	}
	mustClose(t, c)
}

// TestLockWaitEnds: with LockTimeout or the context, and says who holds the
// directory.
func TestLockWaitEnds(t *testing.T) {
	fsys := crashfs.New()
	held := openOn(t, quietOptions(fsys, 1))
	o := quietOptions(fsys, 1)
	o.WhenLocked, o.LockTimeout = LockWait, 50*time.Millisecond
	start := time.Now()
	_, err := Open(context.Background(), worldDir, o)
	var lock *LockError
	if !errors.As(err, &lock) || !errors.Is(err, ErrLocked) || time.Since(start) < o.LockTimeout {
		t.Fatalf("after %v: %v", time.Since(start), err)
	}
	for _, says := range []string{worldDir, "this process", "50ms (Options.LockTimeout)", "held for", "use another directory", "until it ends"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.LockTimeout = time.Hour
	asked := 0
	remove := fsys.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpLock {
			if asked++; asked == 3 {
				cancel()
			}
		}
		return nil
	})
	defer remove()
	if _, err = Open(ctx, worldDir, o); !errors.Is(err, context.Canceled) || !errors.As(err, &lock) {
		t.Errorf("got %v, want Canceled and a *LockError", err)
	}
	o.WhenLocked = LockFail
	if _, err = Open(context.Background(), worldDir, o); !errors.As(err, &lock) {
		t.Errorf("LockFail: %v", err)
	}
	mustClose(t, held)
}

// TestLockWaitOutlastsRecoveryTimeout: the time to recover counts from when the
// lock is had. A machine that stood still since then tries again with more of it.
func TestLockWaitOutlastsRecoveryTimeout(t *testing.T) {
	for timeout := 250 * time.Millisecond; ; timeout *= 4 {
		r, asked := outlast(t, timeout)
		if r.Outcome == OutcomeWarm && r.Mapped <= timeout && asked >= 2 {
			return
		}
		if timeout > stalls/2 {
			t.Fatalf("asked %d times, report %+v", asked, r)
		}
	}
}

// outlast opens a directory that is held for longer than the time to recover.
func outlast(t *testing.T, timeout time.Duration) (r RecoveryReport, n int) {
	fsys := crashfs.New()
	held := openOn(t, quietOptions(fsys, 1))
	mustSet(t, held, worldKey(1), []byte("v"))
	o := quietOptions(fsys, 1)
	o.WhenLocked, o.Recovery.Timeout = LockWait, timeout
	o.LockTimeout = time.Hour
	asked := make(chan struct{}, 1000)
	remove := fsys.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpLock && strings.HasSuffix(op.Path, "LOCK") {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		return nil
	})
	time.AfterFunc(timeout*5/4, func() { held.Close() })
	c := openOn(t, o)
	remove()
	defer mustClose(t, c)
	return c.Recovery(), len(asked)
}

// holder starts a process that holds dir until its input ends.
func holder(t *testing.T, dir string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd, out, end := startChild(t, "TestHoldsADirectory", "EMBER_TEST_HOLD="+dir)
	if line, err := out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	return cmd, end
}

// startChild runs one test of this binary in a process of its own, which ends with
// its input or with t.
func startChild(t *testing.T, test, env string) (cmd *exec.Cmd, out *bufio.Reader, end func()) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), env)
	cmd.Stderr = os.Stderr
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
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewReader(stdout), func() { _ = stdin.Close() }
}

// TestRemovedLockFileLetsNobodyIn: neither one who fails nor one who waits.
func TestRemovedLockFileLetsNobodyIn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	c := open(t, dir, testOptions(4<<20))
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Skip(err)
	}
	o := patient(4 << 20)
	o.LockTimeout = 50 * time.Millisecond
	if _, err := Open(context.Background(), dir, o); !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want ErrLocked", err)
	}
	mustSet(t, c, []byte("k"), []byte("v"))
	mustClose(t, c)
	wantValue(t, open(t, dir, o), []byte("k"), []byte("v"))
}
