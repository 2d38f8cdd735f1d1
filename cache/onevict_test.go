package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A goner is a call of OnEvict.
type goner struct {
	key, value string
	why        Cause
}

// A morgue records the calls of OnEvict.
type morgue struct {
	mu   sync.Mutex
	list []goner
}

func (m *morgue) take(key, value []byte, why Cause) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, goner{string(key), string(value), why})
}

func (m *morgue) all() []goner {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

// watched are options with a morgue.
func watched(o *Options) (*Options, *morgue) {
	m := new(morgue)
	o.OnEvict = m.take
	return o, m
}

// delivered waits until nothing waits for OnEvict, and no frame is pinned for it.
func delivered(t testing.TB, c *Cache) {
	t.Helper()
	soon(t, "all events are delivered", func() bool {
		c.leavers.mu.Lock()
		defer c.leavers.mu.Unlock()
		return c.leavers.size == 0 && c.leavers.pinned.Load() == 0
	})
}

// wantGoners closes the cache, which waits for all calls, and compares them.
func wantGoners(t *testing.T, c *Cache, m *morgue, want ...goner) {
	t.Helper()
	if st := c.Stats(); st.EvictDropped != 0 {
		t.Errorf("%d events dropped", st.EvictDropped)
	}
	mustClose(t, c)
	if got := m.all(); !slices.Equal(got, want) {
		t.Errorf("got  %.300q\nwant %.300q", fmt.Sprint(got), fmt.Sprint(want))
	}
}

// TestEveryWayOut: each way in which an entry leaves has its cause. The value is
// small, or one with segments of its own.
func TestEveryWayOut(t *testing.T) {
	for _, size := range []int{100, 100_000} {
		t.Run(fmt.Sprint("value=", size), func(t *testing.T) { everyWayOut(t, testValue(1, size)) })
	}
}

func everyWayOut(t *testing.T, value []byte) {
	key, k, v := []byte("k"), "k", string(value)
	for name, tt := range map[string]struct {
		leave func(c *Cache)
		want  []goner
	}{
		"replaced":         {func(c *Cache) { _ = c.Set(key, nil) }, []goner{{k, v, CauseReplaced}}},
		"deleted":          {func(c *Cache) { c.Delete(key) }, []goner{{k, v, CauseDeleted}}},
		"deleted in Batch": {func(c *Cache) { _ = c.Batch([]BatchOp{{Key: key}}) }, []goner{{k, v, CauseDeleted}}},
		"replaced in Batch": {func(c *Cache) {
			_ = c.Batch([]BatchOp{{Key: key, Value: []byte("1")}, {Key: key, Value: []byte{}}})
		}, []goner{{k, v, CauseReplaced}, {k, "1", CauseReplaced}}},
		"cleared": {func(c *Cache) { _ = c.Clear() }, []goner{{k, v, CauseDeleted}}},
		"the index full": {func(c *Cache) {
			s := c.shards[0]
			s.lock()
			slot, _, _, _ := s.findLocked(key, c.hash.sum(key))
			s.evictSlotLocked(slot)
			s.unlock()
		}, []goner{{k, v, CauseEvicted}}},
		"cleaned away": {func(c *Cache) { cleanAll(c, false) }, []goner{{k, v, CauseEvicted}}},
		"moved on":     {func(c *Cache) { cleanAll(c, true); cleanAll(c, true) }, nil},
		"no slot": {func(c *Cache) {
			var e entry
			c.prepare(&e, []byte("new"), value, EntryOptions{})
			s := c.shards[0]
			s.lock()
			s.dropBodyLocked(&e)
			s.unlock()
		}, []goner{{"new", v, CauseEvicted}}},
		"gone with what did not fit": {func(c *Cache) { c.remove(key, CauseEvicted) }, []goner{{k, v, CauseEvicted}}},
		"a View is none":             {func(c *Cache) { _ = c.View(key, func([]byte) error { return nil }) }, nil},
		"a miss is none":             {func(c *Cache) { c.Delete([]byte("other")) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o, m := watched(testOptions(2 << 20))
			o.Shards = 1
			c := openMemory(t, o)
			mustSet(t, c, key, value)
			tt.leave(c)
			delivered(t, c)
			checkInvariants(t, c)
			wantGoners(t, c, m, tt.want...)
		})
	}
}

// cleanAll seals what is open and has the cleaner walk once over everything.
func cleanAll(c *Cache, keep bool) {
	s := c.shards[0]
	s.lock()
	for q := range s.queues {
		s.sealLocked(uint8(q))
	}
	small, main := s.queues[smallQueue].tail, s.queues[mainQueue].tail
	s.unlock()
	done := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.queues[smallQueue].head >= small && s.queues[mainQueue].head >= main
	}
	for !done() {
		s.clean(&pressure{keep: keep, force: !keep})
	}
}

