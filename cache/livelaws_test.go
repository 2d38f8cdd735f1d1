package cache

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// liveOpen opens an empty cache with a live log.
func liveOpen(t *testing.T, change func(o *Options)) (*Cache, *crashfs.FS, *memLive) {
	t.Helper()
	fs, m := crashfs.New(), newMemLive()
	o := liveOptions(fs, m, 2)
	o.hooks.alone = true
	if change != nil {
		change(o)
	}
	return openOn(t, o), fs, m
}

// killedNow is what a process finds after a kill.
func killedNow(t *testing.T, fs *crashfs.FS, m *memLive, change func(o *Options)) *Cache {
	t.Helper()
	o := liveOptions(fs.Clone(), m.clone(), 2)
	if change != nil {
		change(o)
	}
	return openOn(t, o)
}

// TestTheLogComesFirst: whatever a Get can see is in the log by then, so that no effect
// is there without its cause. // I9
func TestTheLogComesFirst(t *testing.T) {
	c, fs, m := liveOpen(t, nil)
	defer c.Close()
	key := []byte("key")
	look := func() string {
		v, ok := c.Get(key)
		return fmt.Sprintf("%t, %.9s of %d bytes", ok, v, len(v))
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a new key", func() { mustSet(t, c, key, []byte("one")) }},
		{"an overwrite", func() { mustSet(t, c, key, []byte("two")) }},
		{"a large value", func() { mustSet(t, c, key, bytes.Repeat([]byte("l"), 20000)) }},
		{"a condition", func() { _ = c.Compute(key, func([]byte, bool) ([]byte, Op) { return []byte("three"), OpWrite }) }},
		{"Delete", func() { c.Delete(key) }},
		{"a batch", func() { _ = c.Batch([]BatchOp{{Key: key, Value: []byte("four")}}) }},
		{"Clear", func() { _ = c.Clear() }},
	} {
		before, logged := look(), false
		c.opts.hooks.killable = func() {
			if logged {
				return
			}
			next := killedNow(t, fs, m, nil)
			v, ok := next.Get(key)
			logged = fmt.Sprintf("%t, %.9s of %d bytes", ok, v, len(v)) != before
			drop(next)
			if got := look(); logged && got != before {
				t.Errorf("%s: seen before it was in the log: %s", step.name, got)
			}
		}
		step.do()
		c.opts.hooks.killable = nil
		if after := look(); after == before || !logged {
			t.Errorf("%s: %s, then %s, which is in the log: %t", step.name, before, after, logged)
		}
	}
}

// TestEvictionsAreLoggedFirst: a Get that misses what was evicted does so when the log
// has that it was.
func TestEvictionsAreLoggedFirst(t *testing.T) {
	c, _, _ := liveOpen(t, nil)
	defer c.Close()
	key := []byte("key")
	s := c.shardOf(c.hash.sum(key))
	mustSet(t, c, key, []byte("value"))
	there, logged, told := true, false, false
	c.opts.hooks.killable = func() {
		_, w, _, o := s.findLocked(key, c.hash.sum(key))
		if there = o == hit; there {
			logged = !w.within(s.queues[w.queue()].head, s.queues[w.queue()].tail) // as the group says
		} else if !logged && !told {
			told = true
			t.Error("evicted before it was logged")
		}
	}
	defer func() { c.opts.hooks.killable = nil }()
	for i := 0; there; i++ {
		_ = c.Set(worldKey(i), make([]byte, 4000))
		if i%20 == 0 {
			mustFlush(t, c) // or ring and log are full
		}
	}
	if c.Stats().LiveGaps != 0 {
		t.Error("the log was full")
	}
}

// TestDownChainKeepsTheLog: while links cannot be written nothing that has returned is
// lost, as long as the log has room.
func TestDownChainKeepsTheLog(t *testing.T) {
	c, fs, m := liveOpen(t, nil)
	set := func(round int) {
		for i := range 30 {
			mustSet(t, c, worldKey(i), fmt.Appendf(nil, "%d in %d", i, round))
		}
	}
	check := func(when string) {
		t.Helper()
		next := killedNow(t, fs, m, nil)
		sameContents(t, contents(next), contents(c))
		if t.Failed() {
			t.Fatalf("%s: %v", when, next.Recovery())
		}
		drop(next)
	}
	set(0)
	mend := fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: "weak-", Err: syscall.EIO})
	for round := range 5 {
		set(1 + round)
		check("before a link that fails")
		if err := c.persist.dumper.Weak(); err == nil {
			t.Fatal("a link was written")
		}
		check("after it")
		if c.Health() == nil {
			t.Error("nothing is said")
		}
	}
	mend()
	mustFlush(t, c)
	for round := range 4 {
		_ = c.persist.dumper.Weak()
		set(10 + round)
		if c.Health() == nil {
			check("when the chain goes on")
		}
	}
	if err := c.Health(); err != nil {
		t.Error(err)
	}
	drop(c)
}

