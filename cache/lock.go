package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
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

func (p *persistence) lockDir(o *Options) (lock io.Closer, network string, err error) {
	if o.readOnly() {
		network, _ = p.fs.Network(p.dir)
		return nil, network, nil
	}
	if err := p.fs.MkdirAll(p.dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make the directory: %w", err)
	}
	if o.Durability.WeakDir != "" {
		if err := p.fs.MkdirAll(o.Durability.WeakDir, 0o700); err != nil {
			return nil, "", fmt.Errorf("make Durability.WeakDir: %w", err)
		}
	}
	if lock, err = p.fs.Lock(filepath.Join(p.dir, "LOCK")); err != nil {
		return nil, "", err
	}
	network, _ = p.fs.Network(p.dir)
	return lock, network, nil
}
