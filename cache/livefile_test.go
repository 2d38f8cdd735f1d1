package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A liveCrash is what a process left that was killed: links have linked, and its log
// all.
type liveCrash struct {
	fs          *crashfs.FS
	m           *memLive
	linked, all map[string]string
}

// liveCrashed lives that process. Besides small entries there are large ones, and some
// of both that linked has are overwritten or gone.
func liveCrashed(t *testing.T, shards int) *liveCrash {
	t.Helper()
	k := &liveCrash{fs: crashfs.New(), m: newMemLive()}
	c := openOn(t, liveOptions(k.fs, k.m, shards))
	set := func(from, to, salt int) {
		for i := from; i < to; i++ {
			mustSet(t, c, worldKey(i), testValue(i+salt, 8+i))
		}
	}
	set(0, 60, 0)
	mustSet(t, c, []byte("large"), testValue(1, 20000))
	mustSet(t, c, []byte("large that goes"), testValue(2, 20000))
	mustWeak(t, c)
	k.linked = contents(c)
	set(40, 90, 1000)
	c.Delete(worldKey(3))
	c.Delete([]byte("large that goes"))
	mustSet(t, c, []byte("large"), testValue(3, 30000))
	k.all = contents(c)
	drop(c)
	return k
}

// open opens it as it was left.
func (k *liveCrash) open(t *testing.T, change func(o *Options)) *Cache {
	t.Helper()
	k.fs, k.m = k.fs.Clone(), k.m.clone()
	o := liveOptions(k.fs, k.m, 2)
	if change != nil {
		change(o)
	}
	return openOn(t, o)
}

const liveTokenPath = worldDir + "/" + liveToken

// foreignLogs are logs and tokens that are not those of the last process; but for the
// first, so that the others tell something.
var foreignLogs = []struct {
	name   string
	spoil  func(t *testing.T, k *liveCrash, b []byte)
	option func(o *Options)
	whole  bool
}{
	{name: "its own", whole: true},
	{name: "no log", spoil: func(_ *testing.T, k *liveCrash, _ []byte) { clear(k.m.files) }},
	{name: "another session", spoil: func(t *testing.T, _ *liveCrash, b []byte) {
		resealLive(t, b, func(session, _ *uint64, _ *int) { *session += 2 })
	}},
	{name: "another directory", spoil: func(t *testing.T, _ *liveCrash, b []byte) {
		resealLive(t, b, func(_, dirID *uint64, _ *int) { *dirID++ })
	}},
	{name: "another number of shards", spoil: func(t *testing.T, _ *liveCrash, b []byte) {
		resealLive(t, b, func(_, _ *uint64, shards *int) { *shards = 1 })
	}},
	{name: "another version", spoil: func(_ *testing.T, _ *liveCrash, b []byte) { b[4]++ }},
	{name: "a header that was damaged", spoil: func(_ *testing.T, _ *liveCrash, b []byte) { b[33] ^= 1 }},
	{name: "another length", spoil: func(_ *testing.T, k *liveCrash, _ []byte) {
		for name, b := range k.m.files {
			k.m.files[name] = b[:len(b)-4096]
		}
	}},
	{name: "hardly any length", spoil: func(_ *testing.T, k *liveCrash, _ []byte) {
		for name, b := range k.m.files {
			k.m.files[name] = b[:100]
		}
	}},
	{name: "no token", spoil: func(t *testing.T, k *liveCrash, _ []byte) { erase(t, k.fs, liveTokenPath) }},
	{name: "a token without its end", spoil: func(t *testing.T, k *liveCrash, _ []byte) { _ = k.fs.TruncateFile(liveTokenPath, tokenSize-1) }},
	{name: "a token of nothing", spoil: func(t *testing.T, k *liveCrash, _ []byte) { _ = k.fs.TruncateFile(liveTokenPath, 0) }},
	{name: "another token", spoil: func(t *testing.T, k *liveCrash, _ []byte) { _ = k.fs.Flip(liveTokenPath, 7, 1) }},
	{name: "a token of another session", spoil: func(t *testing.T, k *liveCrash, _ []byte) { _ = k.fs.Flip(liveTokenPath, 9, 1) }},
	{name: "a token half of which is another's", spoil: func(t *testing.T, k *liveCrash, _ []byte) { _ = k.fs.Flip(liveTokenPath, 20, 1) }},
	{name: "another folder", option: func(o *Options) { o.hooks.live = newMemLive() }},
	{name: "another schema", option: func(o *Options) { o.Schema = "v2" }},
}

