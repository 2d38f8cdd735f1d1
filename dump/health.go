package dump

import (
	"errors"
	"fmt"
	"time"
)

// Back-off after a durable generation that failed.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// stallAfter is how long one step may take before Health speaks of it.
const stallAfter = 5 * time.Second

// health is why the directory is not up to date. Dumper.mu guards it.
type health struct {
	err       error // of the last durable generation
	weak      error // of the weak chain
	pause     time.Duration
	notBefore time.Time // no generation that nobody asked for
}

// busy is what a goroutine is waiting for.
type busy struct {
	what  string // "": nothing
	since time.Time
}

func (b busy) stalled(now time.Time) error {
	if b.what == "" || now.Sub(b.since) < stallAfter {
		return nil
	}
	return fmt.Errorf("%s: %w for %v", b.what, ErrStalled, now.Sub(b.since).Round(time.Second))
}

// Health is nil while generations are written as they should, else why not: the
// last error, or ErrStalled. The next success clears it.
func (d *Dumper) Health() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	return errors.Join(d.health.err, d.busy.stalled(now), d.health.weak, d.busyWeak.stalled(now))
}

// setHealth notes how a flight ended, and doubles the back-off, which it returns,
// or ends it.
func (d *Dumper) setHealth(err error) (pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &d.health
	h.err = err
	if err == nil {
		h.pause, h.notBefore = 0, time.Time{}
		return 0
	}
	h.pause = min(max(2*h.pause, firstPause), longestPause)
	h.notBefore = time.Now().Add(h.pause)
	return h.pause
}

// chainDown is why there is no chain, nil if there is one or should be none.
func (d *Dumper) chainDown() error {
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	return d.chain.why
}

func (d *Dumper) setWeakHealth(err error) (before error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.health.weak = d.health.weak, err
	return before
}

// during notes a step of the leader; the function that it returns ends it.
func (d *Dumper) during(what string) (done func()) { return d.note(&d.busy, what) }

func (d *Dumper) note(b *busy, what string) (done func()) {
	d.mu.Lock()
	*b = busy{what, time.Now()}
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		*b = busy{}
		d.mu.Unlock()
	}
}

func (d *Dumper) duringWeak() (done func()) { return d.note(&d.busyWeak, "write weak generation") }