// takeFrames leaves the cache no frame, and its open segments no room.
func takeFrames(c *Cache) (give func()) {
	s := c.shards[0]
	s.lock()
	for q := range s.queues {
		s.sealLocked(uint8(q))
	}
	s.unlock()
	var list []uint32
	for frame, ok := c.frames.take(0); ok; frame, ok = c.frames.take(0) {
		list = append(list, frame)
	}
	return func() {
		for _, frame := range list {
			c.frames.give(frame)
		}
	}
}

// TestASetWithoutRoomLeavesAtOnce: what was stored goes, and so does what was not.
func TestASetWithoutRoomLeavesAtOnce(t *testing.T) {
	o, m := watched(testOptions(1 << 20))
	o.Shards = 1
	c := openMemory(t, o)
	mustSet(t, c, []byte("k"), []byte("old"))
	give := takeFrames(c)
	mustSet(t, c, []byte("k"), []byte("new"))
	mustSet(t, c, []byte("large"), testValue(1, 20_000))
	give()
	wantGoners(t, c, m, goner{"k", "old", CauseEvicted}, goner{"k", "new", CauseEvicted},
		goner{"large", string(testValue(1, 20_000)), CauseEvicted})
}

// setClock gives options a clock that stands still but for what is added to it.
func setClock(o *Options) (passed *atomic.Int64) {
	passed = new(atomic.Int64)
	o.Clock = func() time.Time { return machineStart.Add(time.Duration(passed.Load())) }
	return passed
}

// TestExpired: whatever meets an entry whose time is over, that is its cause.
func TestExpired(t *testing.T) {
	for name, leave := range map[string]func(c *Cache){
		"Set":     func(c *Cache) { _ = c.Set([]byte("k"), nil) },
		"Delete":  func(c *Cache) { c.Delete([]byte("k")) },
		"Clear":   func(c *Cache) { c.Get([]byte("k")); _ = c.Clear() },
		"cleaner": func(c *Cache) { c.Get([]byte("k")); cleanAll(c, true) },
	} {
		t.Run(name, func(t *testing.T) {
			o, m := watched(testOptions(1 << 20))
			passed := setClock(o)
			o.Shards, o.Freshness.Jitter = 1, -1
			c := openMemory(t, o)
			_ = c.SetWithTTL([]byte("k"), []byte("v"), time.Minute)
			passed.Add(int64(time.Minute - time.Millisecond))
			_ = c.SetWithTTL([]byte("k"), []byte("w"), time.Minute)
			passed.Add(int64(time.Minute))
			leave(c)
			wantGoners(t, c, m, goner{"k", "v", CauseReplaced}, goner{"k", "w", CauseExpired})
		})
	}
}

