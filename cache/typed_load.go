package cache

import (
	"context"
	"errors"
	"fmt"
)

// GetOrLoad is Get, then load on a miss, by the rules of Cache.GetOrLoad; each
// caller gets a value decoded for it. A nil load means TypedOptions.Load, or else
// TypedOptions.LoadMany of the one key. A value that does not decode, or is of
// another codec and not taken by Migrate, is loaded.
func (t *Typed[K, V]) GetOrLoad(ctx context.Context, key K, load func(context.Context, K) (V, error)) (v V, err error) {
	call, err := t.one(key, load)
	if err != nil {
		return v, err
	}
	b := takeBuffer()
	if err = t.encodeKey(b, key); err == nil {
		v, err = t.getOrLoad(ctx, b, key, call)
	}
	b.give()
	return v, err
}

func (t *Typed[K, V]) getOrLoad(ctx context.Context, b *typedBuffer, key K, load loadFunc) (v V, err error) {
	hash := t.c.hash.sum(b.key)
	for {
		r, f, err := t.c.getOrLoad(ctx, b.value[:0], b.key, hash, t.stored(), load)
		if err != nil {
			return v, err
		}
		if f != nil {
			return t.loaded(key, f.value)
		}
		if v, ok := t.resolve(b, key, r); ok {
			t.c.shardOf(hash).countHit(r.worth)
			return v, nil
		}
		if t.c.refuses() != nil { // it could not be dropped
			f, err := t.c.fetch(ctx, b.key, hash, t.stored(), load)
			if f != nil {
				return t.loaded(key, f.value)
			} else if err != nil {
				return v, err
			}
		}
		t.c.shardOf(hash).awaitSweep() // else it may be found once more
	}
}

// loaded decodes what a load brought.
func (t *Typed[K, V]) loaded(key K, value []byte) (v V, err error) {
	v, _, ok := t.read(key, value)
	if !ok {
		return v, fmt.Errorf("cache: what was loaded does not decode as %s", t.values.Name())
	}
	return v, nil
}

// GetOrLoadMany returns what is found or loaded; keys that do not exist are left
// out. One call of load, with the keys in the order of keys, covers all misses that
// nobody else is loading; what load leaves out is as if it had said ErrNotFound of
// it. So does an error that it returns, for all of them, by the rules of
// Cache.GetOrLoad. What is due or stale is served, and one more call of load
// renews it in the background.
//
// A nil load means TypedOptions.LoadMany, or else TypedOptions.Load per key, of
// which 16 run at a time, those that wait for another load not counted.
//
// An error is that of the first key that could not be loaded, or of ctx; the map
// has what was found or loaded nevertheless.
func (t *Typed[K, V]) GetOrLoadMany(ctx context.Context, keys []K, load func(context.Context, []K) (map[K]V, error)) (map[K]V, error) {
	b, values := &bulk{c: t.c, ctx: ctx, o: t.stored()}, make(map[K]V, len(keys))
	switch {
	case load != nil:
		b.load = t.many(keys, load)
	case t.o.LoadMany != nil:
		b.load = t.many(keys, t.o.LoadMany)
	case t.o.Load != nil:
		b.load = t.each(keys, t.o.Load)
		b.lanes = make(chan struct{}, bulkLanes)
	default:
		return nil, errNoTypedLoad
	}
	for _, key := range keys {
		stored, err := appendCoded(nil, t.keyPrefix, t.keys, key)
		if err != nil {
			return nil, err
		}
		b.keys = append(b.keys, stored)
	}
	b.there = func(at int, r reading) bool {
		v, ok := t.resolve(&typedBuffer{key: b.keys[at]}, keys[at], r)
		if ok {
			values[keys[at]] = v
		} else {
			t.c.shardOf(t.c.hash.sum(b.keys[at])).awaitSweep()
		}
		return ok
	}
	b.loaded = func(at int, value []byte) error {
		v, err := t.loaded(keys[at], value)
		if err == nil {
			values[keys[at]] = v
		}
		return err
	}
	return values, b.run()
}

// Refresh loads key now, whether or not it is there, with TypedOptions.Load, or
// else TypedOptions.LoadMany, and stores the result. It takes the place of a load
// of the key that is under way, whose result is not stored. An error leaves what
// was stored, but for ErrNotFound, which removes it.
func (t *Typed[K, V]) Refresh(ctx context.Context, key K) (v V, err error) {
	call, err := t.one(key, nil)
	if err != nil {
		return v, err
	}
	stored, err := appendCoded(nil, t.keyPrefix, t.keys, key)
	if err != nil {
		return v, err
	}
	f, err := t.c.loadNow(ctx, stored, t.stored(), call)
	if err != nil {
		return v, err
	}
	return t.loaded(key, f.value)
}

var errNoTypedLoad = errors.New("cache: nothing says how to load: give a load, or set TypedOptions.Load or LoadMany")

// one is how to load one key.
func (t *Typed[K, V]) one(key K, load func(context.Context, K) (V, error)) (loadFunc, error) {
	switch {
	case load != nil:
		return t.each([]K{key}, load), nil
	case t.o.Load != nil:
		return t.each([]K{key}, t.o.Load), nil
	case t.o.LoadMany != nil:
		return t.many([]K{key}, t.o.LoadMany), nil
	}
	return nil, errNoTypedLoad
}

// each loads keys one by one. Flights outlive the call that began them, so keys
// are copied.
func (t *Typed[K, V]) each(keys []K, load func(context.Context, K) (V, error)) loadFunc {
	keys = append([]K(nil), keys...)
	return func(ctx context.Context, flights []*flight) {
		for _, f := range flights {
			v, err := load(ctx, keys[f.at])
			t.bring(f, keys[f.at], v, err)
		}
	}
}

// many loads all keys that are flown with one call.
func (t *Typed[K, V]) many(keys []K, load func(context.Context, []K) (map[K]V, error)) loadFunc {
	keys = append([]K(nil), keys...)
	return func(ctx context.Context, flights []*flight) {
		wanted := make([]K, len(flights))
		for i, f := range flights {
			wanted[i] = keys[f.at]
		}
		values, err := load(ctx, wanted)
		for _, f := range flights {
			v, ok := values[keys[f.at]]
			if !ok && err == nil {
				t.bring(f, keys[f.at], v, ErrNotFound)
				continue
			}
			t.bring(f, keys[f.at], v, err)
		}
	}
}

// bring gives a flight its result.
func (t *Typed[K, V]) bring(f *flight, key K, v V, err error) {
	if err != nil {
		f.err = err
		return
	}
	f.value, f.err = appendCoded(nil, t.valuePrefix, t.values, v)
	if f.err == nil && t.o.TTL != nil {
		f.ttl = t.o.TTL(key, v)
	}
}