// resealLive writes another header.
func resealLive(t *testing.T, b []byte, change func(session, dirID *uint64, shards *int)) {
	v, err := pagefile.ViewLive(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	session, dirID, shards := v.Session, v.DirID, v.Shards
	change(&session, &dirID, &shards)
	header := make([]byte, pagefile.LiveSize(shards, int64(len(b))))
	pagefile.NewLive(header, shards, session, dirID)
	copy(b[:64], header)
}

// TestLiveLogOfAnotherIsNotApplied: what weak generations have is there, nothing else,
// and the cache has a log of its own again.
func TestLiveLogOfAnotherIsNotApplied(t *testing.T) {
	crash := liveCrashed(t, 2)
	for _, c := range foreignLogs {
		t.Run(c.name, func(t *testing.T) {
			k := *crash
			k.fs, k.m = k.fs.Clone(), k.m.clone()
			if c.spoil != nil {
				c.spoil(t, &k, k.m.only(t))
			}
			cache := k.open(t, c.option)
			want := k.linked
			if c.whole {
				want = k.all
			} else if c.name == "another schema" {
				want = nil
			}
			sameContents(t, contents(cache), want)
			if err := cache.Health(); err != nil {
				t.Error(err)
			}
			mustSet(t, cache, []byte("after"), []byte("1"))
			want = contents(cache)
			drop(cache)
			cache = openOn(t, &cache.opts)
			sameContents(t, contents(cache), want)
			drop(cache)
		})
	}
}

func erase(t *testing.T, fs *crashfs.FS, name string) {
	t.Helper()
	if err := fs.Erase(name); err != nil {
		t.Fatal(err)
	}
}

// TestProcessWithoutTheOptionEndsTheLog: what it did the log does not know, and what it
// may have told others the log must not take back. So nothing of the log is ever
// applied again, even if that process wrote nothing.
func TestProcessWithoutTheOptionEndsTheLog(t *testing.T) {
	for _, what := range []string{"nothing", "a weak generation", "a generation", "a clean end"} {
		t.Run(what, func(t *testing.T) {
			k := liveCrashed(t, 2)
			c := k.open(t, func(o *Options) { o.Durability.Live, o.hooks.live = "", nil })
			sameContents(t, contents(c), k.linked)
			mustSet(t, c, []byte("without"), []byte("1"))
			want := contents(c)
			switch what {
			case "nothing":
				want = k.linked
			case "a weak generation":
				mustWeak(t, c)
			case "a generation":
				mustFlush(t, c)
			}
			if what == "a clean end" {
				mustClose(t, c)
			} else {
				drop(c)
			}
			c = k.open(t, nil)
			sameContents(t, contents(c), want)
			drop(c)
		})
	}
}

// TestFullLiveLogSaysSo: what does not fit costs what weak generations cost, once;
// Health and LiveGaps say so until the next cut.
func TestFullLiveLogSaysSo(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	c := openOn(t, liveOptions(fs, m, 2))
	mustSet(t, c, []byte("k"), []byte("linked"))
	mustWeak(t, c)
	linked := contents(c)
	for i := 0; c.Health() == nil; i++ {
		if i > 10000 {
			t.Fatal("the log is never full")
		}
		mustSet(t, c, worldKey(i%50), testValue(i, 900))
	}
	for i := range 100 { // both shards
		mustSet(t, c, worldKey(i%50), testValue(i, 900))
	}
	if err, n := c.Health(), c.Stats().LiveGaps; !errors.Is(err, errLiveFull) || n != 1 {
		t.Errorf("Health %v, %d gaps", err, n)
	}
	served := contents(c)
	next := openOn(t, liveOptions(fs.Clone(), m.clone(), 2))
	sameContents(t, contents(next), linked)
	if r := next.Recovery(); r.Reason == nil || r.Outcome != OutcomePartial || !strings.Contains(r.Reason.Error(), "live") {
		t.Errorf("a log that was not whole: %+v", r)
	}
	drop(next)
	sameContents(t, contents(c), served)
	mustWeak(t, c)
	if err := c.Health(); err != nil {
		t.Errorf("after the next cut: %v", err)
	}
	mustSet(t, c, []byte("k"), []byte("logged"))
	want := contents(c)
	drop(c)
	c = openOn(t, liveOptions(fs, m, 2))
	defer drop(c)
	sameContents(t, contents(c), want)
}

// TestLargeValueThatDoesNotFitTheLog is served, and is a gap like any other; so is a
// batch.
func TestLargeValueThatDoesNotFitTheLog(t *testing.T) {
	for what, do := range map[string]func(c *Cache) error{
		"a large value": func(c *Cache) error { return c.Set([]byte("k"), testValue(1, 600<<10)) },
		"a batch": func(c *Cache) error {
			return c.Batch([]BatchOp{{Key: []byte("k"), Value: testValue(1, 300<<10)}, {Key: []byte("l"), Value: testValue(2, 300<<10)}})
		},
		"a batch that stores nothing": func(c *Cache) error {
			ops := make([]BatchOp, 600)
			for i := range ops {
				ops[i].Key = fmt.Appendf(nil, "%01000d", i)
			}
			return c.Batch(ops)
		},
	} {
		t.Run(what, func(t *testing.T) {
			fs, m := crashfs.New(), newMemLive()
			o := liveOptions(fs, m, 2)
			o.MaxBytes = 8 << 20
			c := openOn(t, o)
			mustSet(t, c, []byte("k"), []byte("linked"))
			mustWeak(t, c)
			linked := contents(c)
			if err := do(c); err != nil {
				t.Fatal(err)
			}
			if err, n := c.Health(), c.Stats().LiveGaps; !errors.Is(err, errLiveFull) || n != 1 || !c.Has([]byte("k")) {
				t.Errorf("Health %v, %d gaps", err, n)
			}
			next := openOn(t, &Options{MaxBytes: o.MaxBytes, Shards: 2, Logger: o.Logger, Durability: o.Durability,
				hooks: hooks{fs: fs.Clone(), seed: 1, step: true, live: m.clone()}})
			sameContents(t, contents(next), linked)
			drop(next)
			mustWeak(t, c)
			want := contents(c)
			if err := c.Health(); err != nil {
				t.Error(err)
			}
			drop(c)
			c = openOn(t, o)
			sameContents(t, contents(c), want)
			drop(c)
		})
	}
}

// TestLiveLogHasAllThatAShardDoes since one cut: an index that grows, segments that are
// sealed, entries that are evicted, large values that are born, replaced and die in
// it. And what was taken up from it is durable with the next generation.
func TestLiveLogHasAllThatAShardDoes(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	o := liveOptions(fs, m, 2)
	c := openOn(t, o)
	s, n := c.shards[0], 0
	grow := func() {
		for base := s.index.buckets(); s.index.buckets() == base; n++ {
			mustSet(t, c, testKey(n), testValue(n, 8))
		}
		mustSet(t, c, testKey(n), testValue(n, 8))
	}
	for grow(); c.livelog.mem.Fullness(c.livelog.seq.Load()) > 16; grow() {
		mustWeak(t, c)
	}
	base := s.index.buckets()
	grow()
	links, sealed := c.Stats().WeakGenerations, s.queues[1].tail+uint64(2*s.segmentSize/unitSize)
	for i := 0; s.queues[1].tail < sealed; i++ {
		mustSet(t, c, worldKey(i), testValue(i, 2000))
	}
	for i := range 4 {
		mustSet(t, c, fmt.Appendf(nil, "large %d", i%3), testValue(i, 12<<10))
	}
	c.Delete([]byte("large 2"))
	for i := range 300 {
		c.Delete(testKey(7 * i))
	}
	if got := c.Stats().WeakGenerations; got != links || c.Health() != nil || s.index.buckets() == base {
		t.Fatalf("%d links more, %d buckets, Health %v", got-links, s.index.buckets(), c.Health())
	}
	want := contents(c)
	entries := c.Stats().Entries
	drop(c)
	for _, then := range []string{"kill", "flush", "close", "open"} {
		c = openOn(t, o)
		sameContents(t, contents(c), want)
		if o.hooks.lazily {
			c.prefetch() // nobody else does
		}
		r := reopened(t, c)
		if got := c.Stats().Entries; got != entries || r.Outcome != OutcomeWarm || r.Entries != int(entries) || r.Dropped != 0 {
			t.Errorf("before %s: %d entries, want %d; report %+v", then, got, entries, r)
		}
		switch then {
		case "flush":
			mustFlush(t, c)
			if err := checked(c); err != nil {
				t.Error(err)
			}
		case "close":
			mustClose(t, c)
			continue
		}
		drop(c)
	}
}

// TestEvictedEntriesStayAway when a log is applied: of each key the last value, or
// none, and no more than there were.
func TestEvictedEntriesStayAway(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	o := liveOptions(fs, m, 2)
	c := openOn(t, o)
	for i := range 6000 {
		mustSet(t, c, worldKey(i%1500), testValue(i, 1000))
		if i%200 == 0 {
			mustFlush(t, c)
		}
	}
	if c.Stats().Evictions == 0 || c.Health() != nil {
		t.Fatalf("%d evictions, Health %v", c.Stats().Evictions, c.Health())
	}
	want := contents(c)
	drop(c)
	c = openOn(t, o)
	defer drop(c)
	sameContents(t, contents(c), want)
}

// TestCloseEndsTheLog: a good Close leaves no file and no token, and a Close that
// failed leaves both, for the next to apply.
func TestCloseEndsTheLog(t *testing.T) {
	fs, m := crashfs.New(), newMemLive()
	o := liveOptions(fs, m, 2)
	c := openOn(t, o)
	mustSet(t, c, []byte("k"), []byte("1"))
	mustClose(t, c)
	tokens := func() bool {
		return slices.ContainsFunc(fs.List(), func(name string) bool { return strings.HasSuffix(name, "/"+liveToken) })
	}
	if len(m.files) != 0 || tokens() {
		t.Errorf("after a good Close: %v, %v", slices.Collect(maps.Keys(m.files)), fs.List())
	}
	for _, kind := range []crashfs.Kind{crashfs.OpWrite, crashfs.OpSync} {
		c = openOn(t, o)
		mustSet(t, c, []byte("k"), []byte("2 "+kind.String()))
		c.Delete(worldKey(1))
		mustSet(t, c, worldKey(2), testValue(2, 20000))
		want := contents(c)
		remove := fs.Fail(crashfs.Rule{Kind: kind, Err: syscall.EIO})
		if err := c.Close(); err == nil {
			t.Fatal("Close returned no error")
		}
		remove()
		if len(m.files) != 1 || !tokens() {
			t.Errorf("after a Close that failed: %v, %v", slices.Collect(maps.Keys(m.files)), fs.List())
		}
		c = openOn(t, o)
		sameContents(t, contents(c), want)
		mustSet(t, c, worldKey(1), []byte("back"))
		mustClose(t, c)
	}
}

// TestLiveLogFlippedAnywhere: whatever byte changes, each key has what the newest link
// has, or what was there when the process was killed; all of them the same.
func TestLiveLogFlippedAnywhere(t *testing.T) {
	alone(t)
	crash := liveCrashed(t, 2)
	b := crash.m.only(t)
	var written []int
	for i, c := range b {
		if c != 0 {
			written = append(written, i)
		}
	}
	rng := rand.New(rand.NewSource(*liveSeed))
	lost := 0
	for range 60 {
		i, mask := written[rng.Intn(len(written))], byte(1<<rng.Intn(8))
		b[i] ^= mask
		k := *crash
		c := k.open(t, nil)
		b[i] ^= mask
		got := contents(c)
		drop(c)
		if maps.Equal(got, crash.linked) {
			lost++
		} else if !maps.Equal(got, crash.all) {
			t.Fatalf("-liveseed %d: byte %d changed by %x: %d entries, neither the %d of the link nor the %d of the log", *liveSeed, i, mask, len(got), len(crash.linked), len(crash.all))
		}
	}
	if lost == 0 {
		t.Error("no byte matters")
	}
}

// TestHostileLiveLogsOpen: a log with every checksum right that says anything. Open
// returns, the cache serves, and none of its numbers costs more than its bytes.
func TestHostileLiveLogsOpen(t *testing.T) {
	alone(t)
	crash := liveCrashed(t, 2)
	for seed := range int64(40) {
		k := *crash
		k.fs, k.m = k.fs.Clone(), k.m.clone()
		rng := rand.New(rand.NewSource(*liveSeed + seed))
		hostileLog(t, rng, k.m.only(t), crash.fs)
		c := k.open(t, nil)
		for key := range crash.all {
			_, _ = c.Get([]byte(key))
		}
		mustSet(t, c, []byte("k"), []byte("v"))
		wantValue(t, c, []byte("k"), []byte("v"))
		for range c.All() {
		}
		_, _ = c.Flush(t.Context()) // it may find what cannot be
		_ = reopened(t, c)
		drop(c)
	}
}

// hostileLog writes a log over another, that goes on from the same link.
func hostileLog(t *testing.T, rng *rand.Rand, b []byte, fs *crashfs.FS) {
	v, err := pagefile.ViewLive(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	base := v.Bases()[0]
	var last liveLast
	if err := v.Visit(0, base.Seq, &last); err != nil {
		t.Fatal(err)
	}
	l := pagefile.NewLive(b, v.Shards, v.Session, v.DirID)
	l.Reset(base.Seq)
	for shard := range v.Shards {
		w := l.Writer(shard)
		w.Cut(base.Seq)
		for range rng.Intn(4) {
			for range rng.Intn(6) {
				hostileItem(rng, l, w, base.Seq, &last)
			}
			state := last.state
			for q := range state.Tails {
				state.Tails[q] += uint64(rng.Intn(1 << 13))
				state.Heads[q] += uint64(rng.Intn(2)) * (state.Tails[q] - state.Heads[q])
			}
			state.Entries, state.Live = uint32(rng.Intn(500)), rng.Uint64()
			if p, v := w.Commit(&state, rng.Uint64()>>rng.Intn(64)); p != nil {
				atomic.StoreUint64(p, v)
			}
		}
	}
	var slots atomic.Uint64
	batch := make([]byte, rng.Intn(100))
	rng.Read(batch)
	l.Begin(base.Seq, pagefile.IntentBatch, batch, &slots)
	l.Begin(base.Seq, pagefile.IntentBatch, binary.LittleEndian.AppendUint64(nil, 1<<40), &slots)
	l.SetBase(base.Seq, pagefile.WeakPos{Hash: base.Hash, Number: base.Number})
}

func hostileItem(rng *rand.Rand, l *pagefile.Live, w *pagefile.LiveWriter, seq uint64, last *liveLast) {
	number := last.number + uint64(rng.Intn(3))
	if rng.Intn(8) == 0 {
		number = rng.Uint64() >> rng.Intn(64)
	}
	bytes := make([]byte, unitSize*rng.Intn(40))
	rng.Read(bytes)
	switch rng.Intn(6) {
	case 0:
		w.Record(uint8(rng.Intn(2)), number, last.seq+uint64(rng.Intn(2)), unitSize*rng.Intn(900), bytes)
	case 1:
		w.Seal(uint8(rng.Intn(2)), number, last.seq, uint32(rng.Intn(1025)))
	case 2:
		if off, sum, ok := l.Keep(seq, bytes); ok {
			w.Born(number, uint32(len(bytes)/unitSize), off, sum)
		}
	case 3:
		w.Died(number)
	default:
		slot := uint32(rng.Intn(1 << 12))
		if rng.Intn(4) == 0 {
			slot = rng.Uint32()
		}
		w.Store(slot, uint64(rng.Intn(2))<<62|uint64(rng.Intn(1<<12))<<32|uint64(rng.Uint32()))
	}
}

// A liveLast is what a shard's log ends with.
type liveLast struct {
	state       pagefile.ShardState
	number, seq uint64
}

func (s *liveLast) Store(uint32, []byte)               {}
func (s *liveLast) Seal(uint8, uint64, uint64, uint32) {}
func (s *liveLast) Born(uint64, uint32, []byte)        {}
func (s *liveLast) Died(uint64)                        {}
func (s *liveLast) Group(state pagefile.ShardState, _ uint64) {
	s.state = state
}
func (s *liveLast) Record(_ uint8, number, seq uint64, _ uint32, _ []byte) {
	s.number, s.seq = number, seq
}

// logsLive is what TestEveryLineHasItsLevel has of it: no room, and no generation.
func logsLive(t *testing.T, o *Options, fs *crashfs.FS) {
	m := newMemLive()
	o.Durability.Live, o.hooks.live, m.full = "tmpfs", m, true
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Err: syscall.EIO})
	c := openOn(t, o)
	remove()
	mustClose(t, c)
	mustClose(t, openOn(t, o))
}
