package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// persistence is what a cache with files has beyond one without.
type persistence struct {
	dir      string
	fs       pagefile.FS
	lock     io.Closer // of the directories that were entered, too; nil: the disk did not answer
	began    time.Time // when the lock was asked for that was had; of a later trial, when it began
	schema   string
	network  string // type of the network file system, if it is on one
	inMemory inMemory
	notices  *notices
	result   *loader.Result // nil: the disk did not answer
	dumper   *dump.Dumper   // nil: nothing is written; loadErr or the result says why
	loadErr  error
	stale    error // every copy of the newest record was lost, or it was refused
	trial    *trial

	reshaped bool              // what was loaded has been converted
	start    dump.Start        // of dumper
	geo      pagefile.Geometry // of the directory

	answered bool // the disk did, when the lock was asked for

	links     *arena // for the chain that Open applies; nil: none was needed
	linksUsed int

	checks   checks
	verified chan struct{} // closed when everything is in memory and verified

	clock              *clock
	flushTime, durable tally
	mapped             int64      // bytes of files, until release
	sizes              dump.Sizes // of the files that Open found

	live       liveLeft
	unfinished []loader.LiveOp   // that Open finishes
	leaving    []<-chan struct{} // see parting

	mu     sync.Mutex
	report RecoveryReport
	outage outage
	damage error // of the last generation that was checked
	// differs is why a generation that was checked was not what memory held, for
	// the life of the process.
	differs error
}

// prefetch brings in what was left on file, in the background.
func (p *persistence) prefetch(c *Cache) {
	if c.opts.hooks.lazily {
		return
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		c.prefetch()
	}()
}

// begin says what was recovered, and has generations written from now on.
func (p *persistence) begin(ctx context.Context, c *Cache) {
	if p.network != "" {
		p.notices.say(slog.LevelWarn, "network file system: files are read by position and locks may not hold", "network", "type", p.network, "dir", p.dir)
	}
	p.mu.Lock()
	r := p.report
	p.mu.Unlock()
	p.notices.recovered(r)
	c.adviseMemory(p.inMemory)
	if res := p.result; res == nil || res.Foreign || c.opts.readOnly() {
		return
	}
	if p.live.named && (c.livelog == nil || c.livelog.failed()) {
		limit, cancel := context.WithTimeout(ctx, c.opts.Recovery.Timeout)
		p.parting(limit, p.dropToken)
		cancel()
	}
	p.dumper = dump.New(p.config(c), c.source(), p.start)
	p.start = dump.Start{}
	if c.livelog != nil {
		p.beginLive(ctx, c)
	}
	p.settle(ctx, &c.opts)
	p.dumper.Start()
	if !c.opts.hooks.step && !c.opts.hooks.lazily {
		c.running.Add(1)
		go c.checkLoop()
	}
}

// settle waits until the files say what must not be forgotten if the process is
// killed right after Open: that it went back, and that it runs. In another shape,
// or cold, that takes a generation: no record is there to be written again. If they
// cannot say so it goes on, as for any generation that fails.
func (p *persistence) settle(ctx context.Context, o *Options) {
	back := p.rolledBack() || p.reshaped && len(p.trial.refused) > 0
	if !back && o.Recovery.Unclean != UncleanDiscard {
		return
	}
	limit, cancel := context.WithTimeout(ctx, o.Recovery.Timeout)
	defer cancel()
	err := error(nil)
	if p.reshaped || p.overClean() {
		_, err = p.dumper.Flush(limit)
	} else {
		err = p.dumper.Begin(limit)
	}
	if err != nil {
		p.notices.say(slog.LevelWarn, "a kill now would bring back what was there before Open", "not_begun", "err", err)
	}
}

// overClean reports a cold start over a generation that says that nothing follows.
func (p *persistence) overClean() bool {
	r := p.result
	n := len(r.Retained)
	return r.Record == nil && n > 0 && r.Retained[n-1].Clean
}

// rolledBack reports whether something older than the newest was taken up.
func (p *persistence) rolledBack() bool {
	return len(p.trial.refused) > 0 && p.result != nil && p.result.Record != nil
}

// health is why nothing is persisted, or the dumper's word.
func (p *persistence) health() error {
	switch {
	case p.dumper != nil:
		return cmp.Or(p.dumper.Health(), p.checkHealth(), p.stale)
	case p.loadErr != nil:
		return p.loadErr
	case !p.result.Foreign: // a reader
		return p.stale
	}
	return fmt.Errorf("cache: %s was written by a newer build; nothing is written: %w", p.dir, p.result.Reason)
}

func (p *persistence) flush(ctx context.Context) (uint64, error) {
	if p.dumper == nil {
		return 0, p.health()
	}
	return p.dumper.Flush(ctx)
}

// close writes the last generation.
func (p *persistence) close(ctx context.Context) error {
	if p.dumper == nil {
		return nil
	}
	err := p.dumper.Close(ctx)
	if err != nil {
		err = fmt.Errorf("cache: close: last generation: %w", err)
	}
	p.closed(err)
	return err
}

// release gives up the directory. A dumper whose disk hangs keeps the lock until
// it has let go of the files, and so does a live log that is being made or removed.
func (p *persistence) release(l *liveLog) {
	busy := p.leaving
	if p.dumper != nil {
		busy = append(busy, p.dumper.Done())
	}
	if l != nil {
		busy = append(busy, l.made)
	}
	for i, done := range busy {
		select {
		case <-done:
		default:
			go func() {
				for _, done := range busy[i:] {
					<-done
				}
				p.abandon()
			}()
			return
		}
	}
	p.abandon()
}

// abandon closes the files that were opened for reading, and the lock.
func (p *persistence) abandon() {
	if p.result != nil {
		_ = p.result.Close()
	}
	p.live.close()
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// persistStats adds what the dumper counts. Without files all of it is 0.
func (c *Cache) persistStats(st *Stats) {
	if c.persist == nil {
		return
	}
	st.FlushTime, st.DurableLag = c.persist.flushTime.histogram(), c.persist.durable.histogram()
	if !c.closed.Load() {
		st.MappedBytes = c.persist.mapped
	}
	if c.persist.dumper == nil {
		st.Generation = c.opened
		return
	}
	d := c.persist.dumper.Stats()
	st.Flushes, st.FlushErrors, st.FlushPages = d.Durable, d.Failed, d.Pages
	st.FullGenerations, st.WeakGenerations = d.Full, d.Weak
	st.PageBytes, st.BlobBytes, st.ImageBytes, st.WeakBytes = d.Written.Pages, d.Written.Blobs, d.Written.Images, d.Written.Weak
	st.DiskWritten = d.Written.Total()
	st.FlushBytes = uint64(d.Written.Total() - d.Written.Weak)
	st.DirtyBytes, st.Generation, st.LastFlush = d.ChangedSet, d.Generation, d.LastDurable
	st.PredictedRecovery, st.LeftOut = d.Predicted, d.LeftOut
	st.PagesScrubbed, st.PagesMended = d.Scrubbed, d.Damaged
	st.OnDisk, st.DumpBusy = d.OnDisk, d.Worked
	st.LastVerified = c.persist.checks.verified.Load()
	if c.livelog != nil {
		st.LiveGaps = c.livelog.gaps.Load()
	}
}

func randomWord() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// seed is the secret of a new directory's hash.
func (o *Options) seed() uint64 {
	if o.hooks.seed != 0 {
		return o.hooks.seed
	}
	return randomWord()
}
