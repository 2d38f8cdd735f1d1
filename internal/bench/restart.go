package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	figSave      = "save, s"
	figWarmFirst = "first hit, ms"
	figWarmAll   = "all read, s"
	figWarmHits  = "hits, %"
	figSteady    = "read again, s"
	figColdFirst = "cold: first hit, ms"
	figColdAll   = "cold: all read, s"
	figColdLeft  = "cold: left in the page cache, %"
	figFlat      = "first hit of 8 GiB over that of 1 GiB"

	restartMany = ", all cores" // suffix of a variant over the same data
	restartFlat = "ember, 8 GiB over 1 GiB"

	stepFill, stepOpen = "fill", "open"
	restartChunk       = 1 << 15 // entries of one transaction, of who has some
)

var restartAll = []string{"ember", "fastcache", "otter", "theine", "bbolt", "pebble", "badger"}

// restartRow is what a new process has of what an old one stored, and when.
func restartRow(o *options) row {
	r := row{
		name:  "restart",
		title: "from Open to hits",
		about: fmt.Sprintf("A process stores so many GiB of values under keys of %d bytes, saves, and ends: by closing, or by "+
			"SIGKILL right after it has stored a 100th of them once more. Each round a fresh process opens what is there, twice: with "+
			"all of its files in the page cache, and with none (cold). The clock runs from the call that opens to the first hit, and to the "+
			"moment when every entry was read once, in a scattered order, by one goroutine, or on all cores and with GetMany where a cache "+
			"has such a call; then all are read again. save is the "+
			"time from the last Set until everything is durable or written, measured once. Caches that save on demand are "+
			"saved once before they are closed, and have nothing after a kill. Those that take minutes for more than a GiB are measured "+
			"with one alone. Ember and fastcache have room for a quarter more than the data.", keySize),
		figures: []string{figSave, figWarmFirst, figWarmAll, figWarmHits, figSteady, figColdFirst, figColdAll, figColdLeft, figFlat},
		chart:   []string{figWarmFirst, figColdFirst}, unit: "ms", logarith: true, derive: restartFlatness,
	}
	two := []string{"ember", "fastcache"}
	toFastcache := func(limit float64) goal {
		return goal{figure: figWarmFirst, of: "ember", against: two[1:], limit: limit}
	}
	toAll := func(who string, limit float64) goal {
		return goal{figure: figWarmAll, of: "ember", against: []string{who}, limit: limit}
	}
	for _, v := range []struct {
		name string
		shape
		dies  bool
		who   []string
		goals []goal
	}{
		{"1GiB/value=256/closed", shape{256, 1 << 22}, false, restartAll, []goal{toFastcache(0.005), toAll("fastcache", 0.5), toAll("bbolt", 0.1)}},
		{"1GiB/value=256/closed" + restartMany, shape{256, 1 << 22}, false, []string{"ember", "fastcache", "bbolt"}, []goal{toAll("fastcache", 0.5), toAll("bbolt", 0.1)}},
		{"1GiB/value=256/killed", shape{256, 1 << 22}, true, restartAll, nil},
		{"1GiB/value=4096/closed", shape{4096, 1 << 18}, false, restartAll, []goal{toFastcache(0.005), toAll("fastcache", 0.5)}},
		{"4GiB/value=256/closed", shape{256, 1 << 24}, false, two, []goal{toFastcache(0.005)}},
		{"8GiB/value=256/closed", shape{256, 1 << 25}, false, two, []goal{toFastcache(0.005)}},
	} {
		if o.Quick {
			v.entries >>= 12
		}
		r.variants = append(r.variants, variant{
			name: v.name, contestants: v.who, reference: "fastcache", goals: v.goals, lasting: strings.TrimSuffix(v.name, restartMany),
			run: func(j *job) (figures, error) { return restartJob(j, v.shape, v.dies) },
		})
	}
	r.variants = append(r.variants, variant{name: restartFlat, contestants: two[:1],
		goals: []goal{{figure: figFlat, of: "ember", limit: 1.5}}})
	return r
}

