package cache

import "time"

// A BatchOp sets Key to Value, or deletes it if Value is nil.
type BatchOp struct {
	Key, Value []byte
	TTL        time.Duration // as in SetWithTTL
}

// Batch applies several writes so that a generation holds all of them or none.
// Readers may see them one by one. An error means that nothing was applied.
func (c *Cache) Batch(ops []BatchOp) error {
	if c.closed.Load() {
		return ErrClosed
	}
	for _, op := range ops {
		if err := c.check(op.Key, op.Value); err != nil {
			return err
		}
	}
	c.batches.RLock() // no cut while it runs
	defer c.batches.RUnlock()
	for _, op := range ops {
		if op.Value == nil {
			c.Delete(op.Key)
		} else if err := c.set(op.Key, op.Value, EntryOptions{TTL: op.TTL}); err != nil {
			return err // closed meanwhile: no cut will follow
		}
	}
	return nil
}
