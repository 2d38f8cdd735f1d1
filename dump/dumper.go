package dump

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A Dumper writes the generations of one directory. Weak links and durable
// generations go on at the same time; all methods are safe for concurrent use.
//
// One goroutine at a time writes a durable generation: the leader of a flight.
// What is below "leader" belongs to it. If its disk hangs, it hangs, and with it
// only those who wait for it.
type Dumper struct {
	cfg            Config
	src            Source
	opens, lineage uint64
	forecast       forecast

	worked    atomic.Int64  // see Stats.Worked
	abandoned atomic.Bool   // Close ran out of time: write nothing more
	doubt     atomic.Bool   // see Mend
	refill    atomic.Bool   // the next generation is to be full: see fileScrub
	reading   atomic.Bool   // a fileScrub is under way
	quit      chan struct{} // closed by Close
	done      chan struct{} // closed when no file is touched any more
	kick      chan struct{} // wakes the durable loop
	soon      chan struct{} // wakes the weak loop
	loops     sync.WaitGroup
	readers   sync.WaitGroup // of files, beside the leader

	mu       sync.Mutex
	next     *flight // those who came after the flight under way took its cut
	flying   bool
	landed   sync.Cond // on mu: flying ended
	closed   bool
	busy     busy // the leader's step
	busyWeak busy
	health   health
	stats    Stats
	linked   time.Duration // what links since the newest durable cut would take a start, when last looked at
	newest   *Note         // of the newest durable generation; nil: not of this process
	holds    []*Hold
	keepTo   uint64 // generations up to this one are not retired; 0: none

	// cutMu orders cuts and links. No lock is taken while it is held but mu.
	cutMu   sync.Mutex
	pending pending
	chain   chain
	watch   watch

	resumed func() // opens the ring that was applied, once; before any cut, outside cutMu

	// leader
	start       *Start // whose segments home does not have yet; nil: it does
	files       files
	rings       [2]*pagefile.Ring
	lease       *pagefile.Lease
	home        *home
	blobs       blobFile
	limit       *limiter
	base        base // changed under cutMu
	baseRing    *ring
	baseRingEnd int64 // of the base's own link
	history     history
	limbo       *generation // its record may be durable or not; nil: none
	number      uint64      // of the next generation or file
	needFull    bool
	anew        [2]bool // what is in the ring of that number is erased; see Start.Anew
	mend        bool    // the record that was opened has no mirror, or may not be the newest
	severed     bool    // links follow the record that was opened, and none may
	scrub       scrub
	builder     pagefile.BlobBuilder
	section     pagefile.Section
	tails       []byte
}

// A flight is those who wait for the same durable generation.
type flight struct {
	order      order
	done       chan struct{}
	generation uint64
	err        error
}

// An order says what is special about a generation.
type order struct {
	clean bool // nothing follows
	begin bool // something may follow
	write bool // somebody wants what is in memory, not just to begin
}

// New returns a Dumper that goes on from what was recovered. It waits for no disk: files
// are opened by the first generation, weak or durable.
func New(cfg Config, src Source, start Start) *Dumper {
	cfg = cfg.withDefaults()
	if cfg.NoSync {
		cfg.FS = unsynced{cfg.FS}
	}
	shards := cfg.Geometry.Shards
	d := &Dumper{
		cfg:      cfg,
		src:      src,
		opens:    start.Opens,
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
		kick:     make(chan struct{}, 1),
		soon:     make(chan struct{}, 1),
		pending:  newPending(shards, cfg.PendingBytes),
		base:     restored(&start),
		forecast: newForecast(shards),
		history:  restoredHistory(&start),
		number:   start.firstNumber(0),
		needFull: start.NeedFull,
		anew:     [2]bool{start.Anew, start.Anew},
		resumed:  func() {},
		mend:     start.Record != nil && (start.MirrorMissing || start.NewLineage),
		severed:  start.RolledBack,
	}
	d.landed.L = &d.mu
	if start.Opens == 0 {
		d.opens = start.LastOpens + 1
	}
	d.files = files{cfg: &d.cfg, known: make(map[fileKey]bool), rings: make(map[string]bool), sizes: start.Sizes, obsolete: cfg.obsolete()}
	if d.files.sizes == nil {
		d.files.sizes = make(Sizes)
	}
	d.limit = &limiter{rate: cfg.BytesPerSec, quit: d.quit, pressed: d.cfg.Pressed}
	d.home = newHome(&d.cfg, src, d.limit, d.stopped)
	if named := start.Named; named != nil {
		d.home.named = func() (map[uint32]bool, error) { return d.namedPlaces(named) }
	}
	if start.Record != nil && !start.NewLineage {
		d.lineage = start.Record.Lineage
	}
	d.stats.OnDisk = d.onDisk()
	d.chain = chain{src: src, units: cfg.Geometry.UnitsPerSegment(), lineage: d.lineage, opens: d.opens, stopped: d.stopped, linking: cfg.Linking,
		cuts: make([]pagefile.ShardState, shards), heads: d.base.heads, memory: cfg.Memory}
	if start.Record != nil {
		d.restore(&start)
	}
	return d
}

