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
	dir     string
	fs      pagefile.FS
	lock    io.Closer // nil: the disk did not answer
	schema  string
	network string // type of the network file system, if it is on one
	log     *slog.Logger
	result  *loader.Result // nil: the disk did not answer
	dumper  *dump.Dumper   // nil: nothing is written; loadErr or the result says why
	loadErr error
	stale   error // every copy of the newest record was lost

	links     *arena // for the chain that Open applies; nil: none was needed
	linksUsed int

	verified chan struct{} // closed when everything is in memory and verified

	mu     sync.Mutex
	report RecoveryReport
	failed time.Time // since when dumps fail; zero: they do not
	noted  bool      // failing for long has been logged
}

// begin starts what runs in the background.
func (p *persistence) begin(c *Cache) {
	p.logRecovered()
	if p.dumper != nil {
		p.dumper.Start()
	}
	if c.opts.hooks.lazily {
		return
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		c.prefetch()
	}()
}

// health is why nothing is persisted, or the dumper's word.
func (p *persistence) health() error {
	switch {
	case p.dumper != nil:
		return cmp.Or(p.dumper.Health(), p.stale)
	case p.loadErr != nil:
		return p.loadErr
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
	p.log.Info("closed", "event", "closed", "generation", p.dumper.Stats().Generation, "err", err)
	return err
}

// release gives up the directory. A dumper whose disk hangs keeps the lock until
// it has let go of the files.
func (p *persistence) release() {
	if p.dumper != nil {
		select {
		case <-p.dumper.Done():
		default:
			go func() { <-p.dumper.Done(); p.abandon() }()
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
	if p.lock != nil {
		_ = p.lock.Close()
	}
}

// event hears of every generation; only what a person should know is logged.
func (p *persistence) event(e dump.Event) {
	if e.Kind == dump.Scrub {
		p.log.Warn("pages on the disk are damaged; they are written again elsewhere", "event", "scrub", "pages", e.Pages, "err", e.Err)
		return
	}
	since, noted := p.note(e)
	if e.Err == nil {
		if !since.IsZero() {
			p.log.Info("flushing again", "event", "flush_resumed", "generation", e.Generation)
		}
		p.log.Debug("flushed", "event", "flushed", "generation", e.Generation, "kind", e.Kind, "pages", e.Pages, "bytes", e.Bytes, "took", e.Took)
		return
	}
	if e.Kind == dump.Weak {
		p.log.Debug("weak generations paused", "event", "weak_paused", "err", e.Err)
		return
	}
	if since.IsZero() {
		p.log.Warn("flush failed; serving goes on", "event", "flush_failed", "err", e.Err)
	} else if !noted && time.Since(since) > time.Minute {
		p.log.Error("flushes have failed for a minute", "event", "flush_failing", "since", since, "err", e.Err)
	}
}

// note keeps since when dumps fail, and returns what was known before. A logger
// is the user's code, and is not called under mu.
func (p *persistence) note(e dump.Event) (since time.Time, noted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, noted = p.failed, p.noted
	switch {
	case e.Err == nil:
		p.failed, p.noted = time.Time{}, false
	case e.Kind == dump.Weak:
	case since.IsZero():
		p.failed = time.Now()
	case time.Since(since) > time.Minute:
		p.noted = true
	}
	return since, noted
}

// persistStats adds what the dumper counts. Without files all of it is 0.
func (c *Cache) persistStats(st *Stats) {
	if c.persist == nil || c.persist.dumper == nil {
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
}

// damaged notes bytes that could not be proved.
func (p *persistence) damaged(err error) {
	p.mu.Lock()
	p.report.PagesDropped++
	p.mu.Unlock()
	p.lessened(err)
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
