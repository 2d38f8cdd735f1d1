package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A handClock goes when it is told to. The cache reads it in the background, too.
type handClock struct{ at atomic.Int64 }

func newHandClock() *handClock {
	k := &handClock{}
	k.at.Store(machineStart.UnixNano())
	return k
}

func (k *handClock) now() time.Time       { return time.Unix(0, k.at.Load()) }
func (k *handClock) pass(d time.Duration) { k.at.Add(int64(d)) }

// A lockedBuffer is a log that a cache may write to from anywhere.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// freshOptions are those of a cache in memory whose clock goes by hand.
func freshOptions(f Freshness) (*Options, *handClock) {
	k := newHandClock()
	o := testOptions(1 << 20)
	o.Clock, o.Freshness = k.now, f
	return o, k
}

// atRest waits until no load runs in the background.
func atRest(t testing.TB, c *Cache) {
	t.Helper()
	soon(t, "loads in the background have ended", func() bool { return c.loads.background.Load() == 0 })
}

// wantNothing wants no reader to find key.
func wantNothing(t testing.TB, c *Cache, key []byte) {
	t.Helper()
	_, got := c.Get(key)
	_, ends := c.GetMany(nil, nil, [][]byte{key})
	_, info := c.Info(key)
	view := c.View(key, func([]byte) error { return nil })
	for k := range c.All() {
		if string(k) == string(key) {
			t.Errorf("All sees %q", key)
		}
	}
	must(t, c.Compute(key, func(_ []byte, found bool) ([]byte, Op) {
		if found {
			t.Errorf("Compute finds %q", key)
		}
		return nil, OpKeep
	}))
	if got || ends[0] != -1 || c.Has(key) || info || !errors.Is(view, ErrNotFound) {
		t.Errorf("%q: Get %v, GetMany %v, Has %v, Info %v, View %v", key, got, ends, c.Has(key), info, view)
	}
}