// restore takes over the journals and the chain of a Start, which the next link
// needs. The segments can wait for the next durable generation.
func (d *Dumper) restore(s *Start) {
	d.start = s
	d.stats.Generation, d.stats.Predicted = s.Record.Generation, d.predict(s.Count)
	for i := range s.Shards {
		d.pending.stock.add(i, s.Shards[i].Journals)
		d.chain.cuts[i] = s.Shards[i].State
	}
	d.src.Drop(d.pending.shrink())
	d.chain.pos = s.Chain
	if d.cfg.WeakBytes > 0 && !s.NewLineage {
		d.resumed = sync.OnceFunc(func() { d.resume(s) })
	}
}

// Start begins to write generations by itself, as Config's intervals say.
func (d *Dumper) Start() {
	if d.cfg.Interval <= 0 && d.cfg.WeakInterval <= 0 {
		return
	}
	d.loops.Add(2)
	go d.weakLoop()
	go d.durableLoop()
}

// Done is closed when the Dumper touches no file any more: after Close, or,
// if that ran out of time, when the disk has answered. Until then nobody else may
// write to the directory.
func (d *Dumper) Done() <-chan struct{} { return d.done }

// stopped is an error once Close ran out of time.
func (d *Dumper) stopped() error {
	if d.abandoned.Load() {
		return ErrClosed
	}
	return nil
}

// takeNumber returns a number that no generation and no file ever had, and whose
// slot in the rings is not that of a record that is still needed. // I12
func (d *Dumper) takeNumber() uint64 {
	for d.slotTaken(d.number) {
		d.number++
	}
	d.number++
	return d.number - 1
}

func (d *Dumper) slotTaken(number uint64) bool {
	for _, r := range d.history.retained {
		if pagefile.RingSlot(r.Generation) == pagefile.RingSlot(number) {
			return true
		}
	}
	return false
}

// adopt makes a generation whose record is durable the base.
func (d *Dumper) adopt(g *generation) {
	d.cutMu.Lock()
	d.base.adopt(g)
	d.chain.heads = d.base.heads
	d.watch.durable = time.Now()
	d.cutMu.Unlock()
	d.history.commit()
	d.baseRing, d.baseRingEnd = g.ring, g.ringEnd
	d.noteNewest(g)
	if g.cut == nil {
		return // restated: the same cut
	}
	d.home.commit(g.number)
	if g.full {
		d.needFull = false
	}
}

// mirrored tells that the base's record is durable twice: links before its own
// may be written over.
func (d *Dumper) mirrored(g *generation) {
	d.cutMu.Lock()
	defer d.cutMu.Unlock()
	d.base.mirrored = true
	if g.ring != nil && g.ring == d.chain.ring {
		g.ring.free(g.ringEnd)
	}
}

// commit makes what the rows are what the newest generation tells.
func (h *home) commit(generation uint64) {
	for shard := range h.table.lines {
		h.table.each(shard, func(_ int32, r *row) {
			r.fresh, r.freshImage = 0, 0
			r.flags = rowTold
			if r.place != pagefile.NoPlace {
				r.flags |= rowNamed
			}
		})
		h.died[shard] = h.died[shard][:0]
	}
	h.past = append(h.past, h.places.leaving...)
	h.places.commit(generation)
}

// retire frees what no generation needs any more: the places and the files of
// those outside the retention, once the record that does not name them is durable
// twice and nobody reads them. // I11
func (d *Dumper) retire() error {
	d.history.unpin(d.held)
	d.home.forget()
	d.home.places.release(d.history.oldest())
	keep := map[fileKey]bool{
		{pagefile.KindPages, d.home.id}:  true,
		{pagefile.KindBlobs, d.blobs.id}: true,
	}
	d.history.needs(keep)
	d.cutMu.Lock()
	if d.chain.ring != nil {
		keep[fileKey{pagefile.KindWeak, d.chain.ring.id}] = true
	}
	d.cutMu.Unlock()
	d.files.retire(keep)
	return d.files.removeObsolete()
}

// held asks whether somebody reads a generation. When nobody can tell, somebody
// does.
func (d *Dumper) held(generation uint64) bool {
	if d.kept(generation) {
		return true
	}
	held, err := d.lease.Held(generation)
	return held || err != nil
}

// Weak takes a cut and writes it as a weak generation, if it brings anything and
// there is a chain. It returns why there is none, if there should be.
func (d *Dumper) Weak() error {
	if d.isClosed() {
		return ErrClosed
	}
	defer d.duringWeak()()
	d.resumed()
	d.cutMu.Lock()
	began := time.Now()
	up := d.chain.up
	d.src.Release(d.cutLocked(false))
	d.worked.Add(int64(time.Since(began)))
	why, number := d.chain.why, d.chain.pos.Number
	down := up && !d.chain.up
	d.cutMu.Unlock()
	if down {
		d.cfg.event(Event{Generation: number, Kind: Weak, Err: why})
	}
	d.setWeakHealth(why)
	return why
}

// cutLocked takes a cut, keeps what it brings for the next durable generation,
// and writes it to the chain: every cut is a link. The caller releases it. // I9
func (d *Dumper) cutLocked(anchor bool) *Cut {
	c := d.src.Cut()
	d.pending.add(c)
	d.watch.update(d, c)
	d.look() // a disk that hangs shows what waits for it
	slow := d.watchStep("write weak generation", true)
	d.chain.add(c, anchor)
	if d.cfg.Linked != nil {
		d.cfg.Linked(c, d.chain.pos, d.chain.follows(d.base.record))
	}
	d.src.Drop(d.pending.shrink())
	slow()
	d.look()
	return c
}
