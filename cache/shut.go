package cache

import "context"

// shut has nothing stored any more, before the last cut of a Close: a write that
// returned is in that cut, and one that comes later is refused. What is between its
// check of closed and the shard's lock meets one or the other. No Batch and no Clear
// is cut in two: shut waits for those that run, as long as ctx lasts. Where that ends
// first nothing is written any more, and retireAll shuts, or the live log's end. // I9
func (c *Cache) shut(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		c.batches.Lock()
		defer c.batches.Unlock()
		for _, s := range c.shards {
			s.mu.Lock()
			s.shut = true
			s.mu.Unlock()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// cutShort is what a Batch or a Clear returns for which Close had no time: no file has
// anything of it; but where a live log has, the next Open does the rest.
func (c *Cache) cutShort(u underWay) error {
	s := c.shards[0] // whoever shuts begins with it
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut && u.slot < 0 {
		return ErrClosed
	}
	return nil
}