// TestJitterOnlyShortens: every time to live, by up to that fraction, differently
// for keys that were stored together, and the same for the same key and instant.
func TestJitterOnlyShortens(t *testing.T) {
	rnd := newRand(t)
	for _, jitter := range []float64{-1, math.Inf(-1), 0, 1e-9, 0.05, 0.5, 1} {
		want := max(jitter, 0)
		if jitter == 0 {
			want = defaultJitter
		}
		o, k := freshOptions(Freshness{Jitter: jitter, TTL: time.Hour})
		c := openMemory(t, o)
		shortest, longest := 2.0, 0.0
		for i := range 2000 {
			ttl := time.Hour
			switch {
			case i%3 == 1:
				ttl = time.Duration(1 + rnd.Int63n(int64(time.Second)))
				must(t, c.SetWithTTL(testKey(i), nil, ttl))
			case i%3 == 2:
				ttl = math.MaxInt64 - time.Duration(rnd.Int63n(int64(time.Hour)))
				must(t, c.SetEntry(testKey(i), nil, EntryOptions{TTL: ttl}))
			default:
				mustSet(t, c, testKey(i), nil)
			}
			e, _ := c.Info(testKey(i))
			left, most := e.Expires.UnixMilli()-k.now().UnixMilli(), millis(ttl)
			least := min(int64(float64(most)*(1-want))-1, timeMask-c.now()) // the year 2054
			if left < 1 || left > most || left < least {
				t.Fatalf("jitter %v: a time to live of %v ends in %d ms, of %d", jitter, ttl, left, most)
			}
			if ttl == time.Hour {
				shortest, longest = min(shortest, float64(left)/float64(most)), max(longest, float64(left)/float64(most))
			}
		}
		if spread := longest - shortest; spread < want*0.8-1e-6 || want == 0 && spread != 0 {
			t.Errorf("jitter %v: from %v to %v of the time to live", jitter, shortest, longest)
		}
		before, _ := c.Info(testKey(0))
		mustSet(t, c, testKey(0), nil)
		if after, _ := c.Info(testKey(0)); !after.Expires.Equal(before.Expires) {
			t.Errorf("jitter %v: %v and %v for one key at one time", jitter, before.Expires, after.Expires)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAbsenceIsKept for NegativeTTL, across restarts: GetOrLoad says ErrNotFound
// without a load, and nobody else sees a difference to a key that is not there.
func TestAbsenceIsKept(t *testing.T) {
	notThere := fails(fmt.Errorf("user 7: %w", ErrNotFound))
	for _, how := range []string{"memory", "close", "kill"} {
		t.Run(how, func(t *testing.T) {
			f := Freshness{NegativeTTL: time.Minute, Jitter: -1, TTL: time.Hour, StaleFor: time.Hour, RefreshAfter: time.Second}
			k := newHandClock()
			fs := crashfs.New()
			o := quietOptions(fs, 1)
			o.Clock, o.Freshness = k.now, f
			c := openMemory(t, o)
			if how != "memory" {
				c = openOn(t, o)
			}
			if _, err := c.GetOrLoad(context.Background(), []byte("k"), notThere); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "user 7") {
				t.Errorf("the load's own error: %v", err)
			}
			mustSet(t, c, []byte("there"), []byte("v"))
			switch how {
			case "close":
				mustClose(t, c)
				c = openOn(t, o)
			case "kill":
				mustFlush(t, c)
				drop(c)
				c = openOn(t, o.clone(fs.Clone()))
			}
			k.pass(time.Minute - time.Millisecond)
			wantNothing(t, c, []byte("k"))
			if _, err := c.GetOrLoad(context.Background(), []byte("k"), noLoad(t)); !errors.Is(err, ErrNotFound) {
				t.Errorf("within NegativeTTL: %v", err)
			}
			if st := c.Stats(); st.NegativeHits != 1 || st.Expired != 0 || st.LoadErrors != 0 {
				t.Errorf("%d negative hits, %d expired, %d load errors", st.NegativeHits, st.Expired, st.LoadErrors)
			}
			if c.Delete([]byte("k")) {
				t.Error("Delete found what is known not to be there")
			}
			mustLoad(t, c, "k", brings("v"), "v")
			if how != "memory" {
				mustClose(t, c)
			}
		})
	}
}

func (o *Options) clone(fs *crashfs.FS) *Options {
	p := *o
	p.hooks.fs = fs
	return &p
}

// TestAbsenceEnds with its time, and with a Set; and it takes what was stored with
// it, kept or not.
func TestAbsenceEnds(t *testing.T) {
	for _, negative := range []time.Duration{0, time.Minute} {
		o, k := freshOptions(Freshness{NegativeTTL: negative, RefreshAfter: time.Second, StaleFor: time.Hour, Jitter: -1})
		c := openMemory(t, o)
		loaded := c.Stats().Loads
		for range 3 {
			if _, err := c.GetOrLoad(context.Background(), []byte("k"), fails(ErrNotFound)); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		}
		if n, want := c.Stats().Loads-loaded, map[bool]uint64{true: 3, false: 1}[negative == 0]; n != want {
			t.Errorf("NegativeTTL %v: %d loads, want %d", negative, n, want)
		}
		mustSet(t, c, []byte("k"), []byte("v"))
		wantValue(t, c, []byte("k"), []byte("v"))
		if c.Len() != 1 {
			t.Errorf("%d entries", c.Len())
		}
		k.pass(2 * time.Second) // due: served once more, and found not to be there
		mustLoad(t, c, "k", fails(ErrNotFound), "v")
		atRest(t, c)
		wantNothing(t, c, []byte("k"))
		k.pass(negative)
		mustLoad(t, c, "k", brings("again"), "again")
		checkInvariants(t, c)
	}
}

// TestUnknownFlagsAreAMiss: what a record of a later build means is not guessed.
func TestUnknownFlagsAreAMiss(t *testing.T) {
	for bit := range 5 {
		flags := uint8(1) << bit
		if flags == flagLarge || flags == flagSliding {
			continue
		}
		o, _ := freshOptions(Freshness{})
		c := openMemory(t, o)
		key := []byte("k")
		e := entry{hash: c.hash.sum(key), key: key, body: []byte("value"), head: makeHeader(1, 5, flags, 0, c.now())}
		if c.put(&e) != hit {
			t.Fatal("not stored")
		}
		wantNothing(t, c, key)
		if c.Delete(key) {
			t.Errorf("flags %b: Delete found it", flags)
		}
		if flags != flagAbsent {
			c.put(&e)
			mustLoad(t, c, "k", brings("loaded"), "loaded")
		}
		checkInvariants(t, c)
	}
}

// TestStaleIsServedWhileLoading: past its time to live GetOrLoad serves an entry at
// once and has it loaded; if that fails it goes on serving, and does not ask again
// for a second. All others find nothing.
func TestStaleIsServedWhileLoading(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Minute, StaleFor: time.Hour, Jitter: -1})
	c := openMemory(t, o)
	key := []byte("k")
	mustSet(t, c, key, []byte("old"))
	if e, ok := c.Info(key); !ok || e.Stale {
		t.Errorf("Info while fresh: %+v %v", e, ok)
	}
	k.pass(time.Minute)
	if _, ok := c.Get(key); ok || c.Has(key) || c.View(key, nil) == nil {
		t.Error("served past its time by others than GetOrLoad")
	}
	if e, ok := c.Info(key); !ok || !e.Stale || !e.Expires.Equal(k.now()) {
		t.Errorf("Info while stale: %+v %v", e, ok)
	}
	down := errors.New("down")
	for range 5 {
		mustLoad(t, c, "k", fails(down), "old")
		atRest(t, c)
	}
	if st := c.Stats(); st.Loads != 1 || st.LoadErrors != 1 || st.StaleHits != 5 || st.Hits != 5 {
		t.Errorf("%d loads, %d errors, %d stale of %d hits", st.Loads, st.LoadErrors, st.StaleHits, st.Hits)
	}
	k.pass(restAfter * time.Millisecond)
	l := newStall("new")
	mustLoad(t, c, "k", l.load, "old")
	<-l.begun
	for range 3 {
		mustLoad(t, c, "k", noLoad(t), "old")
	}
	close(l.release)
	atRest(t, c)
	mustLoad(t, c, "k", noLoad(t), "new")
	if e, ok := c.Info(key); !ok || e.Stale || !e.Expires.Equal(k.now().Add(time.Minute)) {
		t.Errorf("Info of the new value: %+v %v", e, ok)
	}
	k.pass(time.Minute + time.Hour)
	if _, err := c.GetOrLoad(context.Background(), key, fails(down)); !errors.Is(err, down) {
		t.Errorf("past StaleFor: %v", err)
	}
	if _, ok := c.Info(key); ok {
		t.Error("Info past StaleFor")
	}
}

