package hitratio

// sieve is "SIEVE is simpler than LRU" (Zhang and others, NSDI 2024): a hand
// goes from the oldest to the newest, spares what was used since and evicts the
// first that was not, where it stands.
type sieve struct {
	room     int
	r        *ring
	in, used []bool
	hand     uint32 // the end: it begins at the oldest
}

func newSIEVE(keys, room int) *sieve {
	p := &sieve{room: room, r: newRing(keys, 1), in: make([]bool, keys), used: make([]bool, keys)}
	p.hand = p.r.end(0)
	return p
}

func (p *sieve) Access(key uint32) bool {
	if p.in[key] {
		p.used[key] = true
		return true
	}
	if p.r.n[0] == p.room {
		p.evict()
	}
	p.r.push(0, key)
	p.in[key], p.used[key] = true, false
	return false
}

func (p *sieve) evict() {
	key := p.hand
	for {
		if key == p.r.end(0) {
			key = p.r.last(0)
		}
		if !p.used[key] {
			break
		}
		p.used[key] = false
		key = p.r.prev[key]
	}
	p.hand = p.r.prev[key]
	p.r.remove(0, key)
	p.in[key] = false
}
