package dump

import (
	"maps"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// pending is what cuts brought since the newest durable one: the journals, and
// the large segments that came and went. It is bounded however long no durable
// generation succeeds.
type pending struct {
	stock  stock
	shards []pendingShard
	limit  int64 // bytes of journals
}

// A pendingShard holds births and deaths of large segments that no durable cut
// has taken yet. What is born and dies in between leaves nothing, so there are
// never more than segments in memory.
type pendingShard struct {
	born map[uint64]uint32 // number -> fill
	died []uint64
}

// A stock is journals of all shards since the newest durable cut. Those before
// an image's first cut are older than the image: a full generation leaves them
// out, and a light one after it failed needs them again.
type stock struct {
	older, newer         []shardJournal
	bytes                int64 // of both, with what their slices cost
	oldest               int64 // when the first of them was stored; 0: unknown
	lostOlder, lostNewer bool  // some were discarded
}

type shardJournal [][]byte

func newPending(shards int, limit int64) pending {
	p := pending{shards: make([]pendingShard, shards), limit: limit}
	for i := range p.shards {
		p.shards[i].born = make(map[uint64]uint32)
	}
	p.stock = newStock(shards)
	return p
}

func newStock(shards int) stock {
	return stock{older: make([]shardJournal, shards), newer: make([]shardJournal, shards)}
}

// add keeps a cut. The bound is for shrink, once nobody else reads the journals.
func (p *pending) add(c *Cut) {
	for i := range c.Shards {
		sc := &c.Shards[i]
		p.stock.add(i, sc.Journal)
		p.stock.lostNewer = p.stock.lostNewer || sc.Lost
		p.stock.oldest = earlier(p.stock.oldest, sc.Since)
		p.shards[i].add(sc)
	}
}

// shrink keeps the bound, and returns the journals that it discards.
func (p *pending) shrink() [][]byte { return p.stock.shrink(p.limit) }

func (p *pendingShard) add(sc *ShardCut) {
	for _, l := range sc.Born {
		p.born[l.Number] = l.Fill
	}
	for _, number := range sc.Died {
		if _, unseen := p.born[number]; unseen {
			delete(p.born, number)
			continue
		}
		p.died = append(p.died, number)
	}
}

// births is what came and went in a shard between two durable cuts.
type births struct {
	born []Large // ascending by number, so that the same cuts make the same files
	died []uint64
}

// takeBirths empties births and deaths of all shards.
func (p *pending) takeBirths() []births {
	list := make([]births, len(p.shards))
	for i := range p.shards {
		s := &p.shards[i]
		for _, number := range slices.Sorted(maps.Keys(s.born)) {
			list[i].born = append(list[i].born, Large{number, s.born[number]})
		}
		list[i].died = s.died
		clear(s.born)
		s.died = nil
	}
	return list
}

// takeStock empties the journals.
func (p *pending) takeStock() stock {
	s := p.stock
	p.stock = newStock(len(p.shards))
	return s
}

// giveBack puts the journals of a generation that failed before those since, and
// returns what is too much.
func (p *pending) giveBack(s stock) [][]byte {
	s.rejoin()
	p.stock.rejoin()
	for i := range s.newer {
		p.stock.newer[i] = append(s.newer[i], p.stock.newer[i]...)
	}
	p.stock.bytes += s.bytes
	p.stock.oldest = earlier(p.stock.oldest, s.oldest)
	p.stock.lostNewer = p.stock.lostNewer || s.lostNewer
	return p.shrink()
}

func (s *stock) add(shard int, parts [][]byte) {
	for _, part := range parts {
		if len(part) > 0 {
			s.newer[shard] = append(s.newer[shard], part)
			s.bytes += int64(len(part)) + partOverhead
		}
	}
}

// earlier is the earlier of two times, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// extend adds the journals of the cut after.
func (s *stock) extend(next stock) {
	for i := range s.newer {
		s.newer[i] = append(s.newer[i], next.newer[i]...)
	}
	s.bytes += next.bytes
	s.oldest = earlier(s.oldest, next.oldest)
	s.lostNewer = s.lostNewer || next.lostNewer
}

// divide makes everything so far older than the image that begins now.
func (s *stock) divide() {
	for i := range s.newer {
		s.older[i] = append(s.older[i], s.newer[i]...)
		s.newer[i] = nil
	}
	s.lostOlder = s.lostOlder || s.lostNewer
	s.lostNewer = false
}

// rejoin undoes divide: the image was given up.
func (s *stock) rejoin() {
	for i := range s.newer {
		s.newer[i] = append(s.older[i], s.newer[i]...)
		s.older[i] = nil
	}
	s.lostNewer = s.lostNewer || s.lostOlder
	s.lostOlder = false
}

// lost says that journals are missing that a generation of that kind needs.
func (s *stock) lost(full bool) bool { return s.lostNewer || !full && s.lostOlder }

// shrink keeps the bound: what is older than the image goes first, then all. The
// next durable generation is full then. It returns what goes. // I5
func (s *stock) shrink(limit int64) (gone [][]byte) {
	if s.bytes <= limit {
		return nil
	}
	if n := size(s.older); n > 0 {
		gone = empty(s.older)
		s.bytes -= n
		s.lostOlder = true
	}
	if s.bytes > limit {
		gone = append(gone, empty(s.newer)...)
		s.bytes = 0
		s.lostNewer = true
	}
	return gone
}

// empty takes all journals out.
func (s *stock) empty() [][]byte { return append(empty(s.older), empty(s.newer)...) }

func empty(journals []shardJournal) (parts [][]byte) {
	for i, j := range journals {
		parts = append(parts, j...)
		journals[i] = nil
	}
	return parts
}

// stores is how many slot stores the journals of a generation hold.
func (s *stock) stores() (n uint64) {
	for _, j := range s.newer {
		for _, part := range j {
			n += uint64(len(part) / pagefile.JournalEntrySize)
		}
	}
	return n
}

// partOverhead is what a slice costs beyond its bytes, so that many short ones
// count too.
const partOverhead = 24

func size(journals []shardJournal) (n int64) {
	for _, j := range journals {
		for _, part := range j {
			n += int64(len(part)) + partOverhead
		}
	}
	return n
}
