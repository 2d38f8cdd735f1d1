package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// An Outcome sums up what Open restored.
type Outcome uint8

const (
	OutcomeCold    Outcome = iota // nothing was restored; see RecoveryReport.Reason
	OutcomePartial                // some pages or shards were dropped
	OutcomeWarm                   // everything in the generation was restored
)

var outcomeNames = [...]string{OutcomeCold: "cold", OutcomePartial: "partial", OutcomeWarm: "warm"}

// String is the outcome's name in lower case.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// RecoveryReport tells what Open restored. It is a slog.LogValuer.
type RecoveryReport struct {
	Outcome       Outcome
	Reason        error // why not Warm; nil for a new directory
	Generation    uint64
	Weak          int           // weak generations applied on top
	WrittenAt     time.Time     // when Generation was; what Weak ones added is younger
	MayBeStale    bool          // an older generation had to be used
	Entries       int           // of the generation
	Bytes         int64         // of its entries, as Stats.Bytes
	Dropped       int           // entries that could not be proved, or found no room, so far
	Pages         int           // of the generation
	PagesVerified int           // so far
	PagesDropped  int           // pages, index blocks and checksums that failed, so far
	Mapped        time.Duration // until Open could serve
	Verified      time.Duration // until all pages were in memory and checked; 0: not yet
}

// LogValue groups the fields for slog.
func (r RecoveryReport) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("event", "recovered"), slog.String("outcome", r.Outcome.String()),
		slog.Uint64("generation", r.Generation), slog.Int("weak", r.Weak),
		slog.Int("entries", r.Entries), slog.Int64("bytes", r.Bytes), slog.Duration("mapped", r.Mapped),
	}
	if !r.WrittenAt.IsZero() {
		attrs = append(attrs, slog.Duration("age", time.Since(r.WrittenAt).Round(time.Millisecond)))
	}
	if r.MayBeStale {
		attrs = append(attrs, slog.Bool("may_be_stale", true))
	}
	if r.Reason != nil {
		attrs = append(attrs, slog.Any("reason", r.Reason))
	}
	return slog.GroupValue(attrs...)
}

// Recovery tells what Open found. Without files it is the report of a new
// directory. The counts of entries and pages grow until WaitVerified returns.
func (c *Cache) Recovery() RecoveryReport {
	if c.persist == nil {
		return RecoveryReport{}
	}
	c.persist.mu.Lock()
	r := c.persist.report
	c.persist.mu.Unlock()
	r.Dropped = int(c.lost.Load())
	for _, s := range c.shards {
		r.Dropped += int(s.stats.dropped.Load())
		r.PagesVerified += int(s.stats.verified.Load())
	}
	return r
}

// WaitVerified returns once everything that Open found is in memory and
// verified, with the report completed; or ctx.Err() and the report so far.
func (c *Cache) WaitVerified(ctx context.Context) (RecoveryReport, error) {
	if c.persist == nil {
		return c.Recovery(), nil
	}
	select {
	case <-c.persist.verified:
		return c.Recovery(), nil
	case <-ctx.Done():
		return c.Recovery(), ctx.Err()
	}
}

// describe begins the report.
func (p *persistence) describe(c *Cache, res *loader.Result) {
	r := &p.report
	r.Reason = p.loadErr
	if res == nil {
		return
	}
	refused := p.trial.reason()
	if r.Reason = cmp.Or(r.Reason, res.Reason); refused != nil {
		r.Reason = errors.Join(refused, r.Reason)
	}
	if res.Record == nil {
		if r.Reason == nil && c.mode.Load() == modeRead {
			r.Reason = errNothing
		}
		return
	}
	r.MayBeStale = res.MayBeStale || refused != nil
	switch {
	case refused != nil:
		p.stale = fmt.Errorf("cache: %s: an older generation was opened, since newer ones were refused: %w", p.dir, refused)
	case res.MayBeStale:
		p.stale = fmt.Errorf("cache: %s: every copy of the newest record is lost; an older generation was opened and may be stale: Clear it, or check what was deleted since", p.dir)
	}
	r.Outcome = OutcomeWarm
	if r.Reason != nil {
		r.Outcome = OutcomePartial
	}
	r.Generation, r.Weak = res.Record.Generation, res.Weak
	r.WrittenAt = time.Unix(0, res.Record.Wall)
	for i := range res.Shards {
		r.Entries += int(res.Shards[i].State.Entries)
		r.Bytes += int64(res.Shards[i].State.Live &^ pagefile.LiveEstimate)
		for k := range res.Shards[i].Segments {
			fill := min(int(res.Shards[i].Segments[k].Fill), res.Record.Geometry.SegmentSize/unitSize)
			r.Pages += (fill*unitSize + pageSize - 1) / pageSize
		}
	}
}
