package power

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/cache"
	"github.com/embercache/ember/internal/draw"
)

// A life is the process that uses a cache.
type life struct {
	plan  plan
	rng   *rand.Rand
	in    *bufio.Reader
	out   *json.Encoder
	clock atomic.Uint64
	next  []uint64 // number of each writer's next write
	c     *cache.Cache
	s     session

	mu     sync.Mutex
	events [][]event // not told yet
	counts []int     // of all
}

// live does what a plan says. It ends the process where the plan does.
func live(p plan, in io.Reader, out io.Writer) error {
	l := &life{plan: p, rng: rand.New(rand.NewSource(p.Draw)), in: bufio.NewReader(in), out: json.NewEncoder(out)}
	l.clock.Store(p.Clock)
	l.events, l.counts = make([][]event, p.Writers), make([]int, p.Writers)
	for range p.Writers {
		l.next = append(l.next, p.First)
	}
	for _, s := range p.Sessions {
		over, err := l.session(s)
		if err != nil {
			return l.tell(message{Kind: kindFailed, Wrong: []string{err.Error()}})
		}
		if over {
			return nil
		}
	}
	return nil
}

// tell waits for the answer.
func (l *life) tell(m message) error {
	l.mu.Lock()
	m.Events, l.events = l.events, make([][]event, l.plan.Writers)
	l.mu.Unlock()
	m.Time = time.Now().UnixNano()
	if err := l.out.Encode(&m); err != nil {
		return err
	}
	_, err := l.in.ReadByte()
	return err
}

func (l *life) options() *cache.Options {
	o := &cache.Options{MaxBytes: l.s.MaxBytes, Shards: l.s.Shards, Logger: slog.New(slog.DiscardHandler), CloseTimeout: time.Minute}
	o.Durability = cache.Durability{Interval: l.s.Interval, Weak: l.s.Weak, NoSync: l.s.NoSync, Keep: l.s.Keep}
	o.Recovery = cache.Recovery{Budget: l.s.Budget, Timeout: time.Minute}
	return o
}

func (l *life) session(s session) (over bool, err error) {
	l.s = s
	before := time.Now().UnixNano()
	if l.c, err = cache.Open(context.Background(), l.plan.Dir, l.options()); err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	if err := l.found(before); err != nil {
		return false, err
	}
	stop := l.pushing()
	defer stop()
	for range s.Rounds {
		if err := l.round(); err != nil {
			return false, err
		}
	}
	if s.Flush {
		if err := l.flush(); err != nil {
			return false, err
		}
	}
	if s.Exit {
		return true, l.tell(message{Kind: kindOver, LeftOut: l.c.Stats().LeftOut})
	}
	asked := l.asked()
	left := l.c.Stats().LeftOut
	if err := l.c.Close(); err != nil {
		return false, fmt.Errorf("close: %w", err)
	}
	return false, l.tell(message{Kind: kindClosed, Counts: asked, LeftOut: left})
}

// pushing pushes every millisecond or so until stop is called, which waits.
func (l *life) pushing() (stop func()) {
	if !l.plan.Pushes {
		return func() {}
	}
	rng, end := rand.New(rand.NewSource(l.rng.Int63())), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Duration(rng.Intn(2000)) * time.Microsecond):
				push(l.plan.Dir, rng)
			}
		}
	})
	return func() { close(end); running.Wait() }
}

// found tells everything that is there.
func (l *life) found(before int64) error {
	var m message
	if l.s.Verify {
		if _, err := l.c.WaitVerified(context.Background()); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	var buf []byte
	for w := range l.plan.Writers {
		found := make([]uint64, keys)
		for key := range found {
			var ok bool
			if buf, ok = l.c.AppendGet(buf[:0], keyOf(w, key)); !ok {
				continue
			}
			if found[key], ok = numberOf(l.plan.Seed, w, key, buf); !ok {
				m.Wrong = append(m.Wrong, fmt.Sprintf("key %d of writer %d has %d bytes that no write stored", key, w, len(buf)))
			}
		}
		m.Found = append(m.Found, found)
	}
	r, err := l.c.WaitVerified(context.Background())
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	m.Kind, m.Generation = kindFound, r.Generation
	m.Report = report{Outcome: r.Outcome.String(), Generation: r.Generation, Weak: r.Weak, Stale: r.MayBeStale,
		Dropped: r.Dropped, Pages: r.PagesDropped, Before: before}
	if r.Reason != nil {
		m.Report.Reason = r.Reason.Error()
	}
	if err := l.c.Health(); err != nil {
		m.Wrong = append(m.Wrong, fmt.Sprintf("Health after Open: %v", err))
	}
	return l.tell(m)
}

// asked is how much has returned.
func (l *life) asked() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int(nil), l.counts...)
}

// did notes an event that has returned.
func (l *life) did(w int, e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[w] = append(l.events[w], e)
	l.counts[w]++
}

// round has all writers write at once, perhaps during a Flush; then something is done
// that is not theirs.
func (l *life) round() error {
	errs := make([]error, l.plan.Writers+1)
	var all sync.WaitGroup
	for w := range l.plan.Writers {
		n := 1 + l.rng.Intn(12)
		all.Go(func() {
			for range n {
				if errs[w] = l.write(w); errs[w] != nil {
					return
				}
			}
		})
	}
	if l.rng.Intn(3) == 0 {
		all.Go(func() { errs[l.plan.Writers] = l.flush() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch n := l.rng.Intn(100); {
	case n < 55:
		return l.flush()
	case n < 58 && l.s.Clears:
		return l.clear()
	case n < 85:
		time.Sleep(time.Duration(l.rng.Intn(15)) * time.Millisecond) // links and generations of their own accord
	}
	return nil
}

func (l *life) flush() error {
	asked := l.asked()
	g, err := l.c.Flush(context.Background())
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return l.tell(message{Kind: kindFlushed, Counts: asked, Generation: g, LeftOut: l.c.Stats().LeftOut})
}

func (l *life) clear() error {
	e := event{Number: l.clock.Add(1), Clear: true}
	e.From = e.Number
	if err := l.c.Clear(); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	e.To = l.clock.Add(1)
	for w := range l.plan.Writers {
		l.did(w, e)
	}
	return nil
}

func (l *life) write(w int) error {
	e := event{Number: l.next[w]}
	l.next[w]++
	o := writeOf(l.plan.Seed, w, e.Number)
	key := func(i int) []byte { return keyOf(w, o.keys[i]) }
	value := func(i int) []byte { return draw.Value(w, o.keys[i], e.Number, o.size) }
	first := value(0)
	if o.kind == opShort {
		e.Born = time.Now().UnixNano()
	}
	e.From = l.clock.Add(1)
	var err error
	switch o.kind {
	case opSet:
		err = l.c.Set(key(0), first)
	case opLong:
		err = l.c.SetWithTTL(key(0), first, time.Hour)
	case opShort:
		err = l.c.SetWithTTL(key(0), first, shortTTL)
	case opMemoryOnly:
		err = l.c.SetEntry(key(0), first, cache.EntryOptions{MemoryOnly: true})
	case opDelete:
		l.c.Delete(key(0))
	case opBatch:
		err = l.c.Batch([]cache.BatchOp{{Key: key(0), Value: first}, {Key: key(1), Value: value(1)}, {Key: key(2)}})
	}
	e.To = l.clock.Add(1)
	if o.kind == opShort {
		e.Done = time.Now().UnixNano()
	}
	l.did(w, e)
	return err
}
