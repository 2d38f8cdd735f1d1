package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/embercache/ember/cache"
)

// A tuned is a cache with options under test, and the load on it.
type tuned struct {
	p     *ember
	s     shape
	d     draws
	at    int // draw of the next Set
	key   []byte
	value []byte
}

func openTuned(j *job, o *cache.Options) (*tuned, error) {
	if ring := filepath.Join(j.Dir, "ring"); j.Contestant == "ring-on-tmpfs" {
		o.Durability.WeakDir = ring
	}
	c, err := cache.Open(context.Background(), filepath.Join(j.Dir, "ember"), o)
	if err != nil {
		return nil, err
	}
	s := shape{256, 1 << 18}.scaled(&j.Options)
	return &tuned{p: &ember{c: c}, s: s, key: make([]byte, keySize), value: make([]byte, s.value)}, nil
}

// tuningLoad measures, writes the figures to standard output, and is killed under
// Sets.
func tuningLoad(j *job, o *cache.Options) (figures, error) {
	t, err := openTuned(j, o)
	if err != nil {
		return nil, err
	}
	fill(t.p, t.s)
	if err := t.p.filled(); err != nil {
		return nil, err
	}
	t.d = newDraws(t.s.entries, false)
	length, got := j.Options.length(6*time.Second), figures{}
	before := t.p.c.Stats()
	gets := t.getsDuring(func() { t.pace(length).into(got, tuningSet, tuningSetLate) })
	gets.into(got, tuningGet, tuningGetLate)
	d := t.p.c.Stats().Sub(before)
	got[tuningWritten], got[tuningWeak] = t.per(gets.during, d.PageBytes+d.BlobBytes+d.ImageBytes), t.per(gets.during, d.WeakBytes)
	if counts := d.DurableLag.Counts; counts[len(counts)-1] > 0 {
		got[tuningLag] = float64(d.DurableLag.Sum) / 1e6 / float64(counts[len(counts)-1])
	}
	if err := t.fullSpeed(length/4, got); err != nil {
		return nil, err
	}
	t.pace(length / 4)
	if err := json.NewEncoder(os.Stdout).Encode(got); err != nil {
		return nil, err
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	return nil, errors.Join(err, errors.New("the process outlived SIGKILL"))
}

// fullSpeed stores for so long as fast as one goroutine can, and makes it durable:
// what is written for it counts.
func (t *tuned) fullSpeed(length time.Duration, got figures) error {
	before, began, n := t.p.c.Stats(), time.Now(), 0
	for n%stepOps != 0 || time.Since(began) < length {
		t.set()
		n++
	}
	got[tuningFull] = float64(time.Since(began).Nanoseconds()) / float64(n)
	if err := t.p.filled(); err != nil {
		return err
	}
	d := t.p.c.Stats().Sub(before)
	got[tuningFast] = t.per(uint64(n), d.PageBytes+d.BlobBytes+d.ImageBytes)
	return nil
}

func (t *tuned) set() {
	key := t.d.key(t.at)
	t.at++
	putValue(t.value, key)
	t.p.set(key, t.value)
}

// pace stores so many a second, and times each call.
func (t *tuned) pace(length time.Duration) *calls {
	c, began := new(calls), time.Now()
	for took := time.Duration(0); took < length; took = time.Since(began) {
		for due := int(took.Seconds() * tuningPace); len(c.ns) < due; {
			c.time(t.set)
		}
		time.Sleep(200 * time.Microsecond)
	}
	return c
}

// getsDuring has another goroutine read as fast as it can while load runs.
func (t *tuned) getsDuring(load func()) *calls {
	var stop atomic.Bool
	c, done := new(calls), make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 0, t.s.value)
		for i := t.d.len() / 2; !stop.Load(); i++ {
			c.time(func() { t.p.get(buf, t.d.key(i)) })
		}
	}()
	sets := t.p.c.Stats().Sets
	load()
	stop.Store(true)
	<-done
	c.during = t.p.c.Stats().Sets - sets
	return c
}

// per is bytes over those of so many Sets.
func (t *tuned) per(sets uint64, bytes int64) float64 {
	return float64(bytes) / float64(max(sets, 1)*uint64(keySize+t.s.value))
}

// calls are the times of single calls. What reading the clock takes, twice, is in
// all of them alike.
type calls struct {
	ns     []int32
	during uint64 // Sets
}

func (c *calls) time(call func()) {
	began := time.Now()
	call()
	c.ns = append(c.ns, int32(min(time.Since(began), 2*time.Second)))
}

func (c *calls) into(got figures, mean, late string) {
	if len(c.ns) == 0 {
		return
	}
	sum := 0.0
	for _, ns := range c.ns {
		sum += float64(ns)
	}
	slices.Sort(c.ns)
	got[mean] = sum / float64(len(c.ns))
	got[late] = float64(c.ns[len(c.ns)*999/1000]) / 1e3
}