// TestLoadsAndOnEvict: a load's value replaces, its ErrNotFound deletes; that a key
// does not exist is no entry, and leaves without a call.
func TestLoadsAndOnEvict(t *testing.T) {
	o, m := watched(testOptions(1 << 20))
	passed := setClock(o)
	o.Shards = 1
	o.Freshness = Freshness{TTL: time.Hour, RefreshAfter: time.Minute, NegativeTTL: time.Hour, Jitter: -1}
	c := openMemory(t, o)
	absent := fmt.Errorf("%w: gone", ErrNotFound)
	load := func(value string, err error) {
		t.Helper()
		_, _ = c.GetOrLoad(t.Context(), []byte("k"), func(context.Context) ([]byte, error) { return []byte(value), err })
	}
	refresh := func(value string, err error) {
		t.Helper()
		passed.Add(int64(2 * time.Minute))
		n := len(m.all())
		load(value, err)
		soon(t, "the refresh ends", func() bool { return len(m.all()) > n })
	}
	load("", absent)
	mustSet(t, c, []byte("k"), []byte("1"))
	refresh("2", nil)
	refresh("", absent)
	load("never", nil)
	c.Delete([]byte("k"))
	load("3", nil)
	passed.Add(int64(time.Hour))
	load("", absent)
	_ = c.Clear()
	wantGoners(t, c, m, goner{"k", "1", CauseReplaced}, goner{"k", "2", CauseDeleted}, goner{"k", "3", CauseExpired})
}

