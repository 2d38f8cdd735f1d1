package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// A Cache is a cache of byte strings. Create one with Open or OpenMemory.
type Cache struct {
	// Immutable after Open.
	hash        hasher
	shardShift  uint
	shards      []*shard
	segmentSize int
	maxEntry    int
	reserve     int   // free frames that only the cleaner takes
	most        int64 // live bytes above which entries are evicted
	full        int64 // a shard's part of them, nearly
	quiet       int64 // free frames from which on writers need not clean
	early       int64 // free frames under which the background does
	frames      *frames
	indexArena  *arena
	tables      *arena  // rings of segments, and the table of large ones
	journals    *chunks // nil for OpenMemory
	large       *largeTable
	opts        Options
	pagePath    string // for errors
	opened      uint64 // generation that Open took up; 0: none
	terms       terms  // of Options.Freshness
	slides      chan slide

	clock    clock
	numbers  numberSource
	closed   atomic.Bool
	ending   ending
	mode     atomic.Uint32 // see readonly.go
	epoch    atomic.Uint64 // see cut.go
	held     heldSegments
	filePins filePins
	loads    loads
	// keepFor is how long past its time to live an entry is kept for loads, in ms:
	// the longest StaleFor of any view.
	keepFor atomic.Int64
	lost    atomic.Int64 // entries of the opened generation that are gone

	namespaces namespaces    // of typed views
	undecoded  atomic.Uint64 // see Stats

	// batches is held for reading while a batch runs, and for writing to advance
	// the epoch. It is taken before any shard's lock.
	batches sync.RWMutex

	notices *notices
	leavers *leavers     // nil without Options.OnEvict
	persist *persistence // nil for OpenMemory
	livelog *liveLog     // nil without Durability.Live
	stop    chan struct{}
	wake    chan struct{}  // of relieve
	woken   atomic.Int64   // free frames when it was woken early
	running sync.WaitGroup // background goroutines
}

// OpenMemory returns a cache without files, for tests and read-only file systems.
// Durability, Recovery, Schema and ReadOnly are not used.
func OpenMemory(opts *Options) (*Cache, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	c, err := newCache(&o, o.shape(), o.seed(), 1)
	if err != nil {
		return nil, err
	}
	c.start()
	c.adviseMemory(inMemory{})
	return c, nil
}

