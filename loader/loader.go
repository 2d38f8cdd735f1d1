package loader

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/embercache/ember/pagefile"
)

// Options say what to load and how.
type Options struct {
	FS      pagefile.FS
	Dir     string
	WeakDir string // of the weak ring; "": Dir
	Schema  string // a record of another one is not used
	// Generation is the one to open; 0 is the newest, with the weak chain that
	// follows it. Another is opened without, to go back to exactly that state.
	Generation uint64
	Durable    bool // without the weak chain, also for the newest: the state at its record's cut
	Positional bool // do not map files
	// Share is for who does not hold the directory's lock: it may have an owner,
	// who goes on writing. The generation's lease is held until the Result is
	// closed.
	Share bool
	Clean bool // only a generation after which nothing was written: its process closed it
	// MaxAge refuses a record whose wall clock is that long before Now, or ahead of
	// it. 0: any age.
	MaxAge  time.Duration
	Now     time.Time // for MaxAge
	Workers int       // goroutines that read and verify; 0: one for each processor
	// Live gives a copy of the live log that the last process wrote, of a directory with
	// that geometry. nil: it left none. The error is for a log that cannot be read.
	Live func(pagefile.Geometry) ([]byte, error)
	// Memory gives n bytes, zeroed or not, for links and blobs: some MiB at a time,
	// all together hardly more than they are long. Journals and Pieces of the Result
	// refer to it. Most of the time that they take is the kernel's for fresh memory
	// in small pages; who has huge pages passes them here. nil, and less than was
	// asked for: the heap. Workers call it at the same time.
	Memory func(n int) []byte
}

func (o Options) withDefaults() Options {
	if o.WeakDir == "" {
		o.WeakDir = o.Dir
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return o
}

// Load reads the directory, whose lock the caller holds, unless Options.Share, and
// changes nothing in it. The error is for a directory that cannot be read, or for ctx; everything
// else gives a Result, cold if need be, with a Reason and Findings. The same
// files give the same Result. The caller closes it.
func Load(ctx context.Context, o Options) (*Result, error) {
	l := &load{ctx: ctx, Options: o.withDefaults(), res: &Result{Pages: noPages{}}, last: time.Now()}
	var err error
	if l.names, err = o.FS.ReadDir(o.Dir); err != nil {
		return nil, fmt.Errorf("load %s: %w", o.Dir, err)
	}
	l.choose()
	l.res.Took.Records = l.lap()
	if l.res.Record != nil {
		l.recover()
	}
	l.beginAnew()
	if err := ctx.Err(); err != nil {
		l.res.Close()
		return nil, fmt.Errorf("load %s: %w", o.Dir, err)
	}
	l.conclude()
	return l.res, nil
}

// memory returns n bytes for links or a blob.
func (o *Options) memory(n int64) []byte {
	if o.Memory != nil {
		if b := o.Memory(int(n)); int64(len(b)) >= n {
			return b[:n:n]
		}
	}
	return make([]byte, n)
}

// A load is one call of Load.
type load struct {
	ctx context.Context
	Options
	res    *Result
	found  findings
	last   time.Time // of lap
	names  []string  // in Dir
	usable uint32    // places that the page file has
	drafts []draft   // by shard
	unread bool      // the ring could not be read to the chain's end

	highest uint64 // generation of a record
}

// recover reads what the chosen record names.
func (l *load) recover() {
	l.openPages()
	l.openImage()
	if l.res.Foreign {
		l.forget()
		return
	}
	l.makeDrafts()
	l.res.Took.Tables = l.lap()
	l.applyBlobs()
	l.res.Took.Blobs = l.lap()
	l.applyChain()
	l.res.Took.Weak = l.lap()
	if l.Clean && l.goesOn() {
		l.refuseUnclean()
		return
	}
	l.finishDrafts()
	l.res.Took.Finish = l.lap()
}

// forget makes the Result cold.
func (l *load) forget() {
	l.res.Close()
	l.res.Record, l.res.Retained, l.res.Image, l.res.Pages = nil, nil, nil, noPages{}
	l.res.MirrorMissing, l.res.PagesLost = false, false
	l.res.Weak, l.res.Chain, l.res.Shards, l.drafts = 0, pagefile.WeakPos{}, nil, nil
	l.res.Live, l.res.Unfinished = nil, nil
}

// conclude sums the findings up.
func (l *load) conclude() {
	l.res.Findings = l.found.sorted()
	l.res.Reason = reason(l.res.Findings)
	for _, f := range l.res.Findings {
		c, _ := lookup(f.Case)
		l.res.NeedFull = l.res.NeedFull || c.NeedFull && l.res.Record != nil
	}
}

// met notes a case that belongs to no shard.
func (l *load) met(label, file string, n int, err error) {
	l.found.add(label, file, noShard, n, err)
}

// lap returns the time since it was last called, or since the start.
func (l *load) lap() time.Duration {
	now := time.Now()
	took := now.Sub(l.last)
	l.last = now
	return took
}

// stopped reports that the result is not wanted any more.
func (l *load) stopped() bool { return l.ctx.Err() != nil }
