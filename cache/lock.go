package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

// LockPolicy says what Open does while somebody else holds the directory.
type LockPolicy uint8

const (
	LockFail LockPolicy = iota // return *LockError
	LockWait                   // wait up to LockTimeout
)

// lockPoll is how often LockWait asks. The kernel would wake us, but not on
// every file system, and a name that was replaced would keep us waiting for ever.
const lockPoll = 10 * time.Millisecond

// acquire makes the directory and locks it, as WhenLocked says. A reader does
// neither.
func (p *persistence) acquire(ctx context.Context, o *Options) error {
	var held *LockError
	for start := time.Now(); ; {
		p.began = time.Now()
		err := p.tryAcquire(ctx, o)
		if held != nil && !p.answered && err == nil && ctx.Err() != nil {
			return p.gaveUp(held, ctx.Err())
		}
		if o.WhenLocked != LockWait || !errors.As(err, &held) {
			return err
		}
		left := o.LockTimeout - time.Since(start)
		if left <= 0 {
			return fmt.Errorf("%w; it was asked for %v (Options.LockTimeout)%s; a holder that is stopped or hangs keeps it until it ends",
				err, o.LockTimeout, heldFor(held))
		}
		select {
		case <-ctx.Done():
			return p.gaveUp(held, ctx.Err())
		case <-time.After(min(lockPoll, left)):
		}
	}
}

// gaveUp is for a context that ended while somebody held the lock.
func (p *persistence) gaveUp(held *LockError, why error) error {
	return fmt.Errorf("cache: open %s: %w: %w", p.dir, held, why)
}

func heldFor(e *LockError) string {
	if e.Since.IsZero() {
		return ""
	}
	return fmt.Sprintf(", and has been held for %v", time.Since(e.Since).Round(time.Millisecond))
}

// tryAcquire asks once. Where the disk does not answer in time there is no lock:
// load says so.
func (p *persistence) tryAcquire(ctx context.Context, o *Options) error {
	type acquired struct {
		lock     io.Closer
		network  string
		inMemory inMemory
		err      error
	}
	limit, cancel := context.WithTimeout(ctx, o.Recovery.Timeout)
	defer cancel()
	a, ok := within(limit, func() (a acquired) {
		if a.lock, a.network, a.err = p.lockDir(o); a.err == nil {
			a.inMemory = p.filesInMemory(o)
		}
		return a
	}, func(a acquired) {
		if a.lock != nil {
			_ = a.lock.Close()
		}
	})
	if a.err != nil {
		return fmt.Errorf("cache: open %s: %w", p.dir, a.err)
	}
	p.lock, p.network, p.inMemory, p.answered = a.lock, a.network, a.inMemory, ok
	return nil
}

// lockDir enters the directory and WeakDir, makes them if need be, and locks the first:
// until the lock is closed the cache's files are in those, whatever becomes of the names.
func (p *persistence) lockDir(o *Options) (lock io.Closer, network string, err error) {
	var held closers
	if o.readOnly() {
		err = p.enter(&held, p.dir)
		_ = p.enter(&held, o.Durability.WeakDir) // without links there are durable generations
	} else {
		err = p.lockIn(&held, o)
	}
	if err != nil {
		_ = held.Close()
		return nil, "", err
	}
	network, _ = p.fs.Network(p.dir)
	return held, network, nil
}

func (p *persistence) lockIn(held *closers, o *Options) error {
	if err := p.fs.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	if err := p.enter(held, p.dir); err != nil {
		return err
	}
	if weak := o.Durability.WeakDir; weak != "" {
		if err := p.fs.MkdirAll(weak, 0o700); err != nil {
			return fmt.Errorf("make Durability.WeakDir: %w", err)
		}
		if err := p.enter(held, weak); err != nil {
			return err
		}
	}
	lock, err := p.fs.Lock(filepath.Join(p.dir, "LOCK"))
	if err == nil {
		*held = append(*held, lock)
	}
	return err
}

// enter enters a directory; "" is none.
func (p *persistence) enter(held *closers, dir string) error {
	if dir == "" {
		return nil
	}
	leave, err := p.fs.Enter(dir)
	if err == nil {
		*held = append(*held, leave)
	}
	return err
}

// closers are closed from the last to the first.
type closers []io.Closer

func (c closers) Close() error {
	var errs []error
	for _, one := range slices.Backward(c) {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
