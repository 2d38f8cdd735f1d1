package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// GetOrLoad returns the value, calling load on a miss, and stores what it returns
// with the default time to live; over a MemoryOnly entry that is still there it is
// MemoryOnly, too. Concurrent calls for one key share one load, and
// each gets a copy of its own; load must not change what it has returned.
//
// A caller whose ctx ends gets ctx.Err(). The load runs on under a context with
// the values of the first caller's ctx, but without its end, and its result is
// stored. A Set, Delete, Batch or Clear of the key during a load wins: the result
// goes to those who wait for it and is not stored, and a GetOrLoad that begins
// after the write does not wait for that load.
//
// An error of load goes to all who wait. One that wraps ErrNotFound removes what is
// stored, or is kept as absence for Freshness.NegativeTTL. A panic of load reaches
// the caller that ran it, with the stack that it had; the others get an error. If
// that caller has left, and for a load in the background, it is logged instead. A
// result too large to be stored is returned all the same; Stats.Rejected counts it.
//
// Freshness says when an entry that is there is loaded anew in the background, by
// the load of the call that met it. After Close GetOrLoad returns ErrClosed; a load
// that is still running then ends, but stores nothing. A load may call methods of
// the cache, but Close and Shutdown wait for it. One that asks for its own key with
// the ctx that it was given gets an error; loads that wait for each other in a
// circle do so until a ctx ends.
func (c *Cache) GetOrLoad(ctx context.Context, key []byte, load func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	if load == nil {
		return nil, errNoLoad
	}
	hash := c.hash.sum(key)
	r, f, err := c.getOrLoad(ctx, nil, key, hash, EntryOptions{}, func(ctx context.Context, flights []*flight) {
		flights[0].value, flights[0].err = load(ctx)
	})
	switch {
	case f != nil:
		return bytes.Clone(f.value), nil // others have it, too
	case err != nil:
		return nil, err
	}
	c.shardOf(hash).countHit(r.worth)
	return r.value, nil
}

var (
	errNoLoad   = errors.New("cache: GetOrLoad needs a load; it is nil")
	errOwnKey   = errors.New("cache: a load asks for its own key, and would wait for itself")
	errNotFound = fmt.Errorf("%w: so said a load before", ErrNotFound)
)

// getOrLoad is GetOrLoad with what the result is stored with. The value is r's,
// appended to dst, which the caller counts as a hit if it can use it; or that of the
// flight that has brought it, and then read only.
func (c *Cache) getOrLoad(ctx context.Context, dst, key []byte, hash uint64, o EntryOptions, load loadFunc) (r reading, f *flight, err error) {
	if err := c.checkLoad(key); err != nil {
		return r, nil, err
	}
	t := c.termsIn(o)
	s := c.shardOf(hash)
	for {
		r := s.lookUp(dst, key, hash, t)
		switch r.worth {
		case fresh:
			return r, nil, nil
		case due, stale:
			c.refresh(ctx, key, hash, o, load)
			return r, nil, nil
		case denied:
			s.countHit(denied)
			return r, nil, errNotFound
		}
		if f, err := c.fetch(ctx, key, hash, o, load); f != nil || err != nil {
			return r, f, err
		}
	}
}

