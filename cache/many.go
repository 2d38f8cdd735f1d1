package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
)

// A bulk is a GetOrLoad of many keys: each miss that nobody else is loading is a
// flight of one crew, so that one call of the loader serves them all.
type bulk struct {
	c    *Cache
	ctx  context.Context
	o    EntryOptions
	load loadFunc
	// lanes, if not nil, has the loader called for each key by itself, as many at a
	// time as it has room for.
	lanes chan struct{}
	keys  [][]byte
	// there takes what is stored under keys[at]; false if it is worth nothing, and
	// then it takes care that it is not found again. loaded takes what a load
	// brought, which is read only.
	there  func(at int, r reading) bool
	loaded func(at int, value []byte) error

	crews    []*crew // of the flights begun
	launched int     // of them
	waits    []await
	now      *crew // that is waited for; if it has crashed the caller is told
	due      []int // keys to be loaded in the background
	err      error // of ctx: something was missed, and not begun
}

// An await is a flight that has the value of keys[at].
type await struct {
	f   *flight
	at  int
	own bool
}

// bulkLanes is how many calls of a loader for one key each a bulk has under way.
const bulkLanes = 16

// run returns the first error of a load other than ErrNotFound, once all have
// ended, or that of ctx. All that was there or loaded is visited in any case.
//
// No code of the user's runs between the first flight that is begun and the launch
// of all: it may panic, or ask for one of those keys, and they would never land.
func (b *bulk) run() error {
	todo := make([]int, 0, len(b.keys))
	for at, key := range b.keys {
		if err := b.c.checkLoad(key); err != nil {
			return err
		}
		todo = append(todo, at)
	}
	defer b.leave()
	for len(todo) > 0 {
		todo = slices.DeleteFunc(todo, b.visit)
		todo = slices.DeleteFunc(todo, b.begin)
		b.launch()
	}
	b.renew()
	return b.wait()
}

// visit shows what is there; false for a key that is to be loaded.
func (b *bulk) visit(at int) (done bool) {
	key := b.keys[at]
	hash := b.c.hash.sum(key)
	s, t := b.c.shardOf(hash), b.c.termsIn(b.o)
	for {
		r := s.lookUp(nil, key, hash, t)
		switch {
		case r.worth == denied:
			s.countHit(denied)
			return true
		case r.worth == missing:
			return false
		case b.there(at, r):
			s.countHit(r.worth)
			if r.worth != fresh {
				b.due = append(b.due, at)
			}
			return true
		case b.c.refuses() != nil:
			return false // it will be found again
		}
	}
}

// begin enters who waits for a key's load; false if it was stored meanwhile.
func (b *bulk) begin(at int) (done bool) {
	if b.err = b.ctx.Err(); b.err != nil {
		return true
	}
	hash := b.c.hash.sum(b.keys[at])
	s, w := b.c.shardOf(hash), b.crew()
	f, own := s.claim(b.keys[at], hash, w)
	if f == nil {
		return false
	}
	s.stats.misses.Add(1)
	b.enter(f, w, at, own)
	return true
}

// crew is the one that a flight would join.
func (b *bulk) crew() *crew {
	if b.lanes == nil && len(b.crews) > b.launched {
		return b.crews[b.launched]
	}
	return b.c.newCrew(b.o)
}

// enter notes whose result is waited for: of a flight of w, or of another caller.
func (b *bulk) enter(f *flight, w *crew, at int, own bool) {
	b.waits = append(b.waits, await{f, at, own})
	switch {
	case own:
		f.at = at
		if len(w.flights) == 1 {
			b.crews = append(b.crews, w)
		}
	case f.crew != w:
		b.c.loads.shared.Add(1)
	}
}

// launch launches what was begun since the last time.
func (b *bulk) launch() {
	for _, w := range b.crews[b.launched:] {
		b.c.launch(b.ctx, w, b.inLane(w))
	}
	b.launched = len(b.crews)
}

// renew loads in the background what is due.
func (b *bulk) renew() {
	for step := len(b.due); len(b.due) > 0; b.due = b.due[step:] {
		if b.lanes != nil {
			step = 1
		}
		b.refresh(b.due[:step])
	}
}

// inLane is the loader, which waits for its turn if there are lanes. One that waits
// for another load gives its lane up: that load may wait for a lane.
func (b *bulk) inLane(w *crew) loadFunc {
	if b.lanes == nil {
		return b.load
	}
	w.leaveLane = sync.OnceFunc(func() { <-b.lanes })
	return func(ctx context.Context, flights []*flight) {
		b.lanes <- struct{}{}
		defer w.leaveLane()
		b.load(ctx, flights)
	}
}

// refresh has one call of the loader renew entries in the background.
func (b *bulk) refresh(due []int) {
	w, ok := b.c.backgroundCrew(b.ctx, b.o)
	if !ok {
		return
	}
	for _, at := range due {
		hash := b.c.hash.sum(b.keys[at])
		if f := b.c.shardOf(hash).claimDue(b.keys[at], hash, w); f != nil {
			f.at = at
		}
	}
	b.c.launchBackground(b.ctx, w, b.load)
}

// leave has crashes logged that no caller is told.
func (b *bulk) leave() {
	for _, w := range b.crews {
		if !w.owner.CompareAndSwap(ownerWaits, ownerLeft) && w.owner.Load() == ownerGets && w != b.now {
			b.c.logCrash(w)
		}
	}
}

func (b *bulk) wait() (first error) {
	for _, a := range b.waits {
		err := errOwnKey
		if !a.f.crew.calls(b.ctx) {
			b.now = a.f.crew
			err = a.f.wait(b.ctx, a.own)
		}
		switch {
		case err == nil:
			err = b.loaded(a.at, a.f.value)
		case b.ctx.Err() != nil:
			return b.ctx.Err()
		case errors.Is(err, ErrNotFound):
			err = nil
		}
		first = cmp.Or(first, err)
	}
	return cmp.Or(b.err, first)
}

// loadNow loads key whether or not it is there, and takes the place of a load that
// is under way: that may have read what is outdated.
func (c *Cache) loadNow(ctx context.Context, key []byte, o EntryOptions, load loadFunc) (*flight, error) {
	if err := cmp.Or(c.checkLoad(key), ctx.Err()); err != nil {
		return nil, err
	}
	hash := c.hash.sum(key)
	s, w := c.shardOf(hash), c.newCrew(o)
	f := newFlight(key, hash, w)
	s.mu.Lock()
	s.dropFlightLocked(hash, key)
	s.beginLocked(f)
	s.mu.Unlock()
	c.launch(ctx, w, load)
	return f, f.wait(ctx, true)
}
