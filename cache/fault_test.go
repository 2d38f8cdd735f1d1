package cache

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// fewer is a quarter of n where all goes ten times slower.
func fewer(n int) int {
	if racing || testing.Short() {
		return (n + 3) / 4
	}
	return n
}

// alone skips a test of one goroutine under the race detector, for which it would
// be ten times slower and show nothing.
func alone(t *testing.T) {
	t.Helper()
	if racing {
		t.Skip("one goroutine: run without the race detector")
	}
}

// flushed opens a world with something in a durable generation.
func flushed(t *testing.T, rng *rand.Rand, full bool) *world {
	t.Helper()
	w := newWorld(t, rng, crashfs.New(), 1)
	if full {
		w.o.Recovery.Budget = time.Nanosecond // every generation is a full one
	}
	w.begin(state{})
	w.sets(60)
	w.set(40 << 10)
	w.flush()
	return w
}

// ends puts all that the world wrote to several ends.
func (w *world) ends() {
	w.t.Helper()
	n := w.fs.Ops()
	for _, how := range crashes(w.rng) {
		w.checkFiles(w.after(n, how), n, how.kill)
	}
	for seed := range uint64(fewer(8)) {
		w.checkFiles(w.fs.Crash(n, crashfs.Cut{Seed: seed}), n, false)
	}
}

// A failure is one kind of operation on one kind of file that fails with EIO.
type failure struct {
	kind  crashfs.Kind
	path  string
	times int // 0: as long as the test likes
	loss  crashfs.Loss
	full  bool // of a full generation
}

// failures are those that Flush cannot do without noticing.
func failures() (list []failure) {
	for _, path := range []string{"pages-", "blobs-", "image-", "records.0"} {
		for _, kind := range []crashfs.Kind{crashfs.OpWrite, crashfs.OpPush, crashfs.OpSync} {
			if kind == crashfs.OpPush && path != "pages-" && path != "image-" {
				continue
			}
			for _, loss := range []crashfs.Loss{crashfs.LossOnCrash, crashfs.LossAtOnce, crashfs.LossNone} {
				full := path == "image-" || loss == crashfs.LossOnCrash
				list = append(list, failure{kind, path, 0, loss, full}, failure{kind, path, 1, loss, full})
			}
		}
	}
	return append(list, failure{kind: crashfs.OpAllocate, path: "blobs-", full: true},
		failure{kind: crashfs.OpCreate, path: "image-", full: true}, failure{kind: crashfs.OpSyncDir, full: true})
}

// TestFailuresOfTheDisk: serving goes on, Health says why, and nothing that was
// written before the failure is trusted after it.
func TestFailuresOfTheDisk(t *testing.T) {
	rng := newRand(t)
	for i, f := range failures() {
		if i%4 != 0 && fewer(4) == 1 {
			continue
		}
		t.Run(fmt.Sprintf("%v of %s, %d times, loss %d", f.kind, f.path, f.times, f.loss), func(t *testing.T) {
			failAndHeal(t, rng, f)
		})
	}
}

func failAndHeal(t *testing.T, rng *rand.Rand, f failure) {
	w := flushed(t, rng, f.full)
	w.fs.SetSyncLoss(f.loss)
	w.sets(60)
	remove := w.fs.Fail(crashfs.Rule{Kind: f.kind, Path: f.path, Times: f.times, Err: syscall.EIO, Short: 2000})
	before := stateOf(w.c)
	w.flush()
	if w.cuts[len(w.cuts)-1].durable {
		t.Fatal("Flush returned no error")
	}
	if err := w.c.Health(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Health is %v, not EIO", err)
	}
	if diff := stateOf(w.c).differs(before); diff != "" {
		t.Fatalf("a failed Flush changed what is served: %s", diff)
	}
	w.ends()
	w.sets(20)
	w.weak()
	remove()
	w.ends()
	w.flush()
	if !w.cuts[len(w.cuts)-1].durable {
		t.Fatalf("Flush does not heal: %v", w.c.Health())
	}
	if err := w.c.Health(); err != nil {
		t.Fatalf("Health is %v after a good Flush", err)
	}
	w.ends()
	w.sets(20)
	w.reopen()
	w.ends()
	drop(w.c)
}