// TestStaleIsNotCleanedAway: while there is room, what is within StaleFor stays.
// By the StaleFor of the cache, or of a view.
func TestStaleIsNotCleanedAway(t *testing.T) {
	f := Freshness{TTL: time.Minute, StaleFor: time.Hour, Jitter: -1}
	t.Run("of the cache", func(t *testing.T) { staleStays(t, f, nil) })
	t.Run("of a view", func(t *testing.T) { staleStays(t, Freshness{}, &f) })
}

func staleStays(t *testing.T, ofCache Freshness, ofView *Freshness) {
	o, k := freshOptions(ofCache)
	o.Shards = 1
	c := openMemory(t, o)
	v := mustOf(t, c, Int[int](), Bytes(), &TypedOptions[int, []byte]{Freshness: ofView})
	const n = 1000 // some segments
	for i := range n {
		must(t, v.Set(i, testValue(i, 100)))
	}
	turnOver := func() {
		for i := range 3 * (1 << 20) / 1000 {
			mustSet(t, c, []byte("other"), testValue(i, 1000))
		}
	}
	stale := func() (left int) {
		for i := range n {
			if e, ok := v.Info(i); ok && e.Stale {
				left++
			}
		}
		return left
	}
	k.pass(time.Hour + time.Minute - time.Millisecond)
	turnOver()
	if left := stale(); left != n {
		t.Errorf("%d of %d are left within StaleFor", left, n)
	}
	k.pass(time.Millisecond)
	turnOver()
	if left := c.Len(); left > n/4 { // those of the open segment
		t.Errorf("%d entries are left past StaleFor", left)
	}
}

// TestDueIsLoadedAhead: an entry older than RefreshAfter is served at once, and one
// load replaces it; a write meanwhile wins; a panic is logged.
func TestDueIsLoadedAhead(t *testing.T) {
	var log lockedBuffer
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, Jitter: -1})
	o.Logger = log.logger()
	c := openMemory(t, o)
	mustSet(t, c, []byte("k"), []byte("1"))
	k.pass(time.Second)
	mustLoad(t, c, "k", noLoad(t), "1")
	k.pass(time.Millisecond)
	l := newStall("2")
	ctx, leave := context.WithCancel(context.Background())
	leave() // a hit needs no context, nor does its load end with it
	if v, err := c.GetOrLoad(ctx, []byte("k"), l.load); string(v) != "1" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	<-l.begun
	mustLoad(t, c, "k", noLoad(t), "1")
	close(l.release)
	atRest(t, c)
	mustLoad(t, c, "k", noLoad(t), "2")
	hash := c.hash.sum([]byte("k")) // as who met the entry before that load's end
	if c.shardOf(hash).claimDue([]byte("k"), hash, c.newCrew(EntryOptions{})) != nil {
		t.Error("a fresh entry is loaded anew")
	}

	for name, w := range writesOf {
		mustSet(t, c, []byte("k"), []byte("old"))
		k.pass(time.Minute)
		l := newStall("loaded")
		mustLoad(t, c, "k", l.load, "old")
		<-l.begun
		must(t, w.do(c, []byte("k")))
		close(l.release)
		atRest(t, c)
		if v, ok := c.Get([]byte("k")); string(v) != w.want || ok != (w.want != "") {
			t.Errorf("%s during a load in the background: %q, %v", name, v, ok)
		}
	}

	mustSet(t, c, []byte("k"), []byte("old"))
	k.pass(time.Minute)
	mustLoad(t, c, "k", func(context.Context) ([]byte, error) { boom("behind"); return nil, nil }, "old")
	atRest(t, c)
	soon(t, "the panic is logged", func() bool { return strings.Count(log.String(), "event=load_panicked") == 1 })
}

