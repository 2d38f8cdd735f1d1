package loader

import (
	"fmt"

	"github.com/embercache/ember/pagefile"
)

// Numbers that never repeat must not end either. No directory gets as far as these;
// one that says so was damaged, or somebody made it up. What is opened may be up to
// the limit, so what is written then is beyond it, and there has to be room for that.
const (
	mostGeneration = 1 << 62 // of a record, and of a link
	mostOpens      = pagefile.MaxOpens / 2
	mostPosition   = 1 << 62 // of a queue's tail
)

// endless is an error for a state that has come too far.
func endless(s pagefile.ShardState) error {
	for q, tail := range s.Tails {
		if tail > mostPosition {
			return fmt.Errorf("%w: queue %d ends at %d", pagefile.ErrCorrupt, q, tail)
		}
	}
	return nil
}

// unending is an error for a record whose positions or links cannot go on.
func unending(rec *pagefile.Record) error {
	for i, s := range rec.Shards {
		if err := endless(s); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	if rec.Weak.Number > mostGeneration {
		return fmt.Errorf("%w: link %d", pagefile.ErrCorrupt, rec.Weak.Number)
	}
	return nil
}

// beginAnew makes the Result that of a new directory if its numbers have run out:
// whatever is given another one would not be the newest, or could not be written. The
// records go before the first new one is written, or they would count again.
func (l *load) beginAnew() {
	if l.res.Foreign {
		return
	}
	switch {
	case l.highest > mostGeneration:
		l.met(NumbersSpent, "", 1, fmt.Errorf("%w: generation %d", pagefile.ErrCorrupt, l.highest))
	case l.res.LastOpens > mostOpens:
		l.met(NumbersSpent, "", 1, fmt.Errorf("%w: opened %d times", pagefile.ErrCorrupt, l.res.LastOpens))
	default:
		return
	}
	l.forget()
	l.res.MayBeStale = false // of what it had nothing is taken up
	l.res.Anew, l.res.LastGeneration, l.res.LastOpens = true, 0, 0
}
