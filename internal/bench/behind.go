package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

// backgroundSets come every second behind the Gets of getsets and onoff; of the
// largest values fewer, so that the disk is not what is measured.
func backgroundSets(value int) float64 {
	if value >= 4096 {
		return 25_000
	}
	return 100_000
}

// getSetsRow is Get while somebody stores.
func getSetsRow() row {
	r := row{
		name:  "getsets",
		title: "Get behind background Sets, ns per operation",
		about: "As get, while one more goroutine does 100,000 Sets a second of the same distribution (25,000 of 4 KiB), open loop, and Ember dumps as Open sets it up: every second, and weak generations every 5 ms. late: how long a Set was due at the 99th percentile; Set: ns of one.",
	}
	r.setBehind()
	limits := map[int][2]float64{64: {0.70, 0.70}, 256: {0.55, 0.75}, 4096: {0.70, 0.70}}
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: everyone, reference: "fastcache"}
		limit := limits[s.value]
		v.behindGoals("ember", limit[0], limit[1])
		if s.value == 4096 {
			v.contestants = append([]string{"ember-view"}, everyone...)
			v.behindGoals("ember-view", 0.50, 0.50)
		}
		v.run = func(j *job) (figures, error) { return behindJob(j, s.scaled(&j.Options)) }
		r.variants = append(r.variants, v)
	}
	return r
}

// onOffRow is what dumping costs those who do not wait for it.
func onOffRow() row {
	r := row{
		name:  "onoff",
		title: "Dumps on against off, ns per operation",
		about: "As getsets, of Ember alone. ember-still has the same files and writes nothing to them: Durability with Interval and Weak negative, so neither cuts nor generations. ember-memory is OpenMemory, which has no files and keeps no journals.",
	}
	r.setBehind()
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: []string{"ember", "ember-still", "ember-memory"}, reference: "ember-still"}
		v.behindGoals("ember", 1.05, 1.05)
		v.goals = append(v.goals, goal{figure: "Set", of: "ember", against: []string{"ember-still"}, limit: 1.15})
		v.run = func(j *job) (figures, error) { return behindJob(j, s.scaled(&j.Options)) }
		r.variants = append(r.variants, v)
	}
	return r
}

func (r *row) setBehind() {
	r.figures = append(append([]string(nil), grid...), "Set", "Sets/s", "late, µs", "hits %")
	r.chart, r.unit = append(append([]string(nil), grid...), "Set"), "ns per operation"
}

func (v *variant) behindGoals(who string, uniform, zipf float64) {
	for i, f := range grid {
		limit := uniform
		if i >= 2 {
			limit = zipf
		}
		v.goals = append(v.goals, goal{figure: f, of: who, against: []string{v.reference}, limit: limit})
	}
}

// behindJob measures Get for each figure of the grid with a pace behind it.
func behindJob(j *job, s shape) (figures, error) {
	p, err := openFull(j, s)
	if err != nil {
		return nil, err
	}
	got := figures{}
	b := &behind{j: j, p: p, s: s}
	for i, zipf := range []bool{false, true} {
		d := newDraws(s.entries, zipf)
		for k, workers := range []int{1, runtime.NumCPU()} {
			ns, err := b.measure(d, workers)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", grid[2*i+k], err), p.close())
			}
			got[grid[2*i+k]] = ns
		}
	}
	got["Set"] = float64(b.took.Nanoseconds()) / float64(max(b.sets, 1))
	got["Sets/s"] = float64(b.sets) / max(b.ran.Seconds(), 1e-9)
	got["late, µs"] = micros(b.late.quantile(0.99))
	got["hits %"] = b.seen.percent()
	if e, ok := p.(*ember); ok {
		e.extras(got)
	}
	return got, p.close()
}

// behind sums up several loads with the Sets behind them.
type behind struct {
	j    *job
	p    peer
	s    shape
	seen presence
	sets int
	took time.Duration // of all Sets
	ran  time.Duration // of all paces
	late histogram
}

// settleTime passes before a load, so that generations come as they will.
const settleTime = 500 * time.Millisecond

// measure returns the nanoseconds of a Get.
func (b *behind) measure(d draws, workers int) (float64, error) {
	l := load{p: b.p, size: b.s.value, d: d, workers: workers, procs: workers + 1, step: getStep}
	if b.j.Contestant == "ember-view" {
		l.step = viewStep
	}
	l.length = b.j.Options.length(2500 * time.Millisecond)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers + 1))
	bg := &pace{p: b.p, d: d, size: b.s.value, rate: backgroundSets(b.s.value)}
	bg.start()
	time.Sleep(b.j.Options.length(settleTime))
	out, err := l.run()
	bg.end()
	b.seen.add(out.presence)
	b.sets += bg.sets
	b.took += bg.took
	b.ran += bg.ran
	b.late.merge(&bg.late)
	return out.perOp(), err
}
