package cache

import (
	"fmt"
	"testing"
	"time"
)

// checkInvariants recomputes every gauge from the index and the queues. Nobody
// else may use the cache meanwhile.
func checkInvariants(t testing.TB, c *Cache) {
	t.Helper()
	wrong, end := checkFrames(t, c), time.Now().Add(5*time.Second)
	for i := 0; wrong != "" && (i < 100 || time.Now().Before(end)); i++ {
		time.Sleep(time.Millisecond) // the cleaner had given a frame back between two counts
		wrong = checkFrames(t, c)
	}
	if wrong != "" {
		t.Error(wrong)
	}
}

// checkFrames says how the counts of frames contradict each other.
func checkFrames(t testing.TB, c *Cache) (wrong string) {
	t.Helper()
	frames := make(map[uint32]bool)
	claim := func(seg *segment) {
		f := seg.frame.Load()
		if frames[f] {
			wrong = fmt.Sprintf("frame %d stands behind two segments", f)
		}
		frames[f] = true
	}
	for i := range c.large.entries {
		if c.large.entries[i].number.Load() != 0 {
			claim(&c.large.entries[i])
		}
	}
	var used int64
	for _, s := range c.shards {
		checkShard(t, s, claim)
		used += s.used.Load()
	}
	c.held.mu.Lock()
	for _, h := range c.held.segments {
		if frames[h.frame] {
			wrong = fmt.Sprintf("frame %d of a held segment stands behind another", h.frame)
		}
	}
	held := int64(len(c.held.segments))
	c.held.mu.Unlock()
	c.frames.mu.Lock()
	c.frames.reclaimPinned()
	free := int64(len(c.frames.stack)) + int64(c.frames.count-c.frames.fresh)
	c.frames.mu.Unlock()
	if free != c.frames.free.Load() || free+held+int64(len(frames)) != int64(c.frames.count) || used != int64(len(frames)) {
		wrong = fmt.Sprintf("%d frames: %d free (gauge %d), %d held, %d behind segments, gauge %d", c.frames.count, free, c.frames.free.Load(), held, len(frames), used)
	}
	return wrong
}

func checkShard(t testing.TB, s *shard, claim func(*segment)) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settleReplacedLocked()
	for i := range s.segments {
		if s.segments[i].number.Load() != 0 {
			claim(&s.segments[i])
		}
	}
	var entries, live int64
	keys := make(map[string]bool)
	for slot := range s.index.buckets() * bucketSlots {
		w := s.index.load(slot)
		if w == 0 {
			continue
		}
		qu := s.queues[w.queue()]
		if !w.within(qu.head, qu.tail) {
			t.Fatalf("shard %d slot %d: position %d is not in [%d, %d)", s.id, slot, w.pos(), qu.head, qu.tail)
		}
		if seg, u := s.segmentAt(w.queue(), s.positionLocked(w)), uint64(w.pos())&s.unitMask; seg.marked && s.frames.nextMark(seg, u, u+1) != u {
			t.Errorf("shard %d slot %d: a live record has no mark: the cleaner would pass it", s.id, slot)
		}
		rec := s.recordAt(w.queue(), s.positionLocked(w))
		h := readHeader(rec)
		key := string(rec[headerSize : headerSize+h.keyLen()])
		hash := s.cache.hash.sum([]byte(key))
		a, b := s.index.candidates(hash, s.index.buckets())
		switch {
		case keys[key]:
			t.Errorf("shard %d: key %q in two slots", s.id, key)
		case slot/bucketSlots != a && slot/bucketSlots != b:
			t.Errorf("shard %d: key %q in bucket %d, not %d or %d", s.id, key, slot/bucketSlots, a, b)
		case w.tag() != tagOf(hash):
			t.Errorf("shard %d: key %q under another tag", s.id, key)
		}
		keys[key] = true
		entries++
		live += int64(h.size(s.segmentSize))
	}
	if entries != s.entries.Load() || live != s.live.Load() {
		t.Errorf("shard %d: %d entries of %d bytes, gauges say %d and %d", s.id, entries, live, s.entries.Load(), s.live.Load())
	}
}
