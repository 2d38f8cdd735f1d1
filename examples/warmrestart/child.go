package main

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/cache"
	"github.com/embercache/ember/internal/demo"
)

// A child is a process with the cache open.
type child struct {
	job    job
	cache  *cache.Cache
	start  time.Time // just before Open
	parent *demo.Pipe

	stop   context.CancelFunc // of the writer
	writer sync.WaitGroup
}

// runChild is the child's main. It returns the exit status.
func runChild() int {
	c := &child{parent: demo.Parent()}
	if err := c.run(); err != nil {
		c.parent.Send(reply{Error: err.Error()})
		return 1
	}
	return 0
}

func (c *child) run() error {
	if err := c.parent.Receive(&c.job); err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return err
	}
	for {
		var cmd command
		if c.parent.Receive(&cmd) != nil {
			return nil // the parent is gone
		}
		r, err := c.do(cmd)
		if err != nil {
			return err
		}
		if r != nil {
			c.parent.Send(r)
		}
	}
}

func (c *child) do(cmd command) (r *reply, err error) {
	r = new(reply)
	switch {
	case cmd.Fill:
		r.Filled, err = c.fill()
	case cmd.Check != nil:
		r.Check, err = c.check(cmd.Check)
	case cmd.Write > 0:
		c.startWriting(cmd.Write)
		r = nil
	case cmd.Close:
		r.Closed, err = c.close()
	}
	return r, err
}

// open opens the cache, tries to get a hit, and tells.
func (c *child) open() error {
	key := c.job.appendKey(nil, 0)
	c.start = time.Now()
	var err error
	c.cache, err = cache.Open(context.Background(), c.job.Dir, &cache.Options{
		MaxBytes:   c.job.MaxBytes,
		Durability: cache.Durability{Interval: c.job.Interval},
		Logger:     demo.Warnings(),
	})
	if err != nil {
		return err
	}
	o := &opened{Open: time.Since(c.start)}
	var buf []byte
	for i := 0; i < min(c.job.Entries, 1000) && o.FirstHit == 0; i++ {
		key = c.job.appendKey(key[:0], i)
		v, ok := c.cache.AppendGet(buf[:0], key)
		if ok {
			o.FirstHit = time.Since(c.start)
		}
		buf, o.Tries = v, i+1
	}
	rec := c.cache.Recovery()
	o.Outcome, o.Generation, o.Weak = rec.Outcome.String(), rec.Generation, rec.Weak
	o.Entries, o.Dropped = rec.Entries, rec.Dropped
	if rec.Reason != nil {
		o.Reason = rec.Reason.Error()
	}
	return c.parent.Send(reply{Opened: o})
}

// Buffers are what one goroutine uses again for each entry.
type buffers struct{ key, value, want []byte }

