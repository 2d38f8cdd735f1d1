package cache

import (
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// What is copied under a number that the segment has no longer, or does not have yet,
// is nobody's.
func TestASegmentThatEndedIsNotCopied(t *testing.T) {
	o := testOptions(1 << 20)
	o.Shards = 1
	c := openMemory(t, o)
	mustSet(t, c, testKey(1), testValue(1, 100))
	s := c.shards[0]
	seg := s.segmentAt(smallQueue, s.queues[smallQueue].head)
	number := seg.number.Load()
	dst := make([]byte, 100)
	if !s.copySegment(seg, number, 0, dst) {
		t.Error("a segment that is there was not copied")
	}
	if s.copySegment(seg, number+1, 0, dst) || s.copySegment(seg, number-1, 0, dst) {
		t.Error("a segment was copied under another's number")
	}
}

// foundRecord is a cache of one entry, and where a reader has found that.
func foundRecord(t *testing.T) (c *Cache, s *shard, r ref) {
	t.Helper()
	o := testOptions(1 << 20)
	o.Shards = 1
	c = openMemory(t, o)
	key := testKey(1)
	mustSet(t, c, key, testValue(1, 100))
	s = c.shards[0]
	if o := s.find(&r, key, c.hash.sum(key)); o != hit || !r.holds() {
		t.Fatalf("find: %v, holds %v", o, r.holds())
	}
	return c, s, r
}

// Nor is what lay in another frame than the segment has.
func TestATenureHasOneFrame(t *testing.T) {
	_, _, r := foundRecord(t)
	r.seg.frame.Store(r.frame + 1)
	held := r.holds()
	r.seg.frame.Store(r.frame)
	if held || !r.holds() {
		t.Errorf("holds in another frame: %v, in its own: %v", held, r.holds())
	}
}

// A View finds a record, which ends before the View has pinned it.
func TestAViewOfWhatEndedShowsNothing(t *testing.T) {
	c, s, r := foundRecord(t)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	shown := false
	if ok, _ := s.viewPinned(&r, c.now(), func([]byte) error { shown = true; return nil }, &c.terms); ok || shown {
		t.Errorf("viewed %v, shown %v: the segment has ended", ok, shown)
	}
}

// Who ends a segment after its shard's part of a cut was noted finds the hold: it is
// there before the epoch moves on.
func TestACutIsHeldBeforeItsEpoch(t *testing.T) {
	c := openOn(t, quietOptions(crashfs.New(), 1))
	defer drop(c)
	epoch := c.epoch.Load()
	c.batches.RLock() // the epoch does not advance
	done := make(chan struct{})
	go func() {
		k := cutter{c}
		k.Release(k.Cut())
		close(done)
	}()
	soon(t, "the cut is held", func() bool { return c.held.newest.Load() == ^uint64(0) })
	if now := c.epoch.Load(); now != epoch {
		t.Errorf("epoch %d after %d", now, epoch)
	}
	c.batches.RUnlock()
	<-done
}