// TestDiskFull: serving goes on, and everything is durable once there is room.
func TestDiskFull(t *testing.T) {
	w := flushed(t, newRand(t), false)
	w.fs.SetBudget(w.fs.Used())
	for i := 0; w.c.Health() == nil && i < 500; i++ {
		w.sets(100)
		w.flush()
	}
	if err := w.c.Health(); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("Health is %v, not ErrNoSpace", err)
	}
	w.ends()
	w.reopen()
	for range 4 {
		w.sets(100)
		w.flush()
	}
	w.ends()
	w.fs.SetBudget(-1)
	w.flush()
	if err := w.c.Health(); err != nil || !w.cuts[len(w.cuts)-1].durable {
		t.Fatalf("Health is %v with room on the disk", err)
	}
	w.ends()
	w.reopen()
	drop(w.c)
}

// TestLimbo: a record whose sync failed may be there or not, and the next one
// holds either way.
func TestLimbo(t *testing.T) {
	rng := newRand(t)
	for range fewer(20) {
		w := flushed(t, rng, rng.Intn(2) == 0)
		w.sets(30)
		remove := w.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Times: 1, Err: syscall.EIO})
		w.flush()
		w.ends()
		w.sets(30)
		if rng.Intn(2) == 0 {
			w.weak()
		}
		remove()
		o := &tour{}
		w.start = w.fs.Ops()
		w.flush()
		w.flush()
		o.visit(w, 3)
		drop(w.c)
	}
}

// TestReadsThatFailAreMisses opens a cache and then cuts a file short, or has
// reads fail: of the page file, before anything was read from it; of the image,
// while it is being read.
func TestReadsThatFailAreMisses(t *testing.T) {
	rng := newRand(t)
	for _, damage := range []struct {
		name string
		do   func(fs *crashfs.FS, name string)
	}{
		{"truncated under the mapping", func(fs *crashfs.FS, name string) { _ = fs.TruncateFile(name, 8<<10) }},
		{"truncated to nothing", func(fs *crashfs.FS, name string) { _ = fs.TruncateFile(name, 0) }},
		{"every read fails", func(fs *crashfs.FS, name string) {
			fs.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: name, Err: syscall.EIO})
		}},
		{"some reads fail", func(fs *crashfs.FS, name string) {
			fs.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: name, Skip: 5, Times: 9, Err: syscall.EIO})
		}},
		{"the file is gone", func(fs *crashfs.FS, name string) { _ = fs.Erase(name) }},
	} {
		for _, path := range []string{"/pages-", "/image-"} {
			for _, positional := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, of %s, positional %v", damage.name, path, positional), func(t *testing.T) {
					readFails(t, rng, path, positional, damage.do)
				})
			}
		}
	}
}

func readFails(t *testing.T, rng *rand.Rand, path string, positional bool, do func(*crashfs.FS, string)) {
	w := flushed(t, rng, path == "/image-")
	w.sets(300)
	w.reopen()
	drop(w.c)
	known := w.cuts[len(w.cuts)-1].state
	fs := w.fs.Clone()
	w.fs, w.o, w.start, w.cuts = fs, w.on(fs), fs.Ops(), nil
	w.o.Recovery.Positional = positional
	w.hurt = true
	release, _ := holdReads(fs)
	w.c = openOn(t, w.o)
	for _, name := range fs.List() {
		if strings.Contains(name, path) {
			do(fs, name)
		}
	}
	release()
	w.cuts = append(w.cuts, cutNote{from: fs.Ops(), to: fs.Ops(), state: known, durable: true, weak: true})
	st := stateOf(w.c)
	if !st.within(known) {
		t.Fatalf("damage changed a value: %s", st.differs(known))
	}
	w.verified()
	r := w.c.Recovery()
	if len(st) < len(known) && (r.Dropped == 0 || r.Outcome != OutcomePartial || r.Reason == nil) {
		t.Errorf("%d of %d entries, and the report says %+v", len(st), len(known), r)
	}
	if diff := stateOf(w.c).differs(st); diff != "" {
		t.Errorf("once everything is read: %s", diff)
	}
	w.cuts = append(w.cuts, cutNote{from: fs.Ops(), to: fs.Ops(), state: st})
	w.sets(30)
	w.start = fs.Ops()
	w.flush()
	w.sets(30)
	w.flush()
	w.reopen()
	drop(w.c)
}

// holdReads has reads of places wait for release.
func holdReads(fs *crashfs.FS) (release func(), held <-chan struct{}) {
	gate, first := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(first) })
	remove := fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpRead && strings.Contains(op.Path, "/pages-") && op.Off >= pageSize {
			hold()
			<-gate
		}
		return nil
	})
	return func() { remove(); close(gate) }, first
}
