package cache

import "time"

// Set stores v under key with the view's time to live. An error (of a codec,
// ErrKeySize, ErrTooLarge, ErrClosed, ErrReadOnly) leaves what was stored as it was.
// Keys and values count with the names that lie before them; see Typed.
func (t *Typed[K, V]) Set(key K, v V) error { return t.SetEntry(key, v, EntryOptions{}) }

// SetWithTTL is Set with another TTL; negative means none, 0 the view's.
func (t *Typed[K, V]) SetWithTTL(key K, v V, ttl time.Duration) error {
	return t.SetEntry(key, v, EntryOptions{TTL: ttl})
}

// SetEntry is Set with settings of the entry's own, as Cache.SetEntry. To IfAbsent
// what Has would not find is not there.
func (t *Typed[K, V]) SetEntry(key K, v V, o EntryOptions) error {
	b := takeBuffer()
	err := t.encodeKey(b, key)
	if err == nil {
		if o.IfAbsent {
			t.current(b, key, 0) // drops what is of another codec
		}
		err = t.encodeValue(b, v)
	}
	if err == nil {
		err = t.c.set(b.key, b.value, t.settings(key, v, o))
	}
	b.give()
	return err
}

// settings fills in what the view says of an entry.
func (t *Typed[K, V]) settings(key K, v V, o EntryOptions) EntryOptions {
	if o.TTL == 0 && t.o.TTL != nil {
		o.TTL = t.o.TTL(key, v)
	}
	o.MemoryOnly = o.MemoryOnly || t.o.MemoryOnly
	o.terms = t.terms
	return o
}

// stored is what the view says of all its entries.
func (t *Typed[K, V]) stored() EntryOptions {
	return EntryOptions{MemoryOnly: t.o.MemoryOnly, terms: t.terms}
}

// SetMany stores several entries as one Batch: a generation holds all of them or
// none, readers may see them one by one, and an error means that nothing was
// stored.
func (t *Typed[K, V]) SetMany(entries map[K]V) error {
	ops := make([]BatchOp, 0, len(entries))
	var b []byte // of all keys and values; what it grows out of stays as it is
	for key, v := range entries {
		from := len(b)
		var err error
		if b, err = appendCoded(b, t.keyPrefix, t.keys, key); err != nil {
			return err
		}
		stored := b[from:]
		from = len(b)
		if b, err = appendCoded(b, t.valuePrefix, t.values, v); err != nil {
			return err
		}
		ops = append(ops, BatchOp{stored, b[from:], t.settings(key, v, EntryOptions{}).TTL})
	}
	return t.c.batch(ops, t.stored())
}

// Delete removes key and reports whether it was present, in whatever form.
func (t *Typed[K, V]) Delete(key K) (present bool) {
	b := takeBuffer()
	if t.encodeKey(b, key) == nil {
		present = t.c.Delete(b.key)
	}
	b.give()
	return present
}

// Compute changes one key atomically, by the rules of Cache.Compute. A write gets
// the view's time to live. old is what Get would return; OpKeep leaves a value of
// another codec as it is.
func (t *Typed[K, V]) Compute(key K, fn func(old V, found bool) (V, Op)) error {
	b := takeBuffer()
	err := t.encodeKey(b, key)
	if err == nil {
		err = t.compute(b, key, fn)
	}
	b.give()
	return err
}

func (t *Typed[K, V]) compute(b *typedBuffer, key K, fn func(old V, found bool) (V, Op)) error {
	if err := t.c.check(b.key, nil); err != nil {
		return err
	}
	for r := t.c.look(b.value[:0], b.key); ; r = t.c.lookAgain(b.value[:0], b.key) {
		if t.c.closed.Load() {
			return ErrClosed
		}
		b.value = r.value
		var old V
		if r.found {
			var ok bool
			if old, _, ok = t.read(key, r.value); !ok {
				t.c.dropUndecoded(b.key, &r)
				continue
			}
		}
		v, op := fn(old, r.found)
		o := EntryOptions{MemoryOnly: r.memoryOnly()}
		if op == OpWrite {
			if err := t.encodeValue(b, v); err != nil {
				return err
			}
			o = t.settings(key, v, o)
		}
		if done, err := t.c.change(b.key, b.value, op, o, &r); done != conflict {
			return err
		}
	}
}

// Clear removes the entries of this namespace, those of other codecs too, and
// leaves all others. It looks at every key of the Cache and deletes one by one, so
// it takes time in proportion to both, stops nobody meanwhile, and is not one
// step: what is written meanwhile may stay or go, and after a crash a part may be
// back. Loads that run are overtaken.
func (t *Typed[K, V]) Clear() error {
	if err := t.c.refuses(); err != nil {
		return err
	}
	for _, s := range t.c.shards {
		s.overtakeAll(t.namespace)
	}
	t.c.walk(t.namespace, func(stored []byte) bool {
		t.c.Delete(stored)
		return true
	})
	return t.c.refuses()
}