// newCache lays out memory for a geometry. opens is the directory's count of
// opens, the upper half of every segment number of this process.
func newCache(o *Options, g geometry, seed uint64, opens uint64) (*Cache, error) {
	c := &Cache{hash: newHasher(seed), segmentSize: g.segmentSize, opts: *o, ending: newEnding(), stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	c.hash.degenerate = o.hooks.hash
	c.maxEntry = o.entryLimit(g)
	c.shardShift = uint(8 - log2(g.shards))
	c.clock.init(o.Clock)
	if o.Freshness.Sliding {
		c.slides = make(chan slide, slidesWaiting)
	}
	c.terms = c.termsOf(&o.Freshness)
	c.numbers.last.Store(opens << 32)
	c.reserve = reserveFor(g)
	count := framesFor(o.MaxBytes, g)
	c.most = o.MaxBytes - o.MaxBytes/256
	c.full = c.most / int64(g.shards) * 63 / 64
	c.quiet = int64(max(count/8, c.reserve+ringSpare, count-int(c.most/int64(g.segmentSize))))
	c.early = c.quiet + int64(max(count/earlyShare, 1))
	c.held.limit = count / 8
	c.filePins.limit = count / 16
	if err := c.reserveMemory(count, g); err != nil {
		return nil, err
	}
	c.notices = newNotices(o)
	if o.OnEvict != nil {
		c.leavers = newLeavers(c)
	}
	for i := range g.shards {
		c.shards = append(c.shards, c.newShard(i, g))
	}
	return c, nil
}

// reserveMemory takes addresses for all that grows with MaxBytes. None of it is
// touched before it is used, nor seen by the collector.
func (c *Cache) reserveMemory(frames int, g geometry) (err error) {
	if c.frames, err = newFrames(frames, g.segmentSize); err != nil {
		return err
	}
	rings := g.shards * queues * ringSize(frames, g)
	large := largeSize(frames)
	c.indexArena, err = newArena(g.shards*g.indexStride(), hugePages)
	if err == nil {
		c.tables, err = newArena((rings+large)*segmentBytes, !hugePages)
	}
	if err != nil {
		c.frames.arena.release()
		c.frames.marks.release()
		c.indexArena.release()
		return err
	}
	c.large = newLargeTable(c.tables.table(rings*segmentBytes, large))
	runtime.AddCleanup(c, func(list [4]*arena) {
		for _, a := range list {
			a.release()
		}
	}, [4]*arena{c.frames.arena, c.frames.marks, c.indexArena, c.tables})
	return nil
}

// indexStride is the index of a shard at its largest, in bytes.
func (g geometry) indexStride() int { return g.baseBuckets * maxGrowth * bucketSize }

func (c *Cache) newShard(id int, g geometry) *shard {
	ring := ringSize(c.frames.count, g)
	units := g.segmentSize / unitSize
	s := &shard{
		cache: c, id: id, frames: c.frames, large: c.large, numbers: &c.numbers,
		segments: c.tables.table(id*queues*ring*segmentBytes, queues*ring), segmentSize: g.segmentSize,
		unitBits: uint(log2(units)), unitMask: uint64(units - 1),
		ringBits: uint(log2(ring)), ringMask: ring - 1,
	}
	s.index.init(c.indexArena, id*g.indexStride(), g.baseBuckets, g.baseBuckets)
	return s
}

// reserveFor is how many frames, beyond MaxBytes, only the cleaner takes: one for
// each shard that is moving a segment's entries on.
func reserveFor(g geometry) int { return max(4, g.shards) }

// framesFor is how many frames there are. What a full cache has no use of comes on
// top of MaxBytes: the cleaner's, those that stay free, the half of a segment at
// each end of a shard's queues, and what is left over where records do not fill
// their segments, a 64th.
func framesFor(maxBytes int64, g geometry) int {
	n := int(maxBytes / int64(g.segmentSize))
	return n + n/64 + reserveFor(g) + ringSpare + 3*g.shards
}

func log2(n int) int {
	b := 0
	for 1<<b < n {
		b++
	}
	return b
}

func (c *Cache) shardOf(hash uint64) *shard { return c.shards[shardOf(hash)>>c.shardShift] }

// now is cache time in milliseconds.
func (c *Cache) now() int64 { return c.clock.now() }

// start launches what runs beside the callers.
func (c *Cache) start() {
	if wall := c.clock.start; era(wall) != 0 {
		c.notices.say(slog.LevelWarn, "the wall clock is not within 2020 to 2053 and not believed: how long no process ran is unknown", "wall_clock", "wall", wall)
	}
	c.running.Add(1)
	go c.tick()
	if !c.opts.hooks.alone {
		c.running.Add(1)
		go c.relieve()
	}
	go c.notices.run()
	if c.leavers != nil {
		go c.leavers.run()
	}
	if c.slides != nil {
		c.running.Add(1)
		go c.slideAll(c.slides)
	}
}

// tick keeps the coarse clock, and frames ready for who opens a segment.
func (c *Cache) tick() {
	defer c.running.Done()
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-t.C:
			c.clock.tick()
			c.tellLeavers()
			c.frames.tick()
			for _, s := range c.shards {
				s.warmIndex()
			}
			if c.journals != nil {
				c.journals.tick()
			}
			if c.livelog != nil {
				c.livelog.tick()
			}
		}
	}
}

// Flush makes every write that returned before the call part of a durable
// generation and returns its number. If ctx ends first it returns ctx.Err(); the
// generation may still come. Without files it returns 0 and nil.
func (c *Cache) Flush(ctx context.Context) (generation uint64, err error) {
	if err := c.refuses(); err != nil {
		return 0, err
	}
	if c.persist == nil {
		return 0, nil
	}
	generation, err = c.persist.flush(ctx)
	c.journals.trim(true)
	return generation, err
}

// Health is nil while the cache persists normally, else why it does not:
// ErrNoSpace, the last flush error, weak generations that pause, a disk that does
// not answer, files of a newer build; what the self-check has found (see
// Stats.LastVerified); or, until the cache is closed, that what was opened may be
// stale. The cache serves in every case. A reader has nothing to persist.
func (c *Cache) Health() error {
	if c.persist == nil {
		return nil
	}
	return c.persist.liveHealth(c, c.persist.health())
}

// Close is Shutdown bounded by Options.CloseTimeout.
func (c *Cache) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.CloseTimeout)
	defer cancel()
	return c.Shutdown(ctx)
}

