package cache

import "runtime"

const (
	// earlyShare of the frames is how many more than writers want free the background
	// does: what is stored while it wakes and comes to run.
	earlyShare = 64
	// yieldSteps of the cleaner are some 10 µs. Then others have the processor who
	// wait for it: where all are busy writers clean, not more than they owe.
	yieldSteps = 4
)

// wakeEarly has the background clean while writers need not yet: once whenever the
// free frames have become others.
func (c *Cache) wakeEarly(free int64) {
	if free < c.early && c.woken.Load() != free {
		c.woken.Store(free)
		c.wakeCleaner()
	}
}

// wakeCleaner has the background go on.
func (c *Cache) wakeCleaner() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// relieve cleans in the background, a lap at most at a time: what writers left, and
// what would be theirs next.
func (c *Cache) relieve() {
	defer c.running.Done()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		c.cleanEarly()
		c.tellLeavers()
	}
}

// cleanEarly cleans until writers need not for a while, a lap at most.
func (c *Cache) cleanEarly() {
	p := c.pressure()
	for n := range c.steps() {
		if p.early(c); !p.due || c.closed.Load() {
			return
		}
		p.shard.clean(&p)
		if n%yieldSteps == yieldSteps-1 {
			runtime.Gosched()
		}
		p = c.after(p)
	}
}

// early has the background want more free frames than writers do, where nothing is
// forgotten for them.
func (p *pressure) early(c *Cache) {
	if p.keep {
		p.target = max(p.target, c.early)
		p.due = c.frames.free.Load() < p.target
	}
}
