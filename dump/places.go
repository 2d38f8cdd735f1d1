package dump

import (
	"math/bits"

	"github.com/embercache/ember/pagefile"
)

// places knows which place of the page file may be written. A place is in
// exactly one of five states: free, taken by a row, leaving, retired, tainted.
//
//	free ──take──▶ taken ──leave, named──▶ leaving ──commit──▶ retired ──release──▶ free
//	                 └─────leave, not named──▶ tainted ──page file synced──▶ free
//
// and, when places run out, what Start held back: leaving, retired ──reclaim──▶ free.
//
// Leaving: no row has it, but the newest durable record may name it. Retired:
// some record that is still retained, or a reader, may. Tainted: no record names
// it, and what was written there may have failed.
//
// A page file that is longer than the limit was made for a larger cache, if no
// record lies: what lies there stays, and is not given again. So a page file costs
// what the cache may use of it, and what it does.
type places struct {
	total   uint32          // places that the page file has room for
	limit   uint32          // growth ends here, and places that are given
	free    []uint64        // bitmap of those below both
	count   int             // of free
	far     map[uint32]bool // taken, or left and not released, from limit on
	leaving []uint32
	retired []retiredPlace // ascending by first
	tainted []uint32
}

// first is the first durable generation that does not name the place.
type retiredPlace struct {
	place uint32
	first uint64
}

// A place is found free again only here, and only from here; see I11.
func (p *places) setFree(place uint32) {
	if place >= p.limit {
		delete(p.far, place)
		return
	}
	p.free[place/64] |= 1 << (place % 64)
	p.count++
}

// grow adds n free places at the end. The page file has them allocated.
func (p *places) grow(n uint32) {
	from := p.near()
	p.total += n
	near := p.near()
	for len(p.free)*64 < int(near) {
		p.free = append(p.free, 0)
	}
	for place := from; place < near; place++ {
		p.setFree(place)
	}
}

// near is where the places end that may be given.
func (p *places) near() uint32 { return min(p.total, p.limit) }

// claim takes a place that the recovered table names; false if it is not free:
// the table is wrong.
func (p *places) claim(place uint32) bool {
	switch {
	case place >= p.total || p.far[place]:
		return false
	case place >= p.limit:
		if p.far == nil {
			p.far = make(map[uint32]bool)
		}
		p.far[place] = true
		return true
	case p.free[place/64]>>(place%64)&1 == 0:
		return false
	}
	p.free[place/64] &^= 1 << (place % 64)
	p.count--
	return true
}

// quarantine makes every free place leaving: at Start nobody knows what older
// generations and readers still refer to.
func (p *places) quarantine() {
	for place := range p.near() {
		if p.claim(place) {
			p.leaving = append(p.leaving, place)
		}
	}
}

// reclaim frees the leaving and retired places that are not named by any
// generation that is retained, tried or read.
func (p *places) reclaim(named map[uint32]bool) {
	leaving, retired := p.leaving, p.retired
	p.leaving, p.retired = nil, nil
	for _, place := range leaving {
		if named[place] {
			p.leaving = append(p.leaving, place)
		} else {
			p.setFree(place)
		}
	}
	for _, r := range retired {
		if named[r.place] {
			p.retired = append(p.retired, r)
		} else {
			p.setFree(r.place)
		}
	}
}

// available is how many places take can give without growth.
func (p *places) available() int { return p.count + len(p.tainted) }

// step is by how much to grow to have n more, 0 if the limit is reached: 64
// places, or an eighth of the file, so that growth stays rare.
func (p *places) step(n int) uint32 {
	want := max(uint32(n), 64, p.total/8)
	if p.total >= p.limit {
		return 0
	}
	return min(want, p.limit-p.total)
}

// take returns the lowest free place, so that segments filled one after the
// other mostly lie that way. The last resort is a tainted place, but not avoid:
// bytes whose sync failed are not written to the same place again. // I8
func (p *places) take(avoid uint32) (place uint32, ok bool) {
	for i, word := range p.free {
		if word != 0 {
			place = uint32(i*64 + bits.TrailingZeros64(word))
			p.claim(place)
			return place, true
		}
	}
	for i, place := range p.tainted {
		if place != avoid {
			p.tainted = append(p.tainted[:i], p.tainted[i+1:]...)
			return place, true
		}
	}
	return pagefile.NoPlace, false
}

// leave is the end of a row's use of a place. named says that a record that was
// tried may name it.
func (p *places) leave(place uint32, named bool) {
	switch {
	case place == pagefile.NoPlace:
	case named:
		p.leaving = append(p.leaving, place)
	default:
		p.tainted = append(p.tainted, place)
	}
}

// synced tells of a good sync of the page file: whatever is written to a tainted
// place now is judged by the next one.
func (p *places) synced() {
	for _, place := range p.tainted {
		p.setFree(place)
	}
	p.tainted = p.tainted[:0]
}

// commit tells that a durable generation exists that names none of the leaving.
func (p *places) commit(generation uint64) {
	for _, place := range p.leaving {
		p.retired = append(p.retired, retiredPlace{place, generation})
	}
	p.leaving = p.leaving[:0]
}

// release frees what no generation from oldest on names. Nothing older is
// retained or read by anybody. // I11
func (p *places) release(oldest uint64) {
	n := 0
	for n < len(p.retired) && p.retired[n].first <= oldest {
		p.setFree(p.retired[n].place)
		n++
	}
	p.retired = append(p.retired[:0], p.retired[n:]...)
}
