package cache

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A conversion gives a directory another shape: another number of shards, or
// segments and an index that suit another MaxBytes. It copies the entries of the
// opened generation into a cache of the new shape before Open returns. No file is
// changed by that; the cache then goes on as one that was opened cold, in files
// of its own. So until its first generation is durable the former one is the
// newest, from then on the new one is, and no state has parts of both. // I12
//
// The seed of the hash and the directory's identity stay. So the upper bits of a
// key's hash lead to the same part of all shards before and after, and each part
// is copied by one goroutine, in an order that depends on nothing but the files:
// the same files and options give the same state.
type conversion struct {
	ctx  context.Context
	c    *Cache
	from *loader.Result
	geo  pagefile.Geometry // of from
	most int64             // segments to read; 0: all, for tests

	read     atomic.Int64  // segments
	numbers  atomic.Uint64 // of segments, going down
	verified atomic.Int64  // pages
	expired  atomic.Int64
	stopped  atomic.Bool // time ran out

	mu     sync.Mutex
	damage []error
}

// shapeFactor is how far a directory's segments and index may be from what
// MaxBytes asks for. Below it there are 32 segments a shard at least, and an
// index entry for each 64 bytes.
const shapeFactor = 4

// shapeFor is the shape for a directory that has one: its own, unless Shards asks
// for another number, or MaxBytes for segments or an index of a quarter of the
// size or less, or of four times or more.
func (o *Options) shapeFor(have geometry) geometry {
	shards := have.shards
	if o.Shards != 0 {
		shards = ceilPow2(o.Shards)
	}
	for shards > 1 && o.MaxBytes/int64(shards) < minBytes {
		shards /= 2
	}
	want := o.shapeWith(shards)
	if want.shards == have.shards && !apart(want.segmentSize, have.segmentSize) && !apart(want.baseBuckets, have.baseBuckets) {
		return have
	}
	return want
}

func apart(a, b int) bool { return a >= shapeFactor*b || b >= shapeFactor*a }

func shapeOf(g pagefile.Geometry) geometry {
	return geometry{shards: g.Shards, segmentSize: g.SegmentSize, baseBuckets: g.BaseBuckets}
}

// convert copies res, which a cache of another shape wrote, into c. It stops a
// little before ctx ends, with the newest of the entries copied. done is false if
// it hangs: then res and c are its own.
func (p *persistence) convert(ctx context.Context, c *Cache, res *loader.Result) (v *conversion, done bool) {
	end, bounded := ctx.Deadline()
	if !bounded {
		end = time.Now().Add(time.Hour * 24 * 365)
	}
	soon, cancel := context.WithDeadline(ctx, end.Add(-time.Until(end)/8))
	v = &conversion{ctx: soon, c: c, from: res, geo: res.Record.Geometry, most: c.opts.hooks.segments}
	v.numbers.Store(c.numbers.last.Add(uint64(c.frames.count)))
	_, done = within(ctx, func() bool {
		defer cancel()
		v.run()
		return true
	}, func(bool) {
		_ = res.Close()
		p.links.release()
	})
	return v, done
}

// run fills the cache: each part of the shards by itself.
func (v *conversion) run() {
	parts := min(v.geo.Shards, len(v.c.shards))
	shares := v.shares(parts)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), parts) {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := int(next.Add(1)) - 1; i < parts && !v.stopped.Load(); i = int(next.Add(1)) - 1 {
				v.part(i, parts, shares[i])
			}
		}()
	}
	group.Wait()
	v.c.shards[0].stats.verified.Add(uint64(v.verified.Load()))
}

// shares divides the frames among parts: two for each queue of a shard, the rest
// by what they held. Under half of MaxBytes each can keep all. Ghosts are not taken
// along: they are a hint.
func (v *conversion) shares(parts int) []int {
	live := make([]float64, parts)
	sum := 1.0
	for i := range v.from.Shards {
		n := float64(v.from.Shards[i].State.Live)
		live[i*parts/v.geo.Shards] += n
		sum += n
	}
	least := fileQueues * len(v.c.shards) / parts
	rest := v.c.most / int64(v.c.segmentSize) // what is more would be evicted at once
	shares := make([]int, parts)
	for i := range shares {
		shares[i] = least + int(float64(rest)*(live[i]/sum))
	}
	return shares
}

func (v *conversion) part(i, parts, share int) {
	formers, shards := v.geo.Shards/parts, len(v.c.shards)/parts
	r := &refill{v: v, shards: v.c.shards[i*shards : (i+1)*shards], stacks: make([][fileQueues]stack, shards), left: share}
	var live uint64
	for id := i * formers; id < (i+1)*formers; id++ {
		f, err := newFormer(v, id)
		if err != nil {
			v.damaged(err)
			continue
		}
		live += f.from.State.Live
		r.formers = append(r.formers, f)
	}
	r.tight = float64(live) > float64(share)*float64(v.c.segmentSize)*3/4
	r.run()
}

