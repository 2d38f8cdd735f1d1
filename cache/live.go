package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// With Durability.Live what a link of the weak chain will have is in memory that
// outlives the process before anybody can see it; see livelog.go. A liveLog is that
// memory, from when the process begins to use it.
//
// Until then the memory may hold what the process before left, and Open has applied.
// So it begins only when a killed process would find all of that in the ring or in a
// durable generation: when the dumper says that the chain is up and that a record
// leads to it.
type liveLog struct {
	c    *Cache
	dir  liveDir
	name string
	size int64

	seq   atomic.Uint64 // the cut that shards go on from; 0: they write nothing
	slots atomic.Uint64 // of what is under way
	mem   *pagefile.Live
	gap   atomic.Uint64 // the last seq whose half was not whole
	gaps  atomic.Uint64 // how many were not
	asked atomic.Uint64 // the last seq for whose half a cut was asked early

	dumper atomic.Pointer[dump.Dumper]
	made   chan struct{} // closed when make has ended, or never will begin

	tickets chan struct{} // of what is under way

	clearing sync.Mutex // one Clear at a time is told

	mu      sync.Mutex
	state   liveState
	cut     uint64 // that falls, or fell last
	baseSeq uint64 // the last that has a base, maybe of a link that is being written
	based   uint64 // the last seq that a link leads to
	down    bool   // the last cut got no link: shards stay in their half
	again   bool   // but the one before this has one: the next cut is as any other
	err     error  // why it will not be used
}

type liveState uint8

const (
	liveWaits  liveState = iota // for a link that a record leads to
	liveMaking                  // its memory
	liveArmed                   // shards write from the next cut on
	liveFailed
)

// A liveDir is where the memory lies; pagefile.LiveDir, but for tests.
type liveDir interface {
	Read(name string) ([]byte, error)
	Make(name string, size int64) ([]byte, error)
	Remove(name string)
	Close()
	Release()
}

// liveLogSize is the memory that the log takes: room for some cuts at full speed.
func (o *Options) liveLogSize(g geometry) int64 {
	if o.Durability.Live == "" {
		return 0
	}
	return pagefile.LiveSize(g.shards, min(max(o.MaxBytes/8, 1<<20), 64<<20))
}

// newLive prepares the log of a cache that will have a dumper.
func (p *persistence) newLive(c *Cache) {
	g := shapeOf(p.geo)
	c.livelog = &liveLog{c: c, dir: p.live.dir, name: liveName(p.geo), size: c.opts.liveLogSize(g), made: make(chan struct{}),
		tickets: make(chan struct{}, pagefile.LiveSlots)}
	if p.live.err != nil {
		c.livelog.fail(p.live.err)
		close(c.livelog.made)
	}
}

// linking is told of each link by the dumper, before it is written: so a process that
// is killed once the link is there leaves a log that goes on from it.
func (l *liveLog) linking(pos pagefile.WeakPos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == liveArmed && l.cut != 0 && l.seq.Load() == l.cut {
		l.mem.SetBase(l.cut, pos)
		l.baseSeq = l.cut
		l.killable()
	}
}

// linked is told of each cut by the dumper, under its cut mutex.
func (l *liveLog) linked(cut *dump.Cut, pos pagefile.WeakPos, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.again = false; {
	case !ok:
		l.down = true
	case l.state == liveArmed && l.seq.Load() == cut.Epoch:
		if l.baseSeq != cut.Epoch { // it brought nothing, and got no link
			l.mem.SetBase(cut.Epoch, pos)
			l.baseSeq = cut.Epoch
		}
		l.based, l.down = cut.Epoch, false
		l.killable()
	case l.state == liveWaits:
		l.state = liveMaking
		go l.make()
	default:
		l.again = true
	}
}

// make begins to use the memory: what it held is in files by now, and nothing may lead
// to it while it changes hands.
func (l *liveLog) make() {
	defer close(l.made)
	p := l.c.persist
	err := p.writeToken(0)
	var b []byte
	if err == nil {
		b, err = l.dir.Make(l.name, l.size)
	}
	if err == nil {
		session := randomWord() | 1
		l.mem = pagefile.NewLive(b, len(l.c.shards), session, p.geo.DirID)
		l.killable()
		err = p.writeToken(session)
	}
	if err != nil {
		l.fail(err)
		p.dropToken() // all that it leads to is in files
		return
	}
	if d, ok := l.dir.(*pagefile.LiveDir); ok {
		runtime.AddCleanup(l.c, (*pagefile.LiveDir).Release, d)
	}
	if !l.armed() { // the cache was closed
		l.remove()
	}
}

// armed lets shards write from the next cut on, unless the log was given up.
func (l *liveLog) armed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != liveMaking {
		return false
	}
	l.state, l.again = liveArmed, true
	return true
}

