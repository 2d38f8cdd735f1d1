package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A load is goroutines that each do one operation after the other, as fast as
// they can.
type load struct {
	p       peer
	size    int // of values
	d       draws
	workers int
	procs   int // GOMAXPROCS meanwhile; 0: workers
	length  time.Duration
	step    func(w *worker) // does stepOps operations
}

// stepOps operations come between two looks at the clock.
const stepOps = 256

// A worker is one goroutine of a load.
type worker struct {
	*load
	presence
	at     int // draw
	sets   int
	buf    []byte
	value  []byte
	keys   [][]byte
	ends   []int
	viewed []byte       // key that look expects
	look   func([]byte) // checks a value in place
}

// An outcome is what a load did.
type outcome struct {
	presence
	ops    int
	took   time.Duration
	allocs float64 // objects per operation, of the whole process
}

// perOp is the time between two operations that end, in nanoseconds: with several
// goroutines less than one takes.
func (o *outcome) perOp() float64 { return float64(o.took.Nanoseconds()) / float64(max(o.ops, 1)) }

// run runs a load to its end.
func (l *load) run() (out outcome, err error) {
	procs := l.procs
	if procs == 0 {
		procs = l.workers
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	var stop atomic.Bool
	var wg sync.WaitGroup
	workers := make([]worker, l.workers)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range workers {
		w := l.worker(i)
		wg.Go(func() {
			n := 0
			for !stop.Load() {
				l.step(w)
				if n++; n&7 == 0 && time.Since(began) >= l.length {
					stop.Store(true)
				}
			}
			workers[i] = *w
		})
	}
	wg.Wait()
	out.took = time.Since(began)
	runtime.ReadMemStats(&after)
	for i := range workers {
		out.add(workers[i].presence)
		out.ops += workers[i].hits + workers[i].misses + workers[i].wrong + workers[i].sets
	}
	out.allocs = float64(after.Mallocs-before.Mallocs) / float64(max(out.ops, 1))
	return out, out.err()
}

func (n *presence) add(m presence) {
	n.hits += m.hits
	n.misses += m.misses
	n.wrong += m.wrong
}

// worker makes worker i, which begins at a place of its own among the draws.
func (l *load) worker(i int) *worker {
	w := &worker{load: l, at: i * 0x9e375, buf: make([]byte, 0, batch*l.size), value: make([]byte, l.size)}
	w.keys, w.ends = make([][]byte, 0, batch), make([]int, 0, batch)
	w.look = func(value []byte) { w.saw(w.viewed, value, true) }
	return w
}

// next returns the next key.
func (w *worker) next() []byte {
	w.at++
	return w.d.key(w.at)
}

// saw counts a lookup.
func (w *worker) saw(key, value []byte, ok bool) {
	switch {
	case !ok:
		w.misses++
	case !owns(key, value, w.size):
		w.wrong++
	default:
		w.hits++
	}
}

func getStep(w *worker) {
	for range stepOps {
		key := w.next()
		value, ok := w.p.get(w.buf[:0], key)
		w.saw(key, value, ok)
	}
}

func viewStep(w *worker) {
	v := w.p.(viewer)
	for range stepOps {
		w.viewed = w.next()
		if !v.view(w.viewed, w.look) {
			w.misses++
		}
	}
}

const batch = 32 // keys of one getMany

// getManyStep asks for batches; who has no call for that loops.
func getManyStep(w *worker) {
	b, ok := w.p.(batcher)
	if !ok {
		getStep(w)
		return
	}
	for range stepOps / batch {
		w.keys = w.keys[:0]
		for range batch {
			w.keys = append(w.keys, w.next())
		}
		w.buf, w.ends = b.getMany(w.buf[:0], w.ends[:0], w.keys)
		w.sawMany()
	}
}

func (w *worker) sawMany() {
	from := 0
	for i, end := range w.ends {
		if end < 0 {
			w.misses++
			continue
		}
		w.saw(w.keys[i], w.buf[from:end], true)
		from = end
	}
}

func setStep(w *worker) {
	for range stepOps {
		w.set()
	}
}

func (w *worker) set() {
	key := w.next()
	putValue(w.value, key)
	w.p.set(key, w.value)
	w.sets++
}

// mixStep makes a step of which one operation in every is a Set.
func mixStep(every int) func(w *worker) {
	return func(w *worker) {
		for i := range stepOps {
			if i%every == 0 {
				w.set()
				continue
			}
			key := w.next()
			value, ok := w.p.get(w.buf[:0], key)
			w.saw(key, value, ok)
		}
	}
}

// grid names the figures of a row on operations: distribution and goroutines.
var grid = []string{"uniform, 1", "uniform, all", "zipf, 1", "zipf, all"}

// measureGrid runs a load for each figure of grid.
func measureGrid(p peer, s shape, o *options, l load) (figures, error) {
	got := figures{}
	var all presence
	for i, zipf := range []bool{false, true} {
		d := newDraws(s.entries, zipf)
		for k, workers := range []int{1, runtime.NumCPU()} {
			l.p, l.size, l.d, l.workers, l.length = p, s.value, d, workers, o.length(time.Second)
			out, err := l.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", grid[2*i+k], err)
			}
			got[grid[2*i+k]] = out.perOp()
			got["allocs"] = out.allocs
			all.add(out.presence)
		}
	}
	if all.hits+all.misses > 0 {
		got["hits %"] = all.percent()
	}
	return got, nil
}
