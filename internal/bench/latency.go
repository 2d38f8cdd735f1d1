package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

const (
	openRate  = 200_000 // operations a second: every second one is a Set
	longPause = 2 * time.Millisecond
)

// latencyRow is how long one operation takes, seldom ones included.
func latencyRow() row {
	r := row{
		name:     "latency",
		title:    "Latency from when an operation was due, µs",
		about:    "200,000 operations a second, open loop, uniform keys, Get and Set in turn, one goroutine. Variant dumps: Ember dumps as Open sets it up. Variant fulls, 4 million entries: ember-fulls writes full generations one after the other (Recovery.Budget of a nanosecond, Flush in a loop), fastcache-saves SaveToFileConcurrent, otter-saves SaveCacheToFile; the same caches without, ember-still among them, write nothing.",
		figures:  append(latencyFigures(), "saves"),
		chart:    []string{"Get p50", "Get p99", "Get p99.9", "Get p99.99", "Set p50", "Set p99", "Set p99.9", "Set p99.99"},
		unit:     "µs, logarithmic",
		logarith: true,
	}
	dumps := variant{name: "dumps, value=256", contestants: everyone, reference: "fastcache"}
	dumps.run = func(j *job) (figures, error) { return latencyJob(j, shapes[1].scaled(&j.Options)) }
	fulls := variant{name: "fulls, value=64", contestants: []string{"ember-fulls", "ember-still", "fastcache-saves", "fastcache", "otter-saves", "otter"}, reference: "ember-still"}
	fulls.goals = []goal{{figure: "Get p99.9", of: "ember-fulls", against: []string{"ember-still"}, limit: 1.3}}
	fulls.run = func(j *job) (figures, error) { return latencyJob(j, shapes[0].scaled(&j.Options)) }
	r.variants = []variant{dumps, fulls}
	return r
}

func latencyJob(j *job, s shape) (figures, error) {
	p, err := openFull(j, s)
	if err != nil {
		return nil, err
	}
	l := openLoop{p: p, d: newDraws(s.entries, false), size: s.value, rate: openRate, length: j.Options.length(10 * time.Second)}
	// One more than there are cores: the loop never lets go of its own.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1))
	r := repeater{p: p, dir: j.Dir}
	if saves(j.Contestant) {
		r.start()
	}
	err = errors.Join(l.run(), r.end())
	got := l.figures()
	got["saves"] = float64(r.n)
	if e, ok := p.(*ember); ok {
		e.extras(got)
	}
	return got, errors.Join(err, p.close())
}

// saves reports whether a contestant saves everything over and over.
func saves(who string) bool {
	return strings.HasSuffix(who, "-saves") || strings.HasSuffix(who, "-fulls")
}

// A saver can write all that it has.
type saver interface{ save(dir string) error }

// A repeater saves again and again.
type repeater struct {
	p   peer
	dir string

	stop atomic.Bool
	done chan error
	n    int
}

func (r *repeater) start() {
	r.done = make(chan error, 1)
	go func() { r.done <- r.run() }()
}

func (r *repeater) run() error {
	s, ok := r.p.(saver)
	if !ok {
		return fmt.Errorf("%T cannot save", r.p)
	}
	for !r.stop.Load() {
		if err := s.save(r.dir); err != nil {
			return fmt.Errorf("save: %w", err)
		}
		r.n++
	}
	return nil
}

// end waits for the save that runs.
func (r *repeater) end() error {
	if r.done == nil {
		return nil
	}
	r.stop.Store(true)
	return <-r.done
}
