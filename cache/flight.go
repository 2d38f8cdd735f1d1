package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// A flight is one load of one key. Its shard's table has it from before the load
// begins until the result is stored, and who misses the key meanwhile waits for
// it. A write of the key (Set, Delete, Clear, Batch, also a Delete of what is not
// there) takes it out of the table: it is overtaken. Its result then goes to those
// who wait and is not stored, and who misses the key later begins a flight of its
// own, since the overtaken one may have read what was true before the write.
//
//	flight reads v1 · the source is changed to v2 · Delete · GetOrLoad must see v2
//
// The table costs writers one look at its length, under the lock that they hold.
type flight struct {
	// Immutable. The key tells flights apart whose hashes are equal.
	key  []byte
	hash uint64
	at   int // of the key, among those that the crew's caller asked for
	crew *crew
	done chan struct{}

	// Written by the loader's goroutine before done is closed. value is read only.
	value []byte
	ttl   time.Duration // as in EntryOptions
	err   error

	next *flight // of the same hash; guarded by the shard's mu
}

// A crew is what the flights have in common that one call of a loader serves.
type crew struct {
	flights []*flight
	o       EntryOptions // what the results are stored with
	terms   *terms
	cancel  context.CancelCauseFunc
	outer   *crew // whose loader the caller is; nil: none's
	// leaveLane, if not nil, is for a loader that waits; see bulk.
	leaveLane func()
	// background: nobody waits for it, and loads.background counts it.
	background bool
	// owner says whether the caller is still there to be given a panic.
	owner atomic.Uint32
	crash *loadPanic // of the loader; written before the flights are done
}

const (
	ownerWaits = iota
	ownerLeft  // or there is none: a load in the background
	ownerGets  // the panic
)

type crewKey struct{}

// crewOf is the crew whose loader was given ctx, nil if none was.
func crewOf(ctx context.Context) *crew {
	w, _ := ctx.Value(crewKey{}).(*crew)
	return w
}

// calls reports whether ctx is that of the crew's loader, or of one that it called:
// who has it must not wait for the crew.
func (w *crew) calls(ctx context.Context) bool {
	for in := crewOf(ctx); in != nil; in = in.outer {
		if in == w {
			return true
		}
	}
	return false
}

// A loadFunc gives each of flights a value, or an error.
type loadFunc func(ctx context.Context, flights []*flight)

func newFlight(key []byte, hash uint64, w *crew) *flight {
	f := &flight{key: append([]byte(nil), key...), hash: hash, crew: w, done: make(chan struct{})}
	w.flights = append(w.flights, f)
	return f
}

// flightLocked is the flight of key that is not overtaken.
func (s *shard) flightLocked(hash uint64, key []byte) *flight {
	for f := s.flights[hash]; f != nil; f = f.next {
		if string(f.key) == string(key) {
			return f
		}
	}
	return nil
}

// beginLocked enters f. There is none of its key.
func (s *shard) beginLocked(f *flight) {
	if s.flights == nil {
		s.flights = make(map[uint64]*flight)
	}
	f.next = s.flights[f.hash]
	s.flights[f.hash] = f
}

// overtakeLocked takes the flight of key out of the table, if there is one, for a
// write under g: but not for that of its own result.
func (s *shard) overtakeLocked(hash uint64, key []byte, g *guard) {
	if g.kind != ifFlying {
		s.dropFlightLocked(hash, key)
	}
}

// dropFlightLocked takes the flight of key out of the table, if there is one.
func (s *shard) dropFlightLocked(hash uint64, key []byte) {
	first := s.flights[hash]
	for at := &first; *at != nil; at = &(*at).next {
		if string((*at).key) == string(key) {
			*at = (*at).next
			break
		}
	}
	if first == nil {
		delete(s.flights, hash)
	} else {
		s.flights[hash] = first
	}
}

// overtakeAll takes the flights of all keys with that prefix out of the table.
func (s *shard) overtakeAll(prefix []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, f := range s.flights {
		for ; f != nil; f = f.next {
			if bytes.HasPrefix(f.key, prefix) {
				s.dropFlightLocked(hash, f.key)
			}
		}
	}
}

