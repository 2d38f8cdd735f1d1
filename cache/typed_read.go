package cache

import (
	"bytes"
	"iter"
)

// Get returns the value if present. A value that does not decode is dropped and
// counts as a miss; so does one of another codec that Migrate does not take. A
// panic of a codec, or of Migrate, reaches the caller and changes nothing.
func (t *Typed[K, V]) Get(key K) (V, bool) { return t.get(key, true) }

// Peek returns the value if present, without loading or counting as a use.
func (t *Typed[K, V]) Peek(key K) (V, bool) { return t.get(key, false) }

func (t *Typed[K, V]) get(key K, use bool) (v V, ok bool) {
	b := takeBuffer()
	if t.encodeKey(b, key) == nil {
		hash := t.c.hash.sum(b.key)
		s := t.c.shardOf(hash)
		var terms *terms
		if use {
			terms = t.terms
		}
		r := s.look(b.value[:0], b.key, hash, terms, 0)
		v, ok = t.resolve(b, key, r)
		switch {
		case use && ok:
			s.stats.hits.Add(1)
		case use:
			s.stats.misses.Add(1)
		}
	}
	b.give()
	return v, ok
}

// resolve makes a value of what was read for b.key. What came from another codec
// is stored in today's form, what cannot be read is dropped, each only if it is
// still what is stored.
func (t *Typed[K, V]) resolve(b *typedBuffer, key K, r reading) (v V, ok bool) {
	b.value = r.value
	if !r.found {
		return v, false
	}
	v, migrated, ok := t.read(key, r.value)
	if !ok {
		t.c.dropUndecoded(b.key, &r)
	} else if migrated {
		t.keep(b, v, &r)
	}
	return v, ok
}

// read decodes a stored value, or has it migrated.
func (t *Typed[K, V]) read(key K, stored []byte) (v V, migrated, ok bool) {
	if body, today := bytes.CutPrefix(stored, t.valuePrefix); today {
		v, err := t.values.Decode(body)
		return v, false, err == nil
	}
	name, body, ok := cutName(stored)
	if !ok || t.o.Migrate == nil {
		return v, false, false
	}
	v, ok = t.o.Migrate(name, key, bytes.Clone(body))
	return v, true, ok
}

// keep stores a migrated value in the place of the old one, with its times, and
// leaves its stored form in b. One that cannot be stored is migrated again the next
// time.
func (t *Typed[K, V]) keep(b *typedBuffer, v V, r *reading) {
	if t.encodeValue(b, v) != nil || t.c.check(b.key, b.value) != nil {
		return
	}
	o := EntryOptions{MemoryOnly: t.o.MemoryOnly || r.memoryOnly(), terms: t.terms}
	if t.c.livelog != nil && t.c.keeps(b.key, b.value, &o) {
		t.c.batches.RLock() // as in store
		defer t.c.batches.RUnlock()
	}
	var e entry
	ok := t.c.prepare(&e, b.key, b.value, o)
	e.head = e.head.at(r.head)
	e.guard = r.guard
	t.c.putOrForget(&e, ok)
	t.c.tellLeavers()
}

// dropUndecoded removes an entry that a view cannot read, unless nothing may be
// written.
func (c *Cache) dropUndecoded(key []byte, r *reading) {
	if c.refuses() != nil {
		return
	}
	if o, _ := c.removeIf(key, r.guard, CauseDeleted); o == hit {
		c.undecoded.Add(1)
	}
}

// current reads the entry in today's form, if there is one that Get would return,
// or one that expired less than past ms ago. It does not decode what has that form
// already.
func (t *Typed[K, V]) current(b *typedBuffer, key K, past int64) (r reading, ok bool) {
	hash := t.c.hash.sum(b.key)
	s := t.c.shardOf(hash)
	r = s.look(b.value[:0], b.key, hash, nil, past)
	b.value = r.value
	if !r.found || bytes.HasPrefix(r.value, t.valuePrefix) {
		return r, r.found
	}
	if _, ok = t.resolve(b, key, r); !ok {
		return r, false
	}
	if now := s.look(nil, b.key, hash, nil, past); now.found && bytes.HasPrefix(now.value, t.valuePrefix) {
		return now, true
	}
	r.value = b.value // what could not be stored
	return r, bytes.HasPrefix(r.value, t.valuePrefix)
}

// View decodes nothing: fn sees what the value codec stored, as in Cache.View.
func (t *Typed[K, V]) View(key K, fn func(raw []byte) error) error {
	b := takeBuffer()
	err := t.encodeKey(b, key)
	if err == nil {
		err = t.view(b, key, fn)
	}
	b.give()
	return err
}

func (t *Typed[K, V]) view(b *typedBuffer, key K, fn func(raw []byte) error) error {
	err := t.c.view(b.key, func(stored []byte) error {
		body, today := bytes.CutPrefix(stored, t.valuePrefix)
		if !today {
			return errOther
		}
		return fn(body)
	}, t.terms)
	if err != errOther {
		return err
	}
	s := t.c.shardOf(t.c.hash.sum(b.key))
	r, ok := t.current(b, key, 0)
	if !ok {
		s.stats.misses.Add(1)
		return ErrNotFound
	}
	s.stats.hits.Add(1)
	return fn(r.value[len(t.valuePrefix):])
}

// Has reports whether there is an entry that is of today's codec or that Migrate
// takes, without counting as a use.
func (t *Typed[K, V]) Has(key K) (ok bool) {
	b := takeBuffer()
	if t.encodeKey(b, key) == nil {
		_, ok = t.current(b, key, 0)
	}
	b.give()
	return ok
}

// Info is Has with what is known of the entry, also of one that is Stale. Size is
// that of key and value as stored, with the names before them; Stamp is for
// SetEntry.
func (t *Typed[K, V]) Info(key K) (e EntryInfo, ok bool) {
	b := takeBuffer()
	if t.encodeKey(b, key) == nil {
		var r reading
		if r, ok = t.current(b, key, t.terms.staleFor); ok {
			e = t.c.info(b.key, &r)
		}
	}
	b.give()
	return e, ok
}

// All ranges over the entries of this view, Keys and Values over half of each, by
// the rules of Cache.All: what Get would return. They look at every key of the
// Cache. What does not decode is dropped on the way, keys too.
func (t *Typed[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		t.walk(func(b *typedBuffer, key K) bool {
			v, ok := t.resolve(b, key, t.c.look(b.value[:0], b.key))
			return !ok || yield(key, v)
		})
	}
}

// Keys is All without the values, which it does not decode.
func (t *Typed[K, V]) Keys() iter.Seq[K] {
	return func(yield func(K) bool) {
		t.walk(func(b *typedBuffer, key K) bool {
			_, ok := t.current(b, key, 0)
			return !ok || yield(key)
		})
	}
}

// Values is All without the keys.
func (t *Typed[K, V]) Values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, v := range t.All() {
			if !yield(v) {
				return
			}
		}
	}
}

// walk calls step with each key of this view, stored in b.key, until it answers
// false.
func (t *Typed[K, V]) walk(step func(b *typedBuffer, key K) bool) {
	b := takeBuffer()
	t.c.walk(t.keyPrefix, func(stored []byte) bool {
		key, err := t.keys.Decode(stored[len(t.keyPrefix):])
		if err != nil {
			r := t.c.look(nil, stored)
			t.c.dropUndecoded(stored, &r)
			return true
		}
		b.key = append(b.key[:0], stored...)
		return step(b, key)
	})
	b.give()
}
