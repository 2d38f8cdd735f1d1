package cache

import (
	"cmp"
	"flag"
	"fmt"
	"hash/maphash"
	"math/rand"
	"strings"
	"testing"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
)

var evictStates = flag.Int("evictstates", 0, "states after a crash of a cache that evicts to visit; 0: as many as suit every test run")

// A turnover makes a world forget: what its keys take is a multiple of MaxBytes. Between
// any two crash points entries are evicted and moved on, ghosts come back, the index
// grows, segments end, their places are used again and large values die. Callers go on
// while a generation or a link is being written, between any two things that the
// dumper asks for.
type turnover struct {
	most  int  // bytes of most values
	turns int  // that callers still take during the generation or link that is being written
	left  bool // some of its cut had ended before it was copied

	c    *Cache // that was seen last
	was  toll
	seen toll
}

// A toll is what a turnover has brought about.
type toll struct {
	evicted, moved, buckets, died, overtaken, left, reused int
}

func (k *turnover) begin(rng *rand.Rand) {
	if k != nil {
		k.turns, k.left = max(rng.Intn(12)-4, 0), false
	}
}

func (k *turnover) end() (left bool) {
	if k == nil {
		return false
	}
	if k.turns = 0; k.left {
		k.seen.left++
	}
	return k.left
}

// look counts what has happened since it last looked at the same cache.
func (k *turnover) look(c *Cache, cut *dump.Cut) {
	now := toll{evicted: int(c.Stats().Evictions)}
	for i, s := range c.shards {
		now.moved += int(s.walked.moved)
		now.buckets += int(s.index.buckets())
		k.seen.died += len(cut.Shards[i].Died)
	}
	if k.c == c {
		k.seen.evicted += now.evicted - k.was.evicted
		k.seen.moved += now.moved - k.was.moved
		k.seen.buckets += now.buckets - k.was.buckets
	}
	k.c, k.was = c, now
}

// A turnoverSource is what the dumper of such a world asks. It notes each cut as it is
// taken, and hears when something of one has ended.
type turnoverSource struct {
	dump.Source
	w *world
}

func (w *world) stirred(s dump.Source) dump.Source { return &turnoverSource{s, w} }

func (s *turnoverSource) Cut() *dump.Cut {
	cut := s.Source.Cut()
	w, c := s.w, s.Source.(cutter).c
	w.turnover.look(c, cut)
	at := w.fs.Ops()
	w.cuts = append(w.cuts, cutNote{from: at, to: at, state: quietState(c, w.keys)})
	w.goOn(c)
	return cut
}

func (s *turnoverSource) Segment(shard int, queue uint8, seq uint64) (number uint64, fill uint32, ok bool) {
	s.w.goOn(s.Source.(cutter).c)
	number, fill, ok = s.Source.Segment(shard, queue, seq)
	s.w.turnover.left = s.w.turnover.left || !ok
	return number, fill, ok
}

func (s *turnoverSource) Copy(dst []byte, shard int, id dump.SegmentID, off int) bool {
	s.w.goOn(s.Source.(cutter).c)
	ok := s.Source.Copy(dst, shard, id, off)
	s.w.turnover.left = s.w.turnover.left || !ok
	return ok
}

func (s *turnoverSource) CopyIndex(shard, first int, dst []byte) error {
	s.w.goOn(s.Source.(cutter).c)
	return s.Source.CopyIndex(shard, first, dst)
}

func (s *turnoverSource) Home(cut *dump.Cut) {
	s.w.goOn(s.Source.(cutter).c)
	s.Source.Home(cut)
}

// goOn is what callers do meanwhile.
func (w *world) goOn(c *Cache) {
	k := w.turnover
	if k.turns == 0 || c != w.c || c.closed.Load() || w.rng.Intn(3) > 0 {
		return
	}
	k.turns--
	k.seen.overtaken++
	w.did("meanwhile")
	switch w.rng.Intn(12) {
	case 0:
		w.deletes(1 + w.rng.Intn(20))
	case 1:
		w.set(9<<10 + w.rng.Intn(70<<10))
	case 2:
		w.batch()
	case 3:
		w.sets(300)
	case 4:
		w.setSome(10)
	default:
		w.sets(1 + w.rng.Intn(60))
	}
}

