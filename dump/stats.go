package dump

import "time"

// Bytes is what was written, by what it is.
type Bytes struct {
	Pages, Blobs, Images, Weak, Records int64
}

// Total is the sum of all kinds.
func (b Bytes) Total() int64 { return b.Pages + b.Blobs + b.Images + b.Weak + b.Records }

// Stats are counters since New, and gauges.
type Stats struct {
	Durable, Full uint64 // generations; Durable counts both kinds
	Weak          uint64 // links
	Failed        uint64 // durable generations
	Pages         uint64 // that went home
	LeftOut       uint64 // pages, or whole segments, that were evicted or damaged before they could go home
	Scrubbed      uint64 // pages that a scrub compared, of all files
	Damaged       uint64 // pages, records, blobs, images and names of files that were lost and are written again
	Written       Bytes
	Took          time.Duration // of all durable generations
	// Worked is how long links and durable generations, failed ones too, were being
	// written, by the wall clock, without the rests of the rate limit: processor time,
	// and waits for the disk and for a processor. The two kinds overlap and add up.
	Worked time.Duration

	Generation  uint64        // the newest durable one, 0: none
	LastDurable time.Time     // zero: none by this process
	LastTook    time.Duration // of it
	ChangedSet  int64         // bytes set since the newest durable cut, when last looked at
	Pending     int64         // bytes of journals that wait for a durable generation
	WeakUp      bool          // a killed process would find the newest link
	WeakHeld    int64         // bytes of the weak ring that are needed
	OnDisk      int64         // bytes of all files
	Places      int           // of the page file
	PlacesFree  int
	Busy        string // what the disk is asked for right now, "": nothing
	// Predicted is the worst-case time to serve again if the process ended now.
	Predicted time.Duration
}

// Stats returns what was written and how things stand.
func (d *Dumper) Stats() Stats {
	if d.cutMu.TryLock() { // who writes a link holds it: its disk may hang
		d.look()
		d.cutMu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.Predicted += d.linked
	s.Worked = time.Duration(d.worked.Load())
	s.Busy = d.busy.what
	if s.Busy == "" {
		s.Busy = d.busyWeak.what
	}
	return s
}

// look notes what the cuts have brought so far. The caller holds the cut mutex.
func (d *Dumper) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &d.stats
	s.ChangedSet, s.Pending, s.Weak, s.WeakHeld = d.watch.set, d.pending.stock.bytes, d.chain.links, 0
	if d.chain.ring != nil {
		s.WeakHeld = d.chain.ring.held()
	}
	s.Written.Weak, s.WeakUp = d.chain.bytes, d.chain.follows(d.base.record)
	d.linked = d.linkTime(d.chain.since)
}

// finish counts a generation that was written or failed.
func (d *Dumper) finish(g *generation, err error) {
	took, onDisk := d.cfg.Now().Sub(g.started), d.onDisk()
	leftOut := len(d.home.leftOut) + d.home.missed
	d.home.leftOut, d.home.missed = d.home.leftOut[:0], 0
	d.mu.Lock()
	s := &d.stats
	s.Pages += uint64(g.pages)
	s.LeftOut += uint64(leftOut)
	s.Written.add(g.bytes)
	if d.base.record == g.record && g.record != nil {
		s.Durable++
		if g.full {
			s.Full++
		}
		s.LastDurable, s.LastTook = d.cfg.Now(), took
		s.Took += took
	} else {
		s.Failed++
	}
	if r := d.base.record; r != nil {
		s.Generation = r.Generation
		s.Predicted = d.predict(d.home.table.len())
	}
	s.OnDisk = onDisk
	s.Places, s.PlacesFree = int(d.home.places.total), d.home.places.count
	d.mu.Unlock()
	kind := Light
	if g.full {
		kind = Full
	}
	d.cfg.event(Event{Generation: g.number, Kind: kind, Pages: g.pages, Bytes: g.bytes.Total(), Took: took, Err: err, Oldest: g.stock.oldest})
}

func (b *Bytes) add(o Bytes) {
	b.Pages += o.Pages
	b.Blobs += o.Blobs
	b.Images += o.Images
	b.Weak += o.Weak
	b.Records += o.Records
}
