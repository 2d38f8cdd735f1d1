package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/cache"
)

// An endurePlan is what a child of endure does.
type endurePlan struct {
	Dir, Ledger string
	Keys        int
	MaxBytes    int64
	Shards      int
	Reopen      time.Duration // closes and opens its cache every so often; 0: never
	Damaged     bool          // its files were, since the life before
	Seed        uint64
}

// An endureNote is what it tells.
type endureNote struct {
	Kind    string // opened, flushed, vitals, closed, wrong
	Text    string `json:",omitempty"`
	Vitals  vitals
	Work    work
	Flushed uint64 `json:",omitempty"` // generation
	Opened  *openedNote
}

// An openedNote is what Open found.
type openedNote struct {
	Outcome      string
	Generation   uint64
	Stale        bool
	Weak, Found  int
	Dropped, Was int // entries; Was: before a clean Close in the same process
	Mapped, Took time.Duration
}

// work is what was done since the process began.
type work struct{ Gets, Hits, Writes, Flushes, FlushErrors, Opens int64 }

func (w *work) add(v work) {
	w.Gets, w.Hits, w.Writes = w.Gets+v.Gets, w.Hits+v.Hits, w.Writes+v.Writes
	w.Flushes, w.FlushErrors, w.Opens = w.Flushes+v.Flushes, w.FlushErrors+v.FlushErrors, w.Opens+v.Opens
}

type endureChild struct {
	plan   endurePlan
	out    *json.Encoder
	mu     sync.Mutex // of out
	ledger *ledger
	c      *cache.Cache

	gets, hits, writes, flushes, flushErrors, opens atomic.Int64
	stop                                            atomic.Bool
	group                                           sync.WaitGroup
}

func init() { tasks["endure"] = runEndureChild }

const enduring = 4 // goroutines with load; each writes the keys that are its own

func runEndureChild(text []byte, in io.Reader, out *json.Encoder) error {
	k := &endureChild{out: out}
	err := json.Unmarshal(text, &k.plan)
	if err == nil {
		k.ledger, err = openLedger(k.plan.Ledger, k.plan.Keys)
	}
	if err == nil {
		err = k.open(0)
	}
	if err != nil {
		return err
	}
	closing := make(chan struct{})
	go func() { // who asks wants an end, and so does who is gone
		_, _ = bufio.NewReader(in).ReadString('\n')
		close(closing)
	}()
	k.load()
	return k.live(closing)
}

// live goes on until it is told to close.
func (k *endureChild) live(closing chan struct{}) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	began := time.Now()
	for {
		select {
		case <-closing:
			return k.close()
		case <-every.C:
			n := endureNote{Kind: "vitals", Vitals: readVitals(k.plan.Dir)}
			if err := k.c.Health(); err != nil {
				n.Text = err.Error()
			}
			k.tell(n)
			k.flush()
		}
		if k.plan.Reopen > 0 && time.Since(began) > k.plan.Reopen {
			was := k.c.Len()
			if err := k.close(); err != nil {
				return err
			}
			if err := k.open(was); err != nil {
				return err
			}
			k.load()
			began = time.Now()
		}
	}
}

func (k *endureChild) tell(n endureNote) {
	n.Work = work{k.gets.Load(), k.hits.Load(), k.writes.Load(), k.flushes.Load(), k.flushErrors.Load(), k.opens.Load()}
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.out.Encode(n) // who does not listen will kill us
}

func (k *endureChild) wrong(err error) { k.tell(endureNote{Kind: "wrong", Text: err.Error()}) }

// open opens the cache, and reads all of it.
func (k *endureChild) open(was int) error {
	began := time.Now()
	o := &cache.Options{MaxBytes: k.plan.MaxBytes, Shards: k.plan.Shards, Logger: slog.New(slog.DiscardHandler)}
	c, err := cache.Open(context.Background(), k.plan.Dir, o)
	if err != nil {
		return err
	}
	k.c = c
	r := c.Recovery()
	n := &openedNote{Outcome: r.Outcome.String(), Generation: r.Generation, Stale: r.MayBeStale, Weak: r.Weak, Dropped: r.Dropped, Was: was, Mapped: r.Mapped}
	// A cold start has lost everything, which is no version at all.
	for key := range k.plan.Keys {
		asked := time.Now()
		v, ok := c.Get(endureKey(key))
		if ok {
			n.Found++
		} else {
			v = nil
		}
		if err := k.ledger.opened(key, v, k.plan.Damaged, r.MayBeStale, asked); err != nil {
			k.wrong(fmt.Errorf("after Open: %w; %+v", err, r))
		}
	}
	k.plan.Damaged = false
	n.Took = time.Since(began)
	k.opens.Add(1)
	k.tell(endureNote{Kind: "opened", Opened: n, Vitals: readVitals(k.plan.Dir)})
	return nil
}

func endureKey(key int) []byte { return fmt.Appendf(nil, "endure:%d", key) }

