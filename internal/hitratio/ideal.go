package hitratio

import (
	"cmp"
	"container/heap"
	"slices"
)

// ideal knows what comes (Belady, 1966): what is used last goes first, and
// what would go at once is not stored.
type ideal struct {
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

func (p *ideal) Access(key uint32) bool {
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
func (p *ideal) stands(use uint64) bool { return p.until[uint32(use)] == uint32(use>>32) }

// compact drops what was used since it was pushed.
func (p *ideal) compact() {
	if len(p.uses) <= 4*p.room {
		return
	}
	p.uses = slices.DeleteFunc(p.uses, func(u uint64) bool { return !p.stands(u) })
	slices.SortFunc(p.uses, func(a, b uint64) int { return cmp.Compare(b, a) })
}