func (v *conversion) number() uint64 { return v.numbers.Add(^uint64(0)) + 1 }

// stop is asked before a segment is read, and reports that time ran out.
func (v *conversion) stop() bool {
	if v.ctx.Err() != nil || v.most > 0 && v.read.Add(1) > v.most {
		v.stopped.Store(true)
	}
	return v.stopped.Load()
}

func (v *conversion) damaged(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.damage = append(v.damage, err)
}

// sumsOf are the checksums of a segment's pages.
func (v *conversion) sumsOf(seg *loader.Segment) []uint64 {
	sums := make([]uint64, v.geo.PagesPerSegment())
	if seg.ImageEntry >= 0 && v.from.Image != nil {
		if err := v.from.Image.Sums(seg.ImageEntry, sums); err != nil {
			v.damaged(err)
			clear(sums)
		}
	}
	for i, sum := range seg.Sums {
		if sum != 0 {
			sums[i] = sum
		}
	}
	return sums
}

// conclude completes the report: what was not copied is dropped.
func (v *conversion) conclude(p *persistence) {
	for _, err := range v.damage {
		p.damaged(err)
	}
	held := int64(0)
	for i := range v.from.Shards {
		held += int64(v.from.Shards[i].State.Entries)
	}
	dropped := held - v.expired.Load() - int64(v.c.Len())
	if dropped <= 0 {
		return
	}
	v.c.lost.Add(dropped)
	why := fmt.Errorf("cache: %d entries found no room in %d shards of %d-byte segments with MaxBytes %d", dropped, len(v.c.shards), v.c.segmentSize, v.c.opts.MaxBytes)
	if v.stopped.Load() {
		why = fmt.Errorf("cache: Recovery.Timeout ended the conversion to %d shards of %d-byte segments: %d entries were left out", len(v.c.shards), v.c.segmentSize, dropped)
	}
	p.lessened(why)
}

// reshape makes a cache of the shape that the options ask for, with what the
// directory holds. If it takes too long the directory keeps the shape it has,
// where that leaves room to work in; else what was copied by then is all.
func (p *persistence) reshape(opening, ctx context.Context, o *Options, res *loader.Result, want geometry) (*Cache, error) {
	if o.Recovery.Verify == VerifyEager {
		ctx = opening // as for everything that is verified before Open returns
	}
	start, have := time.Now(), res.Record.Geometry
	geo := have
	geo.Shards, geo.SegmentSize, geo.BaseBuckets = want.shards, want.segmentSize, want.baseBuckets
	c, err := p.layOut(o, res, geo)
	if err != nil {
		return nil, err
	}
	for _, s := range c.shards {
		s.journal.lost = true // nothing is kept before the first cut: a full generation follows
	}
	p.takeUp(c, res)
	p.describe(c, res)
	v, done := p.convert(ctx, c, res)
	if !done {
		p.result, p.report = nil, RecoveryReport{}
	}
	switch {
	case opening.Err() != nil:
		return nil, fmt.Errorf("cache: open %s: convert: %w", p.dir, opening.Err())
	case !done:
		return p.assemble(o, nil, geo, p.noAnswer(o, ctx))
	case v.stopped.Load() && usable(o, have):
		p.report = RecoveryReport{}
		c.frames.arena.clear()
		c.indexArena.clear()
		kept, err := p.assemble(o, res, have, nil)
		if err == nil {
			p.notices.say(slog.LevelWarn, "converting takes longer than Recovery.Timeout; the directory keeps its shape", "not_converted",
				"dir", p.dir, "shards", have.Shards, "segment", have.SegmentSize)
		}
		return kept, err
	}
	v.conclude(p)
	p.notices.say(slog.LevelInfo, "converted", "converted", "dir", p.dir, "shards", want.shards, "segment", want.segmentSize,
		"from_shards", have.Shards, "from_segment", have.SegmentSize, "entries", c.Len(), "took", time.Since(start))
	begun := res.Unfinished
	p.cold(res)
	p.reshaped, res.Unfinished = true, begun
	p.start = p.restore(c, res)
	p.forget(res)
	return c, nil
}

// lessened notes why not everything was restored.
func (p *persistence) lessened(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report.Outcome == OutcomeWarm {
		p.report.Outcome = OutcomePartial
	}
	if p.report.Reason == nil {
		p.report.Reason = err
	}
}

// usable reports whether a geometry leaves room to work in.
func usable(o *Options, g pagefile.Geometry) bool {
	return o.MaxBytes/int64(g.SegmentSize) >= int64(g.Shards*segmentsPerShard/4)
}
