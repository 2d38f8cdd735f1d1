package cache

import (
	"cmp"
	"slices"
)

// Policies that Ember is compared with, by item: all entries have the same size,
// and a cache has room for a number of them. Keys are dense.

// A policy says of each access whether it was a hit; a miss stores the key.
type policy interface{ access(key uint32) (hit bool) }

// itemS3FIFO is Algorithm 1 of "FIFO queues are all you need for cache eviction"
// (Yang and others, SOSP 2023): small has a tenth, and as many ghosts as main has
// room for.
type itemS3FIFO struct {
	room        int
	small, main fifo
	in          []uint8 // by key: 0 none, 1 small, 2 main
	uses        []uint8
	ghost       []int32 // by key: when it came; 0: none
	ghosts      int32
}

func newItemS3FIFO(keys, room int) *itemS3FIFO {
	return &itemS3FIFO{room: room, in: make([]uint8, keys), uses: make([]uint8, keys), ghost: make([]int32, keys)}
}

func (p *itemS3FIFO) access(key uint32) bool {
	if p.in[key] != 0 {
		p.uses[key] = min(p.uses[key]+1, 3)
		return true
	}
	for p.small.len()+p.main.len() >= p.room {
		p.evict()
	}
	p.uses[key] = 0
	if g := p.ghost[key]; g != 0 && int(p.ghosts-g) < p.room-p.room/10 {
		p.ghost[key] = 0
		p.put(&p.main, 2, key)
	} else {
		p.put(&p.small, 1, key)
	}
	return false
}

func (p *itemS3FIFO) put(q *fifo, in uint8, key uint32) {
	q.push(key)
	p.in[key] = in
}

// evict looks at the head of one queue: it moves it on or evicts it.
func (p *itemS3FIFO) evict() {
	if p.small.len() > 0 && p.small.len() >= p.room/10 {
		key := p.small.pop()
		if p.uses[key] > 1 {
			p.uses[key] = 0
			p.put(&p.main, 2, key)
			return
		}
		p.ghosts++
		p.in[key], p.ghost[key] = 0, p.ghosts
		return
	}
	key := p.main.pop()
	if p.uses[key] > 0 {
		p.uses[key]--
		p.main.push(key)
		return
	}
	p.in[key] = 0
}

// A fifo is a queue of keys.
type fifo struct {
	keys []uint32
	head int
}

func (q *fifo) len() int { return len(q.keys) - q.head }

func (q *fifo) push(key uint32) {
	if q.head > 1024 && q.head > len(q.keys)/2 {
		q.keys = q.keys[:copy(q.keys, q.keys[q.head:])]
		q.head = 0
	}
	q.keys = append(q.keys, key)
}

func (q *fifo) pop() uint32 {
	key := q.keys[q.head]
	q.head++
	return key
}

// itemFIFO evicts the oldest.
type itemFIFO struct {
	room int
	q    fifo
	in   []bool
}

func newItemFIFO(keys, room int) *itemFIFO { return &itemFIFO{room: room, in: make([]bool, keys)} }

func (p *itemFIFO) access(key uint32) bool {
	if p.in[key] {
		return true
	}
	if p.q.len() == p.room {
		p.in[p.q.pop()] = false
	}
	p.q.push(key)
	p.in[key] = true
	return false
}

// itemLRU evicts what was not used for longest.
type itemLRU struct {
	room, used int
	next, prev []uint32 // by key; the last is the list's ends
	in         []bool
}

func newItemLRU(keys, room int) *itemLRU {
	p := &itemLRU{room: room, next: make([]uint32, keys+1), prev: make([]uint32, keys+1), in: make([]bool, keys)}
	p.next[keys], p.prev[keys] = uint32(keys), uint32(keys)
	return p
}

func (p *itemLRU) access(key uint32) bool {
	ends := uint32(len(p.in))
	hit := p.in[key]
	switch {
	case hit:
		p.unlink(key)
	case p.used == p.room:
		oldest := p.prev[ends]
		p.unlink(oldest)
		p.in[oldest] = false
	default:
		p.used++
	}
	first := p.next[ends]
	p.next[ends], p.prev[key], p.next[key], p.prev[first] = key, ends, first, key
	p.in[key] = true
	return hit
}

func (p *itemLRU) unlink(key uint32) {
	p.next[p.prev[key]], p.prev[p.next[key]] = p.next[key], p.prev[key]
}

// ideal knows what comes (Belady, 1966): what is used last goes first, and what
// would go at once is not stored.
type ideal struct {
	room, used int
	at         int
	next       []uint32 // by access: the next one of the same key
	until      []uint32 // by key in the cache: its next access; 0: it is not there
	uses       []uint64 // a heap of next access<<32 | key, the latest first
}

func newIdeal(keys, room int, accesses []uint32) *ideal {
	p := &ideal{room: room, next: make([]uint32, len(accesses)), until: make([]uint32, keys)}
	seen := make([]uint32, keys)
	for i := len(accesses) - 1; i >= 0; i-- {
		key := accesses[i]
		if p.next[i] = seen[key]; p.next[i] == 0 {
			p.next[i] = uint32(len(accesses)) + 1 // never
		}
		seen[key] = uint32(i) + 1
	}
	return p
}

func (p *ideal) access(key uint32) bool {
	next := p.next[p.at]
	p.at++
	hit := p.until[key] != 0
	if !hit {
		p.used++
	}
	p.until[key] = next
	p.push(uint64(next)<<32 | uint64(key))
	for p.used > p.room {
		if last := p.pop(); p.stands(last) {
			p.until[uint32(last)] = 0
			p.used--
		}
	}
	return hit
}

// stands reports whether a use is still to come.
func (p *ideal) stands(use uint64) bool { return p.until[uint32(use)] == uint32(use>>32) }

func (p *ideal) push(use uint64) {
	if len(p.uses) > 4*p.room {
		p.uses = slices.DeleteFunc(p.uses, func(u uint64) bool { return !p.stands(u) })
		slices.SortFunc(p.uses, func(a, b uint64) int { return cmp.Compare(b, a) })
	}
	p.uses = append(p.uses, use)
	for i := len(p.uses) - 1; i > 0 && p.uses[(i-1)/2] < p.uses[i]; i = (i - 1) / 2 {
		p.uses[i], p.uses[(i-1)/2] = p.uses[(i-1)/2], p.uses[i]
	}
}

func (p *ideal) pop() uint64 {
	first, n := p.uses[0], len(p.uses)-1
	p.uses[0] = p.uses[n]
	p.uses = p.uses[:n]
	for i := 0; 2*i+1 < n; {
		child := 2*i + 1
		if child+1 < n && p.uses[child+1] > p.uses[child] {
			child++
		}
		if p.uses[i] >= p.uses[child] {
			break
		}
		p.uses[i], p.uses[child] = p.uses[child], p.uses[i]
		i = child
	}
	return first
}
