package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/embercache/ember/loader"
)

// What a Cache does with writes.
const (
	modeWrite    = iota
	modeRead     // ErrReadOnly
	modeValidate // the same while Recovery.Validate runs, and Close is refused too
)

// readOnly reports whether Open changes nothing in the directory.
func (o *Options) readOnly() bool { return o.ReadOnly || o.Recovery.Generation != 0 }

// refuses is why nothing can be written, nil if it can.
func (c *Cache) refuses() error {
	switch {
	case c.closed.Load():
		return ErrClosed
	case c.mode.Load() != modeWrite:
		return ErrReadOnly
	}
	return nil
}

// readable decides what is an error for a reader: a directory that cannot be
// read, and a generation that was asked for by number and cannot be had.
func (p *persistence) readable(ctx context.Context, o *Options, res *loader.Result, loadErr error) error {
	if !o.readOnly() {
		return nil
	}
	wanted := o.Recovery.Generation
	switch {
	case loadErr != nil && (wanted != 0 || ctx.Err() == nil):
		return fmt.Errorf("cache: open %s: %w", p.dir, loadErr)
	case wanted == 0 || res.Record != nil:
		return nil
	}
	why := res.Reason
	if why == nil {
		why = errNothing
	}
	list := "none can"
	if r := generations(res); len(r) > 0 {
		list = fmt.Sprintf("these can: %d", r)
	}
	return fmt.Errorf("cache: open %s: generation %d cannot be opened: %w; %s", p.dir, wanted, why, list)
}

// errNothing is why a reader is cold in a directory that nobody has written to.
var errNothing = errors.New("there is no generation")

// generations are those that can be opened by number.
func generations(res *loader.Result) (list []uint64) {
	for _, r := range res.Retained {
		list = append(list, r.Generation)
	}
	return list
}

// Generations lists, ascending, those that Recovery.Generation could open when
// this cache was opened. Without files there are none. An owner drops them as
// Durability.Keep says, but not while somebody reads them.
func (c *Cache) Generations() []uint64 {
	if c.persist == nil || c.persist.result == nil {
		return nil
	}
	return generations(c.persist.result)
}
