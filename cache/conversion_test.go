package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
)

// A sizing is what options ask of a directory's shape.
type sizing struct {
	maxBytes int64
	shards   int
}

func (f sizing) String() string { return fmt.Sprintf("%d MiB, shards %d", f.maxBytes>>20, f.shards) }

func (f sizing) of(o *Options) *Options {
	n := *o
	n.MaxBytes, n.Shards = f.maxBytes, f.shards
	return &n
}

// A hoard is a cache and what it has to hold.
type hoard struct {
	t    testing.TB
	rng  *rand.Rand
	fs   *crashfs.FS
	wall atomic.Int64
	c    *Cache
	have map[string]modelEntry
	n    int
	most int64 // live bytes
}

func newHoard(t testing.TB, rng *rand.Rand) *hoard {
	h := &hoard{t: t, rng: rng, fs: crashfs.New(), have: map[string]modelEntry{}, most: 400 << 10}
	h.wall.Store(machineStart.UnixNano())
	return h
}

func (h *hoard) now() time.Time { return time.Unix(0, h.wall.Load()).UTC() }

func (h *hoard) options(f sizing) *Options {
	o := f.of(quietOptions(h.fs, 1))
	o.Clock, o.Freshness.Jitter = h.now, -1
	o.Recovery.Timeout = time.Minute
	return o
}

func (h *hoard) open(f sizing) RecoveryReport {
	h.t.Helper()
	h.c = openOn(h.t, h.options(f))
	return reopened(h.t, h.c)
}

// store fills the cache with n entries of all kinds: small, of half a segment of
// some shape, large, mortal; some are read, some go again.
func (h *hoard) store(n int) {
	h.t.Helper()
	sizes := []int{0, 1, 100, 300, 1000, 7 << 10, 8<<10 - 40, 8 << 10, 9 << 10, 17 << 10, 40 << 10, 130 << 10}
	for range n {
		h.n++
		h.wall.Add(int64(10 * time.Millisecond))
		key := fmt.Appendf(nil, "key-%d", h.rng.Intn(4*n))
		if h.n%17 == 0 {
			key = append(key, bytes.Repeat([]byte("k"), 3000)...)
		}
		size := h.size(sizes)
		if h.c.Bytes()+int64(size) > h.most || size > h.c.maxEntry/2 {
			size = 100
		}
		e := modelEntry{value: testValue(h.n, size), stored: h.now()}
		o := EntryOptions{MemoryOnly: h.n%41 == 0}
		if h.n%5 == 0 {
			o.TTL = time.Duration(1+h.rng.Intn(1000)) * time.Second
			e.expires = h.now().Add(o.TTL)
		}
		e.memoryOnly = o.MemoryOnly
		if err := h.c.SetEntry(key, e.value, o); err != nil {
			h.t.Fatal(err)
		}
		h.have[string(key)] = e
		if h.n%3 == 0 {
			h.c.Get(key)
		}
		if h.n%23 == 0 {
			h.c.Delete(key)
			delete(h.have, string(key))
		}
	}
}

// size is mostly a small one.
func (h *hoard) size(sizes []int) int {
	if h.rng.Intn(5) > 0 {
		return sizes[h.rng.Intn(5)]
	}
	return sizes[h.rng.Intn(len(sizes))]
}

// end closes the cache, or kills it after a link.
func (h *hoard) end(kill bool) {
	h.t.Helper()
	if kill {
		mustWeak(h.t, h.c)
		drop(h.c)
		h.fs = h.fs.Clone()
	} else {
		mustClose(h.t, h.c)
	}
	maps.DeleteFunc(h.have, func(_ string, e modelEntry) bool { return e.memoryOnly })
}

// holds wants the cache to hold that, and to the bit.
func (h *hoard) holds() {
	h.t.Helper()
	maps.DeleteFunc(h.have, func(_ string, e modelEntry) bool { return !e.live(h.now()) })
	for key, e := range h.have {
		wantValue(h.t, h.c, []byte(key), e.value)
		info, _ := h.c.Info([]byte(key))
		if !info.Stored.Equal(e.stored) || !info.Expires.Equal(e.expires) {
			h.t.Fatalf("%.12q: stored %v, expires %v; want %v and %v", key, info.Stored, info.Expires, e.stored, e.expires)
		}
	}
	checkInvariants(h.t, h.c)
}

// shapeOnFile is the shape of the newest generation.
func (h *hoard) shapeOnFile() geometry {
	h.t.Helper()
	res, err := loader.Load(context.Background(), loader.Options{FS: h.fs, Dir: worldDir})
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Close()
	return shapeOf(res.Record.Geometry)
}

