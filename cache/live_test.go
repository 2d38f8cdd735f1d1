package cache

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"math/rand"
	"slices"
	"sync"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

var (
	liveSeed  = flag.Int64("liveseed", 1, "first seed of the worlds with a live log")
	liveKills = flag.Int("livekills", 24, "kills of worlds with a live log")
)

// A memLive is a tmpfs of one process's making: what is in it outlives a cache that
// was dropped.
type memLive struct {
	files map[string][]byte
	full  bool
}

func newMemLive() *memLive { return &memLive{files: make(map[string][]byte)} }

func (m *memLive) Read(name string) ([]byte, error) {
	if m.files[name] == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(m.files[name]), nil
}

func (m *memLive) Make(name string, size int64) ([]byte, error) {
	if m.full {
		return nil, fmt.Errorf("no room for %d bytes", size)
	}
	if int64(len(m.files[name])) != size {
		m.files[name] = make([]byte, size)
	}
	return m.files[name], nil
}

func (m *memLive) Remove(name string) { delete(m.files, name) }
func (m *memLive) Close()             {}
func (m *memLive) Release()           {}

// only is the one file's bytes.
func (m *memLive) only(t *testing.T) []byte {
	t.Helper()
	for _, b := range m.files {
		return b
	}
	t.Fatal("there is no live log")
	return nil
}

// clone is what a process that is killed now leaves.
func (m *memLive) clone() *memLive {
	c := newMemLive()
	for name, b := range m.files {
		c.files[name] = slices.Clone(b)
	}
	return c
}

func liveOptions(fs *crashfs.FS, m *memLive, shards int) *Options {
	o := quietOptions(fs, shards)
	o.Durability.Live = "tmpfs"
	o.hooks.live = m
	o.hooks.alone, o.hooks.lazily = racing, racing // or memory is copied while others write
	return o
}

// contents is every key and value.
func contents(c *Cache) map[string]string {
	all := make(map[string]string)
	for k, v := range c.All() {
		all[string(k)] = string(v)
	}
	return all
}

func sameContents(t *testing.T, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if g, ok := got[k]; !ok {
			t.Errorf("%s is missing", k)
		} else if g != v {
			t.Errorf("%s has %d bytes %.20q, want %d %.20q", k, len(g), g, len(v), v)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s is back", k)
		}
	}
}

func TestNothingThatReturnedIsLost(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	if err := c.Health(); err != nil {
		t.Fatalf("right after Open: %v", err)
	}
	for i := range 500 {
		_ = c.Set(worldKey(i), bytes.Repeat([]byte{byte(i)}, i))
	}
	c.Delete(worldKey(7))
	want := contents(c)
	drop(c)
	c = openOn(t, liveOptions(fs, m, 2))
	defer c.Close()
	sameContents(t, contents(c), want)
	if err := c.Health(); err != nil {
		t.Error(err)
	}
}

// mostKills bounds how many of a step's moments are judged.
const mostKills = 3

// A liveKill is a moment at which a process may end, and what it leaves then.
type liveKill struct {
	ops     int
	m       *memLive
	allowed []map[string]string // what the next may find
}

// A liveWorld does what a program does, one thing after the other, and notes moments
// to kill it at: at any store that counts in the log, and before any operation of the
// file system.
type liveWorld struct {
	t     *testing.T
	rng   *rand.Rand
	fs    *crashfs.FS
	m     *memLive
	c     *Cache
	seed  int64
	tight bool // entries are evicted
	last  string

	mu    sync.Mutex
	rare  int // one moment in so many is noted
	kills []liveKill
	state map[string]string
}

func (w *liveWorld) options() *Options {
	o := liveOptions(w.fs, w.m, 2)
	o.hooks.alone, o.hooks.lazily = true, true // or memory is copied while others write
	o.hooks.killable = w.moment
	w.fs.Inject(func(crashfs.Op) error { w.moment(); return nil })
	return o
}

// moment notes that the process may end here.
func (w *liveWorld) moment() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rare > 0 && w.rng.Intn(w.rare) == 0 {
		w.kills = append(w.kills, liveKill{ops: w.fs.Ops(), m: w.m.clone()})
	}
}

// do does one thing. Before is what there was, and after what there is: the next
// process finds either, whole, when this one ends within.
func (w *liveWorld) do(what string, thing func()) {
	w.last = what
	before := w.state
	w.mu.Lock()
	from := len(w.kills)
	w.mu.Unlock()
	thing()
	to := len(w.kills)
	w.moment()
	w.state = contents(w.c)
	for i := from; i < len(w.kills); i++ {
		w.kills[i].allowed = []map[string]string{before, w.state}[after(i, to):] // it had returned
	}
}

// after is 1 once a thing had returned.
func after(i, to int) int {
	if i >= to {
		return 1
	}
	return 0
}

func (w *liveWorld) key() []byte { return worldKey(w.rng.Intn(120)) }

func (w *liveWorld) value() []byte {
	n := w.rng.Intn(900)
	switch {
	case w.rng.Intn(20) == 0:
		n = 9000 + w.rng.Intn(30000) // with segments of its own
	case w.tight:
		n *= 20
	}
	return bytes.Repeat([]byte{byte('a' + w.rng.Intn(26))}, n)
}

