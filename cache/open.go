package cache

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// Open opens or creates the cache in dir. ctx bounds opening only.
//
// A directory that cannot be used as it is (other Schema, damage, too old, an
// unclean end where that counts, a file named RESET in it, a newer format) is opened
// cold, not refused; Recovery tells why, and the generation that was there stays
// until a new one is complete. Then a file named RESET is removed. Open fails only
// for bad Options, a dir that cannot be used, a Recovery.Generation that cannot be
// had, or a lock (ErrLocked, as a *LockError that names the holder); it has changed
// nothing then, but may have made a folder that was missing. Files that are not ours
// are left alone. What dir leads to is settled by Open: files stay there, whatever
// becomes of the name.
func Open(ctx context.Context, dir string, opts *Options) (*Cache, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = filepath.Base(dir)
	}
	p := newPersistence(dir, &o)
	if err := p.acquire(ctx, &o); err != nil {
		return nil, err
	}
	return p.open(ctx, &o)
}

func newPersistence(dir string, o *Options) *persistence {
	p := &persistence{dir: dir, fs: o.hooks.fs, schema: o.Schema, verified: make(chan struct{})}
	if p.fs == nil {
		p.fs = pagefile.OS()
	}
	return p
}

// load reads what the directory holds, for as long as ctx lasts.
func (p *persistence) load(ctx context.Context, o *Options, t *trial) (*loader.Result, error) {
	type loaded struct {
		res   *loader.Result
		sizes dump.Sizes
		live  liveLeft
		err   error
	}
	if p.answered {
		live := p.live
		p.live = liveLeft{} // until then it is not ours
		l, ok := within(ctx, func() (l loaded) {
			l.live = live
			l.res, l.err = loader.Load(ctx, p.loaderOptions(o, t, &l.live))
			l.sizes = dump.Measure(p.fs, p.dir, o.Durability.WeakDir)
			return l
		}, func(l loaded) {
			if l.res != nil {
				_ = l.res.Close()
			}
			p.links.release()
			l.live.close()
		})
		if ok {
			p.sizes, p.live = l.sizes, l.live
			return l.res, l.err
		}
	}
	return nil, p.noAnswer(o, ctx)
}

func (p *persistence) noAnswer(o *Options, ctx context.Context) error {
	return fmt.Errorf("load %s: no answer from the disk within %v: %w", p.dir, o.Recovery.Timeout, cmp.Or(ctx.Err(), context.DeadlineExceeded))
}

// loaderOptions translates Options for the loader. Who asks for a generation by
// number wants it whatever its age.
func (p *persistence) loaderOptions(o *Options, t *trial, live *liveLeft) loader.Options {
	lo := loader.Options{
		FS: p.fs, Dir: p.dir, WeakDir: o.Durability.WeakDir, Schema: o.Schema,
		Generation: t.generation,
		Positional: o.Recovery.Positional || p.network != "",
		Memory:     p.linkMemory(2 * weakRing(o.MaxBytes)), // blobs are shorter
		Share:      o.readOnly(),
	}
	if live.find(p, o); live.token != 0 && !o.readOnly() {
		lo.Live = live.read
	}
	if o.Recovery.Generation != 0 {
		lo.Durable = true
		return lo
	}
	lo.Clean = o.Recovery.Unclean == UncleanDiscard && t.generation == 0
	if lo.MaxAge, lo.Now = o.Recovery.MaxAge, time.Now(); o.Clock != nil {
		lo.Now = o.Clock()
	}
	return lo
}

// within runs do for as long as ctx lasts. What comes later goes to late.
func within[T any](ctx context.Context, do func() T, late func(T)) (v T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- do() }()
	select {
	case v = <-done:
		return v, true
	case <-ctx.Done():
		go func() { late(<-done) }()
		return v, false
	}
}

// build makes the cache: over what was loaded, in another shape, or cold. opening
// is the caller's context, ctx that of Recovery.Timeout.
func (p *persistence) build(opening, ctx context.Context, o *Options, res *loader.Result, loadErr error) (*Cache, error) {
	if res == nil || res.Record == nil {
		return p.assemble(o, res, newGeometry(o, o.shape(), res), loadErr)
	}
	geo := res.Record.Geometry
	have := shapeOf(geo)
	want, fits := o.shapeFor(have), usable(o, geo)
	switch {
	case have.shards*have.baseBuckets > baseMax, o.readOnly() && !fits:
		loadErr = fmt.Errorf("cache: MaxBytes %d does not fit the directory's %d shards of %d-byte segments and %d buckets", o.MaxBytes, geo.Shards, geo.SegmentSize, geo.BaseBuckets)
		if o.Recovery.Generation != 0 {
			return nil, loadErr // whoever asks for a generation wants no other
		}
		p.cold(res)
		return p.assemble(o, res, newGeometry(o, o.shape(), res), loadErr)
	case want == have, o.readOnly(), fits && len(p.trial.refused) > 0:
		// A reader writes nothing; and what was gone back to is written again as it is,
		// before Open returns, so that nothing newer comes back. The next Open converts.
		return p.assemble(o, res, geo, loadErr)
	}
	return p.reshape(opening, ctx, o, res, want)
}

// assemble makes a cache over what was loaded, if there is anything, with its
// geometry.
func (p *persistence) assemble(o *Options, res *loader.Result, geo pagefile.Geometry, loadErr error) (*Cache, error) {
	c, err := p.layOut(o, res, geo)
	if err != nil {
		return nil, err
	}
	p.loadErr, p.start = loadErr, dump.Start{Opens: 1}
	if res != nil {
		p.takeUp(c, res)
		p.start = p.restore(c, res)
	}
	p.describe(c, res)
	p.forget(res)
	return c, nil
}

