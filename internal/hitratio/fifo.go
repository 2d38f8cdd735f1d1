package hitratio

// A Queue is a queue of keys.
type Queue struct {
	keys []uint32
	head int
}

// Len is how many keys there are.
func (q *Queue) Len() int { return len(q.keys) - q.head }

// Push adds the newest.
func (q *Queue) Push(key uint32) {
	if q.head > 1024 && q.head > len(q.keys)/2 {
		q.keys = q.keys[:copy(q.keys, q.keys[q.head:])]
		q.head = 0
	}
	q.keys = append(q.keys, key)
}

// Pop takes the oldest; there has to be one.
func (q *Queue) Pop() uint32 {
	key := q.keys[q.head]
	q.head++
	return key
}

// fifo evicts the oldest.
type fifo struct {
	room int
	q    Queue
	in   []bool
}

func newFIFO(keys, room int) *fifo { return &fifo{room: room, in: make([]bool, keys)} }

func (p *fifo) Access(key uint32) bool {
	if p.in[key] {
		return true
	}
	if p.q.Len() == p.room {
		p.in[p.q.Pop()] = false
	}
	p.q.Push(key)
	p.in[key] = true
	return false
}
