package main

import (
	"errors"
	"fmt"
)

// setRow is Set alone, of keys that are there.
func setRow() row {
	r := row{
		name:  "set",
		title: "Set, ns per operation",
		about: "Set of keys that are there, closed loop, dumps as Open sets them up. Afterwards every entry is looked for: hits. not durable: entries that the newest durable generation has older than they were 2 s before, as a process finds that opens it when one goroutine has stored for 5 s.",
	}
	r.setGrid()
	r.figures = append(r.figures, "not durable", "pages left out", "failed dumps")
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: everyone, reference: "fastcache"}
		v.run = func(j *job) (figures, error) { return setJob(j, s.scaled(&j.Options)) }
		r.variants = append(r.variants, v)
	}
	r.variants = append(r.variants, durableVariant())
	return r
}

func setJob(j *job, s shape) (figures, error) {
	p, err := openFull(j, s)
	if err != nil {
		return nil, err
	}
	got, err := measureGrid(p, s, &j.Options, load{step: setStep})
	if err == nil {
		n := probe(p, s)
		got["hits %"], err = n.percent(), n.err()
		if e, ok := p.(*ember); ok {
			e.extras(got)
		}
	}
	return got, errors.Join(err, p.close())
}
