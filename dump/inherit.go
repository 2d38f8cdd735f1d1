package dump

import "github.com/embercache/ember/pagefile"

// Inherit writes what a live log had beyond the chain into the ring, so that the
// chain goes on from there and the log can be written over. Once there was a cut it
// writes nothing: that has it, and what came after. Without it, or after an error, the
// chain begins again at the next durable cut, and until then a killed process needs that
// log. Done waits for it: it may be the one that opens the ring.
func (d *Dumper) Inherit() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return ErrClosed
	}
	d.readers.Add(1)
	d.mu.Unlock()
	defer d.readers.Done()
	d.resumed()
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	ch := &d.chain
	if len(ch.inherited) == 0 {
		return ch.why
	}
	defer d.watchStep("write weak generation", true)()
	err := ch.inherit()
	if err != nil {
		ch.stop(err)
	}
	return err
}

// leave has a chain that was applied stay down until all of what was recovered is in
// it.
func (ch *chain) leave(s *Start) {
	if !ch.up || len(s.Live) == 0 && !s.Severed {
		return
	}
	ch.stop(errInherited)
	if !s.Severed {
		ch.inherited, ch.clock = s.Live, s.Clock
	}
}

// inherit writes one link: a process that is killed meanwhile leaves all of it, or the
// log for the next.
func (ch *chain) inherit() error {
	sections := ch.inherited
	ch.inherited = nil
	ch.builder.Reset(ch.header(&Cut{Clock: ch.clock}, ch.pos.Hash))
	defer ch.builder.Reset(pagefile.BlobHeader{}) // lets go of them
	for i := range sections {
		if err := ch.builder.Add(&sections[i]); err != nil {
			return err
		}
	}
	if err := ch.write(false); err != nil {
		return err
	}
	ch.up, ch.why = true, nil
	return nil
}