// TestBackgroundLoadsAreBounded: no more than 64 run, and no key waits for one.
func TestBackgroundLoadsAreBounded(t *testing.T) {
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, Jitter: -1})
	c := openMemory(t, o)
	const keys = 3 * backgroundLoads
	for i := range keys {
		mustSet(t, c, testKey(i), []byte("old"))
	}
	k.pass(time.Minute)
	var begun atomic.Int64
	release := make(chan struct{})
	for i := range keys {
		mustLoad(t, c, string(testKey(i)), func(context.Context) ([]byte, error) { begun.Add(1); <-release; return []byte("new"), nil }, "old")
	}
	soon(t, "as many as may have begun", func() bool { return begun.Load() == backgroundLoads })
	close(release)
	atRest(t, c)
	if n := begun.Load(); n != backgroundLoads {
		t.Errorf("%d loads in the background, want %d", n, backgroundLoads)
	}
	for i := range keys {
		mustLoad(t, c, string(testKey(i)), brings("new"), map[bool]string{true: "new", false: "old"}[i < backgroundLoads])
		atRest(t, c)
	}
}

// TestManyFailuresRest: with as many keys at rest as a shard notes, no other begins
// a load in the background until they may again.
func TestManyFailuresRest(t *testing.T) {
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, Jitter: -1})
	o.Shards = 1
	c := openMemory(t, o)
	for i := range restsMost + 10 {
		mustSet(t, c, testKey(i), []byte("old"))
	}
	k.pass(time.Minute)
	for i := range restsMost + 10 {
		mustLoad(t, c, string(testKey(i)), fails(errors.New("down")), "old")
		if i%32 == 0 || i >= restsMost-1 {
			atRest(t, c)
		}
	}
	if n := c.Stats().Loads; n != restsMost {
		t.Errorf("%d loads, want %d", n, restsMost)
	}
	k.pass(restAfter * time.Millisecond)
	for i := range restsMost + 10 {
		mustLoad(t, c, string(testKey(i)), brings("new"), "old")
		if i%32 == 0 {
			atRest(t, c)
		}
	}
	atRest(t, c)
	if n := len(c.shards[0].rests); n != 0 {
		t.Errorf("%d keys rest after loads that succeeded", n)
	}
}

// TestClockSetBack: nothing lives, or is held to be fresh, longer for it.
func TestClockSetBack(t *testing.T) {
	o, k := freshOptions(Freshness{TTL: time.Minute, RefreshAfter: 10 * time.Second, StaleFor: time.Minute, NegativeTTL: time.Minute, Jitter: -1})
	c := openMemory(t, o)
	mustSet(t, c, []byte("k"), []byte("old"))
	_, _ = c.GetOrLoad(context.Background(), []byte("none"), fails(ErrNotFound))
	k.pass(11 * time.Second)
	mustLoad(t, c, "k", fails(errors.New("down")), "old") // due
	atRest(t, c)
	k.pass(-time.Hour)
	mustLoad(t, c, "k", noLoad(t), "old") // it rests
	k.pass(time.Hour + 49*time.Second)
	if e, ok := c.Info([]byte("k")); !ok || !e.Stale {
		t.Errorf("Info at the end of its time: %+v %v", e, ok)
	}
	mustLoad(t, c, "none", brings("v"), "v")
	k.pass(time.Minute)
	mustLoad(t, c, "k", brings("new"), "new")
}

// TestWhatALoadRenewsStaysOutOfFiles, a value as well as that there is none.
func TestWhatALoadRenewsStaysOutOfFiles(t *testing.T) {
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, NegativeTTL: time.Hour, Jitter: -1})
	c := openMemory(t, o)
	for key, load := range map[string]func(context.Context) ([]byte, error){"value": brings("new"), "none": fails(ErrNotFound)} {
		must(t, c.SetEntry([]byte(key), []byte("old"), EntryOptions{MemoryOnly: true}))
		k.pass(time.Minute)
		mustLoad(t, c, key, load, "old")
		atRest(t, c)
	}
	wantValue(t, c, []byte("value"), []byte("new"))
	wantNothing(t, c, []byte("none"))
	for _, s := range c.shards {
		if s.fileEntries != 0 {
			t.Errorf("%d entries that files may hold", s.fileEntries)
		}
	}
	mustLoad(t, c, "other", brings("value"), "value")
	if s := c.shardOf(c.hash.sum([]byte("other"))); s.fileEntries != 1 {
		t.Errorf("%d entries that files may hold, want the one without MemoryOnly", s.fileEntries)
	}
}
