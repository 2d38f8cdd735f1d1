package cache

import "github.com/embercache/ember/internal/hitratio"

// itemAdaptive is what policy.go does, by item: S3-FIFO whose main is filled first,
// whose small has the share that misses ask for, and whose main forgets as fast as
// that share says.
type itemAdaptive struct {
	room, share int // share: of small, in keys
	small, main hitratio.Queue
	tired       int
	evicted     bool    // main is not filled unseen any more
	in          []uint8 // by key: 0 none, 1 small, 2 main
	uses        []uint8
	from        []uint8 // by key: the queue that evicted it, 0 none
	ghost       []int32 // by key: when, by that queue's count
	ghosts      [3]int32
}

func newItemAdaptive(keys, room int) *itemAdaptive {
	return &itemAdaptive{room: room, share: max(room/firstShare, 1), in: make([]uint8, keys),
		uses: make([]uint8, keys), from: make([]uint8, keys), ghost: make([]int32, keys)}
}

func (p *itemAdaptive) Access(key uint32) bool {
	if p.in[key] != 0 {
		p.uses[key] = min(p.uses[key]+1, 3)
		return true
	}
	p.uses[key] = 0
	queue := p.queueOf(key)
	for p.small.Len()+p.main.Len() >= p.room {
		p.evict()
	}
	p.put(queue, key)
	return false
}

// queueOf is where a key goes that was missed.
func (p *itemAdaptive) queueOf(key uint32) uint8 {
	from := p.from[key]
	age := int(p.ghosts[from] - p.ghost[key])
	near := age < p.room/marginal
	p.from[key] = 0
	switch {
	case from == 1 && age < p.room:
		if near {
			p.shift(1)
		}
		return 2
	case from == 2 && near:
		p.shift(-1)
	case !p.evicted && p.small.Len() >= p.share && p.small.Len()+p.main.Len() < p.room:
		return 2
	}
	return 1
}

func (p *itemAdaptive) shift(way int) {
	p.share += way * max(p.room/leastStep, 1)
	p.share = max(min(p.share, p.room-p.room/mainShare), p.room/leastShare, 1)
}

func (p *itemAdaptive) put(queue uint8, key uint32) {
	p.in[key] = queue
	if queue == 1 {
		p.small.Push(key)
	} else {
		p.main.Push(key)
	}
}

// evict looks at the head of one queue: it moves it on or evicts it.
func (p *itemAdaptive) evict() {
	p.evicted = true
	if p.small.Len() >= p.share || p.main.Len() == 0 {
		key := p.small.Pop()
		if p.uses[key] >= promoteAt {
			p.uses[key] = 0
			p.put(2, key)
		} else {
			p.leave(1, key)
		}
		return
	}
	key := p.main.Pop()
	if p.uses[key] == 0 {
		p.leave(2, key)
		return
	}
	most := max(p.room*slowest/leastShare, 1)
	if p.tired += min(p.share, most); p.tired >= most {
		p.tired -= most
		p.uses[key]--
	}
	p.put(2, key)
}

func (p *itemAdaptive) leave(queue uint8, key uint32) {
	p.ghosts[queue]++
	p.in[key], p.from[key], p.ghost[key] = 0, queue, p.ghosts[queue]
}
