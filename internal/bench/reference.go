package main

import (
	"cmp"
	"container/heap"
	"slices"
)

// Policies by item, which the caches are compared with: all entries have the same
// size, a cache has room for a number of them, and keys are dense.

// A player says of each access whether it was a hit; a miss stores the key.
type player interface{ access(key uint32) (hit bool) }

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

// A ring is the lists of a policy, doubly linked through their keys. Each list has
// an end of its own, one of the keys beyond the last.
type ring struct {
	next, prev []uint32
	keys       uint32
	n          []int // by list
}

func newRing(keys, lists int) *ring {
	r := &ring{next: make([]uint32, keys+lists), prev: make([]uint32, keys+lists), keys: uint32(keys), n: make([]int, lists)}
	for i := range lists {
		end := r.end(i)
		r.next[end], r.prev[end] = end, end
	}
	return r
}

func (r *ring) end(list int) uint32 { return r.keys + uint32(list) }

// last is the oldest of a list; its end if it is empty.
func (r *ring) last(list int) uint32 { return r.prev[r.end(list)] }

func (r *ring) push(list int, key uint32) {
	end := r.end(list)
	first := r.next[end]
	r.next[end], r.prev[key], r.next[key], r.prev[first] = key, end, first, key
	r.n[list]++
}

func (r *ring) remove(list int, key uint32) {
	r.next[r.prev[key]], r.prev[r.next[key]] = r.next[key], r.prev[key]
	r.n[list]--
}

// itemLRU evicts what was not used for longest.
type itemLRU struct {
	room int
	r    *ring
	in   []bool
}

func newItemLRU(keys, room int) *itemLRU {
	return &itemLRU{room: room, r: newRing(keys, 1), in: make([]bool, keys)}
}

func (p *itemLRU) access(key uint32) bool {
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

// itemSIEVE is "SIEVE is simpler than LRU" (Zhang and others, NSDI 2024): a hand
// goes from the oldest to the newest, spares what was used since and evicts the
// first that was not, where it stands.
type itemSIEVE struct {
	room     int
	r        *ring
	in, used []bool
	hand     uint32 // the end: it begins at the oldest
}

func newItemSIEVE(keys, room int) *itemSIEVE {
	p := &itemSIEVE{room: room, r: newRing(keys, 1), in: make([]bool, keys), used: make([]bool, keys)}
	p.hand = p.r.end(0)
	return p
}

func (p *itemSIEVE) access(key uint32) bool {
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

func (p *itemSIEVE) evict() {
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

// itemARC is "ARC: a self-tuning, low overhead replacement cache" (Megiddo and
// Modha, FAST 2003).
type itemARC struct {
	room, target int
	r            *ring
	in           []uint8 // by key: the list, plus one; 0: none
}

const arcT1, arcT2, arcB1, arcB2 = 0, 1, 2, 3 // seen once, more often, and their ghosts

func newItemARC(keys, room int) *itemARC {
	return &itemARC{room: room, r: newRing(keys, 4), in: make([]uint8, keys)}
}

func (p *itemARC) move(key uint32, to int) {
	if from := p.in[key]; from != 0 {
		p.r.remove(int(from)-1, key)
	}
	p.r.push(to, key)
	p.in[key] = uint8(to) + 1
}

func (p *itemARC) forget(list int) {
	key := p.r.last(list)
	p.r.remove(list, key)
	p.in[key] = 0
}

func (p *itemARC) access(key uint32) bool {
	n := p.r.n
	switch int(p.in[key]) - 1 {
	case arcT1, arcT2:
		p.move(key, arcT2)
		return true
	case arcB1:
		p.target = min(p.room, p.target+max(1, n[arcB2]/n[arcB1]))
		p.replace(false)
		p.move(key, arcT2)
	case arcB2:
		p.target = max(0, p.target-max(1, n[arcB1]/n[arcB2]))
		p.replace(true)
		p.move(key, arcT2)
	default:
		p.makeRoom()
		p.move(key, arcT1)
	}
	return false
}

// makeRoom is case IV of the paper: a key that nothing is known of.
func (p *itemARC) makeRoom() {
	n := p.r.n
	if once := n[arcT1] + n[arcB1]; once == p.room {
		if n[arcT1] == p.room {
			p.forget(arcT1)
			return
		}
		p.forget(arcB1)
		p.replace(false)
		return
	}
	if all := n[arcT1] + n[arcT2] + n[arcB1] + n[arcB2]; all >= p.room {
		if all == 2*p.room {
			p.forget(arcB2)
		}
		p.replace(false)
	}
}

// replace makes a ghost of one entry; inB2: the key that asks is a ghost of T2.
func (p *itemARC) replace(inB2 bool) {
	n := p.r.n
	if n[arcT1] > 0 && (n[arcT2] == 0 || n[arcT1] > p.target || inB2 && n[arcT1] == p.target) {
		p.move(p.r.last(arcT1), arcB1)
	} else {
		p.move(p.r.last(arcT2), arcB2)
	}
}

// itemIdeal knows what comes (Belady, 1966): what is used last goes first, and
// what would go at once is not stored.
type itemIdeal struct {
	room, used int
	at         int
	next       []uint32 // by access: the next one of the same key
	until      []uint32 // by key in the cache: its next access; 0: it is not there
	uses       latest
}

// latest is a heap of next access<<32 | key, the latest first.
type latest []uint64

func (h latest) Len() int           { return len(h) }
func (h latest) Less(i, j int) bool { return h[i] > h[j] }
func (h latest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *latest) Push(x any)        { *h = append(*h, x.(uint64)) }
func (h *latest) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func newItemIdeal(keys, room int, accesses []uint32) *itemIdeal {
	p := &itemIdeal{room: room, next: make([]uint32, len(accesses)), until: make([]uint32, keys)}
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

func (p *itemIdeal) access(key uint32) bool {
	next := p.next[p.at]
	p.at++
	hit := p.until[key] != 0
	if !hit {
		p.used++
	}
	p.until[key] = next
	p.compact()
	heap.Push(&p.uses, uint64(next)<<32|uint64(key))
	for p.used > p.room {
		if last := heap.Pop(&p.uses).(uint64); p.stands(last) {
			p.until[uint32(last)] = 0
			p.used--
		}
	}
	return hit
}

// stands reports whether a use is still to come.
func (p *itemIdeal) stands(use uint64) bool { return p.until[uint32(use)] == uint32(use>>32) }

// compact drops what was used since it was pushed.
func (p *itemIdeal) compact() {
	if len(p.uses) <= 4*p.room {
		return
	}
	p.uses = slices.DeleteFunc(p.uses, func(u uint64) bool { return !p.stands(u) })
	slices.SortFunc(p.uses, func(a, b uint64) int { return cmp.Compare(b, a) })
}