// restartFlatness compares the sizes, round by round.
func restartFlatness(r *result) (list []sample) {
	first := func(name string) map[int]float64 { return r.values(r.row.variant(name), "ember", figWarmFirst) }
	large, small := first("8GiB/value=256/closed"), first("1GiB/value=256/closed")
	for _, round := range roundsOf(large) {
		if small[round] > 0 {
			list = append(list, sample{Row: r.row.name, Variant: restartFlat, Contestant: "ember", Round: round,
				Figures: figures{figFlat: large[round] / small[round]}})
		}
	}
	return list
}

// restartJob is one round, in processes of its own for each step.
func restartJob(j *job, s shape, dies bool) (figures, error) {
	who, ok := restarters[j.Contestant]
	if !ok {
		return nil, fmt.Errorf("no contestant %q", j.Contestant)
	}
	switch j.Step {
	case stepFill:
		return who.fill(sizing{s, j.Dir}, dies)
	case stepOpen:
		return who.reopen(sizing{s, j.Dir}, dies, strings.HasSuffix(j.Variant, restartMany))
	}
	if dies && !who.kill {
		return figures{figWarmHits: 0}, nil
	}
	ctx := context.Background()
	got, err := prepared(ctx, j, s, dies)
	if err != nil || j.Options.Prepare {
		return got, err
	}
	if err := warmCached(j.Dir); err != nil {
		return nil, err
	}
	warm, err := j.again(ctx, stepOpen, dies)
	if err != nil {
		return nil, err
	}
	got[figWarmFirst], got[figWarmAll], got[figWarmHits], got[figSteady] = warm[figWarmFirst], warm[figWarmAll], warm[figWarmHits], warm[figSteady]
	if err := dropCached(j.Dir); err != nil {
		return nil, err
	}
	left, err := cached(j.Dir)
	if err != nil {
		return nil, err
	}
	got[figColdLeft] = 100 * float64(left) / float64(s.bytes())
	cold, err := j.again(ctx, stepOpen, dies)
	if err != nil {
		return nil, err
	}
	got[figColdFirst], got[figColdAll] = cold[figWarmFirst], cold[figWarmAll]
	return got, nil
}

// A preparation says what lies in a directory, in a file beside it that is written
// last.
type preparation struct {
	Value, Entries int
	Figures        figures
}

const preparationFile = "prepared.json"

// prepared fills the directory unless it is, and returns what that measured.
func prepared(ctx context.Context, j *job, s shape, dies bool) (figures, error) {
	path := filepath.Join(j.Dir, preparationFile)
	var p preparation
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &p) == nil && p.Value == s.value && p.Entries == s.entries {
		return p.Figures, nil
	}
	if err := errors.Join(os.RemoveAll(j.Dir), os.MkdirAll(j.Dir, 0o755)); err != nil {
		return nil, err
	}
	got, err := j.again(ctx, stepFill, dies)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(preparation{s.value, s.entries, got})
	if err != nil {
		return nil, err
	}
	return got, os.WriteFile(path, b, 0o644)
}

// A bulkPeer stores many entries in one transaction.
type bulkPeer interface {
	setMany(n int, entry func(i int) (key, value []byte)) error
}

// fill stores everything, and measures how long it takes to make it durable.
func (r *restarter) fill(s sizing, dies bool) (figures, error) {
	p, err := r.open(s)
	if err != nil {
		return nil, err
	}
	if err := storeRange(p, s.shape, 0, s.entries); err != nil {
		return nil, err
	}
	began := time.Now()
	if r.save != nil {
		err = r.save(p, s.dir)
	}
	if err != nil || dies {
		return figures{}, errors.Join(err, rewrite(p, s.shape))
	}
	err = p.close()
	return figures{figSave: time.Since(began).Seconds()}, err
}

