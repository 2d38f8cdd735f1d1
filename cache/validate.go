package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/embercache/ember/loader"
)

// UncleanPolicy says what Open does after a run that did not end with Close.
type UncleanPolicy uint8

const (
	UncleanUse     UncleanPolicy = iota // serve what it left
	UncleanDiscard                      // open cold
)

// A trial is what Open tries to take up next.
type trial struct {
	generation uint64   // 0: the newest
	older      []uint64 // that are left to try, ascending
	refused    []error  // by Recovery.Validate
	cold       bool     // nothing is left
}

// next goes one generation back, to nothing at last.
func (t *trial) next() {
	if n := len(t.older); n > 0 {
		t.generation, t.older = t.older[n-1], t.older[:n-1]
		return
	}
	t.generation, t.cold = 0, true
}

// reason is why nothing newer was taken, nil if it was.
func (t *trial) reason() error { return errors.Join(t.refused...) }

// open takes up the newest generation, or the one that was asked for, and going
// back from there the first that Recovery.Validate accepts. After an error the
// directory is given up.
func (p *persistence) open(ctx context.Context, o *Options) (*Cache, error) {
	t := trial{generation: o.Recovery.Generation}
	for {
		c, err := p.try(ctx, o, &t)
		if err != nil {
			p.abandon()
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		p = p.again(o)
		t.next()
	}
}

// try takes up what the trial says; nil and no error if something older has to
// be tried.
func (p *persistence) try(ctx context.Context, o *Options, t *trial) (*Cache, error) {
	limit, cancel := context.WithDeadline(ctx, p.began.Add(o.Recovery.Timeout))
	defer cancel()
	res, loadErr := p.load(limit, o, t)
	p.result = res
	if loadErr != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("cache: open %s: %w", p.dir, loadErr)
	}
	if err := p.readable(limit, o, res, loadErr); err != nil {
		return nil, err
	}
	switch {
	case loadErr != nil || len(t.refused) == 0:
	case t.cold:
		p.cold(res)
	case res.Record == nil: // its owner has retired it, or a record was damaged
		return nil, nil
	}
	p.trial = t
	c, err := p.build(ctx, limit, o, res, loadErr)
	if err != nil {
		return nil, err
	}
	p.report.Mapped = time.Since(p.began)
	return c.admit(ctx, o)
}

// admit verifies what was recovered, as far as Open promises, asks
// Recovery.Validate about it, and lets the cache run.
func (c *Cache) admit(ctx context.Context, o *Options) (*Cache, error) {
	p := c.persist
	c.start()
	p.prefetch(c)
	if o.Recovery.Verify == VerifyEager {
		if _, err := c.WaitVerified(ctx); err != nil {
			c.discard(ctx)
			return nil, fmt.Errorf("cache: open %s: verify: %w", p.dir, err)
		}
	}
	p.finish(c) // whoever validates is not shown half a batch
	if err := c.validate(o); err != nil {
		c.discard(ctx)
		if o.Recovery.Generation != 0 {
			return nil, fmt.Errorf("cache: open %s: %w", p.dir, err)
		}
		if len(p.trial.refused) == 0 {
			p.trial.older = before(c.opened, p.result)
		}
		p.trial.refused = append(p.trial.refused, err)
		return nil, nil
	}
	p.begin(ctx, c)
	return c, nil
}

// validate asks Recovery.Validate about what was recovered, if anything was.
// Nothing can be written meanwhile.
func (c *Cache) validate(o *Options) (err error) {
	if o.Recovery.Validate == nil || c.opened == 0 {
		return nil
	}
	c.mode.Store(modeValidate)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			err = fmt.Errorf("generation %d: Recovery.Validate: %w", c.opened, err)
		}
		c.mode.Store(modeWrite)
		if o.readOnly() {
			c.mode.Store(modeRead)
		}
	}()
	return o.Recovery.Validate(c)
}

// before are the generations before one, ascending.
func before(generation uint64, res *loader.Result) (list []uint64) {
	for _, g := range generations(res) {
		if g < generation {
			list = append(list, g)
		}
	}
	return list
}

// discard ends a cache that Open does not return. Nothing was written to it.
func (c *Cache) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.CloseTimeout)
	defer cancel()
	c.closed.Store(true)
	c.loads.close()
	close(c.stop)
	_ = c.awaitBackground(ctx)
	c.retireAll()
	_ = c.awaitLeavers(ctx)
	_ = c.awaitViews(ctx)
	_ = c.loads.await(ctx)
	_ = c.awaitNotices(ctx)
}

// again is for the next trial, under the same lock. What a cache that was refused
// still says of itself is about the old one.
func (p *persistence) again(o *Options) *persistence {
	if p.result != nil {
		_ = p.result.Close()
	}
	next := newPersistence(p.dir, o)
	next.fs, next.lock, next.network, next.inMemory, next.answered, next.began = p.fs, p.lock, p.network, p.inMemory, p.answered, time.Now()
	next.live = p.live
	return next
}
