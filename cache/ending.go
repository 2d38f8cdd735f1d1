package cache

import (
	"context"
	"fmt"
)

// An ending is how far the first Close or Shutdown has come, for those who call one
// while it runs.
type ending struct {
	saved milestone // the last generation is written, or has failed
	freed milestone // Views have ended, and the directory is given back
}

func newEnding() ending {
	return ending{milestone{reached: make(chan struct{})}, milestone{reached: make(chan struct{})}}
}

// A milestone is passed once, with what went wrong until then.
type milestone struct {
	reached chan struct{}
	err     error // written before reached is closed
}

func (m *milestone) pass(err error) {
	m.err = err
	close(m.reached)
}

// await waits for who passes it; nil if that was before.
func (m *milestone) await(ctx context.Context) error {
	select {
	case <-m.reached:
		return nil
	default:
	}
	select {
	case <-m.reached:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("cache: close: another Close is still running: %w", ctx.Err())
	}
}

// closeAgain is Shutdown after the first. What that waits for once the directory is
// free, loads and Events, may itself close: so nobody waits for it here. OnEvict it
// waits for before that.
func (c *Cache) closeAgain(ctx context.Context) error {
	if c.leavers != nil && c.leavers.inside() {
		return c.ending.saved.await(ctx)
	}
	return c.ending.freed.await(ctx)
}