// remove removes the log, which nobody tells of anything any more: nothing leads to it,
// or what it has is durable.
func (l *liveLog) remove() {
	l.mem.End()
	l.c.persist.dropToken()
	l.dir.Remove(l.name)
}

func (l *liveLog) fail(err error) {
	l.mu.Lock()
	l.state, l.err = liveFailed, err
	l.mu.Unlock()
	l.c.notices.say(slog.LevelWarn, "no live log: a killed process loses what weak generations lose", "no_live_log",
		"dir", l.c.opts.Durability.Live, "err", err)
}

// next has shards go on in the other half from a new cut on. No cut falls, and none
// of them writes in that half: all went on from it with the cut before. While the
// chain is down they stay where they are: what both halves have is in no link. They
// leave it with a cut of the other half, even if that is one later.
func (l *liveLog) next(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = epoch
	if seq := l.seq.Load(); l.state == liveArmed && (l.again || !l.down) && (seq == 0 || (seq^epoch)&1 == 1) {
		l.mem.Reset(epoch)
		l.seq.Store(epoch)
	}
}

// missed counts a half that is not whole. While a cut falls shards are in two.
func (l *liveLog) missed(seq uint64) {
	for old := l.gap.Load(); seq > old; old = l.gap.Load() {
		if l.gap.CompareAndSwap(old, seq) {
			l.gaps.Add(1)
		}
	}
}

// health is why a killed process would lose something.
func (l *liveLog) health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil: // for good
		return fmt.Errorf("cache: no live log in %s: %w", l.c.opts.Durability.Live, l.err)
	case l.based == 0 || l.down:
		return errLiveWaits
	case l.gap.Load() >= l.based: // no link has what that half lacks
		return errLiveFull
	}
	return nil
}

var (
	errLiveWaits = errors.New("cache: the live log waits for a generation; weak generations serve a killed process until then")
	errLiveFull  = errors.New("cache: the live log is full; weak generations serve a killed process until the next one")
)

// tick asks for a cut before a half is full, once for each.
func (l *liveLog) tick() {
	d := l.dumper.Load()
	if seq := l.seq.Load(); d != nil && seq != 0 && l.asked.Load() != seq && l.mem.Fullness(seq) >= 16 && l.asked.Swap(seq) != seq {
		d.WeakSoon()
	}
}

// beginLive has the log in force before Open returns, if files can say so in time.
// What the last process left of its log goes to the ring.
func (p *persistence) beginLive(ctx context.Context, c *Cache) {
	l := c.livelog
	l.dumper.Store(p.dumper)
	limit, cancel := context.WithTimeout(ctx, c.opts.Recovery.Timeout)
	defer cancel()
	p.parting(limit, func() { _ = l.arm(limit, p.dumper) })
	if err := l.health(); err != nil && !l.failed() { // which was said
		p.notices.say(slog.LevelWarn, "no live log yet", "live_log_waits", "err", err)
	}
}

// arm has a link lead to the log. What was inherited comes first, also where no log
// can be had.
func (l *liveLog) arm(ctx context.Context, d *dump.Dumper) error {
	err := d.Inherit()
	if l.failed() {
		return err
	}
	if err == nil {
		err = d.Weak()
	}
	if err != nil || l.waits() {
		if _, err = d.Flush(ctx); err == nil {
			err = d.Weak()
		}
	}
	if l.waits() {
		return err
	}
	<-l.made
	return d.Weak()
}

// finish does what is left of what the last process had under way.
func (p *persistence) finish(c *Cache) {
	c.redo(p.unfinished)
	p.unfinished = nil
}

func (l *liveLog) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil
}

// waits reports whether no link has led to the memory yet, and one may.
func (l *liveLog) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == liveWaits
}

// end gives the log up. What is durable needs none; after a Close that failed the
// next Open does. Where memory is being made it waits for that, as long as ctx lasts.
func (l *liveLog) end(ctx context.Context, durable bool) {
	for _, s := range l.c.shards {
		s.mu.Lock()
		s.log = nil
		s.mu.Unlock()
	}
	l.mu.Lock()
	if l.state == liveWaits {
		l.state = liveFailed
		close(l.made)
	}
	l.mu.Unlock()
	select {
	case <-l.made:
	case <-ctx.Done():
	}
	l.mu.Lock()
	ends := durable && l.state == liveArmed
	l.state = liveFailed
	l.mu.Unlock()
	if ends {
		l.c.persist.parting(ctx, l.remove)
	}
}

// liveHealth is for Health; what the dumper has to say comes first.
func (p *persistence) liveHealth(c *Cache, err error) error {
	if c.livelog == nil || err != nil {
		return err
	}
	return c.livelog.health()
}

// killable is for tests.
func (l *liveLog) killable() {
	if f := l.c.opts.hooks.killable; f != nil {
		f()
	}
}
