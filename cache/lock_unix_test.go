//go:build unix

package cache

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStoppedHolder: a process that is stopped keeps the directory; the error
// names it. When it goes on and closes, who waits gets what it wrote.
func TestStoppedHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	mustClose(t, open(t, dir, testOptions(4<<20)))
	cmd, end := holder(t, dir)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("the child is in status %v, %v", status, err)
	}
	end() // it will close when it goes on
	o := patient(4 << 20)
	o.LockTimeout = 100 * time.Millisecond
	_, err := Open(context.Background(), dir, o)
	if says := fmt.Sprintf("by process %d", cmd.Process.Pid); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), says) {
		t.Fatalf("%v does not say %q", err, says)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGCONT) })
	c := open(t, dir, patient(4<<20))
	if r := c.Recovery(); r.Outcome != OutcomeWarm {
		t.Errorf("report %+v", r)
	}
}
