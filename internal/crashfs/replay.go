package crashfs

import (
	"maps"
	"path"
	"slices"
	"sync"
)

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

// replayLocked gives the files after the first n operations.
func (s *FS) replayLocked(n int, c chance, names NameFate) *tree {
	r := s.points.from(n)
	if r == nil {
		r = newReplay(s.base, s.log, c)
	}
	r.log, r.chance, r.fate = s.log, c, names
	for r.done < n {
		if r.done%checkpointEvery == 0 && r.sure {
			s.points.add(r)
		}
		r.apply(r.done, s.log[r.done])
		r.done++
	}
	return r.finish(n)
}

// checkpointEvery is how many operations lie between checkpoints: cheap enough to
// go through for each crash, many enough to be worth the copies.
const checkpointEvery = 512

// checkpoints are replays that stopped on the way, ascending, for those to come:
// a test that visits each of n crash points would go through n*n/2 operations.
type checkpoints struct {
	mu   sync.Mutex
	list []*replay // never changed once here
}

// from returns a copy of the last one at or before n, or nil.
func (c *checkpoints) from(n int) *replay {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range slices.Backward(c.list) {
		if r.done <= n {
			return r.clone()
		}
	}
	return nil
}

// upTo returns those that hold for the first n operations alone.
func (c *checkpoints) upTo(n int) []*replay {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := 0
	for i < len(c.list) && c.list[i].done <= n {
		i++
	}
	return c.list[:i:i]
}

func (c *checkpoints) add(r *replay) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.list) == 0 || c.list[len(c.list)-1].done < r.done {
		c.list = append(c.list, r.clone())
	}
}

// A replay goes through a log and keeps apart what is settled and what is not.
type replay struct {
	chance chance
	fate   NameFate
	log    []Op
	done   int  // operations gone through
	sure   bool // chance has decided nothing yet
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
		sure:   true,
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

func (r *replay) clone() *replay {
	c := *r
	c.dirs, c.names, c.open = maps.Clone(r.dirs), maps.Clone(r.names), maps.Clone(r.open)
	for dir, open := range c.open {
		c.open[dir] = slices.Clip(open)
	}
	c.files = make(map[uint64]*replayFile, len(r.files))
	for id, f := range r.files {
		c.files[id] = &replayFile{f.content.clone(), slices.Clip(f.open)}
	}
	return &c
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
			r.sure = false
			r.settleNames(op.Path, op.covers, r.nameChance())
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
			r.sure = false
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

// nameChance decides about names.
func (r *replay) nameChance() *chance {
	switch r.fate {
	case NamesLost:
		return &chance{}
	case NamesKept:
		return &chance{keep: 1}
	}
	return &r.chance
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
		r.settleNames(dir, n, r.nameChance())
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
