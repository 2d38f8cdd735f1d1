package dump

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A Note is what memory held at the cut of a durable generation, for who compares
// it with what the files give back.
type Note struct {
	Generation uint64
	Shards     []ShardNote
	// LeftOut says that pages were gone before they could go home: the entries on
	// them are not in the generation, though their words are.
	LeftOut bool
}

// A ShardNote is one shard's part of a Note. Where the record's heads are beyond
// State's, what lay between was evicted before it could be written.
type ShardNote struct {
	State             pagefile.ShardState
	Digest            uint64
	Digested, Counted bool // as in ShardCut
}

func newNote(c *Cut) *Note {
	n := &Note{Shards: make([]ShardNote, len(c.Shards))}
	for i := range c.Shards {
		sc := &c.Shards[i]
		n.Shards[i] = ShardNote{sc.State, sc.Digest, sc.Digested, sc.Counted}
	}
	return n
}

// noteNewest takes over the note of a generation that became durable. A record that was
// stated again has the same cut under another number.
func (d *Dumper) noteNewest(g *generation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := g.note
	if n == nil {
		n = d.newest
	}
	if n != nil {
		again := *n
		again.Generation = g.number
		n = &again
	}
	d.newest = n
}

// A Hold keeps a generation from being retired, as a lease does, within this
// process and for as long as there are places: before persistence would stop for
// want of one, holds are broken.
type Hold struct {
	*Note
	d      *Dumper
	broken atomic.Bool
}

// HoldNewest holds the newest durable generation; nil if this process has written
// none. The holder calls Release.
func (d *Dumper) HoldNewest() *Hold {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newest == nil {
		return nil
	}
	h := &Hold{Note: d.newest, d: d}
	d.holds = append(d.holds, h)
	return h
}

// Release ends a hold. It may be called again, and of a nil Hold.
func (h *Hold) Release() {
	if h == nil {
		return
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.d.holds = slices.DeleteFunc(h.d.holds, func(o *Hold) bool { return o == h })
}

// Broken reports whether bytes of the generation may have been written over. It
// is set before any is: what was read before a false answer was the generation's.
func (h *Hold) Broken() bool { return h.broken.Load() }

// breakHolds ends all holds; false if there is none.
func (d *Dumper) breakHolds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.holds {
		h.broken.Store(true)
	}
	any := len(d.holds) > 0
	d.holds = nil
	return any
}

// Keep retires none of the generations up to this one any more, for the life of
// the Dumper. When they take the last place persistence stops, with ErrNoSpace.
func (d *Dumper) Keep(generation uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keepTo = max(d.keepTo, generation)
}

// Mend tells that bytes of the newest generation were found damaged: the next one
// is full, and comes soon, and the next scrub begins at once.
func (d *Dumper) Mend() {
	d.doubt.Store(true)
	d.wake()
}

// wake has the durable loop write a generation.
func (d *Dumper) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// takeDoubt does what Mend asks for. The leader calls it.
func (d *Dumper) takeDoubt() error {
	if d.refill.Swap(false) {
		d.needFull = true
	}
	if d.doubt.Swap(false) {
		d.needFull = true
		d.scrub.next, d.scrub.rest = 0, time.Time{}
	}
	return nil
}

// kept reports whether this process wants a generation to stay.
func (d *Dumper) kept(generation uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return generation <= d.keepTo ||
		slices.ContainsFunc(d.holds, func(h *Hold) bool { return h.Generation == generation })
}
