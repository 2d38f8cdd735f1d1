package main

import (
	"errors"
	"runtime"
	"time"
)

// maximaRow is what the longest operations of a minute take.
func maximaRow() row {
	r := row{
		name:    "maxima",
		title:   "The longest operations of a minute",
		about:   "Pairs of a minute each, 200,000 operations a second, open loop as latency, 1 million entries of 256 B, Get and Set in turn. Dumps as Open sets them up, and off: ember-still, see onoff. What takes long on both sides is the machine's.",
		figures: []string{"max, ms", "over 2 ms", "Get max, ms", "Set max, ms", "Get p99.99", "Set p99.99", "hits %"},
		chart:   []string{"max, ms", "Get max, ms", "Set max, ms"},
		unit:    "ms",
		rounds:  10,
	}
	v := variant{name: "value=256", contestants: []string{"ember", "ember-still"}, reference: "ember-still"}
	still := []string{"ember-still"}
	v.goals = []goal{
		{figure: "max, ms", of: "ember", against: still, how: ofMedians, limit: millis(longPause)},
		{figure: "over 2 ms", of: "ember", against: still, how: ofSums, limit: 1.2},
	}
	v.run = func(j *job) (figures, error) { return maximaJob(j, shapes[1].scaled(&j.Options)) }
	r.variants = []variant{v}
	return r
}

func maximaJob(j *job, s shape) (figures, error) {
	p, err := openFull(j, s)
	if err != nil {
		return nil, err
	}
	l := openLoop{p: p, d: newDraws(s.entries, false), size: s.value, rate: openRate, length: j.Options.length(time.Minute)}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1))
	err = l.run()
	got := l.figures()
	got["Get max, ms"], got["Set max, ms"] = millis(l.gets.most), millis(l.sets.most)
	got["max, ms"] = max(got["Get max, ms"], got["Set max, ms"])
	got["over 2 ms"] = float64(l.gets.over(longPause) + l.sets.over(longPause))
	if e, ok := p.(*ember); ok {
		e.extras(got)
	}
	return got, errors.Join(err, p.close())
}
