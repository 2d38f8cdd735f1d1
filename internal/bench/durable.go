package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/embercache/ember/cache"
)

// durableAge is how old a Set may be that a power cut would undo.
const durableAge = 2 * time.Second

// durableVariant is Set by one goroutine, with the proof that dumps keep up: when
// the load ends another process opens the newest durable generation, without the
// weak ones that follow it, and no entry may be older there than it was by
// durableAge before.
func durableVariant() variant {
	v := variant{name: "value=256, one goroutine, proved durable", contestants: everyone, reference: "fastcache"}
	reference := []string{v.reference}
	v.goals = []goal{
		{figure: grid[0], of: "ember", against: reference, limit: 0.90},
		{figure: "hits %", of: "ember", against: reference, how: difference, limit: 0, atLeast: true},
		{figure: "not durable", of: "ember", limit: 0},
	}
	v.run = func(j *job) (figures, error) {
		s := shapes[1].scaled(&j.Options)
		if j.Step == stepProve {
			return prove(j, s)
		}
		return durableJob(j, s)
	}
	return v
}

// A claim is what has to be in a generation: the first sets of the draws.
type claim struct {
	Generation uint64
	Sets       int
}

const stepProve = "prove"

// A ledger numbers the Sets of one goroutine and knows how many there were when.
type ledger struct {
	at   []time.Duration // every stepOps Sets
	from time.Time
}

func (l *ledger) step(w *worker) {
	for range stepOps {
		key := w.d.key(w.sets)
		putValue(w.value, key)
		w.sets++
		binary.LittleEndian.PutUint64(w.value[8:], uint64(w.sets))
		w.p.set(key, w.value)
	}
	l.at = append(l.at, time.Since(l.from))
}

// before is how many Sets had returned at t.
func (l *ledger) before(t time.Duration) (n int) {
	for n < len(l.at) && l.at[n] <= t {
		n++
	}
	return n * stepOps
}

func durableJob(j *job, s shape) (figures, error) {
	p, err := openFull(j, s)
	if err != nil {
		return nil, err
	}
	book := &ledger{at: make([]time.Duration, 0, 1<<20)}
	l := load{p: p, size: s.value, d: newDraws(s.entries, false), workers: 1, procs: runtime.NumCPU(), step: book.step}
	l.length = j.Options.length(5 * time.Second)
	book.from = time.Now()
	out, err := l.run()
	if err != nil {
		return nil, err
	}
	got := figures{grid[0]: out.perOp(), "allocs": out.allocs}
	if e, ok := p.(*ember); ok && !e.memory {
		if err := e.claim(j, book, got); err != nil {
			return nil, err
		}
	}
	n := probe(p, s)
	got["hits %"] = n.percent()
	return got, errors.Join(n.err(), p.close())
}

// claim has another process look into the newest durable generation.
func (e *ember) claim(j *job, book *ledger, got figures) error {
	st := e.c.Stats()
	c := claim{st.Generation, book.before(time.Since(book.from) - durableAge)}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(j.Dir, "claim.json"), b, 0o600); err != nil {
		return err
	}
	next := *j
	next.Step = stepProve
	proof, err := next.exec(context.Background())
	if err != nil {
		return err
	}
	for name, x := range proof {
		got[name] = x
	}
	e.extras(got)
	if n := len(st.DurableLag.Counts); n > 0 && st.DurableLag.Counts[n-1] > 0 {
		got["mean lag, s"] = st.DurableLag.Sum.Seconds() / float64(st.DurableLag.Counts[n-1])
	}
	return nil
}

// prove counts the entries of a generation that are older than claimed.
func prove(j *job, s shape) (figures, error) {
	b, err := os.ReadFile(filepath.Join(j.Dir, "claim.json"))
	if err != nil {
		return nil, err
	}
	var c claim
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, err
	}
	o := sizing{shape: s}.ember()
	o.ReadOnly, o.Recovery.Generation = true, c.Generation
	r, err := cache.Open(context.Background(), filepath.Join(j.Dir, "ember"), o)
	if err != nil {
		return nil, fmt.Errorf("open generation %d: %w", c.Generation, err)
	}
	old, missing, err := c.check(&ember{c: r}, s)
	got := figures{"not durable": float64(old), "missing in generation": float64(missing)}
	return got, errors.Join(err, r.Close())
}

// check looks for what the claimed Sets stored last.
func (c *claim) check(p peer, s shape) (old, missing int, err error) {
	last := make([]uint64, s.entries)
	d := newDraws(s.entries, false)
	for n := range c.Sets {
		last[binary.LittleEndian.Uint64(d.key(n))] = uint64(n + 1)
	}
	key, buf := make([]byte, keySize), make([]byte, 0, s.value)
	for i, want := range last {
		putKey(key, uint64(i))
		value, ok := p.get(buf[:0], key)
		switch {
		case !ok:
			missing++
		case !owns(key, value, s.value):
			return 0, 0, fmt.Errorf("the generation has a wrong value of entry %d", i)
		case binary.LittleEndian.Uint64(value[8:]) < want:
			old++
		}
	}
	return old, missing, nil
}
