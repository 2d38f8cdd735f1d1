package main

import "fmt"

// getManyRow is Get of many keys in one call.
func getManyRow() row {
	r := row{
		name:  "getmany",
		title: "GetMany, ns per key",
		about: fmt.Sprintf("As get, %d keys a call. Caches without such a call are asked key by key.", batch),
	}
	r.setGrid()
	for _, s := range shapes {
		v := variant{name: fmt.Sprintf("value=%d", s.value), contestants: everyone, reference: "fastcache"}
		v.run = gridJob(s, load{step: getManyStep})
		r.variants = append(r.variants, v)
	}
	return r
}
