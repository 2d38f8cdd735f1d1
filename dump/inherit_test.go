package dump

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// Close gives up while Inherit waits for the disk to open the ring. Done waits for that,
// nothing is written after it, and no file stays open.
func TestInheritBeyondClose(t *testing.T) {
	s := &story{rig: newRig(t, 1, nil)}
	s.f.churn(50)
	s.flush()
	s.f.churn(20)
	s.weak()
	s.reopen(s.fs.Kill(s.fs.Ops()))
	before := len(s.fs.OpenHandles())
	d, hang := s.d, s.fs.Hang(crashfs.OpOpen, "weak-")
	inherited := make(chan struct{})
	go func() {
		defer close(inherited)
		_ = d.Inherit()
	}()
	<-hang.Blocked
	d.loops.Add(1) // else Close may come to a generation, which waits for the ring too
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: got %v, want %v", err, context.Canceled)
	}
	d.loops.Done()
	select {
	case <-d.Done():
		t.Error("done while the ring is being opened")
	case <-time.After(20 * time.Millisecond): // in which what must not happen may
	}
	ops := s.fs.Ops()
	hang.Release()
	<-inherited
	<-d.Done()
	if n := s.fs.Ops(); n != ops {
		t.Errorf("got %v after Close", s.fs.Log()[ops:])
	}
	if open := s.fs.OpenHandles(); len(open) > before {
		t.Errorf("left open: %v, %d were", open, before)
	}
	if err := d.Inherit(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want %v", err, ErrClosed)
	}
}