var sizings = []sizing{{1 << 20, 1}, {16 << 20, 1}, {4 << 20, 4}, {16 << 20, 16}, {32 << 20, 2}, {1 << 20, 0}, {64 << 20, 0}}

// TestAnotherShapeKeepsEverything opens directories of every shape with options
// for every other one: nothing that fits is lost, not a time of a single entry,
// after Close and after a kill; the next start finds the new shape.
func TestAnotherShapeKeepsEverything(t *testing.T) {
	rng := newRand(t)
	for i, from := range sizings {
		for j, to := range sizings {
			if fewer(4) == 1 && (i*j)%5 != 1 {
				continue
			}
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				h := newHoard(t, rng)
				h.most = min(from.maxBytes, to.maxBytes) * 2 / 5
				h.open(from)
				h.store(100)
				mustFlush(t, h.c)
				h.store(60)
				h.end(rng.Intn(2) == 0)
				h.reshaped(to)
			})
		}
	}
}

// reshaped opens the directory in another form, and once more.
func (h *hoard) reshaped(to sizing) {
	h.t.Helper()
	want := h.options(to).shapeFor(h.shapeOnFile())
	ops := h.fs.Ops()
	r := h.open(to)
	if r.Outcome != OutcomeWarm || r.Dropped != 0 || r.Reason != nil || r.Generation == 0 {
		h.t.Fatalf("report %+v", r)
	}
	wantOnlyLock(h.t, h.fs, ops)
	h.holds()
	h.store(10)
	if got := h.c.shape(); got != want {
		h.t.Fatalf("shape %+v, want %+v", got, want)
	}
	mustFlush(h.t, h.c)
	h.store(10)
	h.end(h.rng.Intn(2) == 0)
	if r = h.open(to); r.Outcome != OutcomeWarm || r.Dropped != 0 || h.shapeOnFile() != want || h.c.shape() != want {
		h.t.Fatalf("shape %+v, on file %+v, want %+v; report %+v", h.c.shape(), h.shapeOnFile(), want, r)
	}
	h.holds()
	mustClose(h.t, h.c)
}

func (c *Cache) shape() geometry {
	return geometry{len(c.shards), c.segmentSize, int(c.shards[0].index.baseMask) + 1}
}

// TestShapeRule: a directory keeps its shape until Shards or MaxBytes asks for
// one that is far from it.
func TestShapeRule(t *testing.T) {
	o := &Options{MaxBytes: 256 << 20, Shards: 16}
	have := o.shape()
	for _, tt := range []struct {
		sizing
		keeps bool
	}{
		{sizing{256 << 20, 0}, true}, {sizing{256 << 20, 16}, true}, {sizing{256 << 20, 15}, true},
		{sizing{256 << 20, 8}, false}, {sizing{256 << 20, 32}, false}, {sizing{511 << 20, 0}, true}, {sizing{129 << 20, 0}, true},
		{sizing{1024 << 20, 0}, false}, {sizing{64 << 20, 0}, false}, {sizing{1 << 20, 0}, false}, {sizing{1 << 40, 0}, false},
	} {
		got := tt.of(o).shapeFor(have)
		if (got == have) != tt.keeps {
			t.Errorf("%v: %+v for a directory of %+v", tt.sizing, got, have)
		}
		perShard := tt.maxBytes / int64(got.shards)
		if perShard/int64(got.segmentSize) < segmentsPerShard/2 || perShard > maxShardBytes || perShard < minBytes {
			t.Errorf("%v: %+v has shards of %d bytes", tt.sizing, got, perShard)
		}
		if again := tt.of(o).shapeFor(got); again != got {
			t.Errorf("%v: %+v once converted is to be %+v", tt.sizing, got, again)
		}
	}
}

// TestManyShapesInARow restarts in alternating shapes, by Close and by kill, and
// loses nothing; files of former shapes do not add up.
func TestManyShapesInARow(t *testing.T) {
	h := newHoard(t, newRand(t))
	h.open(sizings[0])
	h.store(50)
	mustFlush(t, h.c)
	for round := range fewer(fewer(12)) {
		h.end(round%2 == 0)
		to := sizings[(round*3+1)%len(sizings)]
		if r := h.open(to); r.Outcome != OutcomeWarm || r.Dropped != 0 {
			t.Fatalf("round %d, %v: report %+v", round, to, r)
		}
		h.holds()
		h.store(20)
		mustFlush(t, h.c)
		h.store(5)
	}
	mustFlush(t, h.c)
	h.store(5)
	mustFlush(t, h.c)
	files := h.fs.List()
	pages := slices.DeleteFunc(files, func(name string) bool { return !bytes.Contains([]byte(name), []byte("/pages-")) })
	if len(pages) != 1 {
		t.Errorf("page files of former shapes stay: %v", pages)
	}
	mustClose(t, h.c)
}

