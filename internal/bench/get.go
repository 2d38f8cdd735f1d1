package main

import (
	"errors"
	"fmt"
)

// getRow is Get alone: all entries are there, nothing is written.
func getRow() row {
	r := row{
		name:  "get",
		title: "Get, ns per operation",
		about: "Get of keys that are there, closed loop, no writes. Caches that copy do so into a buffer that is used again; View, in place, at 4 KiB. Every value is checked. floor is no cache: two loads, the second from where the first points, and the copy.",
	}
	r.setGrid()
	limits := map[int][2]float64{64: {0.70, 0.70}, 256: {0.55, 0.75}, 4096: {0.70, 0.70}}
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: append(everyone[:len(everyone):len(everyone)], "floor"), reference: "fastcache"}
		v.gridGoals("ember", limits[s.value][0], limits[s.value][1])
		if s.value == 4096 {
			v.contestants = append([]string{"ember-view"}, v.contestants...)
			v.gridGoals("ember-view", 0.50, 0.50)
		}
		v.run = gridJob(s, load{step: getStep})
		r.variants = append(r.variants, v)
	}
	return r
}

// setGrid gives a row the figures of measureGrid.
func (r *row) setGrid() {
	r.figures = append(append([]string(nil), grid...), "hits %", "allocs")
	r.chart, r.unit = grid, "ns per operation"
}

// gridGoals asks that who takes at most so much of the reference's time, and has
// as many hits.
func (v *variant) gridGoals(who string, uniform, zipf float64) {
	for i, f := range grid {
		limit := uniform
		if i >= len(grid)/2 {
			limit = zipf
		}
		v.goals = append(v.goals, goal{figure: f, of: who, against: []string{v.reference}, limit: limit})
	}
}

// gridJob fills a cache and runs l for each figure of the grid.
func gridJob(s shape, l load) func(j *job) (figures, error) {
	return func(j *job) (figures, error) {
		s, l := s.scaled(&j.Options), l
		p, err := openFull(j, s)
		if err != nil {
			return nil, err
		}
		if j.Contestant == "ember-view" {
			l.step = viewStep
		}
		got, err := measureGrid(p, s, &j.Options, l)
		return got, errors.Join(err, p.close())
	}
}