// TestSetWithoutASlotLeavesNoHole: an entry that finds no slot takes room in a segment
// all the same, and what shares its page is there after a kill.
func TestSetWithoutASlotLeavesNoHole(t *testing.T) {
	var tags []uint64 // of keys that have both buckets in common
	probe, _, _ := liveOpen(t, nil)
	for tag := uint32(1); len(tags) < 256; tag++ {
		if x := &probe.shards[0].index; x.other(0, tag) == x.other(0, 1) {
			tags = append(tags, uint64(tag))
		}
	}
	drop(probe)
	same := func(o *Options) {
		o.hooks.hash, o.hooks.lazily = func(key []byte) uint64 {
			if len(key) > 2 {
				return 1<<63 | 1<<40 | uint64(key[0]) // in another bucket
			}
			return 1<<63 | tags[key[len(key)-1]]
		}, true
	}
	c, fs, m := liveOpen(t, same)
	key := func(i int) []byte { return []byte{'k', byte('a' + i)} }
	for i := range 16 {
		mustSet(t, c, key(i), make([]byte, 6000)) // whole pages go home
	}
	mustClose(t, c)
	fs2 := fs.Clone()
	o := liveOptions(fs2, m, 2)
	same(o)
	c = openOn(t, o) // pages are on file
	for i := range 16 {
		c.shardOf(c.hash.sum(key(i))).loadIndex()
	}
	mustSet(t, c, []byte("first"), []byte("value"))
	rejected := c.Stats().Rejected
	for i := range 4 {
		_ = c.Set(key(100+i), make([]byte, 100)) // none of the sixteen can go
	}
	if c.Stats().Rejected == rejected {
		t.Fatal("they found slots")
	}
	mustSet(t, c, []byte("other"), []byte("value"))
	next := killedNow(t, fs2, m, same)
	sameContents(t, contents(next), contents(c))
	drop(next)
	drop(c)
}

// TestListsThatLieStayOutOfTheLog: what a damaged record lists never was.
func TestListsThatLieStayOutOfTheLog(t *testing.T) {
	c, fs, m := liveOpen(t, nil)
	mustSet(t, c, []byte("before"), []byte("value"))
	s := c.shardOf(c.hash.sum([]byte("key")))
	s.lock()
	s.logDiedLocked(make([]byte, 16))
	s.logDiedLocked([]byte{1, 2, 3, 4, 5, 6, 7, 8})
	s.unlock()
	mustSet(t, c, []byte("key"), []byte("value"))
	next := killedNow(t, fs, m, nil)
	sameContents(t, contents(next), contents(c))
	if r := next.Recovery(); r.Reason != nil {
		t.Error(r.Reason)
	}
	drop(next)
	drop(c)
}

// TestBatchKeepsItsTimes: whoever finishes a batch stores what it would have stored.
func TestBatchKeepsItsTimes(t *testing.T) {
	sliding := func(o *Options) { o.Freshness.Jitter = -1 }
	c, fs, m := liveOpen(t, sliding)
	view, err := Of(c, String(), String(), &TypedOptions[string, string]{Freshness: &Freshness{TTL: time.Hour, Sliding: true, Jitter: -1}})
	if err != nil {
		t.Fatal(err)
	}
	var next *Cache
	c.opts.hooks.killable = func() {
		if next == nil {
			next = killedNow(t, fs, m, sliding)
		}
	}
	if err := view.SetMany(map[string]string{"a": "1", "b": "2"}); err != nil {
		t.Fatal(err)
	}
	c.opts.hooks.killable = nil
	times := func(c *Cache) (all []string) {
		for k := range c.All() {
			r := c.look(nil, k)
			all = append(all, fmt.Sprintf("%x expires %t slides %t", k, r.head.expiry()-c.now() > 3_000_000 && r.head.expiry()-c.now() <= 3_600_000, r.head.slides()))
		}
		return all
	}
	got, want := times(next), times(c)
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 2 {
		t.Errorf("got %v, want %v", got, want)
	}
	drop(next)
	drop(c)
}

// TestManyBatchesAtATime do not give the log up for want of a place to be told in.
func TestManyBatchesAtATime(t *testing.T) {
	c, _, _ := liveOpen(t, func(o *Options) { o.MaxBytes = 32 << 20 })
	defer c.Close()
	for _, s := range c.shards {
		s.mu.Lock() // none can end
	}
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() { _ = c.Batch([]BatchOp{{Key: worldKey(i), Value: []byte("v")}}) })
	}
	for len(c.livelog.tickets) < cap(c.livelog.tickets) {
		time.Sleep(time.Millisecond) // until all places are taken
	}
	for _, s := range c.shards {
		s.mu.Unlock()
	}
	group.Wait()
	if st := c.Stats(); st.LiveGaps != 0 || c.Len() != 200 {
		t.Errorf("%d gaps, %d entries", st.LiveGaps, c.Len())
	}
}

