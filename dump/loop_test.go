package dump

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// With its own loops, and writers and flushers beside them.
func TestLoops(t *testing.T) {
	r := newRig(t, 1, func(c *Config) {
		c.Interval, c.WeakInterval, c.DirtyBytes = 20*time.Millisecond, time.Millisecond, 1<<20
	})
	r.d.Start()
	done := make(chan error)
	for range 2 {
		go func() {
			var last error
			for range 20 {
				r.f.churn(10)
				if _, err := r.d.Flush(context.Background()); err != nil {
					last = err
				}
				r.d.Stats()
				r.d.Health()
			}
			done <- last
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.d.Close(ctx); err != nil {
		t.Fatal(err)
	}
	got := r.verify()
	if b := (base{record: got.record}); !got.record.Clean || b.differs(r.f.Cut()) {
		t.Errorf("got clean %v at cut %d, which is not the last state", got.record.Clean, got.record.Clock)
	}
}

// The loops write without being asked.
func TestLoopsWriteByThemselves(t *testing.T) {
	wrote := make(chan Event, 100)
	r := newRig(t, 1, func(c *Config) {
		c.Interval, c.WeakInterval = 5*time.Millisecond, time.Millisecond
		c.Event = func(e Event) { wrote <- e }
	})
	r.f.churn(30)
	r.d.Start()
	for range 3 {
		if e := <-wrote; e.Err != nil {
			t.Error(e.Err)
		}
		r.f.churn(30)
	}
	if err := r.d.Close(context.Background()); err != nil {
		t.Error(err)
	}
	r.verify()
}

func shortly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Millisecond)
}

// A sync hangs. Flush and Close end with their ctx, weak generations go on until
// the ring is full, and nothing grows without bound.
func TestHangingSync(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.PendingBytes, c.WeakBytes = 20000, minRing })
	r.f.churn(100)
	r.flush()
	hang := r.fs.Hang(crashfs.OpSync, "pages-")
	r.f.churn(100)
	for range 5 {
		ctx, cancel := shortly()
		if _, err := r.d.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: got %v, want %v", err, context.DeadlineExceeded)
		}
		cancel()
	}
	<-hang.Blocked
	goroutines, ops := runtime.NumGoroutine(), r.fs.Ops()
	for range 300 {
		r.f.churn(20)
		r.d.Weak()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.d.Flush(ctx)
	}
	if got := r.d.Stats(); got.Pending > r.cfg.PendingBytes || got.WeakHeld > minRing || got.Busy != "sync pages" {
		t.Errorf("got %d bytes pending, %d in the ring, busy with %q", got.Pending, got.WeakHeld, got.Busy)
	}
	if n := pendingBirths(r.d); n > 2000 {
		t.Errorf("got %d births and deaths pending", n)
	}
	if got := runtime.NumGoroutine(); got > goroutines+2 {
		t.Errorf("got %d goroutines, want about %d", got, goroutines)
	}
	if !errors.Is(r.d.Health(), errRingFull) {
		t.Errorf("health: got %v, want %v", r.d.Health(), errRingFull)
	}
	for _, op := range r.fs.Log()[ops:] {
		if !strings.Contains(op.Path, "weak-") {
			t.Errorf("got %v while the disk hung", op)
		}
	}
	hang.Release()
	r.flush()
	r.verify()
	if err := r.d.Health(); err != nil {
		t.Errorf("health: got %v, want nil", err)
	}
}

func pendingBirths(d *Dumper) (n int) {
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	for i := range d.pending.shards {
		n += len(d.pending.shards[i].born) + len(d.pending.shards[i].died)
	}
	return n
}

// Close gives up on a disk that hangs. When the disk answers nothing more is
// written, and only then Done is closed.
func TestHangingClose(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	want := r.flush()
	r.f.churn(100)
	hang := r.fs.Hang(crashfs.OpSync, "pages-")
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-hang.Blocked; cancel() }()
	if err := r.d.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	select {
	case <-r.d.Done():
		t.Error("done while the disk hangs")
	default:
	}
	ops := r.fs.Ops()
	hang.Release()
	<-r.d.Done()
	for _, op := range r.fs.Log()[ops:] {
		if op.Kind == crashfs.OpWrite {
			t.Errorf("got %v after Close", op)
		}
	}
	if got := r.verify(); got.record.Generation != want {
		t.Errorf("got generation %d, want %d", got.record.Generation, want)
	}
	if open := r.fs.OpenHandles(); len(open) > 0 {
		t.Errorf("left open: %v", open)
	}
}

func TestHangingLink(t *testing.T) {
	r := newRig(t, 1, func(c *Config) { c.Interval, c.WeakInterval = time.Hour, time.Millisecond })
	r.f.churn(50)
	r.flush()
	hang := r.fs.Hang(crashfs.OpWrite, "weak-")
	r.d.Start()
	r.f.churn(50)
	<-hang.Blocked
	ctx, cancel := shortly()
	if err := r.d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	cancel()
	hang.Release()
	<-r.d.Done()
	r.verify()
}

func TestStalledHealth(t *testing.T) {
	d := New(Config{Geometry: newFake(1, 1, 1).geo, FS: crashfs.New(), Dir: fakeDir}, nil, Start{})
	done := d.during("sync pages")
	if err := d.Health(); err != nil {
		t.Errorf("got %v at once", err)
	}
	d.busy.since = time.Now().Add(-2 * stallAfter)
	if err := d.Health(); !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "sync pages") {
		t.Errorf("got %v, want %v", err, ErrStalled)
	}
	done()
	if err := d.Health(); err != nil {
		t.Errorf("got %v after it ended", err)
	}
}

