package hitratio

// lru evicts what was not used for longest.
type lru struct {
	room int
	r    *ring
	in   []bool
}

func newLRU(keys, room int) *lru {
	return &lru{room: room, r: newRing(keys, 1), in: make([]bool, keys)}
}

func (p *lru) Access(key uint32) bool {
	hit := p.in[key]
	switch {
	case hit:
		p.r.remove(0, key)
	case p.r.n[0] == p.room:
		oldest := p.r.last(0)
		p.r.remove(0, oldest)
		p.in[oldest] = false
	}
	p.r.push(0, key)
	p.in[key] = true
	return hit
}