// TestRenewedMemoryOnlyValuesStayOutOfTheLog: what a load renews of a MemoryOnly entry
// is in no file, the log's neither.
func TestRenewedMemoryOnlyValuesStayOutOfTheLog(t *testing.T) {
	c, _, m := liveOpen(t, func(o *Options) { o.Freshness.RefreshAfter = time.Nanosecond })
	defer c.Close()
	key, secret := []byte("key"), bytes.Repeat([]byte("secret"), 5000)
	if err := c.SetEntry(key, []byte("old"), EntryOptions{MemoryOnly: true}); err != nil {
		t.Fatal(err)
	}
	e := entry{key: key, hash: c.hash.sum(key)}
	if !c.shardOf(e.hash).inMemoryAlone(&e) {
		t.Fatal("the entry is not in memory alone")
	}
	f := &flight{key: key, hash: e.hash}
	if !c.prepare(&e, key, secret, EntryOptions{}) {
		t.Fatal("no room")
	}
	e.guard = guard{kind: ifFlying, flight: f}
	c.livelog.keep(&e)
	if bytes.Contains(m.only(t), secret[:4000]) {
		t.Error("the log has it")
	}
	c.freeLarge(e.list(c.segmentSize))
}

// A slowLive makes its memory when it is told to.
type slowLive struct {
	*memLive
	asked, answer chan struct{}
}

func (m *slowLive) Make(name string, size int64) ([]byte, error) {
	close(m.asked)
	<-m.answer
	return m.memLive.Make(name, size)
}

// TestCloseWaitsForTheLogsMemory: one that is made after the lock was given back would
// be another process's.
func TestCloseWaitsForTheLogsMemory(t *testing.T) {
	m := &slowLive{newMemLive(), make(chan struct{}), make(chan struct{})}
	fs := crashfs.New()
	o := liveOptions(fs, m.memLive, 2)
	o.hooks.live = m
	c := openUntil(t, o, m.asked)
	if c.Health() == nil {
		t.Error("nothing is said")
	}
	mustSet(t, c, []byte("key"), []byte("value"))
	shutUntil(c, nil)
	if again, err := Open(context.Background(), worldDir, liveOptions(fs, newMemLive(), 2)); err == nil {
		drop(again)
		t.Error("the directory was given back before the memory was made")
	}
	close(m.answer)
	<-c.livelog.made
	if len(m.files) != 0 {
		t.Error("the memory stays")
	}
}

// openUntil opens a cache. Open's context ends when it is told of.
func openUntil(t *testing.T, o *Options, told <-chan struct{}) *Cache {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go endWhen(ctx, cancel, told)
	c, err := Open(ctx, worldDir, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shutUntil closes a cache. Shutdown's context ends when it is told of, or soon.
func shutUntil(c *Cache, told <-chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	if told != nil {
		ctx, cancel = context.WithCancel(context.Background())
	}
	defer cancel()
	go endWhen(ctx, cancel, told)
	_ = c.Shutdown(ctx)
}

// TestBatchThatCannotBeToldIsNotEncoded: no more is copied than there is room for, and
// nothing for a half that is not whole.
func TestBatchThatCannotBeToldIsNotEncoded(t *testing.T) {
	c, _, _ := liveOpen(t, nil)
	defer c.Close()
	l := c.livelog
	seq := l.seq.Load()
	ops := []BatchOp{{Key: []byte("key"), Value: make([]byte, l.mem.Room(seq))}}
	for what, o := range map[string]*EntryOptions{"all": {}, "keys alone": {MemoryOnly: true}} {
		b, fits := c.encodeBatch(ops, o, l.mem.Room(seq))
		if fits != o.MemoryOnly || fits != (b != nil) {
			t.Errorf("%s: %d bytes, which fit: %t", what, len(b), fits)
		}
	}
	if err := c.Batch(ops[:0]); err != nil || c.Stats().LiveGaps != 0 {
		t.Fatalf("%v, %d gaps", err, c.Stats().LiveGaps)
	}
	u := l.begin(pagefile.IntentBatch, func(most int) ([]byte, bool) { return nil, false })
	again := l.begin(pagefile.IntentBatch, func(int) ([]byte, bool) { t.Error("it was encoded in vain"); return nil, true })
	if u.slot >= 0 || again.slot >= 0 || !l.mem.Broken(seq) || c.Stats().LiveGaps != 1 || len(l.tickets) != 0 {
		t.Errorf("slots %d and %d, broken: %t, %d gaps, %d tickets", u.slot, again.slot, l.mem.Broken(seq), c.Stats().LiveGaps, len(l.tickets))
	}
}

// endWhen ends ctx when it is told of.
func endWhen(ctx context.Context, cancel func(), told <-chan struct{}) {
	select {
	case <-told:
		cancel()
	case <-ctx.Done():
	}
}