// close ends the load, then the cache. What it cannot write it says.
func (k *endureChild) close() error {
	k.stop.Store(true)
	k.group.Wait()
	k.stop.Store(false)
	n := endureNote{Kind: "closed"}
	if err := k.c.Close(); err != nil {
		n.Text = err.Error()
	} else {
		k.ledger.acknowledge(k.ledger.versions(nil))
	}
	k.tell(n)
	return nil
}

func (k *endureChild) flush() {
	versions := k.ledger.versions(nil)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	k.flushes.Add(1)
	g, err := k.c.Flush(ctx)
	if err != nil {
		k.flushErrors.Add(1)
		return
	}
	k.ledger.acknowledge(versions)
	k.tell(endureNote{Kind: "flushed", Flushed: g})
}

func (k *endureChild) load() {
	for w := range enduring {
		k.group.Go(func() {
			l := &loader{endureChild: k, own: w, rng: rand.New(rand.NewPCG(k.plan.Seed, uint64(w)))}
			for !k.stop.Load() {
				l.step()
			}
		})
	}
}

// A loader is one goroutine of the load.
type loader struct {
	*endureChild
	own      int
	rng      *rand.Rand
	key, got []byte
	value    [2][]byte
}

// step is one operation: seven in ten are reads.
func (l *loader) step() {
	switch n := l.rng.IntN(1000); {
	case n < 700:
		l.get(l.draw())
	case n < 900:
		l.set(l.mine(), 100+l.rng.IntN(1500), 0)
	case n < 940:
		l.set(l.mine(), 100+l.rng.IntN(1500), time.Duration(1+l.rng.IntN(20))*time.Second)
	case n < 970:
		l.delete(l.mine())
	case n < 985:
		l.batch()
	case n < 999:
		l.compute(l.mine())
	default:
		l.set(l.own, 64<<10+l.rng.IntN(256<<10), 0)
	}
}

// draw prefers the first tenth of the keys.
func (l *loader) draw() int {
	if l.rng.IntN(2) == 0 {
		return l.rng.IntN(l.plan.Keys / 10)
	}
	return l.rng.IntN(l.plan.Keys)
}

func (l *loader) mine() int { return l.draw()/enduring*enduring + l.own }

func (l *loader) name(key int) []byte {
	l.key = fmt.Appendf(l.key[:0], "endure:%d", key)
	return l.key
}

func (l *loader) get(key int) {
	low, asked := l.ledger.lines[key].done.Load(), time.Now()
	v, ok := l.c.AppendGet(l.got[:0], l.name(key))
	l.gets.Add(1)
	if !ok {
		return
	}
	l.got = v
	l.hits.Add(1)
	if err := l.ledger.judge(key, v, low, asked); err != nil {
		l.wrong(err)
	}
}

func (l *loader) set(key, size int, ttl time.Duration) {
	version := l.ledger.begin(key)
	e := entry{key: key, version: version}
	var err error
	if ttl > 0 {
		e.expires = time.Now().Add(ttl).UnixNano()
	}
	if l.value[0] = appendEntry(l.value[0][:0], e, size); ttl > 0 {
		err = l.c.SetWithTTL(l.name(key), l.value[0], ttl)
	} else {
		err = l.c.Set(l.name(key), l.value[0])
	}
	l.end(key, version, err)
}

func (l *loader) end(key int, version uint64, err error) {
	if err != nil {
		l.wrong(fmt.Errorf("key %d: %w", key, err))
	}
	l.ledger.end(key, version)
	l.writes.Add(1)
}

func (l *loader) delete(key int) {
	version := l.ledger.begin(key)
	l.c.Delete(l.name(key))
	l.end(key, version, nil)
}

func (l *loader) batch() {
	var ops []cache.BatchOp
	keys := [2]int{l.mine(), l.mine()}
	if keys[0] == keys[1] {
		return
	}
	var versions [2]uint64
	for i, key := range keys {
		versions[i] = l.ledger.begin(key)
		l.value[i] = appendEntry(l.value[i][:0], entry{key: key, version: versions[i]}, 100+l.rng.IntN(1500))
		ops = append(ops, cache.BatchOp{Key: endureKey(key), Value: l.value[i]})
	}
	err := l.c.Batch(ops)
	for i, key := range keys {
		l.end(key, versions[i], err)
	}
}

func (l *loader) compute(key int) {
	low, asked := l.ledger.lines[key].done.Load(), time.Now()
	version := l.ledger.lines[key].begun.Add(1) // seen by nobody before it is returned
	err := l.c.Compute(l.name(key), func(old []byte, found bool) ([]byte, cache.Op) {
		if found {
			if err := l.ledger.judge(key, old, low, asked); err != nil {
				l.wrong(err)
			}
		}
		l.ledger.top[key].Store(version)
		l.value[0] = appendEntry(l.value[0][:0], entry{key: key, version: version}, 100+l.rng.IntN(1500))
		return l.value[0], cache.OpWrite
	})
	l.end(key, version, err)
}
