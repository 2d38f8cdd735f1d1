package cache

import (
	"sync/atomic"
	"time"
)

// A clock tells cache time: milliseconds since 2020. It is anchored at Open to
// the wall clock, or to the directory's time if that is later, and then follows the
// monotonic clock. So it never runs backwards, and after the wall clock went back
// nothing lives longer than its TTL from now. A wall clock that tells a time out of
// range is not believed: then the directory's time is all there is.
type clock struct {
	coarse atomic.Int64 // refreshed by tick
	source func() time.Time
	manual bool // Options.Clock: read at every use
	anchor int64
	start  time.Time
}

const (
	// tickEvery is the coarse clock's step, and how much longer than its TTL an entry
	// may be served; more where the process was stopped, or gets no processor, until
	// the ticker has run. To read a precise clock would cost each Get that.
	tickEvery = 5 * time.Millisecond
	epoch2020 = 1577836800000 // Unix milliseconds of 2020-01-01
	// lastTime is the latest that a clock may begin at, in the year 2053. It leaves a
	// year to what records can tell.
	lastTime = timeMask - 366*24*60*60*1000
)

func (k *clock) init(source func() time.Time) {
	k.source, k.manual = source, source != nil
	if source == nil {
		k.source = time.Now
	}
	k.start = k.source()
	k.anchor = toCacheTime(k.start)
	k.tick()
}

// notBefore moves the anchor to the directory's time.
func (k *clock) notBefore(ms int64) {
	if ms > k.anchor {
		k.anchor = ms
	}
	k.tick()
}

func (k *clock) tick() int64 {
	now, _ := k.read()
	return now
}

// read moves the clock on, and tells what the wall clock was then.
func (k *clock) read() (ms int64, wall time.Time) {
	wall = k.source()
	now := k.anchor + max(wall.Sub(k.start).Milliseconds(), 0)
	for {
		old := k.coarse.Load()
		if old >= now {
			return old, wall
		}
		if k.coarse.CompareAndSwap(old, now) {
			return now, wall
		}
	}
}

func (k *clock) now() int64 {
	if k.manual {
		return k.tick()
	}
	return k.coarse.Load()
}

// last is what now last told. It asks no source: that is the user's code, and
// has no place under a lock. // I7
func (k *clock) last() int64 { return k.coarse.Load() }

// wall is a cache time by the wall clock as it was at Open: that of the directory may
// be ahead of it.
func (k *clock) wall(ms int64) time.Time { return time.UnixMilli(k.start.UnixMilli() + ms - k.anchor) }

// toCacheTime is 1 for what a wall clock tells that is not believed.
func toCacheTime(t time.Time) int64 {
	if era(t) != 0 {
		return 1
	}
	return t.UnixMilli() - epoch2020
}

// era is 0 for a time that a wall clock may tell, else -1 before it and 1 after it.
func era(t time.Time) int {
	switch ms := t.UnixMilli() - epoch2020; {
	case ms < 1:
		return -1
	case ms > lastTime:
		return 1
	}
	return 0
}
