package dump

import (
	"time"

	"github.com/embercache/ember/pagefile"
)

// A watch is what the last cut showed, for the triggers. The cut mutex guards it.
type watch struct {
	changed bool      // something is not in the newest durable generation
	set     int64     // bytes appended since then
	durable time.Time // when that generation became durable, or the process began
	clock   int64     // of the last cut
}

// update compares a cut with the base. The caller holds the cut mutex.
func (w *watch) update(d *Dumper, c *Cut) {
	p := &d.pending
	w.changed = d.base.differs(c) || p.stock.bytes > 0 || p.stock.lostNewer || p.stock.lostOlder
	w.set = 0
	w.clock = c.Clock
	for i := range c.Shards {
		tails := d.base.tails(i)
		for q, tail := range c.Shards[i].State.Tails {
			w.set += int64(tail-min(tail, tails[q])) * pagefile.UnitSize
		}
		w.changed = w.changed || len(p.shards[i].born)+len(p.shards[i].died) > 0
		for _, fill := range p.shards[i].born {
			w.set += int64(fill) * pagefile.UnitSize
		}
	}
}

// minPause is the least time between two durable generations that nobody asked
// for.
const minPause = 10 * time.Millisecond

// due reports whether it is time for a durable generation: for each reason there
// is a bound that it keeps, see Config.
func (d *Dumper) due(now time.Time) bool {
	d.mu.Lock()
	rest, failed := d.health.notBefore, d.health.err != nil
	took := d.stats.LastTook
	d.mu.Unlock()
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	w, ch := &d.watch, &d.chain
	age := now.Sub(w.durable)
	switch {
	case d.cfg.Interval <= 0 || now.Before(rest):
		return false
	case failed, d.base.record != nil && !d.base.mirrored: // the back-off is over
		return true
	case !w.changed || age < max(minPause, took):
		return false
	case d.base.record == nil, d.base.record.Clean: // it says that nothing follows
		return true
	case age >= d.cfg.Interval:
		return true
	case d.cfg.DirtyBytes > 0 && w.set >= d.cfg.DirtyBytes:
		return true
	case d.pending.stock.bytes > d.pending.limit/2, d.pending.stock.lostNewer:
		return true
	case ch.ring != nil && (!ch.follows(d.base.record) || ch.since > ch.ring.size/3):
		return true
	}
	return d.forecast.links(ch.since) > d.cfg.Budget/linkShare
}

// observeInterval is how often a cut is taken where there are no weak
// generations: the triggers see what changed, and journals stay short.
const observeInterval = 20 * time.Millisecond

// weakLoop takes cuts, wakes the durable loop, and scrubs at leisure.
func (d *Dumper) weakLoop() {
	defer d.loops.Done()
	interval := d.cfg.WeakInterval
	if interval <= 0 {
		interval = observeInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	scrub := time.NewTicker(max(d.cfg.ScrubPause, time.Millisecond))
	defer scrub.Stop()
	for {
		select {
		case <-d.quit:
			return
		case <-scrub.C:
			if d.cfg.ScrubPause > 0 {
				d.scrubAlone()
			}
			continue
		case <-tick.C:
		case <-d.soon:
		}
		d.Weak() // its error is Health's
		if d.due(time.Now()) {
			d.wake()
		}
	}
}

// WeakSoon asks for a weak generation before its time. It does not wait.
func (d *Dumper) WeakSoon() {
	select {
	case d.soon <- struct{}{}:
	default:
	}
}

// durableLoop writes the generations that nobody asked for.
func (d *Dumper) durableLoop() {
	defer d.loops.Done()
	for {
		select {
		case <-d.quit:
			return
		case <-d.kick:
			d.flyAlone()
		}
	}
}

// flyAlone waits for a generation, or for Close: a disk that hangs keeps the
// leader, not the loop.
func (d *Dumper) flyAlone() {
	d.mu.Lock()
	if d.closed || d.flying {
		d.mu.Unlock()
		return
	}
	f := &flight{order: order{write: true}, done: make(chan struct{})}
	d.next, d.flying = f, true
	d.mu.Unlock()
	go d.lead(nil)
	select {
	case <-f.done:
	case <-d.quit:
	}
}