// TestWhatDoesNotFitIsTheOldest shrinks a cache to a quarter of what lives: what
// was used stays first, then what is newest; the rest is counted, and the same
// files give the same state.
func TestWhatDoesNotFitIsTheOldest(t *testing.T) {
	alone(t)
	fs := crashfs.New()
	o := quietOptions(fs, 4)
	o.MaxBytes = 16 << 20
	c := openOn(t, o)
	for i := range 8000 {
		mustSet(t, c, testKey(i), testValue(i, 1000))
		if i%10 == 0 {
			c.Get(testKey(i))
		}
	}
	mustClose(t, c)
	var states [2][]int
	for round := range states {
		small := sizing{4 << 20, 2}.of(o)
		small.hooks.fs = fs.Clone()
		c := openOn(t, small)
		r := reopened(t, c)
		oldest := 8000
		for i := range 8000 {
			if !c.Has(testKey(i)) {
				continue
			}
			wantValue(t, c, testKey(i), testValue(i, 1000))
			states[round] = append(states[round], i)
			if i%10 != 0 {
				oldest = min(oldest, i)
			}
		}
		n := len(states[round])
		if r.Outcome != OutcomePartial || r.Reason == nil || r.Dropped != 8000-n || c.Len() != n || n < 3200 {
			t.Fatalf("%d entries, Len %d; report %+v", n, c.Len(), r)
		}
		for i := range 8000 {
			if i%10 == 0 && !c.Has(testKey(i)) {
				t.Fatalf("%d was used and is gone", i)
			}
			if i > oldest+1000 && !c.Has(testKey(i)) { // segments of shards, not single entries, are in order
				t.Fatalf("%d is gone, the older %d is there", i, oldest)
			}
		}
		checkInvariants(t, c)
		for i := range 3000 { // there is room to work in
			mustSet(t, c, testKey(10000+i), testValue(i, 1000))
		}
		checkInvariants(t, c)
		mustClose(t, c)
	}
	if !slices.Equal(states[0], states[1]) {
		t.Errorf("the same files give %d and %d entries", len(states[0]), len(states[1]))
	}
}

// TestWhatNoSegmentHolds: a key over half a segment of the new shape and a value
// whose list is too long for one are dropped and counted; what is only over
// MaxEntryBytes stays.
func TestWhatNoSegmentHolds(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.MaxBytes, o.MaxEntryBytes = 64<<20, 16<<20 // segments of 256 KiB
	c := openOn(t, o)
	long, short := bytes.Repeat([]byte("k"), 9000), []byte("short")
	mustSet(t, c, long, []byte("v"))
	mustSet(t, c, short, testValue(1, 9<<20))
	mustSet(t, c, []byte("over"), testValue(2, 1<<20))
	mustSet(t, c, []byte("fits"), testValue(3, 100))
	mustClose(t, c)
	o = sizing{64 << 20, 64}.of(o) // segments of 16 KiB
	o.MaxEntryBytes = 1 << 10
	c = openOn(t, o)
	r := reopened(t, c)
	if r.Outcome != OutcomePartial || r.Dropped != 2 || c.Has(long) || c.Has(short) || r.Reason == nil {
		t.Errorf("report %+v", r)
	}
	wantValue(t, c, []byte("over"), testValue(2, 1<<20))
	wantValue(t, c, []byte("fits"), testValue(3, 100))
	checkInvariants(t, c)
	mustClose(t, c)
	if c = openOn(t, o); reopened(t, c).Outcome != OutcomeWarm || c.Len() != 2 {
		t.Errorf("%d entries, report %+v", c.Len(), c.Recovery())
	}
	mustClose(t, c)
}

// TestFlagsStay: what is known to be absent stays so, and what slides slides.
func TestFlagsStay(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Freshness = Freshness{TTL: time.Hour, Sliding: true, NegativeTTL: time.Hour}
	keys := [][]byte{[]byte("absent"), []byte("slides"), []byte("large"), []byte("plain")}
	c := openOn(t, o)
	_, err := c.GetOrLoad(context.Background(), keys[0], func(context.Context) ([]byte, error) { return nil, ErrNotFound })
	if !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	mustSet(t, c, keys[1], testValue(1, 100))
	mustSet(t, c, keys[2], testValue(2, 40<<10))
	if err := c.SetWithTTL(keys[3], testValue(3, 100), -1); err != nil {
		t.Fatal(err)
	}
	heads := func() (list []header) {
		for _, key := range keys {
			hash := c.hash.sum(key)
			var r ref
			c.shardOf(hash).find(&r, key, hash)
			list = append(list, r.head)
		}
		return list
	}
	want := heads()
	mustClose(t, c)
	c = openOn(t, sizing{4 << 20, 4}.of(o))
	if got := heads(); !slices.Equal(got, want) || want[0].flags() == 0 || want[1].flags() == 0 || len(c.shards) != 4 {
		t.Errorf("headers %x, want %x", got, want)
	}
	mustClose(t, c)
}