// launch runs load for the crew's flights on a goroutine of its own, under ctx's
// values but not its end: a caller who leaves leaves the others whole. The
// context is cancelled when the load has ended, or Shutdown does not wait longer.
func (c *Cache) launch(ctx context.Context, w *crew, load loadFunc) {
	w.outer = crewOf(ctx)
	ctx = context.WithValue(context.WithoutCancel(ctx), crewKey{}, w)
	ctx, w.cancel = context.WithCancelCause(ctx)
	if !c.loads.enter(w) {
		w.fail(ErrClosed)
		c.land(w)
		return
	}
	go c.fly(ctx, w, load)
}

// fly calls the loader. What has to follow is deferred: runtime.Goexit in a loader
// ends this goroutine.
func (c *Cache) fly(ctx context.Context, w *crew, load loadFunc) {
	start := time.Now()
	defer func() {
		c.loads.time.Add(int64(time.Since(start)))
		c.loads.calls.Add(1)
		c.land(w)
		c.loads.leave(w)
	}()
	w.call(ctx, load)
}

var errGoexit = errors.New("cache: the load ended its goroutine with runtime.Goexit")

// call calls the loader and turns a panic, or Goexit, into an error.
func (w *crew) call(ctx context.Context, load loadFunc) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			w.crash = &loadPanic{v, debug.Stack()}
			w.fail(fmt.Errorf("cache: the load panicked: %v", v))
		} else {
			w.fail(errGoexit)
		}
	}()
	load(ctx, w.flights)
	returned = true
}

func (w *crew) fail(err error) {
	for _, f := range w.flights {
		f.value, f.err = nil, err
	}
}

// A loadPanic is a loader's panic, with the stack that it had.
type loadPanic struct {
	value any
	stack []byte
}

func (p *loadPanic) Error() string {
	return fmt.Sprintf("cache: the load panicked: %v\n\n%s", p.value, p.stack)
}

// Unwrap is what the loader panicked with, if that is an error.
func (p *loadPanic) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// land stores the results and tells who waits. A panic whose caller has left is
// logged, once: the others get it as an error.
func (c *Cache) land(w *crew) {
	w.cancel(nil)
	defer c.tellLeavers()
	failed := false
	for _, f := range w.flights {
		failed = c.landOne(f) || failed
	}
	if failed {
		c.loads.errors.Add(1)
	}
	if w.background {
		c.loads.background.Add(-1)
	}
	if w.crash != nil && !w.owner.CompareAndSwap(ownerWaits, ownerGets) {
		c.logCrash(w)
	}
	for _, f := range w.flights {
		close(f.done)
	}
}

func (c *Cache) logCrash(w *crew) {
	c.notices.say(slog.LevelError, "a load panicked, and nobody waits for it", "load_panicked", "err", w.crash)
}

// landOne stores what a flight has brought, unless it was overtaken, and takes it
// out of the table.
func (c *Cache) landOne(f *flight) (failed bool) {
	s := c.shardOf(f.hash)
	failed = f.err != nil && !errors.Is(f.err, ErrNotFound) && !c.closed.Load()
	switch {
	case failed || c.refuses() != nil:
	case f.err == nil:
		c.storeResult(f)
	default:
		c.storeAbsence(f)
	}
	now := c.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.crew.background {
		s.restLocked(f.hash, now, failed)
	}
	if s.flightLocked(f.hash, f.key) == f {
		s.dropFlightLocked(f.hash, f.key)
	}
	return failed
}

// storeResult stores a flight's value. One that cannot be stored is still given to
// who waits, and takes what was stored before with it: that is outdated.
func (c *Cache) storeResult(f *flight) {
	o, g := f.crew.o, guard{kind: ifFlying, flight: f}
	o.TTL = f.ttl
	if c.check(f.key, f.value) == nil {
		c.store(f.key, f.value, o, g)
		return
	}
	c.shardOf(f.hash).stats.rejected.Add(1)
	c.removeIf(f.key, g, CauseReplaced)
}

// storeAbsence keeps for NegativeTTL that the key does not exist. What was stored
// of it goes in any case.
func (c *Cache) storeAbsence(f *flight) {
	t, now := f.crew.terms, c.now()
	e := entry{hash: f.hash, key: f.key, q: f.crew.o.queue(), guard: guard{kind: ifFlying, flight: f}}
	if t.negativeTTL == 0 {
		c.removeIf(f.key, e.guard, CauseDeleted)
		return
	}
	e.head = makeHeader(len(f.key), 0, flagAbsent, t.expiry(now, f.hash, t.negativeTTL), now)
	c.putOrForget(&e, true)
}