func TestBackOff(t *testing.T) {
	d := New(Config{Geometry: newFake(1, 1, 1).geo, FS: crashfs.New(), Dir: fakeDir}, nil, Start{})
	for _, want := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause} {
		d.setHealth(errDisk)
		if d.health.pause != want {
			t.Errorf("got %v, want %v", d.health.pause, want)
		}
	}
	for range 20 {
		d.setHealth(errDisk)
	}
	if d.health.pause != longestPause {
		t.Errorf("got %v, want %v", d.health.pause, longestPause)
	}
	d.setHealth(nil)
	if d.health.pause != 0 || !d.health.notBefore.IsZero() {
		t.Errorf("got %+v after a success", d.health)
	}
}

func TestDue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		label string
		tweak func(d *Dumper)
		want  bool
	}{
		{"not when nothing changed", func(d *Dumper) { d.watch.changed = false; d.watch.durable = now.Add(-time.Hour) }, false},
		{"not back to back", func(d *Dumper) { d.watch.durable = now; d.watch.set = 1 << 40 }, false},
		{"not before the interval", func(*Dumper) {}, false},
		{"after the interval", func(d *Dumper) { d.watch.durable = now.Add(-time.Hour) }, true},
		{"after many bytes", func(d *Dumper) { d.watch.set = 1 << 20 }, true},
		{"when links would take long to apply", func(d *Dumper) { d.chain.since = 1 << 28 }, true},
		{"when a third of the ring is used", func(d *Dumper) { d.chain.since = 1 << 19 }, true},
		{"when the chain ended", func(d *Dumper) { d.chain.up = false }, true},
		{"when the mirror is missing", func(d *Dumper) { d.base.mirrored = false }, true},
		{"when journals fill up", func(d *Dumper) { d.pending.stock.bytes = defaultPending }, true},
		{"when the record says that nothing follows", func(d *Dumper) { d.base.record.Clean = true }, true},
		{"not while backing off", func(d *Dumper) { d.setHealth(errDisk) }, false},
		{"not without an interval", func(d *Dumper) { d.cfg.Interval = 0; d.chain.up = false }, false},
	} {
		t.Run(c.label, func(t *testing.T) {
			r := newRig(t, 1, func(c *Config) { c.Interval, c.DirtyBytes = time.Minute, 1<<20 })
			r.f.churn(30)
			r.flush()
			r.d.watch = watch{changed: true, durable: now.Add(-time.Second)}
			r.d.stats.LastTook = 0
			c.tweak(r.d)
			if got := r.d.due(now); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestRateLimit(t *testing.T) {
	quit := make(chan struct{})
	l := limiter{rate: 1 << 20, quit: quit}
	begin := time.Now()
	l.wait(50 << 10)
	l.wait(1)
	if took := time.Since(begin); took < 40*time.Millisecond {
		t.Errorf("50 KiB at 1 MiB a second took %v", took)
	}
	l.wait(10 << 20)
	close(quit)
	l.wait(10 << 20)
	if l.rate != 0 {
		t.Error("the last generation goes on at its rate")
	}
}

func TestBootID(t *testing.T) {
	if got := BootID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"); got[0] != 0x0f || got[15] != 0xf0 {
		t.Errorf("got %x", got)
	}
	if got := BootID("boot 2"); string(got[:6]) != "boot 2" || got[6] != 0 {
		t.Errorf("got %q", got)
	}
	if got := BootID(""); got != [16]byte{} {
		t.Errorf("got %x", got)
	}
}

// quiet is a Source of which every cut has the same small news.
type quiet struct {
	*fakeCache
	cut Cut
}

func (q *quiet) Cut() *Cut {
	q.cut.Clock++
	st := &q.cut.Shards[0].State
	if st.Tails[0]%q.units() < q.units()-64 {
		st.Tails[0] += 4
	}
	return &q.cut
}

func (q *quiet) Release(*Cut)  {}
func (q *quiet) Drop([][]byte) {}
func (q *quiet) Home(*Cut)     {}

func (q *quiet) Segment(int, uint8, uint64) (uint64, uint32, bool) {
	return 1 << 32, pagefile.OpenFill, true
}
func (q *quiet) Pin(int, SegmentID, int, int) ([]byte, Pin, bool) {
	return nil, 0, false
}
func (q *quiet) Copy([]byte, int, SegmentID, int) bool { return true }

// BenchmarkWeak is what a link costs beyond the cut itself.
func BenchmarkWeak(b *testing.B) {
	f := newFake(1, 1, 4)
	fsys := crashfs.New()
	if err := fsys.MkdirAll(fakeDir, 0o700); err != nil {
		b.Fatal(err)
	}
	q := &quiet{fakeCache: f, cut: *f.Cut()}
	q.cut.Shards[0].Journal = [][]byte{make([]byte, 1200)}
	d := New(fakeConfig(fsys, f), q, Start{})
	if _, err := d.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	file := &sink{d.chain.ring.file}
	d.chain.ring.file = file
	b.ReportAllocs()
	for range b.N {
		if err := d.Weak(); err != nil {
			b.Fatal(err)
		}
		d.chain.ring.keep = d.chain.ring.next
		d.pending.takeStock()
	}
}

// sink takes no time to write.
type sink struct{ pagefile.File }

func (s *sink) WriteVAt([][]byte, int64) (int, error) { return 0, nil }