// layOut makes an empty cache.
func (p *persistence) layOut(o *Options, res *loader.Result, geo pagefile.Geometry) (*Cache, error) {
	opens := uint64(1)
	if res != nil {
		opens = res.LastOpens + 1
	}
	c, err := newCache(o, shapeOf(geo), geo.Seed, opens)
	if err != nil {
		return nil, err
	}
	c.persist, p.notices, p.clock, p.geo = p, c.notices, &c.clock, geo
	if o.readOnly() {
		c.mode.Store(modeRead)
	} else if o.Durability.Live != "" {
		p.newLive(c)
	}
	limit := max(o.MaxBytes/8/journalEntry/int64(geo.Shards), leastJournal)
	if c.journals, err = newChunks(journalRoom(limit, geo.Shards)); err != nil {
		return nil, err
	}
	runtime.AddCleanup(c, (*arena).release, c.journals.arena)
	for _, s := range c.shards {
		s.journal = journal{chunks: c.journals, clock: &c.clock, limit: int(limit)}
	}
	return c, nil
}

// forget drops what the shards have of what was loaded.
func (p *persistence) forget(res *loader.Result) {
	if res != nil {
		p.mapped = res.MappedBytes()
		res.Shards = nil
	}
}

// cold drops what was loaded; the generations stay until a new one is complete.
func (p *persistence) cold(res *loader.Result) {
	res.Record, res.Shards, res.Weak = nil, nil, 0
	res.Chain, res.Live, res.Unfinished = pagefile.WeakPos{}, nil, nil
}

// takeUp has the cache go on in time, and name what it was opened from.
func (p *persistence) takeUp(c *Cache, res *loader.Result) {
	if res.Record == nil {
		return
	}
	c.opened = res.Record.Generation
	c.pagePath = filepath.Join(p.dir, pagefile.FileName(pagefile.KindPages, res.Record.PageFile))
	c.clock.notBefore(res.Clock)
}

// restore fills the cache and says where the dumper goes on.
func (p *persistence) restore(c *Cache, res *loader.Result) dump.Start {
	start := dump.Start{
		Record: res.Record, Retained: res.Retained, MirrorMissing: res.MirrorMissing,
		NeedFull: res.NeedFull || res.PagesLost, NewLineage: res.MayBeStale || p.rolledBack(), RolledBack: p.rolledBack(),
		LastGeneration: res.LastGeneration, LastOpens: res.LastOpens, Opens: res.LastOpens + 1,
		Image: res.Image, Chain: res.Chain, Named: p.namedPlaces, Sizes: p.sizes,
		Live: res.Live, Severed: len(res.Unfinished) > 0, Clock: res.Clock,
	}
	p.unfinished = res.Unfinished
	if res.Record != nil {
		for i := range res.Shards {
			start.Count += len(res.Shards[i].Segments)
		}
		start.Shards = c.recover(res)
	}
	p.links.release() // what was read into it lies in frames now, or is not taken up
	return start
}

// newGeometry is that of a directory that begins, or begins again: then it stays
// the directory that it was, so that its weak ring is known as its own.
func newGeometry(o *Options, g geometry, res *loader.Result) pagefile.Geometry {
	geo := pagefile.Geometry{
		Shards: g.shards, SegmentSize: g.segmentSize, BaseBuckets: g.baseBuckets,
		Seed: o.seed(), DirID: randomWord(),
	}
	if res != nil && len(res.Retained) > 0 {
		geo.DirID = res.Retained[len(res.Retained)-1].Geometry.DirID
	}
	return geo
}

// config translates Options for the dumper.
func (p *persistence) config(c *Cache) dump.Config {
	o := &c.opts
	d := o.Durability
	cfg := dump.Config{
		FS: p.fs, Dir: p.dir, WeakDir: d.WeakDir, Geometry: p.geo, Schema: o.Schema, Frames: c.frames.count,
		Interval: d.Interval, WeakInterval: d.Weak, DirtyBytes: d.DirtyBytes, BytesPerSec: d.BytesPerSec,
		NoSync: d.NoSync, Keep: d.Keep, Budget: o.Recovery.Budget, PendingBytes: max(o.MaxBytes/8, 1<<20),
		Memory: linkArena, Event: p.event, SlowAfter: o.hooks.slow, ScrubPause: o.hooks.scrub, MaxAge: o.Recovery.MaxAge, Wall: o.Clock,
		Pressed: c.held.pressed,
	}
	if p.result.Reset {
		cfg.Obsolete = []string{loader.ResetName}
	}
	if c.livelog != nil {
		cfg.Linking, cfg.Linked = c.livelog.linking, c.livelog.linked
	}
	if d.Weak > 0 {
		cfg.WeakBytes = weakRing(o.MaxBytes)
	}
	if o.hooks.step {
		cfg.Interval, cfg.WeakInterval = -1, -1
	}
	return cfg
}

// linkArena is memory for a long link.
func linkArena(n int) (b []byte, free func()) {
	a, err := newArena(n, hugePages)
	if err != nil {
		return nil, nil
	}
	return a.bytes(0, n), a.release
}

// weakRing is the size of the weak ring: room for some seconds of writes.
func weakRing(maxBytes int64) int64 { return min(max(maxBytes/4, 1<<20), 256<<20) }
