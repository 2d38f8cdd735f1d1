package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// The self-check recovers the newest durable generation from its files, as the
// next Open would, and compares it with what memory held at its cut: for each
// shard the digest of its slots, the number and size of its entries; for each
// entry, that a record begins where its word says whose key's hash leads to that
// slot, and that its pages verify; for each page that memory still has, every
// byte. One shard's index is in memory at a time.
//
// The generation is held meanwhile, and once it is proved until another is: so
// there is one to go back to. Where places run out the hold is broken, and what
// was found by then counts for nothing.
const (
	// checkRest lies between two checks, or as long as the first of them took.
	checkRest = time.Minute
	// checkRate bounds what a check reads, in bytes a second: a small part of a
	// core hashes, compares and walks that much.
	checkRate = 32 << 20
)

// checks is what the self-check knows.
type checks struct {
	verified atomic.Uint64 // Stats.LastVerified

	mu     sync.Mutex // one check at a time
	proved *dump.Hold // the last generation that was proved; nil: none
	seen   uint64     // the last generation that was looked at
}

// errMismatch is within the error of a generation whose bytes verify and say
// something else than memory did. Other errors of a check are bytes that are lost.
var errMismatch = errors.New("files differ from memory")

// An unchecked error says why a generation could not be checked.
type unchecked string

func (e unchecked) Error() string { return "not checked: " + string(e) }

const (
	nothingNew = unchecked("there is no newer generation of this process")
	unsettled  = unchecked("the cut fell before everything was in memory")
	gaveWay    = unchecked("places were running out")
	stopped    = unchecked("the cache is being closed")
	overtaken  = unchecked("the next generation is being written")
)

// checkLoop checks generations until the cache is closed.
func (c *Cache) checkLoop() {
	defer c.running.Done()
	least := cmp.Or(c.opts.hooks.checkRest, checkRest)
	for rest := least; ; {
		select {
		case <-c.stop:
			return
		case <-time.After(rest):
		}
		start := time.Now()
		_ = c.selfCheck(checkRate) // reported where it was found
		rest = max(least, time.Since(start))
	}
}

// selfCheck checks the newest durable generation, if it has not been checked, and
// reports what it finds. rate is in bytes a second, 0: no bound.
func (c *Cache) selfCheck(rate int64) error {
	p := c.persist
	if p == nil || p.dumper == nil {
		return nothingNew
	}
	p.checks.mu.Lock()
	defer p.checks.mu.Unlock()
	hold := p.dumper.HoldNewest()
	if hold == nil || hold.Generation == p.checks.seen {
		hold.Release()
		return nothingNew
	}
	err := c.checkGeneration(hold.Note, rate)
	var why unchecked
	switch {
	case hold.Broken():
		hold.Release()
		return gaveWay
	case errors.As(err, &why):
		hold.Release()
	case err != nil:
		p.checks.seen = hold.Generation
		p.checkFailed(hold.Generation, err)
		hold.Release()
	default:
		p.checks.seen = hold.Generation
		p.checks.proved.Release()
		p.checks.proved = hold
		p.checkPassed(hold.Generation)
	}
	return err
}

// checkFailed tells of a generation that does not give back what memory held: the
// one place where that is known. err wraps a *CorruptionError.
func (p *persistence) checkFailed(generation uint64, err error) {
	mismatch := errors.Is(err, errMismatch)
	if mismatch {
		p.dumper.Keep(generation)
		err = fmt.Errorf("cache: self-check of generation %d: %w; it and those before it are kept until the cache is closed: copy %s and report it, then Clear, or go back", generation, err, p.dir)
	} else {
		p.dumper.Mend()
		err = fmt.Errorf("cache: self-check of generation %d: %w; the next generation replaces what was lost: look after the disk of %s", generation, err, p.dir)
	}
	p.mu.Lock()
	if p.differs == nil && mismatch {
		p.differs = err
	} else if !mismatch {
		p.damage = err
	}
	p.mu.Unlock()
	p.notices.say(slog.LevelError, "a generation does not give back what memory held", "self_check", "generation", generation, "err", err)
	p.notices.corruption(err)
}

// checkPassed tells of a generation that was proved. Damage that was found before
// is mended; that files once differed from memory stays.
func (p *persistence) checkPassed(generation uint64) {
	p.checks.verified.Store(generation)
	p.mu.Lock()
	p.damage = nil
	p.mu.Unlock()
	p.notices.say(slog.LevelDebug, "verified", "verified", "generation", generation)
}

// checkHealth is what the self-check has found and is not mended.
func (p *persistence) checkHealth() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.differs != nil {
		return p.differs
	}
	return p.damage
}

