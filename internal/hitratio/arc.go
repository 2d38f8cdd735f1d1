package hitratio

// arc is "ARC: a self-tuning, low overhead replacement cache" (Megiddo and
// Modha, FAST 2003).
type arc struct {
	room, target int
	r            *ring
	in           []uint8 // by key: the list, plus one; 0: none
}

const arcT1, arcT2, arcB1, arcB2 = 0, 1, 2, 3 // seen once, more often, and their ghosts

func newARC(keys, room int) *arc {
	return &arc{room: room, r: newRing(keys, 4), in: make([]uint8, keys)}
}

func (p *arc) move(key uint32, to int) {
	if from := p.in[key]; from != 0 {
		p.r.remove(int(from)-1, key)
	}
	p.r.push(to, key)
	p.in[key] = uint8(to) + 1
}

func (p *arc) forget(list int) {
	key := p.r.last(list)
	p.r.remove(list, key)
	p.in[key] = 0
}

func (p *arc) Access(key uint32) bool {
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
func (p *arc) makeRoom() {
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
func (p *arc) replace(inB2 bool) {
	n := p.r.n
	if n[arcT1] > 0 && (n[arcT2] == 0 || n[arcT1] > p.target || inB2 && n[arcT1] == p.target) {
		p.move(p.r.last(arcT1), arcB1)
	} else {
		p.move(p.r.last(arcT2), arcB2)
	}
}
