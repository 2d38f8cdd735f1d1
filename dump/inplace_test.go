package dump

import (
	"errors"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestLinksAreWrittenInPlace: what a link pins stays pinned until it is written, and
// no longer, also when the write fails.
func TestLinksAreWrittenInPlace(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.WeakBytes = 16 << 20 })
	r.flush()
	lent := 0
	r.fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpWrite {
			r.f.mu.Lock()
			lent += len(r.f.pins)
			r.f.mu.Unlock()
		}
		return nil
	})
	for i := range 10 {
		r.f.churn(20 * (i + 1))
		if err := r.d.Weak(); err != nil {
			t.Fatal(err)
		}
		r.verify()
		if n := len(r.f.pins); n > 0 {
			t.Fatalf("%d pieces are pinned though nothing is being written", n)
		}
	}
	if lent == 0 {
		t.Error("nothing was written in place")
	}
	r.f.churn(100)
	defer r.fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: "weak-", Err: syscall.EIO, Short: 99})()
	if err := r.d.Weak(); !errors.Is(err, syscall.EIO) || len(r.f.pins) > 0 {
		t.Errorf("got %v, and %d pieces pinned, want EIO and none", err, len(r.f.pins))
	}
}