// Shutdown stops background work, writes a last generation, waits for running
// Views, releases the directory and waits for running loads, whose results are not
// stored. If ctx ends first it returns an error that wraps ctx.Err(); unless the
// last generation is complete, the previous one stays the newest, and loads that
// still run have their contexts cancelled. What a write that returned has stored is in
// that generation; one that comes later returns ErrClosed, and every Get misses
// afterwards, also where Shutdown has failed.
//
// Close and Shutdown may be called again and then return nil. While the first still
// runs they wait, as long as their ctx lasts, until it has released the directory, and
// return what went wrong until then. From OnEvict they wait for the last generation
// only. From within a View they wait for that View, until ctx ends.
func (c *Cache) Shutdown(ctx context.Context) error {
	_ = ctx.Done() // a nil one panics before anything has ended
	if c.mode.Load() == modeValidate {
		return fmt.Errorf("cache: close: Recovery.Validate is running: %w", ErrReadOnly)
	}
	if c.closed.Swap(true) {
		return c.closeAgain(ctx)
	}
	c.shut(ctx)
	c.loads.close()
	c.namespaces.close()
	close(c.stop)
	var err error
	if c.persist != nil {
		err = c.persist.close(ctx)
		if c.livelog != nil {
			c.livelog.end(ctx, err == nil)
		}
	}
	c.ending.saved.pass(err)
	err = errors.Join(err, c.awaitBackground(ctx))
	c.retireAll()
	err = errors.Join(err, c.awaitLeavers(ctx))
	err = errors.Join(err, c.awaitViews(ctx))
	if c.persist != nil {
		c.persist.release(c.livelog)
	}
	c.ending.freed.pass(err)
	err = errors.Join(err, c.loads.await(ctx))
	return errors.Join(err, c.awaitNotices(ctx))
}

// awaitBackground waits for the background goroutines. One that a disk holds up
// ends when the disk answers; it finds every segment gone then.
func (c *Cache) awaitBackground(ctx context.Context) error {
	done := make(chan struct{})
	go func() { c.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cache: close: a read of the files is still running: %w", ctx.Err())
	}
}

// retireAll takes every segment out of readers' sight. A Get that is under way
// finds another number when it has copied, and then nothing.
func (c *Cache) retireAll() {
	for _, s := range c.shards {
		s.mu.Lock()
		s.shut = true
		s.settleReplacedLocked()
		s.lazy.Store(nil)
		s.sweepIndexLocked()
		s.journal.drop()
		s.journal = journal{}
		retireTable(s.segments)
		s.mu.Unlock()
	}
	retireTable(c.large.entries)
}

func retireTable(segments []segment) {
	for i := range segments {
		if n := segments[i].number.Load(); n != 0 { // most memory was never touched
			segments[i].retire(n)
		}
	}
}

// sweepIndexLocked empties the index of a cache that is closed.
func (s *shard) sweepIndexLocked() {
	for slot := range s.index.buckets() * bucketSlots {
		if s.index.load(slot) != 0 {
			s.index.store(slot, 0)
		}
	}
}

// awaitViews waits for pinned frames, then gives the memory back. A dumper whose
// disk hangs may still have some: it writes zeroes then, which no checksum proves.
// Addresses stay reserved until nobody can reach the Cache, so that a late reader
// meets zeroes.
func (c *Cache) awaitViews(ctx context.Context) error {
	for frame := range c.frames.pins {
		for c.frames.pins[frame].Load() != 0 && c.filePins.others(c.frames, uint32(frame)) != 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("cache: close: a View is still running: %w", ctx.Err())
			case <-time.After(time.Millisecond):
			}
		}
	}
	c.frames.arena.clear()
	c.indexArena.clear()
	if c.journals != nil {
		c.journals.trim(true) // but for what a dumper whose disk hangs still has
	}
	return nil
}

// foundDamage notes bytes that could not be proved.
func (c *Cache) foundDamage(err error) {
	if c.persist != nil {
		c.persist.damaged(err)
	}
}

// hooks let this package's tests reach what no option should.
type hooks struct {
	hash func(key []byte) uint64
	fs   pagefile.FS
	seed uint64
	slow time.Duration // when a step of writing is slow
	step bool          // generations are written on demand alone
	// scrub: between two pieces of a scrub, in place of the dumper's own; 0: that.
	scrub time.Duration
	// segments: a conversion ends after so many, as if its time were over; 0: never.
	segments int64
	// lazily: nothing is brought back from files before somebody asks for it.
	lazily bool
	alone  bool // nothing cleans in the background
	// source stands between the cache and its dumper.
	source    func(dump.Source) dump.Source
	checkRest time.Duration // in place of the constant
	machine   fs.FS         // in place of "/", to find out about memory
	live      liveDir       // in place of a tmpfs
	killable  func()        // called where a kill may find another log than before
}
