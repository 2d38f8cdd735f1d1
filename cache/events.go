package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Events are optional callbacks, in the manner of httptrace.ClientTrace. They run
// one after the other on a goroutine of the cache, together with the Logger,
// under no lock: they may call any method of the cache. They must return soon: 256
// wait at most, the rest is dropped and counted (Stats.EventsDropped). One that
// panics is logged. OpenMemory has no files and calls none of them.
type Events struct {
	// Recovered is called once, when the cache serves.
	Recovered func(RecoveryReport)
	// FlushStart is called when a durable generation begins; pages is about how
	// many changed since the newest.
	FlushStart func(generation uint64, pages int)
	// FlushDone is called when it is durable or failed; pages went home. Without a
	// FlushStart before, and with generation 0, a flush failed before it had a
	// number.
	FlushDone func(generation uint64, pages int, took time.Duration, err error)
	// Corruption is called for pages that fail verification, 64 at once and one
	// more a second at most; of a scrub's pieces it has the first. Of other files than
	// page files it has Path and Generation. A damaged
	// directory must not flood: RecoveryReport.PagesDropped counts them all.
	Corruption func(*CorruptionError)
	// DiskSlow is called when a step of writing ("sync pages") has taken a second
	// and goes on, when it has taken a minute, and when it ends. What
	// Durability.BytesPerSec has it wait does not count.
	DiskSlow func(op string, took time.Duration)
	// LowSpace is called when a durable generation, or the ring of weak ones,
	// fails for want of room: on the device, where free bytes were left, 0 if
	// unknown, or in the page file at its limit. need is what was asked for, 0 if
	// unknown.
	LowSpace func(free, need int64)
}

// notices is what goes to Options.Events and Options.Logger: neither may hold up
// who has something to tell.
type notices struct {
	*courier[func()]
	log    *slog.Logger
	events Events
	logged atomic.Bool // that a callback panicked
	rate   rate
}

const mostNotices = 256

func newNotices(o *Options) *notices {
	n := &notices{log: o.Logger}
	if o.Name != "" {
		n.log = o.Logger.With("cache", o.Name)
	}
	if o.Events != nil {
		n.events = *o.Events
	}
	n.courier = newCourier(mostNotices, 0, func(f func()) { f() }, nil, n.panicked)
	return n
}

// say logs one event: its name, and what belongs to it.
func (n *notices) say(level slog.Level, msg, event string, args ...any) {
	n.send(func() {
		n.log.Log(context.Background(), level, msg, append([]any{"event", event}, args...)...)
	})
}

func (n *notices) panicked(v any) {
	if !n.logged.Swap(true) {
		n.logPanic("Events", v, debug.Stack())
	}
}

func (n *notices) logPanic(where string, v any, stack []byte) {
	n.say(slog.LevelError, "a callback panicked; the cache goes on", "callback_panic", "callback", where, "panic", v, "stack", string(stack))
}

func (n *notices) recovered(r RecoveryReport) {
	level := slog.LevelInfo
	if r.Reason != nil {
		level = slog.LevelWarn
	}
	n.send(func() {
		n.log.LogAttrs(context.Background(), level, "recovered", r.LogValue().Group()...)
	})
	if f := n.events.Recovered; f != nil {
		n.send(func() { f(r) })
	}
}

func (n *notices) flushStart(generation uint64, pages int) {
	if f := n.events.FlushStart; f != nil {
		n.send(func() { f(generation, pages) })
	}
}

func (n *notices) flushDone(generation uint64, pages int, took time.Duration, err error) {
	if f := n.events.FlushDone; f != nil {
		n.send(func() { f(generation, pages, took, err) })
	}
}

func (n *notices) diskSlow(op string, took time.Duration) {
	n.say(slog.LevelWarn, "the disk is slow", "disk_slow", "op", op, "took", took)
	if f := n.events.DiskSlow; f != nil {
		n.send(func() { f(op, took) })
	}
}

func (n *notices) lowSpace(free, need int64) {
	n.say(slog.LevelWarn, "no room to write; serving goes on", "low_space", "free", free, "need", need)
	if f := n.events.LowSpace; f != nil {
		n.send(func() { f(free, need) })
	}
}

// corruption tells of a page, if err is about one and not too many were before.
func (n *notices) corruption(err error) {
	var page *CorruptionError
	if f := n.events.Corruption; f != nil && errors.As(err, &page) && n.rate.allows(time.Now()) {
		n.send(func() { f(page) })
	}
}

// A rate lets rateBurst through at once, and one more each second.
type rate struct {
	mu   sync.Mutex
	left int
	last time.Time // that left grew for; zero: never asked
}

const rateBurst = 64

func (r *rate) allows(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch seconds := int(now.Sub(r.last) / time.Second); {
	case r.last.IsZero():
		r.left, r.last = rateBurst, now
	case seconds > 0:
		r.left, r.last = min(r.left+min(seconds, rateBurst), rateBurst), now
	}
	if r.left == 0 {
		return false
	}
	r.left--
	return true
}

// awaitNotices has everything told that happened. If ctx ends first, or if it is
// one of Events that closes the cache, the rest is told later.
func (c *Cache) awaitNotices(ctx context.Context) error {
	if _, err := c.notices.close(ctx); err != nil {
		return fmt.Errorf("cache: close: Events or the Logger is still running: %w", err)
	}
	return nil
}
