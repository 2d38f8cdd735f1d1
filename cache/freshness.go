package cache

import (
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// Freshness says how long entries are served. Durations are kept in milliseconds,
// rounded up; none may be negative.
type Freshness struct {
	// TTL is how long an entry is served that is not given a time to live of its
	// own. 0: until evicted. Times to live are told by a clock that a goroutine
	// moves on every 5 ms: after the process was stopped (SIGSTOP, a paused
	// container), or while it gets no processor, what ended meanwhile is served
	// until that has run once. None ends later than in 2054.
	TTL time.Duration
	// Sliding has a hit in the last half of TTL restart it, in the background:
	// where hits come faster than that is done, some restart nothing. It holds
	// for entries with the default TTL, which must not be 0.
	Sliding bool
	// RefreshAfter has GetOrLoad load an entry anew in the background when it
	// meets one whose value was stored longer ago. 0: never.
	RefreshAfter time.Duration
	// StaleFor has GetOrLoad serve an entry this long past its time to live while
	// a load runs in the background, and when it fails. Has, Get and all others
	// do not. 0: not at all.
	//
	// At most 64 background loads run at a time; what would be one more is left to
	// a later GetOrLoad. After one has failed the next of that key begins no
	// sooner than a second later.
	StaleFor time.Duration
	// NegativeTTL is how long a loader's ErrNotFound is kept: GetOrLoad returns it
	// without a load, all others find nothing. 0: it is not kept.
	NegativeTTL time.Duration
	// Jitter shortens each time to live by up to this fraction, so that what was
	// stored together does not expire together; 1 at most. 0: the default, 0.05;
	// negative: none.
	Jitter float64
}

const defaultJitter = 0.05

func (f *Freshness) validate() error {
	for _, v := range []struct {
		name  string
		value time.Duration
	}{
		{"TTL", f.TTL}, {"RefreshAfter", f.RefreshAfter}, {"StaleFor", f.StaleFor}, {"NegativeTTL", f.NegativeTTL},
	} {
		if v.value < 0 {
			return fmt.Errorf("cache: Freshness.%s is %v; it must not be negative, and 0 means none", v.name, v.value)
		}
	}
	if !(f.Jitter <= 1) {
		return fmt.Errorf("cache: Freshness.Jitter is %v; it is a fraction, 1 at most, and negative for none", f.Jitter)
	}
	if f.Sliding && f.TTL == 0 {
		return errors.New("cache: Freshness.Sliding has a hit restart Freshness.TTL, which is 0: set it")
	}
	return nil
}

// terms are a Freshness as those who read and store use it; times in ms.
type terms struct {
	ttl, refreshAfter, staleFor, negativeTTL int64

	jitter float64
	slides chan slide // of Sliding, else nil
}

// termsOf translates what was validated, and has the cache mind it.
func (c *Cache) termsOf(f *Freshness) terms {
	t := terms{
		ttl: millis(f.TTL), refreshAfter: millis(f.RefreshAfter),
		staleFor: millis(f.StaleFor), negativeTTL: millis(f.NegativeTTL),
		jitter: max(f.Jitter, 0),
	}
	if f.Sliding {
		t.slides = c.slides
	}
	for {
		if old := c.keepFor.Load(); old >= t.staleFor || c.keepFor.CompareAndSwap(old, t.staleFor) {
			return t
		}
	}
}

// millis rounds up, so that no time is cut to none.
func millis(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Millisecond) + 1
}

// expiry is the time, in ms of cache time, at which a time to live of ms given now
// to a key with that hash ends; none at all gives 0. Jitter only ever shortens it,
// to a millisecond at least, by what follows from hash and time.
func (t *terms) expiry(now int64, hash uint64, ms int64) int64 {
	if ms <= 0 {
		return 0
	}
	if t.jitter > 0 {
		hi, lo := bits.Mul64(hash^0x9e3779b97f4a7c15, uint64(now)*0xbf58476d1ce4e5b9|1)
		ms -= int64(float64(ms) * t.jitter * float64((hi^lo)>>32) / (1 << 32))
	}
	return min(now+ms, timeMask)
}

// ttlOf is the time to live that an entry's options ask for, in ms; 0: none.
func (t *terms) ttlOf(ttl time.Duration) int64 {
	if ttl == 0 {
		return t.ttl
	}
	return millis(ttl)
}

// flagsOf are the flags of a record with that time to live.
func (t *terms) flagsOf(ttl time.Duration) uint8 {
	if ttl == 0 && t.slides != nil {
		return flagSliding
	}
	return 0
}

// A standing is what an entry is worth to GetOrLoad.
type standing uint8

const (
	missing standing = iota
	denied           // known not to exist
	stale            // past its time to live, within StaleFor
	due              // to be loaded anew, in the background
	fresh
)

// judge tells the standing of the entry with that header.
func (t *terms) judge(h header, now int64) standing {
	e := h.expiry()
	over := e != 0 && e <= now
	switch {
	case h.hidden():
		if over || h.flags() != flagAbsent {
			return missing
		}
		return denied
	case over && now-e < t.staleFor:
		return stale
	case over:
		return missing
	case t.refreshAfter != 0 && now-h.stored() > t.refreshAfter:
		return due
	}
	return fresh
}

// over reports whether an entry's time is over, also for a load that fails. Under
// a lock the clock is as it was last read. // I7
func (c *Cache) over(h header) bool { return h.expired(c.clock.last() - c.keepFor.Load()) }
