package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"time"
)

const (
	garbageRate   = 200 << 20 // bytes a second
	garbageObject = 1 << 10
	garbageAlive  = 4096 // objects at a time
	emptyEmber    = "ember-empty"

	figGC       = "of the processors, %"
	figGCBusy   = "without idle time, %"
	figCycles   = "collections"
	figGarbage  = "allocated, MB/s"
	figLongest  = "longest forced collection, ms"
	leastCycles = 3
)

// collectorRow is what entries cost Go's garbage collector.
func collectorRow(o *options) row {
	s := shape{64, 10_000_000}
	if o.Quick {
		s.entries /= 1000
	}
	return row{
		name:  "collector",
		title: "share of the processors that Go's collector takes",
		about: fmt.Sprintf("10 million entries of %d+64 bytes are resident while the program allocates 200 MB/s of other things, "+
			"objects of 1 KiB of which 4 MiB are alive. The share is /cpu/classes/gc/total of GOMAXPROCS times the wall clock "+
			"(/cpu/classes/total), from one collection to another; beside it without what ran on processors that had nothing "+
			"else to do. %s is the same Ember with nothing in it.", keySize, emptyEmber),
		figures: []string{figGC, figGCBusy, figCycles, figGarbage, figLongest, figObjects},
		chart:   []string{figGC}, unit: "% of the processors",
		variants: []variant{{
			name:        "entries=10M/value=64",
			contestants: append([]string{"ember", emptyEmber}, ratioPeers...), reference: emptyEmber,
			goals: []goal{{figure: figGC, of: "ember", against: []string{emptyEmber}, how: difference, limit: 0.5}},
			run:   func(j *job) (figures, error) { return collectorJob(j, s) },
		}},
	}
}

func collectorJob(j *job, s shape) (figures, error) {
	who := j.Contestant
	if who == emptyEmber {
		who = "ember"
	}
	p, err := tight[who](sizing{s, j.Dir})
	if err != nil {
		return nil, err
	}
	if j.Contestant != emptyEmber {
		fill(p, s)
	}
	if e, ok := p.(*ember); ok {
		if _, err := e.c.Flush(context.Background()); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	runtime.GC()
	forced := time.Since(began)
	got := litter(&j.Options)
	got[figLongest], got[figObjects] = float64(forced)/1e6, float64(heapObjects())
	return got, p.close()
}

// litter allocates at a pace and says what the collector took meanwhile: until the
// time is over and some collections have ended, or six times as long.
func litter(o *options) figures {
	length := o.length(30 * time.Second)
	alive := make([][]byte, garbageAlive)
	runtime.GC()
	began, before := time.Now(), readCollector()
	done := 0
	for {
		took := time.Since(began)
		if took >= length && readCollector().cycles-before.cycles >= leastCycles || took >= 6*length {
			break
		}
		for due := int(took.Seconds() * garbageRate / garbageObject); done < due; done++ {
			alive[done%garbageAlive] = make([]byte, garbageObject)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	after := readCollector()
	runtime.KeepAlive(alive)
	total := max(after.total-before.total, 1e-9)
	return figures{
		figGC:      100 * (after.gc - before.gc) / total,
		figGCBusy:  100 * (after.gc - after.idle - before.gc + before.idle) / total,
		figCycles:  after.cycles - before.cycles,
		figGarbage: float64(done) * garbageObject / took.Seconds() / (1 << 20),
	}
}

// A collectorTime is seconds of all processors up to the last collection.
type collectorTime struct{ gc, idle, total, cycles float64 }

func readCollector() collectorTime {
	s := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(s)
	return collectorTime{s[0].Value.Float64(), s[1].Value.Float64(), s[2].Value.Float64(), float64(s[3].Value.Uint64())}
}
