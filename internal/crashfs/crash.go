package crashfs

import "math/rand/v2"

// A Fate decides about operations that are not settled when the power goes.
type Fate uint8

const (
	FateAny  Fate = iota // drawn from the seed, for each operation
	FateLost             // all lost: the least that a disk may keep
	FateKept             // all kept
)

// A Cut says how the power goes.
type Cut struct {
	Seed uint64
	Fate Fate // of what was done to files
	// Names is the fate of directory entries, apart from that of the bytes.
	Names NameFate
	// Whole lets writes be lost, but not torn: any of them may outlive any other.
	Whole bool
	// Sector is where writes are torn: 512 or 4096 bytes; 0: drawn.
	Sector int64
	// Garbage lets lost sectors of torn writes hold neither the old nor the new
	// bytes, as a drive may leave the sector that it was writing.
	Garbage bool
}

// A NameFate decides about directory entries that are not settled.
type NameFate uint8

const (
	NamesAsWrites NameFate = iota // as Fate says
	NamesLost                     // all lost, whatever becomes of the bytes
	NamesKept                     // all kept
)

// Crash returns what a power cut after the first n operations leaves. The same
// log and the same Cut give the same bytes. The new FS has an empty log, another
// BootID, no locks, hooks or budget. The old one stays as it is.
func (s *FS) Crash(n int, c Cut) *FS {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.replayLocked(n, newChance(c, n), c.Names)
	next := newFS(t, t.clone())
	s.inheritLocked(next)
	next.boot++
	next.custom = false
	return next
}

// Kill returns what the next process finds after a kill -9 when n operations
// were done: all of them. What no sync has covered is still not settled, and the
// log goes on from n, so that a Crash of the new FS may lose it. Locks, hooks
// and budget are gone, BootID stays.
func (s *FS) Kill(n int) *FS {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var live *tree
	if n == len(s.log) {
		live = s.live.clone()
		live.sweep()
	} else {
		live = s.replayLocked(n, chance{keep: 1}, NamesAsWrites)
	}
	next := newFS(s.base, live)
	next.log = s.log[:n:n]
	next.points.list = s.points.upTo(n)
	s.inheritLocked(next)
	return next
}

// Clone is Kill after the last operation.
func (s *FS) Clone() *FS { return s.Kill(s.Ops()) }

// inheritLocked copies what belongs to the machine and not to the process.
func (s *FS) inheritLocked(next *FS) {
	next.nextIno = s.nextIno
	next.loss, next.noMmap, next.network = s.loss, s.noMmap, s.network
	next.boot, next.bootID, next.custom = s.boot, s.bootID, s.custom
}

// A chance decides one operation after the other. keep is the probability that
// one is kept whole, tear that one that is not is torn; the zero chance loses all.
type chance struct {
	rng     *rand.Rand // nil where keep is 0 or 1
	keep    float64
	tear    float64
	sizes   bool // sizes and allocations are kept in any case
	sector  int64
	garbage bool
}

func newChance(c Cut, n int) chance {
	if c.Fate == FateLost {
		return chance{}
	}
	if c.Fate == FateKept {
		return chance{keep: 1}
	}
	rng := rand.New(rand.NewPCG(c.Seed, uint64(n)))
	chances := []float64{0, 0.1, 0.5, 0.5, 0.9, 1}
	drawn := chance{rng: rng, garbage: c.Garbage, sector: c.Sector}
	drawn.keep = chances[rng.IntN(len(chances))]
	drawn.tear = chances[rng.IntN(len(chances))]
	if c.Whole {
		drawn.keep, drawn.tear = 0.5, 0
	}
	if drawn.sector == 0 {
		drawn.sector = []int64{512, pageSize}[rng.IntN(2)]
	}
	return drawn
}

func (c *chance) kept() bool { return c.keep == 1 || c.hit(c.keep) }

func (c *chance) hit(p float64) bool { return c.rng != nil && c.rng.Float64() < p }

// file decides one operation on a file's bytes and carries out what is kept.
func (c *chance) file(to *content, op Op) {
	switch op.Kind {
	case OpDamage:
		to.write(op.Data, op.Off)
	case OpDamageSize:
		to.resize(op.Len)
	case OpAllocate:
		if c.sizes || c.kept() {
			to.allocate(op.Off, op.Len)
		}
	case OpWrite:
		switch {
		case c.kept():
			to.write(op.Data, op.Off)
		case c.hit(c.tear):
			c.torn(to, op)
		default:
			c.lost(to, op)
		}
	}
}

// torn keeps some sectors of a write: those before a point, or any.
func (c *chance) torn(to *content, op Op) {
	prefix := c.hit(0.5)
	stop := op.Off + c.rng.Int64N(op.Len)
	for off := op.Off; off < op.end(); {
		next := min(off/c.sector*c.sector+c.sector, op.end())
		switch {
		case prefix && next <= stop, !prefix && c.hit(0.5):
			to.write(op.Data[off-op.Off:next-op.Off], off)
		default:
			c.spoil(to, off, next)
		}
		off = next
	}
	c.lost(to, op)
}

// lost lets the size outlive the bytes, at times.
func (c *chance) lost(to *content, op Op) {
	if c.sizes || c.hit(0.5) {
		to.grow(op.end())
	}
}

// spoil fills part of a sector with garbage, at times.
func (c *chance) spoil(to *content, off, end int64) {
	if !c.garbage || !c.hit(0.1) {
		return
	}
	junk := make([]byte, end-off)
	for i := range junk {
		junk[i] = byte(c.rng.Uint32())
	}
	to.write(junk, off)
}
