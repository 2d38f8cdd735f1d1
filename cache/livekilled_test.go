package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// A liveStop is what a process that was killed has left.
type liveStop struct {
	fs *crashfs.FS
	m  *memLive
}

func stopOf(fs *crashfs.FS, m *memLive) liveStop { return liveStop{fs.Kill(fs.Ops()), m.clone()} }

func (s liveStop) options() *Options { return liveOptions(s.fs, s.m, 2) }

// A makingLive calls made before Make does anything.
type makingLive struct {
	*memLive
	made func()
}

func (m *makingLive) Make(name string, size int64) ([]byte, error) {
	m.made()
	return m.memLive.Make(name, size)
}

// betweenCutAndLink has a cut taken, calls do before its link is written, and returns
// what a kill leaves there.
func betweenCutAndLink(c *Cache, fs *crashfs.FS, m *memLive, do func()) (stop liveStop) {
	done := false
	remove := fs.Inject(func(op crashfs.Op) error {
		if !done {
			done = true
			do()
			stop = stopOf(fs, m)
		}
		return nil
	})
	_ = c.persist.dumper.Weak()
	remove()
	return stop
}

// crossSegments has each queue of each shard go on in another segment.
func crossSegments(c *Cache) {
	var from [2][2]uint64
	for i, s := range c.shards {
		from[i] = [2]uint64{s.queues[0].tail, s.queues[1].tail}
	}
	for i := 0; ; i++ {
		_ = c.Set(worldKey(i%40), bytes.Repeat([]byte("two"), 100))
		if i%40 < 2 {
			_ = c.Set(worldKey(1000+i), bytes.Repeat([]byte("two"), 100))
		}
		done := true
		for i, s := range c.shards {
			for q := range from[i] {
				done = done && (from[i][q] == 0 || s.seqOf(s.queues[q].tail) > s.seqOf(from[i][q]))
			}
		}
		if done {
			return
		}
	}
}

// TestLiveLogOfAnotherProcess: the half that a log had begun is not applied over a
// link of the process that came after, which could not take up the half before it.
func TestLiveLogOfAnotherProcess(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	for i := range 40 {
		_ = c.Set(worldKey(i), []byte("one"))
	}
	_ = c.persist.dumper.Weak()
	crossSegments(c)
	c.livelog.mem.Break(c.livelog.seq.Load()) // as a Batch does for which there is no room
	stop := betweenCutAndLink(c, fs, m, func() {
		for i := range 40 {
			_ = c.Set(worldKey(100+i), []byte("because of two"))
		}
	})
	drop(c)

	var again liveStop
	o := stop.options()
	o.hooks.live = &makingLive{stop.m, func() { again = stopOf(stop.fs, stop.m) }}
	c = openOn(t, o)
	want := contents(c)
	drop(c)
	c = openOn(t, again.options())
	defer drop(c)
	sameContents(t, contents(c), want)
}

