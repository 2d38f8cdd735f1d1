package cache

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/embercache/ember/dump"
)

// An outage is a time in which dumps fail.
type outage struct {
	since time.Time // zero: they do not
	noted bool      // that it lasts
}

// longOutage is when failing dumps are an error and no longer a warning.
const longOutage = time.Minute

// event hears of every generation, from whoever writes; what it has to say goes to
// the notices. A person should not hear of one thing twice.
func (p *persistence) event(e dump.Event) {
	n := p.notices
	switch e.Kind {
	case dump.Begun:
		n.flushStart(e.Generation, e.Pages)
	case dump.Light, dump.Full:
		p.flushed(e)
	case dump.Weak:
		n.say(slog.LevelDebug, "weak generations paused", "weak_paused", "err", e.Err)
	case dump.Scrub:
		text := "the disk has lost something; it is written again elsewhere"
		if e.Older {
			text = "the disk has lost something of an older generation; the newest is whole"
		}
		n.say(slog.LevelWarn, text, "scrub", "pages", e.Pages, "err", e.Err)
		n.corruption(e.Err)
	case dump.Failed:
		p.failed(e)
	case dump.Slow:
		n.diskSlow(e.Op, e.Took)
		p.stuck(e)
	case dump.NoSpace:
		n.lowSpace(e.Free, e.Need)
	case dump.Tight:
		n.say(slog.LevelWarn, "the disk has less room than the files may take; they grow until it is full", "tight_space", "free", e.Free, "need", e.Need)
	}
}

// flushed tells of a durable generation, or of an attempt that failed.
func (p *persistence) flushed(e dump.Event) {
	p.notices.flushDone(e.Generation, e.Pages, e.Took, e.Err)
	if e.Err != nil {
		return // failed tells, unless the next attempt succeeds at once
	}
	p.flushTime.add(e.Took)
	if e.Oldest != 0 {
		p.durable.add(time.Duration(p.clock.now()-e.Oldest) * time.Millisecond)
	}
	p.mu.Lock()
	before := p.outage
	p.outage = outage{}
	p.mu.Unlock()
	if !before.since.IsZero() {
		p.notices.say(slog.LevelInfo, "flushing again", "flush_resumed", "generation", e.Generation, "after", time.Since(before.since))
	}
	p.notices.say(slog.LevelDebug, "flushed", "flushed", "generation", e.Generation, "kind", e.Kind, "pages", e.Pages, "bytes", e.Bytes, "took", e.Took)
}

// failed tells of the first failure at Warn, of those that follow at Debug.
func (p *persistence) failed(e dump.Event) {
	p.mu.Lock()
	first := p.outage.since.IsZero()
	if first {
		p.outage.since = time.Now()
	}
	p.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	args := []any{"err", e.Err}
	if e.RetryIn > 0 {
		args = append(args, "retry_in", e.RetryIn)
	}
	p.notices.say(level, "flush failed; serving goes on", "flush_failed", args...)
	p.lasts(e.Err)
}

// stuck takes a step that takes long for an outage, too: a disk that hangs fails
// nothing.
func (p *persistence) stuck(e dump.Event) {
	if e.Took < longOutage {
		return
	}
	p.mu.Lock()
	if p.outage.since.IsZero() {
		p.outage.since = time.Now().Add(-e.Took)
	}
	p.mu.Unlock()
	p.lasts(fmt.Errorf("%s: %w", e.Op, dump.ErrStalled))
}

// lasts tells, once, that nothing became durable for longOutage.
func (p *persistence) lasts(why error) {
	p.mu.Lock()
	since := p.outage.since
	long := !p.outage.noted && !since.IsZero() && time.Since(since) >= longOutage
	p.outage.noted = p.outage.noted || long
	p.mu.Unlock()
	if long {
		p.notices.say(slog.LevelError, "flushes have failed for a minute", "flush_failing", "since", since, "err", why)
	}
}

// damaged notes bytes that could not be proved. The first of them is logged; those
// that Open found are in its report.
func (p *persistence) damaged(err error) {
	p.mu.Lock()
	first := p.report.PagesDropped == 0
	p.report.PagesDropped++
	if p.report.Outcome == OutcomeWarm {
		p.report.Outcome = OutcomePartial
	}
	if p.report.Reason == nil {
		p.report.Reason = err
	}
	p.mu.Unlock()
	if first {
		p.notices.say(slog.LevelWarn, "what was on the disk is damaged; its entries are dropped", "damaged", "reason", err)
	}
	p.notices.corruption(err)
}

// closed tells how the last generation went.
func (p *persistence) closed(err error) {
	level, args := slog.LevelInfo, []any{"generation", p.dumper.Stats().Generation}
	if err != nil {
		level, args = slog.LevelWarn, append(args, "err", err)
	}
	p.notices.say(level, "closed", "closed", args...)
}