// TestOneShardToManyAndBack on a disk, with all 256.
func TestOneShardToManyAndBack(t *testing.T) {
	if racing {
		t.Skip("as much memory as it reserves")
	}
	o := stepOptions(256 << 20)
	o.Shards = 1
	dir := warmDir(t, o, 20000)
	for _, shards := range []int{256, 1, 256} {
		o.Shards = shards
		c := open(t, dir, o)
		r := reopened(t, c)
		if r.Outcome != OutcomeWarm || c.Len() != 20001 || r.Dropped != 0 || len(c.shards) != shards {
			t.Fatalf("%d shards: %d entries, report %+v", len(c.shards), c.Len(), r)
		}
		wantFilled(t, c, 20000)
		checkInvariants(t, c)
		mustClose(t, c)
	}
}

// TestConversionThatTakesTooLong keeps the shape where the directory can be used
// as it is, else what was copied by then: the newest.
func TestConversionThatTakesTooLong(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.MaxBytes = 16 << 20
	c := openOn(t, o)
	fill(t, c, 8000)
	mustClose(t, c)
	for _, tt := range []struct {
		sizing
		keeps bool
	}{{sizing{16 << 20, 4}, true}, {sizing{2 << 20, 1}, false}} {
		late := tt.of(o)
		late.hooks.fs, late.hooks.segments = fs.Clone(), 3
		c := openOn(t, late)
		r := reopened(t, c)
		switch {
		case tt.keeps:
			if r.Outcome != OutcomeWarm || c.Len() != 8001 || len(c.shards) != 1 || c.segmentSize != 256<<10 {
				t.Errorf("%v: %d entries, report %+v", tt.sizing, c.Len(), r)
			}
			wantFilled(t, c, 8000)
		case r.Outcome != OutcomePartial || c.Len() == 0 || c.Len() == 8001 || r.Dropped != 8001-c.Len() || r.Reason == nil:
			t.Errorf("%v: %d entries, report %+v", tt.sizing, c.Len(), r)
		default:
			wantValue(t, c, testKey(7999), testValue(7999, 100+7999%300))
		}
		checkInvariants(t, c)
		mustClose(t, c)
	}
}

// TestConversionOnADiskThatHangs serves from memory within Recovery.Timeout, and
// writes nothing.
func TestConversionOnADiskThatHangs(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	c := openOn(t, o)
	fill(t, c, 1000)
	mustClose(t, c)
	ops := fs.Ops()
	release, _ := holdReads(fs)
	o = sizing{4 << 20, 4}.of(o)
	o.Recovery.Timeout = 200 * time.Millisecond
	c = openOn(t, o)
	if r := c.Recovery(); r.Outcome != OutcomeCold || r.Reason == nil || c.Health() == nil || c.Len() != 0 {
		t.Errorf("Health %v, report %+v", c.Health(), r)
	}
	fill(t, c, 100)
	wantFilled(t, c, 100)
	mustClose(t, c)
	release()
	o.Recovery.Timeout = time.Minute
	soon(t, "the directory is free", func() bool {
		again, err := Open(context.Background(), worldDir, o)
		c = again
		return err == nil
	})
	wantOnlyLock(t, fs, ops)
	wantFilled(t, c, 1000)
	if len(c.shards) != 4 {
		t.Errorf("%d shards, want 4", len(c.shards))
	}
	drop(c)
}

// BenchmarkConversion opens a directory with other options than it was written
// with: bytes are those of its entries, of 256 B each.
func BenchmarkConversion(b *testing.B) {
	o := stepOptions(512 << 20)
	o.Shards = 8
	dir := b.TempDir()
	c := open(b, dir, o)
	for i := range 900_000 {
		mustSet(b, c, testKey(i), testValue(i, 216))
	}
	live := c.Bytes()
	mustClose(b, c)
	for _, to := range []sizing{{512 << 20, 16}, {512 << 20, 1}, {2048 << 20, 0}, {128 << 20, 0}} {
		b.Run(fmt.Sprintf("to=%dMiB/shards=%d", to.maxBytes>>20, to.shards), func(b *testing.B) {
			b.SetBytes(live)
			for b.Loop() {
				o := to.of(o)
				o.Recovery.Timeout = time.Minute
				c := open(b, dir, o)
				b.StopTimer()
				drop(c)
				b.StartTimer()
			}
		})
	}
}