// storeRange stores the entries from one number to before another.
func storeRange(p peer, s shape, from, to int) error {
	b, ok := p.(bulkPeer)
	if !ok {
		key, value := make([]byte, keySize), make([]byte, s.value)
		for i := from; i < to; i++ {
			putEntry(key, value, uint64(i), 0)
			p.set(key, value)
			if i&1023 == 0 {
				settle(p)
			}
		}
		settle(p)
		return nil
	}
	for ; from < to; from += restartChunk {
		keys, values := make([]byte, restartChunk*keySize), make([]byte, restartChunk*s.value)
		err := b.setMany(min(restartChunk, to-from), func(i int) (key, value []byte) {
			key, value = keys[i*keySize:][:keySize], values[i*s.value:][:s.value]
			putEntry(key, value, uint64(from+i), 0)
			return key, value
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrite stores a 100th once more: what a process had just done when it was killed.
func rewrite(p peer, s shape) error { return storeRange(p, s, 0, s.entries/100) }

// reopen opens what is there and reads everything twice.
func (r *restarter) reopen(s sizing, dies, many bool) (figures, error) {
	began := time.Now()
	p, err := r.open(s)
	if err != nil {
		return nil, err
	}
	key, buf := make([]byte, keySize), make([]byte, 0, s.value)
	first := time.Duration(0)
	for i := 0; first == 0 && i < s.entries; i++ {
		putKey(key, scattered(i, s.entries))
		if _, ok := p.get(buf, key); ok {
			first = time.Since(began)
		}
	}
	read := readAll
	if many {
		read = readMany
	}
	n := read(p, s.shape)
	all := time.Since(began)
	again := read(p, s.shape)
	steady := time.Since(began) - all
	got := figures{
		figWarmFirst: float64(first) / 1e6, figWarmAll: all.Seconds(), figWarmHits: n.percent(), figSteady: steady.Seconds(),
	}
	if err := errors.Join(n.err(), again.err()); err != nil || dies {
		return got, errors.Join(err, rewrite(p, s.shape))
	}
	return got, p.close()
}

// readAll reads every entry once, far from the order in which they were stored.
func readAll(p peer, s shape) (n presence) {
	key, buf := make([]byte, keySize), make([]byte, 0, s.value)
	for i := range s.entries {
		putKey(key, scattered(i, s.entries))
		n.note(key, s.value)(p.get(buf, key))
	}
	return n
}

// readMany does so on all cores, in batches where the cache has a call for that.
func readMany(p peer, s shape) (all presence) {
	workers := make([]worker, runtime.NumCPU())
	share := (s.entries + len(workers) - 1) / len(workers)
	var wg sync.WaitGroup
	for i := range workers {
		w := (&load{p: p, size: s.value}).worker(i)
		keys := make([]byte, batch*keySize)
		wg.Go(func() {
			for from := i * share; from < min((i+1)*share, s.entries); from += batch {
				w.readBatch(keys, from, min(from+batch, (i+1)*share, s.entries), s.entries)
			}
			workers[i] = *w
		})
	}
	wg.Wait()
	for i := range workers {
		all.add(workers[i].presence)
	}
	return all
}

// readBatch reads entries by their places in the scattered order; keys has room for
// a batch of them.
func (w *worker) readBatch(keys []byte, from, to, entries int) {
	w.keys = w.keys[:0]
	for i := from; i < to; i++ {
		key := keys[(i-from)*keySize:][:keySize]
		putKey(key, scattered(i, entries))
		w.keys = append(w.keys, key)
	}
	if b, ok := w.p.(batcher); ok {
		w.buf, w.ends = b.getMany(w.buf[:0], w.ends[:0], w.keys)
		w.sawMany()
		return
	}
	for _, key := range w.keys {
		value, ok := w.p.get(w.buf[:0], key)
		w.saw(key, value, ok)
	}
}

// scattered is the number of the entry that is read as the ith; n is a power of two.
func scattered(i, n int) uint64 { return uint64(i) * 0x9e3779b97f4a7c15 & uint64(n-1) }
