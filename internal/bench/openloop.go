package main

import (
	"runtime"
	"time"
)

// An openLoop has operations begin when they are due, Get and Set in turn, and
// takes the time of each from that moment: one that comes late because those
// before it were slow is slow itself. One goroutine waits by looking at the
// clock, on a thread of its own, so that nothing wakes it late but the machine.
type openLoop struct {
	p      peer
	d      draws
	size   int
	rate   float64 // operations a second
	length time.Duration

	gets, sets histogram
	seen       presence
	ran        time.Duration
}

func (l *openLoop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := (&load{p: l.p, size: l.size, d: l.d}).worker(0)
	total := int(l.rate * l.length.Seconds())
	gap := 1e9 / l.rate
	began := time.Now()
	for n := range total {
		due := time.Duration(float64(n) * gap)
		for time.Since(began) < due {
		}
		if n&1 == 0 {
			key := w.next()
			value, ok := l.p.get(w.buf[:0], key)
			l.gets.add(time.Since(began) - due)
			w.saw(key, value, ok)
			continue
		}
		w.set()
		l.sets.add(time.Since(began) - due)
	}
	l.ran, l.seen = time.Since(began), w.presence
	return l.seen.err()
}

// quantiles are what the figures of latency are called.
var quantiles = []struct {
	name  string
	share float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}}

// figures are microseconds.
func (l *openLoop) figures() figures {
	got := figures{"hits %": l.seen.percent()}
	for _, q := range quantiles {
		got["Get "+q.name] = micros(l.gets.quantile(q.share))
		got["Set "+q.name] = micros(l.sets.quantile(q.share))
	}
	return got
}

func latencyFigures() (list []string) {
	for _, op := range []string{"Get ", "Set "} {
		for _, q := range quantiles {
			list = append(list, op+q.name)
		}
	}
	return append(list, "hits %")
}
