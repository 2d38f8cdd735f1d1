package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/embercache/ember/internal/hitratio"
)

var (
	ratioPeers   = []string{"fastcache", "freecache", "bigcache", "ristretto", "otter", "theine"}
	ratioPlayers = slices.Concat([]string{"ember"}, ratioPeers,
		[]string{"item-ideal", "item-lru", "item-fifo", "item-sieve", "item-s3fifo", "item-arc"})
	ratioStreams    = []hitratio.Stream{{Alpha: 0.8}, {Alpha: 0.99}, {Alpha: 1.1}, {Alpha: 0.99, Scan: 20_000}}
	ratioSizes      = []int{1, 2, 5, 10, 20, 40} // percent of the keys
	ratioSizesQuick = []int{25, 40}
)

const (
	ratioMean      = "all traces"
	ratioReference = "item-s3fifo"

	figMean    = "mean, %"
	figBeneath = "least over item-s3fifo, points"

	streamKeys, streamLength           = 500_000, 3_000_000
	streamKeysQuick, streamLengthQuick = 20_000, 50_000
)

func sizeFigure(percent int) string { return fmt.Sprintf("%d %% of keys", percent) }

func sizesFor(o *options) []int {
	if o.Quick {
		return ratioSizesQuick
	}
	return ratioSizes
}

// ratioRow has a variant for each trace, and one that sums up.
func ratioRow(o *options) row {
	r := row{
		name:  "hitratio",
		title: "hits of 100 lookups, cache-aside, by size of the cache",
		about: "Each lookup that misses stores the key. All have room for the same number of entries, from 1 to 40 % of the " +
			"trace's keys: caches that count entries are told it, byte caches get the bytes that so many entries take with their " +
			"headers. Where a byte cache would be smaller than a few MiB a trace is played by 64 tenants or more at once, each with " +
			"keys of its own and from another point on, for everybody alike. One goroutine; what a cache does in the background " +
			"is awaited after each Set. Ember has persistence on. item-* are policies by item, without any cache's granularity.",
		chart: []string{figMean}, unit: "% hits", rounds: 1, derive: ratioSums,
	}
	for _, percent := range sizesFor(o) {
		r.figures = append(r.figures, sizeFigure(percent))
	}
	r.figures = append(r.figures, figMean, figBeneath)
	for _, load := range ratioTraces(o) {
		r.variants = append(r.variants, variant{name: load.name, contestants: ratioPlayers,
			run: func(j *job) (figures, error) { return playTrace(j, load) }})
	}
	r.variants = append(r.variants, variant{name: ratioMean, contestants: ratioPlayers, goals: []goal{
		{figure: figMean, of: "ember", against: ratioPeers, how: difference, limit: 0, atLeast: true},
		{figure: figBeneath, of: "ember", limit: -1, atLeast: true},
	}})
	return r
}

// drawn is always the same.
func drawn(s hitratio.Stream, keys, n int) hitratio.Trace {
	return s.Draw(rand.New(rand.NewPCG(uint64(keys), math.Float64bits(s.Alpha))), keys, n)
}

// A traceSource is a trace that is not in memory yet.
type traceSource struct {
	name string
	load func() (hitratio.Trace, error)
}

func ratioTraces(o *options) (list []traceSource) {
	keys, n := streamKeys, streamLength
	if o.Quick {
		keys, n = streamKeysQuick, streamLengthQuick
	}
	for _, s := range ratioStreams {
		list = append(list, traceSource{s.Name(), func() (hitratio.Trace, error) { return drawn(s, keys, n), nil }})
	}
	if o.Traces == "" {
		return list
	}
	paths, err := hitratio.Paths(o.Traces)
	if err != nil {
		return append(list, traceSource{o.Traces, func() (hitratio.Trace, error) { return hitratio.Trace{}, err }})
	}
	for _, path := range paths {
		list = append(list, traceSource{hitratio.Name(path), func() (hitratio.Trace, error) { return hitratio.Read(path) }})
	}
	return list
}

// playTrace plays a trace for one contestant at every size.
func playTrace(j *job, src traceSource) (figures, error) {
	tr, err := src.load()
	if err != nil {
		return nil, err
	}
	got, sum := figures{}, 0.0
	sizes := sizesFor(&j.Options)
	for _, percent := range sizes {
		ratio, err := playAt(j, tr, percent)
		if err != nil {
			return nil, fmt.Errorf("at %d %%: %w", percent, err)
		}
		got[sizeFigure(percent)] = ratio
		sum += ratio
	}
	got[figMean] = sum / float64(len(sizes))
	return got, nil
}

// playAt plays a trace with room for that part of its keys and returns hits of 100.
func playAt(j *job, tr hitratio.Trace, percent int) (float64, error) {
	room := max(1, tr.Keys*percent/100)
	tenants := tr.TenantsFor(room, ratioEntry)
	tr, room = tr.Tenants(tenants), tenants*room
	if make := hitratio.Policies[strings.TrimPrefix(j.Contestant, "item-")]; make != nil {
		return hitsOf(make(tr, room), tr), nil
	}
	c, err := newRatioCache(j.Contestant, room, filepath.Join(j.Dir, fmt.Sprint(percent)))
	if err != nil {
		return 0, err
	}
	ratio := hitsOf(c, tr)
	if err := c.close(); err != nil {
		return 0, err
	}
	if c.wrong > 0 {
		return 0, fmt.Errorf("%d values of another key", c.wrong)
	}
	return ratio, nil
}

func hitsOf(p hitratio.Policy, tr hitratio.Trace) float64 {
	return 100 * float64(hitratio.Hits(p, tr.Accesses)) / float64(max(1, len(tr.Accesses)))
}

// ratioSums adds what follows from the traces together: how far everybody stands
// from S3-FIFO by item where that is least in its favour, and the means of all.
func ratioSums(r *result) (list []sample) {
	for _, who := range ratioPlayers {
		sums, n, least := figures{}, 0.0, math.Inf(1)
		for i := range r.row.variants {
			v := &r.row.variants[i]
			if !r.has(v) || v.name == ratioMean {
				continue
			}
			beneath := math.Inf(1)
			for _, f := range r.row.figures {
				own, reference := r.values(v, who, f), r.values(v, ratioReference, f)
				if len(own) == 0 {
					continue
				}
				sums[f] += median(listed(own))
				if f != figMean {
					beneath = min(beneath, median(paired(own, reference, minus)))
				}
			}
			if math.IsInf(beneath, 0) || math.IsNaN(beneath) {
				continue
			}
			n++
			least = min(least, beneath)
			list = append(list, sample{Row: r.row.name, Variant: v.name, Contestant: who, Figures: figures{figBeneath: beneath}})
		}
		if n == 0 {
			continue
		}
		for f := range sums {
			sums[f] /= n
		}
		sums[figBeneath] = least
		list = append(list, sample{Row: r.row.name, Variant: ratioMean, Contestant: who, Figures: sums})
	}
	return list
}