// A check is one generation's.
type check struct {
	c     *Cache
	note  *dump.Note
	res   *loader.Result
	pages io.ReaderAt // of the page file, past the page cache if that can be
	path  string      // of it; the directory's before it is open
	pace  pace

	queue, value pageBuffer // a segment of a queue, one of a large value
	mem          []byte     // a page of memory
}

// checkGeneration returns an unchecked error, what differs, or nil.
func (c *Cache) checkGeneration(note *dump.Note, rate int64) error {
	for i := range note.Shards {
		if !note.Shards[i].Digested {
			return unsettled
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-c.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	p := c.persist
	res, err := loader.Load(ctx, loader.Options{
		FS: p.fs, Dir: p.dir, Schema: p.schema, Generation: note.Generation, Durable: true, Positional: true, Workers: 1,
	})
	k := &check{c: c, note: note, res: res, path: p.dir, pace: pace{rate: rate, stop: c.stop}}
	if err != nil && ctx.Err() != nil {
		return stopped
	}
	if err != nil {
		return k.lost(0, "it cannot be read", err)
	}
	defer res.Close()
	if err := k.usable(); err != nil {
		return err
	}
	defer k.open()()
	for shard := range res.Shards {
		if err := k.shard(shard); err != nil {
			return err
		}
	}
	return nil
}

// usable refuses what the loader itself could not read whole. A record that is
// being written may hide this one, which the record after it does not need.
func (k *check) usable() error {
	r := k.res
	switch newer := slices.ContainsFunc(r.Retained, func(rec *pagefile.Record) bool { return rec.Generation > k.note.Generation }); {
	case r.Record == nil && newer:
		return overtaken
	case r.Record == nil || r.Record.Generation != k.note.Generation || r.NeedFull || r.PagesLost:
		return k.lost(0, "it cannot be read whole", r.Reason)
	}
	return nil
}

// open makes ready to read pages; the function that it returns ends that.
func (k *check) open() (done func()) {
	geo := k.res.Record.Geometry
	k.path = filepath.Join(k.c.persist.dir, pagefile.FileName(pagefile.KindPages, k.res.Record.PageFile))
	for _, b := range []*pageBuffer{&k.queue, &k.value} {
		b.bytes = pagefile.AlignedPages(geo.PagesPerSegment())
		b.sums = make([]uint64, geo.PagesPerSegment())
	}
	k.mem, k.pages = make([]byte, pageSize), k.res.Pages
	file, err := k.c.persist.fs.OpenDirect(k.path)
	if err != nil {
		return func() {}
	}
	k.pages = &directly{file, k.res.Pages}
	return func() { file.Close() }
}

// directly reads past the page cache, or if that cannot be, as everybody does.
type directly struct{ direct, ordinary io.ReaderAt }

// ReadAt reads whole pages.
func (d *directly) ReadAt(b []byte, off int64) (int, error) {
	if n, err := d.direct.ReadAt(b, off); err == nil {
		return n, nil
	}
	return d.ordinary.ReadAt(b, off)
}

// A pace spreads reads over time.
type pace struct {
	rate int64 // bytes a second; 0: no bound
	next time.Time
	stop <-chan struct{}
}

// wait waits until n more bytes are due. Its error ends the check.
func (p *pace) wait(n int) error {
	var rest time.Duration
	if p.rate > 0 {
		now := time.Now()
		if p.next.Before(now) {
			p.next = now
		}
		rest = p.next.Sub(now)
		p.next = p.next.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-p.stop:
		return stopped
	default:
	}
	select {
	case <-timer.C:
		return nil
	case <-p.stop:
		return stopped
	}
}

// A checkError is what a check has found. It wraps a *CorruptionError that says
// where, and errMismatch if the bytes verify.
type checkError struct {
	text     string
	at       CorruptionError
	mismatch bool
	cause    error // may be nil
}

func (e *checkError) Error() string {
	text := e.text
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *checkError) Unwrap() []error {
	list := []error{&e.at}
	if e.mismatch {
		list = append(list, errMismatch)
	}
	if e.cause != nil {
		list = append(list, e.cause)
	}
	return list
}

// lost is for bytes that do not verify, differs for bytes that do.
func (k *check) lost(shard int, text string, cause error) *checkError {
	return &checkError{text: text, at: CorruptionError{Path: k.path, Shard: shard, Generation: k.note.Generation}, cause: cause}
}

func (k *check) differs(shard int, format string, args ...any) *checkError {
	e := k.lost(shard, fmt.Sprintf("shard %d: ", shard)+fmt.Sprintf(format, args...), nil)
	e.mismatch = true
	return e
}