// stir stores a good part of what the cache can hold, and has favourites.
func (w *world) stir() {
	if w.rng.Intn(3) == 0 {
		w.turnover.most = []int{300, 1000, 2000, 4000}[w.rng.Intn(4)]
	}
	w.sets(w.rng.Intn(300))
	for range w.rng.Intn(3) {
		w.set(9<<10 + w.rng.Intn(70<<10))
	}
	w.did("get")
	for range w.rng.Intn(300) {
		w.c.Get(worldKey(w.rng.Intn(w.keys / 8)))
	}
}

// quietState is stateOfKeys without using the entries, which would save them all.
func quietState(c *Cache, keys int) state {
	st := make(state)
	var buf []byte
	for i := range keys {
		key := worldKey(i)
		r := c.look(buf[:0], key)
		if buf = r.value; r.found && !r.memoryOnly() {
			st[string(key)] = maphash.Bytes(valueSeed, buf) + uint64(r.head.expiry())
		}
	}
	return st
}

// turnoverKeys of a shard take two to four times what it may have.
const turnoverKeys = 1200

// turnoverWorld is crashWorld i, of two shards at most, once it has turned over twice.
func turnoverWorld(t testing.TB, rng *rand.Rand, i int) *world {
	kind := &crashWorlds[i%len(crashWorlds)]
	shards := min(kind.shards, 2)
	w := newWorld(t, rng, crashfs.New(), shards)
	w.o.Recovery.Budget = crashBudgets[(i+i/len(crashWorlds))%len(crashBudgets)]
	kind.with(w)
	w.o.hooks.alone = true // else what is noted of a cut may be gone when it is taken
	w.keys, w.turnover = turnoverKeys*shards, &turnover{most: 4000}
	w.did("%s, budget %v", kind.name, w.o.Recovery.Budget)
	w.begin(state{})
	for range 4 {
		w.sets(w.keys / 2)
		w.weak()
		w.stir()
		w.flush()
	}
	w.start = w.fs.Ops()
	return w
}

// reused counts writes of pages to where others had been written.
func reused(log []crashfs.Op) (n int) {
	seen := make(map[string]bool)
	for _, op := range log {
		if op.Kind == crashfs.OpWrite && strings.Contains(op.Path, "/pages-") {
			at := fmt.Sprint(op.Path, op.Off)
			if seen[at] {
				n++
			}
			seen[at] = true
		}
	}
	return n
}

// TestCrashAnywhereWhileEvicting is TestCrashAnywhere of caches that are full several
// times over: an entry that was set may be missing, and that is all that may be: none
// is wrong, older than the cut has it, or back after a Delete, a Clear or an overwrite
// that the cut has; and all are of one cut. They are equal to it unless some of it had
// ended before it was written.
func TestCrashAnywhereWhileEvicting(t *testing.T) {
	alone(t)
	rng := newRand(t)
	o := &tour{budget: cmp.Or(*evictStates, fewer(300))}
	if o.budget < 2000 { // of several worlds all the same
		o.every, o.seldom = 8, 150
	}
	var all toll
	for worlds := 0; o.states < o.budget; worlds++ {
		w := turnoverWorld(t, rand.New(rand.NewSource(rng.Int63())), worlds)
		o.count("worlds")
		for range 12 + w.rng.Intn(12) {
			w.step()
		}
		drop(w.c)
		w.turnover.seen.reused = reused(w.fs.Log())
		o.visit(w, 1)
		all.add(&w.turnover.seen)
	}
	t.Logf("%v\n%+v", o, all)
	if o.states < 300 {
		return
	}
	if all.evicted == 0 || all.moved == 0 || all.buckets == 0 || all.died == 0 || all.overtaken == 0 || all.left == 0 || all.reused == 0 {
		t.Errorf("something has not happened: %+v", all)
	}
}

func (k *toll) add(n *toll) {
	k.evicted += n.evicted
	k.moved += n.moved
	k.buckets += n.buckets
	k.died += n.died
	k.overtaken += n.overtaken
	k.left += n.left
	k.reused += n.reused
}
