package main

import "fmt"

// mixRow is so many Gets to one Set, all by the same goroutines.
func mixRow(name, mix string, every int) row {
	r := row{
		name:  name,
		title: mix + " Get/Set, ns per operation",
		about: fmt.Sprintf("Of %d operations one is a Set of a key that is there. Closed loop, as get. A cache that is a ring forgets what it still should have: see the hits.", every),
	}
	r.setGrid()
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: everyone, reference: "fastcache"}
		v.run = gridJob(s, load{step: mixStep(every)})
		r.variants = append(r.variants, v)
	}
	return r
}
