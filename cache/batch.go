package cache

import (
	"time"

	"github.com/embercache/ember/pagefile"
)

// A BatchOp sets Key to Value, or deletes it if Value is nil.
type BatchOp struct {
	Key, Value []byte
	TTL        time.Duration // as in SetWithTTL
}

// Batch applies several writes, in order, so that a generation holds all of them or
// none. Readers may see them one by one. An error (ErrKeySize, ErrTooLarge,
// ErrClosed, ErrReadOnly) means that nothing was applied. Close waits for one that runs.
func (c *Cache) Batch(ops []BatchOp) error { return c.batch(ops, EntryOptions{}) }

// batch stores with the settings of o, but for the TTL.
func (c *Cache) batch(ops []BatchOp, o EntryOptions) error {
	if err := c.refuses(); err != nil {
		return err
	}
	for _, op := range ops {
		if err := c.check(op.Key, op.Value); err != nil {
			return err
		}
	}
	c.batches.RLock() // no cut while it runs, nor the last one of a Close
	defer c.batches.RUnlock()
	if c.closed.Load() {
		return ErrClosed
	}
	u := c.livelog.begin(pagefile.IntentBatch, func(most int) ([]byte, bool) { return c.encodeBatch(ops, &o, most) })
	defer c.livelog.done(u)
	for i, op := range ops {
		g := guard{tag: u.tag(i + 1)}
		if op.Value == nil {
			c.removeIf(op.Key, g, CauseDeleted)
		} else {
			o.TTL = op.TTL
			c.storeUncut(op.Key, op.Value, o, g)
		}
	}
	return c.cutShort(u)
}
