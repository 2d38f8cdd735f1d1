package cache

import "fmt"

// An Op tells Compute what to do.
type Op uint8

const (
	OpKeep   Op = iota // change nothing
	OpWrite            // store the returned value
	OpDelete           // delete the key
)

// Compute changes one key atomically: what fn makes of old is stored only if old
// is still what is stored. old is a copy, empty if nothing is found; it is
// valid only inside fn, which may change it and return it. fn runs in the calling
// goroutine and outside every lock, and runs again if the key changed meanwhile,
// or its record was moved: it should be quick and have no other effects. Each
// further run means that some other write was done, so goroutines that compute
// cannot keep each other from going on for ever; a slow fn under constant writes
// of its key may run many times.
//
// A write gets the default time to live, not what was left of the old entry's,
// and stays MemoryOnly if the old entry was. An error (ErrKeySize, ErrTooLarge,
// ErrClosed, ErrReadOnly, an unknown Op) and a panic of fn leave what was stored as
// it was. Compute counts as a Set or Delete, not as a lookup.
func (c *Cache) Compute(key []byte, fn func(old []byte, found bool) (value []byte, op Op)) error {
	if err := c.check(key, nil); err != nil {
		return err
	}
	for r := c.look(nil, key); ; r = c.lookAgain(r.value[:0], key) {
		if c.closed.Load() {
			return ErrClosed // what was not found may have been there
		}
		value, op := fn(r.value, r.found)
		if o, err := c.change(key, value, op, EntryOptions{MemoryOnly: r.memoryOnly()}, &r); o != conflict {
			return err
		}
	}
}

// change does what fn asked for, if r is still what is stored; else it answers
// conflict.
func (c *Cache) change(key, value []byte, op Op, o EntryOptions, r *reading) (outcome, error) {
	switch op {
	case OpKeep:
		return hit, nil
	case OpWrite:
		if err := c.check(key, value); err != nil {
			return miss, err
		}
		done := c.store(key, value, o, r.guard)
		return done, done.err()
	case OpDelete:
		if err := c.refuses(); err != nil {
			return miss, err
		}
		done, _ := c.removeIf(key, r.guard, CauseDeleted)
		return done, done.err()
	}
	return miss, fmt.Errorf("cache: Compute: Op is %d; see Op", op)
}
