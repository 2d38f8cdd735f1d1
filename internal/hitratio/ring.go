package hitratio

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
