package hitratio

// s3fifo is Algorithm 1 of "FIFO queues are all you need for cache eviction"
// (Yang and others, SOSP 2023): small has a tenth, and as many ghosts as main has
// room for.
type s3fifo struct {
	room        int
	small, main Queue
	in          []uint8 // by key: 0 none, 1 small, 2 main
	uses        []uint8
	ghost       []int32 // by key: when it came; 0: none
	ghosts      int32
}

func newS3FIFO(keys, room int) *s3fifo {
	return &s3fifo{room: room, in: make([]uint8, keys), uses: make([]uint8, keys), ghost: make([]int32, keys)}
}

func (p *s3fifo) Access(key uint32) bool {
	if p.in[key] != 0 {
		p.uses[key] = min(p.uses[key]+1, 3)
		return true
	}
	for p.small.Len()+p.main.Len() >= p.room {
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

func (p *s3fifo) put(q *Queue, in uint8, key uint32) {
	q.Push(key)
	p.in[key] = in
}

// evict looks at the head of one queue: it moves it on or evicts it.
func (p *s3fifo) evict() {
	if p.small.Len() > 0 && p.small.Len() >= p.room/10 {
		key := p.small.Pop()
		if p.uses[key] > 1 {
			p.uses[key] = 0
			p.put(&p.main, 2, key)
			return
		}
		p.ghosts++
		p.in[key], p.ghost[key] = 0, p.ghosts
		return
	}
	key := p.main.Pop()
	if p.uses[key] > 0 {
		p.uses[key]--
		p.main.Push(key)
		return
	}
	p.in[key] = 0
}