// each calls fn for every entry, on all processors, and tells how far it is.
func (c *child) each(fn func(i int, b *buffers) error) error {
	const chunk = 1024
	var next atomic.Int64
	defer c.tellProgress(&next)()
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var b buffers
			for errs[w] == nil {
				from := int(next.Add(chunk)) - chunk
				if from >= c.job.Entries {
					return
				}
				for i := from; i < min(from+chunk, c.job.Entries) && errs[w] == nil; i++ {
					errs[w] = fn(i, &b)
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// tellProgress sends done now and then, until the function it returns is called.
func (c *child) tellProgress(done *atomic.Int64) (end func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				c.parent.Send(reply{Done: min(max(int(done.Load()), 1), c.job.Entries)})
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}

// fill stores every entry and makes that durable.
func (c *child) fill() (*filled, error) {
	start := time.Now()
	err := c.each(func(i int, b *buffers) error {
		b.key, b.value = c.job.appendKey(b.key[:0], i), c.job.appendValue(b.value[:0], i, 0)
		return c.cache.Set(b.key, b.value)
	})
	if err != nil {
		return nil, err
	}
	f := &filled{Took: time.Since(start)}
	start = time.Now()
	_, err = c.cache.Flush(context.Background())
	f.Flush = time.Since(start)
	f.Entries, f.Bytes = c.cache.Len(), c.cache.Bytes()
	return f, err
}

// absent marks an entry that is not there, or not as it should be.
const absent = ^uint64(0)

// check gets every entry and compares it, first with what the write that it
// names stored, then with the last write up to the newest one found.
func (c *child) check(writes []span) (*check, error) {
	var wrong atomic.Int64
	found := make([]uint64, c.job.Entries)
	k := new(check)
	start := time.Now()
	err := c.each(func(i int, b *buffers) error {
		var right bool
		if found[i], right = c.find(i, b); !right {
			wrong.Add(1)
		}
		return nil
	})
	k.AllHits = time.Since(start)
	if err != nil {
		return nil, err
	}
	k.Wrong = int(wrong.Load())
	c.job.judge(k, found, writes)
	_, err = c.cache.WaitVerified(context.Background())
	k.Verified = time.Since(c.start)
	return k, err
}

// find returns the write that made the value of entry i, or absent. It is not
// right if the value is none that the write it names has stored.
func (c *child) find(i int, b *buffers) (write uint64, right bool) {
	b.key = c.job.appendKey(b.key[:0], i)
	var ok bool
	if b.value, ok = c.cache.AppendGet(b.value[:0], b.key); !ok {
		return absent, true
	}
	if len(b.value) != c.job.ValueSize {
		return absent, false
	}
	w := writeOf(b.value)
	b.want = c.job.appendValue(b.want[:0], i, w)
	if !bytes.Equal(b.value, b.want) {
		return absent, false
	}
	return w, true
}

// judge counts in k what is missing from found, and what is not the last of the
// writes up to the newest one found.
func (l *load) judge(k *check, found []uint64, writes []span) {
	for _, w := range found {
		if w != absent {
			k.Newest = max(k.Newest, w)
		}
	}
	writes = slices.Clone(writes)
	for i := range writes {
		writes[i].Last = min(writes[i].Last, k.Newest)
	}
	for i, want := range l.expected(writes) {
		switch found[i] {
		case want:
		case absent:
			k.Missing++
		default:
			k.Outdated++
		}
	}
	k.Missing -= k.Wrong // marked absent too
}

// startWriting starts a single writer, whose writes are numbered from first.
func (c *child) startWriting(first uint64) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.writer.Go(func() {
		if err := c.write(ctx, first); err != nil {
			c.parent.Send(reply{Error: err.Error()})
		}
	})
}

const (
	ackEvery = time.Millisecond
	burst    = 64 // writes between two looks at the clock
)

// write writes at the wanted rate until ctx ends, and acknowledges what it has
// written every millisecond.
func (c *child) write(ctx context.Context, first uint64) error {
	var b buffers
	start := time.Now()
	begun, next := start, first
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		due := first + uint64(time.Since(start).Seconds()*float64(c.job.Rate))
		for end := min(due, next+burst); next < end; next++ {
			if err := c.writeOne(next, &b); err != nil {
				return err
			}
		}
		if next < due && time.Since(begun) < ackEvery {
			continue
		}
		a := ack{begun.UnixNano(), time.Now().UnixNano(), next - 1, c.cache.Len(), c.cache.Bytes()}
		if err := c.parent.Send(reply{Ack: &a}); err != nil {
			return err
		}
		if next >= due {
			<-tick.C
		}
		begun = time.Now()
	}
	return nil
}

func (c *child) writeOne(w uint64, b *buffers) error {
	i := c.job.target(w)
	b.key, b.value = c.job.appendKey(b.key[:0], i), c.job.appendValue(b.value[:0], i, w)
	return c.cache.Set(b.key, b.value)
}

func (c *child) close() (*closed, error) {
	if c.stop != nil {
		c.stop()
		c.writer.Wait()
	}
	start := time.Now()
	err := c.cache.Close()
	return &closed{Took: time.Since(start), Written: c.cache.Stats().DiskWritten}, err
}
