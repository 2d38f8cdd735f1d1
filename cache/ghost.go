package cache

import (
	"sync/atomic"

	"github.com/embercache/ember/pagefile"
)

// Ghosts are fingerprints of entries that left a queue unused: a key that comes
// back while small's ghost of it is there goes to the main queue (S3-FIFO, Yang and
// others, 2023); what else they say is in policy.go. They are a hint: a wrong one
// costs a place in the wrong queue.
//
// A table has buckets of 16 words of 4 bytes, a cache line each; a word is a
// fingerprint and the stamp of when it came. Stamps advance as ghosts come, so
// that some hundred of them pass while as many ghosts come as there is room for; an
// older one does not count and is the first to be replaced. A table that is too
// small is followed by one twice as large, and looked through for as long as what
// it holds counts: nothing is ever copied. It does not shrink.
//
// A change of how a hash is spent here is a change of the format: images hold
// tables.
type ghosts struct {
	table  []uint32
	older  []uint32 // the table before, until left stamps have passed
	left   uint32
	stamp  uint16
	count  uint32 // ghosts of this stamp
	window uint32 // stamps that count, this one included
	want   int    // words that the next table should have, 0 if it is fine
	bytes  atomic.Int64
}

const (
	ghostBucket = pagefile.GhostBucket
	ghostStamps = 256 // that pass while as many ghosts come as count, about
	leastGhosts = 256 // words
)

// ghostOf is where a hash's ghost lies in a table of n words: its bucket's first
// word, and the fingerprint, in the upper half.
func ghostOf(hash uint64, n int) (at int, print uint32) {
	m := hash * 0x9e3779b97f4a7c15
	at = int(m >> 32 * uint64(n/ghostBucket) >> 32 * ghostBucket)
	if print = uint32(m) &^ 0xffff; print == 0 {
		print = 1 << 16 // 0 is an empty word
	}
	return at, print
}

// counts reports whether a word's ghost is young enough.
func (g *ghosts) counts(w uint32) bool { return w != 0 && g.age(w) < g.window }

func (g *ghosts) age(w uint32) uint32 { return uint32(g.stamp - uint16(w)) }

// add remembers a hash. room is for how many ghosts there should be room.
func (g *ghosts) add(hash uint64, room int) {
	per := uint32(max(room/ghostStamps, 1))
	g.window = uint32(max(room, 1)) / per
	if n := len(g.table); room*8 > n*7 {
		g.want = max(ceilPow2(room+room/3), 2*n, leastGhosts)
	}
	if len(g.table) == 0 {
		return
	}
	if g.count++; g.count > per {
		g.count = 1
		g.stamp++
		if g.left--; g.left == 0 {
			g.drop()
		}
	}
	at, print := ghostOf(hash, len(g.table))
	b := g.table[at : at+ghostBucket]
	oldest := 0
	for i, w := range b {
		if w&^0xffff == print || !g.counts(w) {
			oldest = i
			break
		}
		if g.age(w) > g.age(b[oldest]) {
			oldest = i
		}
	}
	b[oldest] = print | uint32(g.stamp)
}

// take forgets a hash's ghost and reports how old it was, in stamps, and whether
// there was one that counts.
func (g *ghosts) take(hash uint64) (age uint32, ok bool) {
	if age, ok = g.takeFrom(g.table, hash); !ok {
		age, ok = g.takeFrom(g.older, hash)
	}
	return age, ok
}

func (g *ghosts) takeFrom(table []uint32, hash uint64) (age uint32, ok bool) {
	if len(table) == 0 {
		return 0, false
	}
	at, print := ghostOf(hash, len(table))
	for i, w := range table[at : at+ghostBucket] {
		if w&^0xffff == print && g.counts(w) {
			table[at+i] = 0
			return g.age(w), true
		}
	}
	return 0, false
}

// grow makes table the one that ghosts go to.
func (g *ghosts) grow(table []uint32) {
	g.older, g.left = g.table, g.window+1
	g.table, g.want = table, 0
	g.size()
}

func (g *ghosts) drop() {
	g.older = nil
	g.size()
}

func (g *ghosts) size() { g.bytes.Store(int64(len(g.table)+len(g.older)) * ghostSize) }

const ghostSize = 4 // bytes of a word

// mainGhosts are those of entries that main evicted, of a marginal part of all
// entries: they only say that main is too small. No file holds them.
const (
	mainGhosts = 2
	marginal   = 20
)

// ghostsOf are those of a queue's entries. MemoryOnly entries have their own,
// which no file ever holds.
func (s *shard) ghostsOf(q uint8) *ghosts { return &s.ghosts[q/fileQueues] }

// growGhosts makes the next table of ghosts that have outgrown theirs, outside
// the lock.
func (s *shard) growGhosts() {
	for i := range s.ghosts {
		g := &s.ghosts[i]
		s.mu.Lock()
		want, have := min(g.want, s.mostGhosts()), len(g.table)
		g.want = 0
		s.mu.Unlock()
		if want <= have {
			continue
		}
		table := make([]uint32, want)
		s.mu.Lock()
		if len(g.table) < want {
			g.grow(table)
		}
		s.mu.Unlock()
	}
}

// mostGhosts bounds a table, in words: a slot of the index at its largest each.
func (s *shard) mostGhosts() int { return int(s.index.limit) * bucketSlots }

func (s *shard) ghostBytes() (n int64) {
	for i := range s.ghosts {
		n += s.ghosts[i].bytes.Load()
	}
	return n
}

// outgrownLocked reports whether ghosts have outgrown their table.
func (s *shard) outgrownLocked() bool {
	return s.ghosts[0].want+s.ghosts[1].want+s.ghosts[mainGhosts].want > 0
}
