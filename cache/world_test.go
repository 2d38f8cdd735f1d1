package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"math/rand"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
)

// A world is a cache on a file system in memory, driven step by step, and what
// it held at every cut: the oracle for whatever becomes of the files.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	fs    *crashfs.FS
	o     *Options
	c     *Cache
	start int // operations of fs before this world's own
	cuts  []cutNote
	hurt  bool // pages were damaged: they stay so until their segments are evicted
	value int  // of the next write
	keys  int  // that it writes
	// retained counts older generations that were opened; recovers: there is nothing but recovery; doomed: write-back failed before it.
	retained         int
	recovers, doomed bool
	turnover         *turnover // nil: hardly anything is evicted
	lacking          int       // states that lack what had ended before it was written
	left             bool      // what was last opened may, and count it as dropped
	told             bool      // so may what this process found
	last             []string  // steps, for a failure
}

// A cutNote is what the cache held at a cut. Indexes are those of the log.
type cutNote struct {
	from, to      int // the operations [from, to) wrote it
	state         state
	durable, weak bool // acknowledged, at to
	left          bool // some of it had ended when it was to be written
	generation    uint64
}

// differs says why a state is not that of the cut, minus entries if some of it was
// left out; "" if it is.
func (n *cutNote) differs(st state) string {
	if n.left && st.within(n.state) {
		return ""
	}
	return st.differs(n.state)
}

// A state is the hash of each key's value and expiry, of what files may have.
type state map[string]uint64

const (
	worldDir  = "/cache"
	worldKeys = 300
)

var valueSeed = maphash.MakeSeed()

// quietOptions are those of a cache that writes when it is told to.
func quietOptions(fs *crashfs.FS, shards int) *Options {
	o := &Options{MaxBytes: int64(shards) << 20, Shards: shards, Logger: slog.New(slog.DiscardHandler), CloseTimeout: stalls}
	o.hooks.fs, o.hooks.seed, o.hooks.step = fs, 1, true
	o.Recovery.Timeout = stalls // the disk answers, however slow this machine is
	return o
}

func newWorld(t testing.TB, rng *rand.Rand, fs *crashfs.FS, shards int) *world {
	w := &world{t: t, rng: rng, fs: fs, o: quietOptions(fs, shards), start: fs.Ops(), keys: worldKeys}
	return w
}

// on is the same world's options for another file system.
func (w *world) on(fs *crashfs.FS) *Options {
	o := *w.o
	o.hooks.fs = fs
	return &o
}