// TestInheritKilledAnywhere: what two halves have is there after a kill while it is
// taken over.
func TestInheritKilledAnywhere(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	for i := range 40 {
		_ = c.Set(worldKey(i), []byte("one"))
	}
	epoch := c.epoch.Load() + 1 // a cut begins
	c.livelog.next(epoch)
	c.epoch.Store(epoch)
	for i := range 40 {
		if s := c.shardOf(c.hash.sum(worldKey(i))); s.id == 0 { // and comes to no other shard
			_ = c.Set(worldKey(i), []byte("two"))
		}
	}
	want := contents(c)
	stop := stopOf(fs, m)
	drop(c)

	var mu sync.Mutex // the loader's workers come at a time
	var stops []liveStop
	stop.fs.Inject(func(op crashfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		stops = append(stops, stopOf(stop.fs, stop.m))
		return nil
	})
	c = openOn(t, stop.options())
	sameContents(t, contents(c), want)
	drop(c)
	for i, s := range stops {
		c = openOn(t, s.options())
		got := contents(c)
		missing := 0
		for k, v := range want {
			if got[k] != v {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("killed before operation %d of the second Open: %d entries are not what they were\n%v", i, missing, c.Recovery())
		}
		drop(c)
	}
}

// atRestLive waits until nothing that Open has begun goes on: what may not happen has
// had its time, and a kill finds files and log of one moment.
func atRestLive(t *testing.T, c *Cache) {
	t.Helper()
	for _, done := range c.persist.leaving {
		<-done
	}
	must(t, c.persist.dumper.Begin(context.Background())) // after the generation that is being written
	if !c.livelog.waits() {
		<-c.livelog.made
	}
}

// TestInheritComesBeforeAnyCut, or not at all: what was taken up from a log is not
// written behind a link or beside a cut that is newer. Open's context ends before that
// could be written, and a cut comes first.
func TestInheritComesBeforeAnyCut(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	crash := liveCrashed(t, 2)
	for round := range 4 {
		fs, m := crash.fs.Clone(), crash.m.clone()
		o := liveOptions(fs, m, 2)
		ctx, cancel := context.WithCancel(context.Background())
		o.Recovery.Validate = func(*Cache) error { cancel(); return nil }
		c, err := Open(ctx, worldDir, o)
		if err != nil {
			t.Fatal(err)
		}
		mustSet(t, c, []byte("after open"), []byte("1"))
		_ = c.persist.dumper.Weak()
		atRestLive(t, c)
		want := crash.all
		if c.Health() == nil {
			want = contents(c)
		}
		stop := stopOf(fs, m)
		drop(c)
		c = openOn(t, stop.options())
		got := contents(c)
		drop(c)
		missing := 0
		for k, v := range want {
			if got[k] != v {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("round %d: %d of %d entries are not what they were", round, missing, len(want))
		}
	}
}

// TestHealthTellsOfTheHalfBefore: Health is not nil while a kill would lose what is
// stored now.
func TestHealthTellsOfTheHalfBefore(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	_ = c.persist.dumper.Weak()
	c.livelog.mem.Break(c.livelog.seq.Load())
	c.livelog.missed(c.livelog.seq.Load())
	if c.Health() == nil {
		t.Fatal("nil with a gap")
	}
	_ = c.Set([]byte("news"), nil)
	var err error
	stop := betweenCutAndLink(c, fs, m, func() { // which the disk keeps, for minutes say
		_ = c.Set([]byte("key"), []byte("value"))
		err = c.Health()
	})
	drop(c)
	if err != nil {
		return
	}
	c = openOn(t, stop.options())
	defer drop(c)
	if !c.Has([]byte("key")) {
		t.Error("lost, though Health was nil after Set")
	}
}

// TestValidateSeesWholeBatches: Recovery.Validate is not shown a part of a Batch.
func TestValidateSeesWholeBatches(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	var stops []liveStop
	o := liveOptions(fs, m, 2)
	c := openOn(t, o)
	if err := c.Batch([]BatchOp{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: []byte("1")}}); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, c)
	c.opts.hooks.killable = func() { stops = append(stops, stopOf(fs, m)) }
	if err := c.Batch([]BatchOp{{Key: []byte("a"), Value: []byte("2")}, {Key: []byte("b"), Value: []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	c.opts.hooks.killable = nil
	drop(c)
	for i, s := range stops {
		o := s.options()
		o.Recovery.Validate = func(c *Cache) error {
			a, _ := c.Get([]byte("a"))
			b, _ := c.Get([]byte("b"))
			if !bytes.Equal(a, b) {
				return fmt.Errorf("a is %q and b is %q", a, b)
			}
			return nil
		}
		c := openOn(t, o)
		if r := c.Recovery(); r.Reason != nil {
			t.Errorf("kill %d: %v", i, r.Reason)
		}
		drop(c)
	}
}

// TestRefusedStepsOfABatchAreNotHalfDone: who finishes a Batch and cannot store a
// step's value does not leave what was there before.
func TestRefusedStepsOfABatchAreNotHalfDone(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	_ = c.Set([]byte("a"), []byte("old"))
	var stop liveStop
	c.opts.hooks.killable = func() {
		if stop.fs == nil {
			stop = stopOf(fs, m)
		}
	}
	if err := c.Batch([]BatchOp{{Key: []byte("a"), Value: make([]byte, 5000)}, {Key: []byte("b"), Value: []byte("of the new a")}}); err != nil {
		t.Fatal(err)
	}
	c.opts.hooks.killable = nil
	drop(c)
	o := stop.options()
	o.MaxEntryBytes = 4000
	c = openOn(t, o)
	defer drop(c)
	if a, ok := c.Get([]byte("a")); ok && c.Has([]byte("b")) {
		t.Errorf("a is still %q, and b is there", a)
	}
}

var errFolder = errors.New("no folder")

// A brokenLive is a folder that cannot be used.
type brokenLive struct{ *memLive }

func (brokenLive) Read(string) ([]byte, error)        { return nil, errFolder }
func (brokenLive) Make(string, int64) ([]byte, error) { return nil, errFolder }

// TestLiveLogThatWasPassedOver: a log that a process could not read is not applied
// once that process has served something else.
func TestLiveLogThatWasPassedOver(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	_ = c.Set([]byte("a"), []byte("1"))
	_ = c.persist.dumper.Weak()
	crossSegments(c)
	stop := betweenCutAndLink(c, fs, m, func() {
		for i := range 40 {
			_ = c.Set(worldKey(i), bytes.Repeat([]byte("after"), 200))
		}
	})
	drop(c)
	o := stop.options()
	o.hooks.live = brokenLive{stop.m}
	c = openOn(t, o)
	want := contents(c)
	stop = stopOf(stop.fs, stop.m)
	drop(c)
	c = openOn(t, stop.options())
	defer drop(c)
	sameContents(t, contents(c), want)
}

// TestInheritAfterCloseDoesNothing: Open's context ends while a log is taken up, and
// Close fails before any cut. What then comes late has no ring to write to.
func TestInheritAfterCloseDoesNothing(t *testing.T) {
	k := liveCrashed(t, 2)
	o := liveOptions(k.fs, k.m, 2)
	ctx, cancel := context.WithCancel(context.Background())
	o.Recovery.Validate = func(*Cache) error { cancel(); return nil }
	c, err := Open(ctx, worldDir, o)
	if err != nil {
		t.Fatal(err)
	}
	k.fs.Fail(crashfs.Rule{Kind: crashfs.OpReadDir, Err: syscall.EIO})
	if err := c.Close(); !errors.Is(err, syscall.EIO) {
		t.Logf("Close returned %v", err) // the log was taken up before
	}
	_ = c.persist.dumper.Inherit()
}