func (w *liveWorld) step() {
	switch dice := w.rng.Intn(100); {
	case dice < 55:
		k, v := w.key(), w.value()
		w.do(fmt.Sprintf("set %s %d", k, len(v)), func() { _ = w.c.Set(k, v) })
	case dice < 65:
		k := w.key()
		w.do(fmt.Sprintf("delete %s", k), func() { w.c.Delete(k) })
	case dice < 72:
		w.batch()
	case dice < 74:
		w.do("clear", func() { _ = w.c.Clear() })
	case dice < 77:
		k, v := w.key(), w.value()
		w.do("memory only", func() { _ = w.c.SetEntry(k, v, EntryOptions{MemoryOnly: true}); w.c.Delete(k) })
	case dice < 92:
		w.do("weak", func() { _ = w.c.persist.dumper.Weak() })
	case dice < 97:
		w.do("flush", func() { mustFlush(w.t, w.c) })
	default:
		k := w.key()
		w.do("compute", func() {
			_ = w.c.Compute(k, func(old []byte, found bool) ([]byte, Op) { return append(old[:len(old):len(old)], 'x'), OpWrite })
		})
	}
}

func (w *liveWorld) batch() {
	var ops []BatchOp
	for range 1 + w.rng.Intn(5) {
		op := BatchOp{Key: w.key(), Value: w.value()}
		if w.rng.Intn(3) == 0 {
			op.Value = nil
		}
		ops = append(ops, op)
	}
	w.do(fmt.Sprintf("batch of %d", len(ops)), func() { _ = w.c.Batch(ops) })
}

// found reports whether got is one of the states allowed; entries may be missing
// where some were evicted.
func (w *liveWorld) found(got map[string]string, allowed []map[string]string) bool {
	for _, want := range allowed {
		same := w.tight || len(got) == len(want)
		for k, v := range got {
			if wv, ok := want[k]; !ok || wv != v {
				same = false
				break
			}
		}
		if same {
			return true
		}
	}
	return false
}

// judge opens what a kill left, and what a kill within that leaves.
func (w *liveWorld) judge(k liveKill, deep bool) {
	w.t.Helper()
	next := &liveWorld{t: w.t, rng: w.rng, fs: w.fs.Kill(k.ops), m: k.m, tight: w.tight, rare: 6}
	c := openOn(w.t, next.options())
	next.rare = 0
	got := contents(c)
	if !w.found(got, k.allowed) {
		want := k.allowed[len(k.allowed)-1]
		for key, v := range want {
			if g, ok := got[key]; !ok || g != v {
				w.t.Errorf("%s has %d bytes (%t), want %d", key, len(g), ok, len(v))
			}
		}
		for key := range got {
			if _, ok := want[key]; !ok {
				w.t.Errorf("%s is back", key)
			}
		}
		w.t.Fatalf("-liveseed %d: killed in %q, %d entries are none of %d states\n%+v", w.seed, w.last, len(got), len(k.allowed), c.Recovery())
	}
	if err := cmp.Or(c.Health(), c.Recovery().Reason); err != nil {
		w.t.Fatalf("-liveseed %d: killed in %q: %v", w.seed, w.last, err)
	}
	c.prefetch() // which counts
	checkInvariants(w.t, c)
	drop(c)
	if !deep {
		return
	}
	next.seed, next.last = w.seed, w.last
	next.kills = append(next.kills, liveKill{ops: next.fs.Ops(), m: next.m.clone()}) // right after Open
	for _, again := range next.kills {
		again.allowed = []map[string]string{got}
		next.judge(again, false)
	}
}

// TestLivesInARowLoseNothing: so it is of one process after the other, however little
// one has done. None gives out the number of a segment that another had, or what there
// is of one would be taken for the other's.
func TestLivesInARowLoseNothing(t *testing.T) {
	for seed := *liveSeed; seed < *liveSeed+int64(1+*liveKills/8); seed++ {
		w := &liveWorld{t: t, rng: rand.New(rand.NewSource(seed)), fs: crashfs.New(), m: newMemLive(), seed: seed}
		newest := uint64(0)
		for life := range 12 {
			w.c = openOn(t, w.options())
			if got := contents(w.c); !w.found(got, []map[string]string{w.state}) {
				t.Fatalf("-liveseed %d: life %d, after %q: %d entries, want %d: %+v", seed, life, w.last, len(got), len(w.state), w.c.Recovery())
			}
			first := w.c.numbers.last.Load()
			if first>>32 <= newest>>32 {
				t.Fatalf("-liveseed %d: life %d is at %x, one before ended at %x", seed, life, first, newest)
			}
			for range w.rng.Intn(12) {
				w.step()
			}
			if last := w.c.numbers.last.Load(); last > first {
				newest = last
			}
			if w.rng.Intn(3) == 0 {
				mustClose(t, w.c)
			} else {
				drop(w.c)
			}
			w.fs, w.m = w.fs.Kill(w.fs.Ops()), w.m.clone()
		}
	}
}

// TestKilledAnywhereLosesNothing is the law of Durability.Live: whenever a process
// ends, what had returned is there, and what was under way is there or not, as a
// whole.
func TestKilledAnywhereLosesNothing(t *testing.T) {
	for seed, kills := *liveSeed, 0; kills < *liveKills; seed++ {
		w := &liveWorld{t: t, rng: rand.New(rand.NewSource(seed)), fs: crashfs.New(), m: newMemLive(), seed: seed, tight: seed%5 == 0}
		w.c = openOn(t, w.options())
		w.state = contents(w.c)
		for range 30 + w.rng.Intn(100) {
			w.rare = 0
			if w.rng.Intn(6) == 0 {
				w.rare = 1 + w.rng.Intn(8)
			}
			w.step()
			w.rng.Shuffle(len(w.kills), func(i, j int) { w.kills[i], w.kills[j] = w.kills[j], w.kills[i] })
			for _, k := range w.kills[:min(len(w.kills), mostKills)] {
				w.judge(k, kills%8 == 0)
				kills++
			}
			w.kills = nil
		}
		drop(w.c)
	}
}
