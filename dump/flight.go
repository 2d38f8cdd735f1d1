package dump

import (
	"context"
	"errors"
	"time"

	"github.com/embercache/ember/pagefile"
)

// Flush makes everything up to now part of a durable generation and returns its
// number: that of the newest if nothing changed since. If ctx ends first, Flush
// returns its error, and the generation is written all the same, when the disk
// answers.
func (d *Dumper) Flush(ctx context.Context) (generation uint64, err error) {
	return d.fly(ctx, order{write: true})
}

// Begin returns when the files say that this process has the directory: the record
// that was opened does not say any more that nothing follows, and one that is not
// the newest has become the newest. Otherwise it changes nothing. If ctx ends first
// Begin returns its error.
func (d *Dumper) Begin(ctx context.Context) error {
	_, err := d.fly(ctx, order{begin: true})
	return err
}

// fly joins the flight that has not taken its cut yet. With a ctx that cannot
// end, the caller itself writes if nobody else does, so that a test without
// goroutines sees every operation in its place.
func (d *Dumper) fly(ctx context.Context, o order) (uint64, error) {
	d.mu.Lock()
	if d.closed && !o.clean {
		d.mu.Unlock()
		return 0, ErrClosed
	}
	if d.next == nil {
		d.next = &flight{done: make(chan struct{})}
	}
	f := d.next
	f.order = f.order.and(o)
	lead := !d.flying
	d.flying = true
	d.mu.Unlock()
	switch {
	case lead && ctx.Done() == nil:
		d.lead(f)
	case lead:
		go d.lead(nil)
	}
	select {
	case <-f.done:
		return f.generation, f.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// and is what satisfies both.
func (o order) and(p order) order {
	return order{o.clean || p.clean, o.begin || p.begin, o.write || p.write}
}

// lead writes generations as long as somebody waits for one. With own it ends
// with that flight, and another goroutine leads the next.
func (d *Dumper) lead(own *flight) {
	for {
		d.mu.Lock()
		f := d.next
		d.next = nil
		if f == nil {
			d.flying = false
			d.landed.Broadcast()
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		began, rested := time.Now(), d.limit.total()
		f.generation, f.err = d.generate(f.order)
		d.worked.Add(int64(time.Since(began) - (d.limit.total() - rested)))
		close(f.done)
		if f == own {
			go d.lead(nil)
			return
		}
	}
}

// generate writes a durable generation, and once another in its place if the
// first failed for a reason that can be helped at once.
func (d *Dumper) generate(o order) (uint64, error) {
	generation, err := d.attempt(o)
	switch {
	case retryFull(err):
		d.needFull = true
		generation, err = d.attempt(o)
	case errors.Is(err, errNoPlace):
		generation, err = d.makeRoom(o, err)
	}
	d.outcome(err)
	if d.base.record != nil && generation == d.base.record.Generation && len(d.files.obsolete) == 0 {
		return generation, nil // durable, even if its mirror failed
	}
	return 0, err
}

// makeRoom tries again after places ran out. What this process holds for itself
// goes first; then generations beyond two, and those that were being read when
// somebody last asked. // I11
func (d *Dumper) makeRoom(o order, err error) (uint64, error) {
	var generation uint64
	if d.breakHolds() {
		generation, err = d.without(o, d.cfg.Keep)
	}
	if errors.Is(err, errNoPlace) && d.history.spare() {
		generation, err = d.without(o, minKeep)
	}
	return generation, err
}

// without writes a generation once no more than keep others are retained. Tables
// were asked when places first ran out, those of what went now among them: what
// they alone named is free.
func (d *Dumper) without(o order, keep int) (uint64, error) {
	if err := d.restate(false, keep); err != nil {
		return 0, err
	}
	d.home.quarantined = d.home.named != nil
	return d.attempt(o)
}

// attempt writes one durable generation, or none if nothing changed.
func (d *Dumper) attempt(o order) (uint64, error) {
	started := d.cfg.Now()
	err := d.run([]step{
		{"open files", d.prepare},
		{"take doubts", d.takeDoubt},
		{"settle the record in limbo", d.settle},
		{"mend the mirror", d.mendMirror},
	})
	if err != nil {
		d.fail(started, err)
		return 0, err
	}
	if o.begin && d.base.record != nil && d.base.record.Clean {
		if err := d.restate(false, d.cfg.Keep); err != nil {
			return 0, err
		}
	}
	if !o.write {
		return d.newestNumber(), nil
	}
	g := d.begin(o)
	if g == nil {
		return d.affirm(o)
	}
	d.cfg.event(Event{Kind: Begun, Generation: g.number, Pages: g.about})
	err = g.write()
	g.release()
	durable := d.base.record == g.record && g.record != nil
	if !durable && d.limbo != g {
		g.giveUp()
	}
	if durable {
		d.src.Home(g.cut)
	}
	d.finish(g, err)
	if !durable {
		return 0, err
	}
	return g.number, err
}

// mendMirror writes the record that was opened to both rings again, before
// anything can be retired for it, and before anything can follow it.
func (d *Dumper) mendMirror() error {
	if !d.mend {
		return nil
	}
	if err := d.restate(d.base.record.Clean && !d.severed, d.cfg.Keep); err != nil {
		return err
	}
	d.mend = false
	return nil
}

// newestNumber is the number of the newest generation, 0 if there is none.
func (d *Dumper) newestNumber() uint64 {
	if d.base.record == nil {
		return 0
	}
	return d.base.record.Generation
}

// affirm is the end of a flight for which nothing had changed. The record is
// stated again if it has no mirror, is to say that nothing follows, was written too
// long ago to say so, or is hidden by what could not be removed.
func (d *Dumper) affirm(o order) (uint64, error) {
	r := d.base.record
	aged := o.clean && d.cfg.MaxAge > 0 && d.aged(r)
	if d.base.mirrored && (r.Clean || !o.clean) && !aged && len(d.files.obsolete) == 0 {
		return r.Generation, nil
	}
	started := d.cfg.Now()
	err := d.restate(o.clean || r.Clean, d.cfg.Keep)
	if err != nil {
		d.fail(started, err)
	}
	return d.base.record.Generation, err
}

// aged reports whether a record's time is too long ago to say when the state was last
// true, or yet to come: the wall clock was set back.
func (d *Dumper) aged(r *pagefile.Record) bool {
	age := d.cfg.Wall().Sub(time.Unix(0, r.Wall))
	return age < 0 || age > d.cfg.MaxAge/agedPart
}

// agedPart is what part of MaxAge an unchanged record may have used up when the
// cache is closed.
const agedPart = 16

// Close stops the loops, writes a last generation, which says that nothing
// follows, and closes all files. The caller has stopped writing to the Source.
// If ctx ends first Close returns its error, no further file operation is begun,
// and the previous generation stays the newest unless the last one was at its
// record; Done tells when the files are left alone. A second Close returns nil.
func (d *Dumper) Close(ctx context.Context) error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	d.breakHolds()
	close(d.quit)
	err := d.land(ctx)
	if ctx.Done() == nil {
		d.release()
		return err
	}
	if ctx.Err() != nil {
		d.abandoned.Store(true)
		err = ctx.Err()
	}
	go d.release()
	select {
	case <-d.done:
	case <-ctx.Done():
		d.abandoned.Store(true)
		err = ctx.Err()
	}
	return err
}

// land waits for the loops and writes the last generation.
func (d *Dumper) land(ctx context.Context) error {
	ended := make(chan struct{})
	go func() { d.loops.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := d.fly(ctx, order{clean: true, write: true})
	return err
}

// release closes the files when nobody uses them any more.
func (d *Dumper) release() {
	d.loops.Wait()
	d.mu.Lock()
	for d.flying {
		d.landed.Wait()
	}
	d.mu.Unlock()
	d.readers.Wait()
	d.closeFiles()
	close(d.done)
}

func (d *Dumper) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}
