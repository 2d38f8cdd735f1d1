package dump

import (
	"errors"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A Kind tells generations, and events, apart.
type Kind uint8

// The kinds of generations, and what else an Event tells of.
const (
	Weak    Kind = iota // a link of the weak chain
	Light               // durable, on the image in force
	Full                // durable, with a new image
	Scrub               // no generation: pages on the disk were compared
	Begun               // a durable generation
	Failed              // no durable generation for now
	Slow                // a step of writing takes long
	NoSpace             // the device is full, or the page file at its limit
	Tight               // the device has less room than the files may take
)

var kindNames = [...]string{Weak: "weak", Light: "light", Full: "full", Scrub: "scrub", Begun: "begun",
	Failed: "failed", Slow: "slow", NoSpace: "no space", Tight: "tight"}

func (k Kind) String() string { return kindNames[k] }

// An Event tells of a durable generation that begins, was written or failed, of
// weak generations that paused or failed, of a scrub that found damage, and of a
// disk that is slow or full.
type Event struct {
	// Generation is the number of the link if Kind is Weak. It is 0 of a Light one
	// that failed before it had a number, and for which there was no Begun.
	Generation uint64
	Kind       Kind
	Pages      int   // that went home; of Begun: that changed, about; of a scrub: that were damaged
	Bytes      int64 // written to all files
	Took       time.Duration
	Err        error // nil: the generation is durable; of a scrub: the first damage
	Older      bool  // of a scrub: only a generation before the newest has it, which nothing mends

	// Oldest is when the oldest write of a Light or Full one was stored, in ms of
	// the Source's clock; 0: unknown.
	Oldest  int64
	Op      string        // of Slow: the step
	RetryIn time.Duration // of Failed; 0: not before somebody asks
	// Of NoSpace, in bytes, 0: unknown; and of Tight.
	Free, Need int64
}

func (c *Config) event(e Event) {
	if c.Event != nil {
		c.Event(e)
	}
}

// fail counts an attempt that failed before its generation began, and tells of it.
func (d *Dumper) fail(started time.Time, err error) {
	d.mu.Lock()
	d.stats.Failed++
	d.mu.Unlock()
	d.cfg.event(Event{Kind: Light, Took: d.cfg.Now().Sub(started), Err: err})
}

// outcome notes how a flight ended, and tells what keeps the directory from being
// up to date.
func (d *Dumper) outcome(err error) {
	pause := d.setHealth(err)
	weak := d.chainDown()
	before := d.setWeakHealth(weak)
	if d.stopped() != nil {
		return
	}
	if err != nil {
		if d.cfg.Interval <= 0 {
			pause = 0
		}
		d.cfg.event(Event{Kind: Failed, Err: err, RetryIn: pause})
	}
	switch {
	case errors.Is(err, pagefile.ErrNoSpace):
		d.lacks(d.cfg.Dir, err)
	case errors.Is(weak, pagefile.ErrNoSpace) && !errors.Is(before, pagefile.ErrNoSpace):
		d.lacks(d.cfg.WeakDir, weak)
	}
}

// lacks tells of an error that is for want of room in a directory.
func (d *Dumper) lacks(dir string, err error) {
	e := Event{Kind: NoSpace, Need: pagefile.Needed(err), Err: err}
	if errors.Is(err, errNoPlace) {
		e.Free = int64(d.home.places.available()) * int64(d.cfg.Geometry.SegmentSize)
	} else {
		e.Free, _ = d.cfg.FS.Free(dir)
	}
	d.cfg.event(e)
}
