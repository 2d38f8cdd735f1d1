package crashfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

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
	Fate Fate
	// Sector is where writes are torn: 512 or 4096 bytes; 0: drawn.
	Sector int64
	// Garbage lets lost sectors of torn writes hold neither the old nor the new
	// bytes, as a drive may leave the sector that it was writing.
	Garbage bool
}

// Crash returns what a power cut after the first n operations leaves. The same
// log and the same Cut give the same bytes. The new FS has an empty log, another
// BootID, no locks, hooks or budget. The old one stays as it is.
func (s *FS) Crash(n int, c Cut) *FS {
	s.mu.RLock()
	defer s.mu.RUnlock()
	t := s.replayLocked(n, newChance(c, n))
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
		live = s.replayLocked(n, chance{keep: 1})
	}
	next := newFS(s.base, live)
	next.log = s.log[:n:n]
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

// reloadLocked gives a file the bytes that a log without its doomed writes gives.
func (s *FS) reloadLocked(in *inode) {
	r := newReplay(s.base, s.log, chance{keep: 1})
	for i, op := range s.log {
		if op.ino == in.id {
			r.apply(i, op)
		}
	}
	f := r.files[in.id]
	f.settle(&r.chance, len(s.log), r.log)
	in.content = f.content
}

func (s *FS) replayLocked(n int, c chance) *tree {
	r := newReplay(s.base, s.log, c)
	for i, op := range s.log[:n] {
		r.apply(i, op)
	}
	return r.finish(n)
}

// A replay goes through a log and keeps apart what is settled and what is not.
type replay struct {
	chance chance
	log    []Op
	dirs   map[string]bool
	names  map[string]uint64
	files  map[uint64]*replayFile
	open   map[string][]int // by directory: operations on names, not settled
}

// A replayFile is a file's settled bytes and the numbers of the operations after.
type replayFile struct {
	content
	open []int
}

func newReplay(base *tree, log []Op, c chance) *replay {
	r := &replay{
		chance: c,
		log:    log,
		dirs:   maps.Clone(base.dirs),
		names:  maps.Clone(base.names),
		files:  make(map[uint64]*replayFile, len(base.inodes)),
		open:   map[string][]int{},
	}
	for id, in := range base.inodes {
		r.files[id] = &replayFile{content: in.content.clone()}
	}
	return r
}

func (r *replay) apply(i int, op Op) {
	dir := path.Dir(op.Path)
	switch op.Kind {
	case OpMkdir:
		r.dirs[op.Path] = true
	case OpCreate:
		r.files[op.ino] = &replayFile{}
		r.open[dir] = append(r.open[dir], i)
	case OpRemove:
		r.open[dir] = append(r.open[dir], i)
	case OpSyncDir:
		r.settleNames(op.Path, op.covers, &chance{keep: 1})
	case OpSyncDirFailed:
		if op.loss != LossNone {
			r.settleNames(op.Path, op.covers, &r.chance)
		}
	default:
		r.applyToFile(i, op)
	}
}

func (r *replay) applyToFile(i int, op Op) {
	f := r.files[op.ino]
	switch op.Kind {
	case OpWrite, OpAllocate, OpDamage, OpDamageSize:
		f.open = append(f.open, i)
	case OpSync:
		f.settle(&chance{keep: 1}, op.covers, r.log)
	case OpSyncFailed:
		switch op.loss {
		case LossOnCrash:
			f.settle(&r.chance, op.covers, r.log)
		case LossAtOnce:
			f.settle(&chance{sizes: true}, op.covers, r.log)
		}
	}
}

// settle decides the file's operations before number covers, in their order.
func (f *replayFile) settle(c *chance, covers int, log []Op) {
	done := 0
	for _, i := range f.open {
		if i >= covers {
			break
		}
		c.file(&f.content, log[i])
		done++
	}
	f.open = f.open[done:]
}

func (r *replay) settleNames(dir string, covers int, c *chance) {
	done := 0
	for _, i := range r.open[dir] {
		if i >= covers {
			break
		}
		done++
		op := r.log[i]
		switch {
		case !op.certain && !c.kept():
		case op.Kind == OpCreate:
			r.names[op.Path] = op.ino
		default:
			delete(r.names, op.Path)
		}
	}
	r.open[dir] = r.open[dir][done:]
}

// finish settles the rest, in an order that the log alone decides.
func (r *replay) finish(n int) *tree {
	for _, dir := range slices.Sorted(maps.Keys(r.open)) {
		r.settleNames(dir, n, &r.chance)
	}
	t := &tree{r.dirs, r.names, make(map[uint64]*inode, len(r.files))}
	for _, id := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[id]
		f.settle(&r.chance, n, r.log)
		t.inodes[id] = &inode{content: f.content, id: id}
	}
	t.sweep()
	return t
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
