package cache

import (
	"context"
)

// A load in the background renews an entry that was served because it is only due,
// or stale. It has a flight like any other, so nobody loads the key beside it.
const (
	// backgroundLoads run at a time. What would be one more is not begun: the next
	// hit tries again.
	backgroundLoads = 64
	// restAfter is how long after a failed load in the background, in ms, none of
	// that key begins: a source that is down is not asked by every hit.
	restAfter = 1000
	// restsMost is how many keys of a shard may rest at a time. While so many do,
	// no load of another begins in the background either.
	restsMost = 1024
)

// refresh begins a load of key in the background, if the entry still asks for one.
func (c *Cache) refresh(ctx context.Context, key []byte, hash uint64, o EntryOptions, load loadFunc) {
	w, ok := c.backgroundCrew(ctx, o)
	if !ok {
		return
	}
	c.shardOf(hash).claimDue(key, hash, w)
	c.launchBackground(ctx, w, load)
}

// backgroundCrew is one that nobody waits for; ok is false if as many as may run,
// or the result could not be stored.
func (c *Cache) backgroundCrew(ctx context.Context, o EntryOptions) (w *crew, ok bool) {
	_ = ctx.Done() // a nil one panics before anything is claimed
	if c.refuses() != nil {
		return nil, false
	}
	if c.loads.background.Add(1) > backgroundLoads {
		c.loads.background.Add(-1)
		return nil, false
	}
	w = c.newCrew(o)
	w.background = true
	w.owner.Store(ownerLeft)
	return w, true
}

// launchBackground launches w, if anything was claimed for it.
func (c *Cache) launchBackground(ctx context.Context, w *crew, load loadFunc) {
	if len(w.flights) == 0 {
		c.loads.background.Add(-1)
		return
	}
	c.launch(ctx, w, load)
}

// claimDue begins a flight of a key whose entry is due, or stale, and does not rest
// after a failure; else it returns nil.
func (s *shard) claimDue(key []byte, hash uint64, w *crew) *flight {
	now := s.cache.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flightLocked(hash, key) != nil || s.restsLocked(hash, now) {
		return nil
	}
	_, _, h, o := s.findLocked(key, hash)
	if st := w.terms.judge(h, now); o != hit || st != due && st != stale {
		return nil
	}
	f := newFlight(key, hash, w)
	s.beginLocked(f)
	return f
}

// restLocked notes how a load in the background has ended.
func (s *shard) restLocked(hash uint64, now int64, failed bool) {
	if !failed {
		delete(s.rests, hash)
		return
	}
	if s.rests == nil {
		s.rests = make(map[uint64]int64)
	}
	s.rests[hash] = now + restAfter
}

// restsLocked reports whether a key may not be loaded in the background now.
func (s *shard) restsLocked(hash uint64, now int64) bool {
	if until, ok := s.rests[hash]; ok || len(s.rests) < restsMost {
		return now < until
	}
	if now < s.restsFull {
		return true
	}
	for hash, until := range s.rests {
		if until <= now {
			delete(s.rests, hash)
		}
	}
	s.restsFull = now + restAfter/8 // not looked through at each hit
	return len(s.rests) >= restsMost
}