func openOn(t testing.TB, o *Options) *Cache {
	t.Helper()
	c, err := Open(context.Background(), worldDir, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drop ends a cache as a kill does: nothing is written.
func drop(c *Cache) {
	c.closed.Store(true)
	close(c.stop)
	c.running.Wait()
	c.retireAll()
	_ = c.awaitLeavers(context.Background())
	_ = c.awaitViews(context.Background())
	_ = c.awaitNotices(context.Background())
	c.persist.abandon()
	c.ending.saved.pass(nil)
	c.ending.freed.pass(nil)
}

func worldKey(i int) []byte { return fmt.Appendf(nil, "key-%04d", i) }

// stateOf reads every key of an ordinary world.
func stateOf(c *Cache) state { return stateOfKeys(c, worldKeys) }

func stateOfKeys(c *Cache, keys int) state {
	st := make(state)
	var buf []byte
	for i := range keys {
		key := worldKey(i)
		var ok bool
		if buf, ok = c.AppendGet(buf[:0], key); !ok {
			continue
		}
		if r, _ := c.peek(key); r.w.queue() < fileQueues {
			st[string(key)] = maphash.Bytes(valueSeed, buf) + uint64(r.head.expiry())
		}
	}
	return st
}

// differs names the first difference, "" if there is none.
func (st state) differs(want state) string {
	for key, v := range st {
		if wv, ok := want[key]; !ok {
			return key + " is back"
		} else if wv != v {
			return key + " has another value"
		}
	}
	for key := range want {
		if _, ok := st[key]; !ok {
			return key + " is missing"
		}
	}
	return ""
}

// within reports that all of st is in want: want minus entries.
func (st state) within(want state) bool {
	for key, v := range st {
		if wv, ok := want[key]; !ok || wv != v {
			return false
		}
	}
	return true
}

func (w *world) did(format string, args ...any) {
	w.last = append(w.last, fmt.Sprintf("%d: ", w.fs.Ops())+fmt.Sprintf(format, args...))
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	steps := w.last[max(0, len(w.last)-60):]
	w.t.Fatalf("%s\nlast steps:\n%s", fmt.Sprintf(format, args...), strings.Join(steps, "\n"))
}

// begin opens the cache over whatever there is; known is what it has to be, if
// that is certain.
func (w *world) begin(known state) {
	if w.turnover != nil {
		w.o.hooks.source = w.stirred
	}
	w.c = openOn(w.t, w.o)
	if w.rng.Intn(2) == 0 {
		w.verified()
	}
	if known != nil {
		durable := !w.o.Durability.NoSync
		w.cuts = append(w.cuts, cutNote{from: w.fs.Ops(), to: w.fs.Ops(), state: known, durable: durable, weak: true})
	}
}

func (w *world) verified() {
	if _, err := w.c.WaitVerified(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

// step does one thing to the cache.
func (w *world) step() {
	if w.turnover != nil {
		w.stir()
	}
	switch n := w.rng.Intn(100); {
	case n < 40:
		w.sets(1 + w.rng.Intn(12))
	case n < 48:
		w.deletes(1 + w.rng.Intn(6))
	case n < 54:
		w.batch()
	case n < 60:
		w.set(9<<10 + w.rng.Intn(70<<10))
	case n < 62:
		w.sets(100)
	case n < 64:
		w.setSome(1 + w.rng.Intn(12))
	case n < 65:
		w.clear()
	case n < 86:
		w.weak()
	case n < 94:
		w.flush()
	case n < 95:
		w.reopen()
	case n < 96:
		w.kill()
	default:
		w.fail()
	}
}

func (w *world) sets(n int) {
	w.did("set %d", n)
	for range n {
		w.set(w.size())
	}
}

// size is how many bytes most values have.
func (w *world) size() int {
	if w.turnover != nil {
		return w.rng.Intn(w.turnover.most)
	}
	return w.rng.Intn(1200)
}

// setSome sets with a time to live, or in memory only.
func (w *world) setSome(n int) {
	w.did("set %d with options", n)
	for range n {
		w.value++
		o := EntryOptions{TTL: time.Duration(1+w.rng.Intn(100)) * time.Hour, MemoryOnly: w.rng.Intn(3) == 0}
		if err := w.c.SetEntry(w.key(), testValue(w.value, w.rng.Intn(1200)), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) key() []byte { return worldKey(w.rng.Intn(w.keys)) }

func (w *world) set(n int) {
	w.value++
	if err := w.c.Set(w.key(), testValue(w.value, n)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deletes(n int) {
	w.did("delete %d", n)
	for range n {
		w.c.Delete(w.key())
	}
}

func (w *world) batch() {
	w.did("batch")
	var ops []BatchOp
	for range 1 + w.rng.Intn(8) {
		op := BatchOp{Key: w.key()}
		if w.value++; w.rng.Intn(4) > 0 {
			op.Value = testValue(w.value, w.rng.Intn(600))
		}
		ops = append(ops, op)
	}
	if err := w.c.Batch(ops); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) clear() {
	w.did("clear")
	if err := w.c.Clear(); err != nil {
		w.t.Fatal(err)
	}
}

// state is what the cache holds.
func (w *world) state() state {
	if w.turnover != nil {
		return quietState(w.c, w.keys)
	}
	return stateOfKeys(w.c, w.keys)
}

// note records a cut around do, which says whether it was acknowledged durable. Where
// the cuts themselves are noted it is the last of them.
func (w *world) note(do func() (durable bool)) {
	first := len(w.cuts)
	n := cutNote{from: w.fs.Ops(), state: w.state()}
	links := w.c.Stats().WeakGenerations
	same := first > 0 && w.cuts[first-1].weak && maps.Equal(w.cuts[first-1].state, n.state)
	w.turnover.begin(w.rng)
	durable := do()
	left := w.turnover.end()
	if len(w.cuts) == first {
		w.cuts = append(w.cuts, n)
	}
	for i := first; i < len(w.cuts); i++ {
		w.cuts[i].to, w.cuts[i].left = w.fs.Ops(), left
	}
	last := &w.cuts[len(w.cuts)-1]
	last.durable = durable && !w.o.Durability.NoSync // then no power cut spares it
	if durable {
		last.generation = w.c.Stats().Generation
	}
	last.weak = durable || w.c.Health() == nil && (same || w.c.Stats().WeakGenerations > links)
}

func (w *world) weak() {
	w.did("weak")
	w.note(func() bool {
		if err := w.c.persist.dumper.Weak(); err != nil {
			w.did("weak: %v", err)
		}
		return false
	})
}

func (w *world) flush() {
	w.did("flush")
	w.note(func() bool {
		g, err := w.c.Flush(context.Background())
		w.did("generation %d: %v", g, err)
		return err == nil
	})
	if err := checked(w.c); err != nil {
		w.fatalf("%v", err)
	}
}

// fail has one operation of the next Flush fail, in one of the ways that disks
// have.
func (w *world) fail() {
	kinds := []crashfs.Kind{crashfs.OpSync, crashfs.OpSync, crashfs.OpWrite, crashfs.OpAllocate, crashfs.OpSyncDir, crashfs.OpCreate}
	paths := []string{"pages-", "blobs-", "image-", "records.0", "records.1", "weak-", ""}
	losses := []crashfs.Loss{crashfs.LossOnCrash, crashfs.LossAtOnce, crashfs.LossNone}
	r := crashfs.Rule{Kind: kinds[w.rng.Intn(len(kinds))], Path: paths[w.rng.Intn(len(paths))],
		Skip: w.rng.Intn(3), Times: 1, Err: syscall.EIO, Short: w.rng.Intn(8192)}
	loss := losses[w.rng.Intn(len(losses))]
	w.did("fail %v of %q after %d, loss %d", r.Kind, r.Path, r.Skip, loss)
	w.fs.SetSyncLoss(loss)
	remove := w.fs.Fail(r)
	w.sets(1)
	w.flush()
	remove()
}

// reopen closes the cache and opens it again. If Close fails it is a kill.
func (w *world) reopen() {
	w.did("close")
	w.note(func() bool {
		err := w.c.Shutdown(context.Background())
		w.did("closed: %v", err)
		return err == nil
	})
	w.again()
}

// kill ends the process; the next one finds what it wrote.
func (w *world) kill() {
	w.did("kill")
	drop(w.c)
	w.again()
}

func (w *world) again() {
	w.fs = w.fs.Clone()
	w.o = w.on(w.fs)
	w.checkFiles(w.fs.Clone(), w.fs.Ops(), true)
	w.told = w.left
	if w.rng.Intn(2) == 0 {
		w.did("write-back failed")
		w.fs.FailWriteback()
	}
	w.begin(nil)
	// What was found is a cut of its own: the page cache has it, so a kill finds
	// it again.
	at := w.fs.Ops()
	w.cuts = append(w.cuts, cutNote{from: at, to: at, state: w.state(), weak: true})
}

// floor is the newest cut that n operations have to give back at the least.
func (w *world) floor(n int, killed bool) int {
	least := 0
	for i := range w.cuts {
		if c := &w.cuts[i]; c.to <= n && (c.durable || killed && c.weak) {
			least = i
		}
	}
	return least
}

// checkFiles opens fs, which is what n operations left, and holds it to the law:
// the state at some cut not older than the last one acknowledged.
func (w *world) checkFiles(fs *crashfs.FS, n int, killed bool) state {
	w.t.Helper()
	if w.rng.Intn(4) == 0 {
		w.checkDigest(fs)
	}
	before := fs.Ops()
	c := openOn(w.t, w.on(fs))
	st := stateOfKeys(c, w.keys)
	if w.o.Durability.NoSync && !killed {
		w.checkUnsynced(c, st)
		return st
	}
	least := w.floor(n, killed)
	why, found, left := "", false, false
	for i := len(w.cuts) - 1; i >= least && !found; i-- {
		if cut := &w.cuts[i]; i == least || cut.from < n {
			diff := cut.differs(st)
			found, left = diff == "", cut.left
			why += fmt.Sprintf("\n  cut %d (operations %d to %d, durable %v, weak %v): %s", i, cut.from, cut.to, cut.durable, cut.weak, diff)
		}
	}
	if !found {
		older := -1
		for i := range least {
			if st.differs(w.cuts[i].state) == "" {
				older = i
			}
		}
		w.fatalf("after %d operations, killed %v: %d entries are no state at a cut (the state of cut %d: %v)%s\nreport %+v\nlog %v", n, killed, len(st), older, older >= 0, why, c.Recovery(), w.tail(n))
	}
	w.left = left || w.told
	w.checkReport(c, st)
	if c.Recovery().Dropped > 0 {
		w.lacking++
	}
	w.checkRetained(fs, c)
	for _, op := range fs.Log()[before:] {
		if !strings.HasSuffix(op.Path, "/LOCK") && op.Kind != crashfs.OpMkdir {
			w.fatalf("Open changed files: %v", op)
		}
	}
	drop(c)
	return st
}

func (w *world) tail(n int) (ops []crashfs.Op) {
	log := w.fs.Log()
	return log[max(0, n-12):min(n+4, len(log))]
}

// checkReport wants nothing dropped where nothing was damaged or left out.
func (w *world) checkReport(c *Cache, st state) {
	w.t.Helper()
	r, err := c.WaitVerified(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Dropped != 0 && !w.left || r.PagesDropped != 0 && !w.hurt && !w.left || c.Len() != len(st) {
		w.fatalf("%d entries, Len %d, report %+v", len(st), c.Len(), r)
	}
	checkInvariants(w.t, c)
	if w.t.Failed() {
		w.fatalf("report %+v", r)
	}
}

// checkDigest loads the same files twice.
func (w *world) checkDigest(fs *crashfs.FS) {
	w.t.Helper()
	var digests [2]uint64
	for i := range digests {
		res, err := loader.Load(context.Background(), loader.Options{FS: fs, Dir: worldDir})
		if err != nil {
			if errors.Is(err, syscall.ENOENT) || bytes.Contains([]byte(err.Error()), []byte("not exist")) {
				return
			}
			w.t.Fatal(err)
		}
		digests[i] = res.Digest()
		_ = res.Close()
	}
	if digests[0] != digests[1] {
		w.fatalf("the same files twice: digests %x and %x", digests[0], digests[1])
	}
}