// fetch loads what was missed. Without flight and error it was stored meanwhile.
func (c *Cache) fetch(ctx context.Context, key []byte, hash uint64, o EntryOptions, load loadFunc) (*flight, error) {
	f, own, err := c.join(ctx, key, hash, o, load)
	if f != nil {
		err = f.wait(ctx, own)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// checkLoad refuses what cannot be loaded. Who is read-only may load: it stores
// nothing.
func (c *Cache) checkLoad(key []byte) error {
	if err := c.check(key, nil); err != nil && !errors.Is(err, ErrReadOnly) {
		return err
	}
	return nil
}

// termsIn are the terms that o is meant by.
func (c *Cache) termsIn(o EntryOptions) *terms {
	if o.terms != nil {
		return o.terms
	}
	return &c.terms
}

// lookUp finds key as GetOrLoad does: with its standing, and a value if it has one.
// The caller counts the hit, when it knows that it is one, or the miss.
func (s *shard) lookUp(dst, key []byte, hash uint64, t *terms) reading {
	for {
		now := s.cache.now()
		var r ref
		o := s.find(&r, key, hash)
		value, st := dst, missing
		if o == hit {
			st = t.judge(r.head, now)
			if st > denied {
				value, o = s.copyValue(dst, &r)
			}
			if o == miss {
				s.lose(&r)
			}
		}
		switch o {
		case hit:
			s.noteLookUp(&r, st, now, t)
			return reading{value: value, head: r.head, guard: r.guard(), found: st > denied, worth: st}
		case absent:
			s.loadFor(key, hash)
		case miss:
			return reading{value: dst}
		}
	}
}

// noteLookUp makes what was found a use.
func (s *shard) noteLookUp(r *ref, st standing, now int64, t *terms) {
	if st == missing {
		s.stats.passOver(r.head)
		return
	}
	r.use()
	if st >= due && r.head.slides() {
		t.slide(s, r, now)
	}
}

// countHit counts what lookUp found.
func (s *shard) countHit(st standing) {
	s.stats.hits.Add(1)
	switch st {
	case stale:
		s.cache.loads.stale.Add(1)
	case denied:
		s.cache.loads.denied.Add(1)
	}
}

// passOver counts a record that is no hit.
func (st *shardStats) passOver(h header) {
	if !h.hidden() {
		st.expired.Add(1)
	}
}

// join waits its turn at a key that was missed: the flight that is under way, or
// one of its own. Without either the key has a value by now.
func (c *Cache) join(ctx context.Context, key []byte, hash uint64, o EntryOptions, load loadFunc) (f *flight, own bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	s, w := c.shardOf(hash), c.newCrew(o)
	f, own = s.claim(key, hash, w)
	switch {
	case f == nil:
		return nil, false, nil
	case own:
		s.stats.misses.Add(1)
		c.launch(ctx, w, load)
		return f, true, nil
	}
	if f.crew.calls(ctx) {
		return nil, false, errOwnKey
	}
	s.stats.misses.Add(1)
	c.loads.shared.Add(1)
	return f, false, nil
}

func (c *Cache) newCrew(o EntryOptions) *crew { return &crew{o: o, terms: c.termsIn(o)} }

// claim gives the flight of key, which the crew is to fly if it is its own; nil if
// the key was stored since it was missed.
func (s *shard) claim(key []byte, hash uint64, w *crew) (f *flight, own bool) {
	for {
		now := s.cache.now() // may be the user's code: not under the lock
		f, own, o := s.tryClaim(key, hash, w, now)
		if o != absent {
			return f, own
		}
		s.loadFor(key, hash)
	}
}

func (s *shard) tryClaim(key []byte, hash uint64, w *crew, now int64) (f *flight, own bool, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f = s.flightLocked(hash, key); f != nil {
		return f, false, hit
	}
	if s.cache.refuses() == nil { // else nothing was stored meanwhile
		_, _, h, o := s.findLocked(key, hash)
		if o == absent || o == hit && w.terms.judge(h, now) != missing {
			return nil, false, o
		}
	}
	f = newFlight(key, hash, w)
	s.beginLocked(f)
	return f, true, miss
}

// wait waits for the flight's result, or the end of ctx. Its owner is who is given
// the loader's panic, unless ctx ends first.
func (f *flight) wait(ctx context.Context, owner bool) error {
	if w := crewOf(ctx); w != nil && w.leaveLane != nil {
		w.leaveLane()
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		if !owner || f.crew.owner.CompareAndSwap(ownerWaits, ownerLeft) {
			return ctx.Err()
		}
		<-f.done // it has crashed, and nobody else will say so
	}
	if owner && f.crew.crash != nil {
		panic(f.crew.crash)
	}
	return f.err
}

// loads is what a cache knows of the loads that are running, and counts of them.
type loads struct {
	calls, errors, shared, stale, denied atomic.Uint64

	time       atomic.Int64
	background atomic.Int64 // of those that run

	mu      sync.Mutex
	closed  bool
	running map[*crew]struct{}
	idle    chan struct{} // closed once no load runs after close
}

// enter lets a load begin; false after Close.
func (l *loads) enter(w *crew) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.running == nil {
		l.running = make(map[*crew]struct{})
	}
	l.running[w] = struct{}{}
	return true
}

func (l *loads) leave(w *crew) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, w)
	if l.closed && len(l.running) == 0 {
		close(l.idle)
	}
}

// close lets no load begin any more.
func (l *loads) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed, l.idle = true, make(chan struct{})
	if len(l.running) == 0 {
		close(l.idle)
	}
}

// await waits for the loads that run. If ctx ends first their contexts are
// cancelled, and nobody waits for them.
func (l *loads) await(ctx context.Context) error {
	select {
	case <-l.idle:
		return nil
	default:
	}
	select {
	case <-l.idle:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.running {
		w.cancel(ErrClosed)
	}
	return fmt.Errorf("cache: close: %d loads are still running: %w", len(l.running), ctx.Err())
}

// addTo adds what is counted of loads to st.
func (l *loads) addTo(st *Stats) {
	st.StaleHits, st.NegativeHits = l.stale.Load(), l.denied.Load()
	st.Loads, st.LoadErrors, st.LoadsShared = l.calls.Load(), l.errors.Load(), l.shared.Load()
	st.LoadTime = time.Duration(l.time.Load())
}