// TestLostToDamage: an entry that is whole, in a segment that must be given up, is
// corrupt if there is no room to move it to; one that nobody can read makes no
// call, and Close and what Open could not restore make none.
func TestLostToDamage(t *testing.T) {
	fs := crashfs.New()
	o, m := watched(quietOptions(fs, 1))
	c := openOn(t, o)
	fill(t, c, 300)
	mustFlush(t, c)
	mustClose(t, c)
	for _, name := range fs.List() {
		if strings.Contains(name, "/pages-") { // one page of the first segment
			if err := fs.Flip(name, 5*pageSize+100, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	c = openOn(t, o)
	if r := reopened(t, c); r.Dropped == 0 {
		t.Fatal("no page is damaged")
	}
	whole := c.Len()
	s, give := c.shards[0], takeFrames(c)
	head := s.queues[smallQueue].head
	s.sweepSegment(smallQueue, head, s.segmentAt(smallQueue, head).number.Load(), true)
	give()
	lost := whole - c.Len()
	mustClose(t, c)
	list := m.all()
	if lost == 0 || len(list) != lost || c.Stats().EvictDropped != 0 {
		t.Errorf("%d entries went with their segment, %d calls, %d dropped", lost, len(list), c.Stats().EvictDropped)
	}
	for _, g := range list {
		if g.why != CauseCorrupt {
			t.Fatalf("the cause is %v", g.why)
		}
	}
}

// TestEveryValueLeavesOnce: the calls for a key are the values that it had, in
// their order, but for the one that stays. Writers share nothing but the cache.
func TestEveryValueLeavesOnce(t *testing.T) {
	for _, hash := range []string{"good", "truncated"} {
		for _, files := range []bool{false, true} {
			t.Run(fmt.Sprintf("hash=%s files=%v", hash, files), func(t *testing.T) { leavesOnce(t, hash, files) })
		}
	}
}

const leavingKeys = 800

func leavesOnce(t *testing.T, hash string, files bool) {
	rng := newRand(t)
	o, m := watched(quietOptions(crashfs.New(), 2))
	o.hooks.hash, o.hooks.step = badHashes[hash], false
	o.Durability.Interval, o.CloseTimeout = 20*time.Millisecond, time.Minute
	open := func() *Cache { return openMemory(t, o) }
	if files {
		open = func() *Cache { return openOn(t, o) }
	}
	rounds := 2500
	if racing || testing.Short() {
		rounds /= 3
	}
	if hash != "good" { // a Set that finds its buckets full looks far for a slot
		rounds /= 5
	}
	c := open()
	had := make([]map[string][]string, 2)
	var writers sync.WaitGroup
	for w := range had {
		had[w] = make(map[string][]string)
		rng := rand.New(rand.NewSource(rng.Int63()))
		writers.Go(func() { writeLeaving(t, c, w, had[w], rng, rounds) })
	}
	writers.Wait()
	for key, values := range had[0] {
		had[1][key] = values
	}
	delivered(t, c)
	checkInvariants(t, c)
	stays := make(map[string]string)
	for key := range had[1] {
		if v, ok := c.Get([]byte(key)); ok {
			stays[key] = string(v)
		}
	}
	st := c.Stats()
	if st.EvictDropped > 50 || st.Evictions == 0 {
		t.Errorf("%d events dropped, %d evictions", st.EvictDropped, st.Evictions)
	}
	mustClose(t, c)
	left := make(map[string][]string)
	for _, g := range m.all() {
		left[g.key] = append(left[g.key], g.value)
	}
	missing := 0
	for key, want := range had[1] {
		got := left[key]
		if v, ok := stays[key]; ok {
			got = append(got, v)
		}
		for _, v := range want {
			if len(got) > 0 && got[0] == v {
				got = got[1:]
			} else {
				missing++
			}
		}
		if len(got) > 0 {
			t.Errorf("%s: %d values left that it did not have, or out of order: %.20q of %.20q", key, len(got), got, want)
		}
	}
	if missing != int(st.EvictDropped) {
		t.Errorf("%d values are missing, %d events were dropped", missing, st.EvictDropped)
	}
}

// writeLeaving writes keys of its own, and waits now and then until all is
// delivered: large values for which there is little room may be dropped all the
// same.
func writeLeaving(t *testing.T, c *Cache, w int, had map[string][]string, rng *rand.Rand, rounds int) {
	for n := range rounds {
		key := fmt.Sprintf("%d-%d", w, rng.Intn(leavingKeys))
		value := fmt.Sprintf("%d %s", n, testValue(n, rng.Intn(3000)))
		switch rng.Intn(40) {
		case 0:
			c.Delete([]byte(key))
			continue
		case 1:
			value += string(testValue(n, 10_000+rng.Intn(50_000)))
			delivered(t, c)
		}
		had[key] = append(had[key], value)
		mustSet(t, c, []byte(key), []byte(value))
		if n%100 == 0 {
			delivered(t, c)
		}
	}
}

// TestAHangingOnEvict: Sets go on, what does not fit is dropped and counted, little
// memory is bound, nothing live is forgotten, and Close waits for its time.
func TestAHangingOnEvict(t *testing.T) {
	block := make(chan struct{})
	o := testOptions(8 << 20)
	o.Shards, o.CloseTimeout = 1, 50*time.Millisecond
	calls := 0
	o.OnEvict = func(_, _ []byte, _ Cause) { calls++; <-block }
	c := openMemory(t, o)
	for i := range 100 {
		mustSet(t, c, testKey(i), testValue(i, 20_000))
	}
	before := heapInUse()
	for n := range 4000 {
		mustSet(t, c, []byte("small"), testValue(n, 8000))
		if n%20 == 0 {
			mustSet(t, c, []byte("large"), testValue(n, 1_000_000))
		}
	}
	for i := range 100 {
		wantValue(t, c, testKey(i), testValue(i, 20_000))
	}
	if pinned := c.leavers.pinned.Load(); pinned > int64(c.frames.count/8) {
		t.Errorf("%d of %d frames are pinned", pinned, c.frames.count)
	}
	if more := heapInUse() - before; more > mostLeaverBytes+mostLeavers*150 && !racing {
		t.Errorf("what waits takes %d bytes of heap", more)
	}
	st := c.Stats()
	if st.Evictions != 0 || st.Rejected != 0 || st.EvictDropped < 1500 {
		t.Errorf("%d evictions, %d rejected, %d events dropped", st.Evictions, st.Rejected, st.EvictDropped)
	}
	start := time.Now()
	if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > stalls {
		t.Errorf("Close: %v after %v", err, time.Since(start))
	}
	close(block)
	<-c.leavers.done
	if calls != 1 {
		t.Errorf("%d calls after Close gave up, want none", calls-1)
	}
	if now := c.Stats().EvictDropped; now != 4197 {
		t.Errorf("%d events dropped in the end, want all but the first", now)
	}
}

// TestAPanickingOnEvict: the cache goes on, says so once, and counts.
func TestAPanickingOnEvict(t *testing.T) {
	log := newRecorder()
	o := testOptions(1 << 20)
	o.Logger = slog.New(log)
	var got []string
	o.OnEvict = func(_, value []byte, _ Cause) {
		switch v := string(value); v {
		case "1", "2":
			panic("boom " + v)
		case "4":
			runtime.Goexit()
		}
		got = append(got, string(value))
	}
	c := openMemory(t, o)
	for i := range 6 {
		mustSet(t, c, []byte("k"), fmt.Append(nil, i))
	}
	mustClose(t, c)
	if want := []string{"0", "3"}; !slices.Equal(got, want) || c.Stats().EvictDropped != 3 {
		t.Errorf("got %v, %d dropped, want %v and 3", got, c.Stats().EvictDropped, want)
	}
	lines := log.of("callback_panic")
	if len(lines) != 1 || lines[0].level != slog.LevelError || !strings.Contains(lines[0].text, "boom 1") || !strings.Contains(lines[0].text, "onevict_test.go") {
		t.Errorf("logged: %v", lines)
	}
}

// TestOnEvictMayDoAnything: it calls methods of its cache, Close too, which then
// waits for no event and drops what is left.
func TestOnEvictMayDoAnything(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.CloseTimeout = time.Hour // a deadlock would show
	var c *Cache
	closed := make(chan error, 1)
	o.OnEvict = func(key, value []byte, why Cause) {
		if !bytes.Equal(key, []byte("k")) {
			return
		}
		mustSet(t, c, []byte("other"), value)
		c.Get(key)
		c.Delete([]byte("other"))
		_ = c.Batch([]BatchOp{{Key: []byte("other"), Value: value}})
		mustFlush(t, c)
		if string(value) == "3" {
			mustSet(t, c, []byte("large"), testValue(1, 50_000))
			c.Delete([]byte("large"))
			closed <- c.Shutdown(context.Background())
		}
	}
	c = openOn(t, o)
	for i := range 5 {
		mustSet(t, c, []byte("k"), fmt.Append(nil, i))
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if c.Stats().EvictDropped == 0 {
		t.Error("what was left is not counted")
	}
	<-c.leavers.done
	drop2 := openOn(t, quietOptions(fs, 1))
	wantValue(t, drop2, []byte("k"), []byte("4"))
	mustClose(t, drop2)
}

// TestLargeValuesOnFileLeaveWhole: a Delete before the value was read reads it; what
// Clear takes unread is counted.
func TestLargeValuesOnFileLeaveWhole(t *testing.T) {
	fs := crashfs.New()
	o, m := watched(quietOptions(fs, 2))
	c := openOn(t, o)
	mustSet(t, c, []byte("k"), testValue(1, 100_000))
	fill(t, c, 500)
	mustClose(t, c)
	o.hooks.lazily = true
	c = openOn(t, o)
	c.Delete([]byte("k"))
	delivered(t, c)
	if got, want := m.all(), []goner{{"k", string(testValue(1, 100_000)), CauseDeleted}}; !slices.Equal(got, want) {
		t.Errorf("%d calls, want the value that was on file", len(got))
	}
	n := c.Len()
	_ = c.Clear()
	delivered(t, c)
	if sum := len(m.all()) - 1 + int(c.Stats().EvictDropped); sum != n || c.Stats().EvictDropped == 0 {
		t.Errorf("%d calls and dropped ones for %d entries", sum, n)
	}
	mustClose(t, c)
}

// TestNoOnEvictNoCost: nothing is copied, nobody waits.
func TestNoOnEvictNoCost(t *testing.T) {
	c := openMemory(t, testOptions(8<<20))
	key, value := []byte("k"), make([]byte, 100)
	if n := testing.AllocsPerRun(1000, func() { _ = c.Set(key, value) }); n != 0 && !racing {
		t.Errorf("%v allocations an overwrite", n)
	}
	if c.leavers != nil {
		t.Error("there is a queue")
	}
}

// TestCauseNames: each has one.
func TestCauseNames(t *testing.T) {
	got := fmt.Sprint(CauseReplaced, CauseDeleted, CauseExpired, CauseEvicted, CauseCorrupt, Cause(9))
	if want := "replaced deleted expired evicted corrupt cause(9)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
