package cache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand"
	"runtime"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Int64("seed", 1, "seed of the randomised laws")
	heapEntries = flag.Int("heapentries", 1_000_000, "entries that must add no more than some thousand objects to the heap")
)

// newRand prints the seed with the test's failure.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	t.Logf("seed %d (set with -seed)", *seedFlag)
	return rand.New(rand.NewSource(*seedFlag))
}

func testOptions(maxBytes int64) *Options {
	return &Options{MaxBytes: maxBytes, Logger: slog.New(slog.DiscardHandler), hooks: hooks{seed: uint64(*seedFlag)},
		CloseTimeout: stalls, Recovery: Recovery{Timeout: stalls}}
}

func openMemory(t testing.TB, o *Options) *Cache {
	t.Helper()
	c, err := OpenMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testKey(i int) []byte { return []byte(fmt.Sprintf("key-%020d", i)) }

func testValue(i, n int) []byte {
	v := make([]byte, n)
	for j := 0; j+8 <= n; j += 8 {
		binary.LittleEndian.PutUint64(v[j:], uint64(i)*0x9e3779b97f4a7c15+uint64(j))
	}
	return v
}

func mustSet(t testing.TB, c *Cache, key, value []byte) {
	t.Helper()
	if err := c.Set(key, value); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t testing.TB, c *Cache, key, want []byte) {
	t.Helper()
	got, ok := c.Get(key)
	if !ok {
		t.Fatalf("Get(%q): missing", key)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("Get(%q): wrong value of %d bytes, want %d", key, len(got), len(want))
	}
}

func TestWhatIsSetIsGot(t *testing.T) {
	c := openMemory(t, testOptions(256<<20))
	for _, n := range []int{0, 1, 7, 8, 255, 4096, 4080, 16 << 10, 64 << 10, 300 << 10, 2 << 20} {
		mustSet(t, c, testKey(n), testValue(n, n))
	}
	for _, n := range []int{0, 1, 7, 8, 255, 4096, 4080, 16 << 10, 64 << 10, 300 << 10, 2 << 20} {
		wantValue(t, c, testKey(n), testValue(n, n))
		if err := c.View(testKey(n), func(v []byte) error {
			if !bytes.Equal(v, testValue(n, n)) {
				t.Errorf("View: wrong value of %d bytes", n)
			}
			return nil
		}); err != nil {
			t.Errorf("View of %d bytes: %v", n, err)
		}
	}
	long := bytes.Repeat([]byte("k"), maxKey)
	mustSet(t, c, long, []byte("v"))
	wantValue(t, c, long, []byte("v"))
	checkInvariants(t, c)
}

func TestBadInputNamesTheLimit(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	mustSet(t, c, []byte("k"), []byte("v"))
	for name, tt := range map[string]struct {
		key, value []byte
		want       error
	}{
		"empty key":       {nil, []byte("v"), ErrKeySize},
		"long key":        {make([]byte, maxKey+1), nil, ErrKeySize},
		"value too large": {[]byte("k"), make([]byte, 1<<20), ErrTooLarge},
	} {
		if err := c.Set(tt.key, tt.value); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	wantValue(t, c, []byte("k"), []byte("v"))
	if _, err := OpenMemory(&Options{MaxBytes: 1000}); err == nil {
		t.Error("MaxBytes 1000 was accepted")
	}
	if err := c.View([]byte("none"), nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("View of a missing key: %v", err)
	}
}

func TestDeleteAndClearForget(t *testing.T) {
	c := openMemory(t, testOptions(8<<20))
	for i := range 1000 {
		mustSet(t, c, testKey(i), testValue(i, 100))
	}
	if !c.Delete(testKey(7)) || c.Delete(testKey(7)) || c.Has(testKey(7)) {
		t.Error("Delete did not remove once")
	}
	if got := c.Len(); got != 999 {
		t.Errorf("Len is %d, want 999", got)
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	if c.Len() != 0 || c.Bytes() != 0 || c.Has(testKey(8)) {
		t.Errorf("after Clear: %d entries, %d bytes", c.Len(), c.Bytes())
	}
	mustSet(t, c, testKey(8), []byte("new"))
	wantValue(t, c, testKey(8), []byte("new"))
	checkInvariants(t, c)
}

func TestTTLEndsServing(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := testOptions(1 << 20)
	o.Clock = func() time.Time { return now }
	o.Freshness = Freshness{TTL: time.Minute, Jitter: -1}
	c := openMemory(t, o)
	mustSet(t, c, []byte("default"), []byte("v"))
	c.SetWithTTL([]byte("short"), []byte("v"), time.Second)
	c.SetWithTTL([]byte("none"), []byte("v"), -1)
	c.SetWithTTL([]byte("longest"), []byte("v"), math.MaxInt64)
	e, ok := c.Info([]byte("short"))
	if !ok || !e.Stored.Equal(now) || !e.Expires.Equal(now.Add(time.Second)) || e.Size != 6 {
		t.Errorf("Info: %+v %v", e, ok)
	}
	present := func(short, def bool) {
		t.Helper()
		if c.Has([]byte("short")) != short || c.Has([]byte("default")) != def || !c.Has([]byte("none")) {
			t.Errorf("at %v: short %v default %v none %v", now, c.Has([]byte("short")), c.Has([]byte("default")), c.Has([]byte("none")))
		}
	}
	now = now.Add(999 * time.Millisecond)
	present(true, true)
	now = now.Add(time.Millisecond)
	present(false, true)
	now = now.Add(-time.Hour) // the wall clock goes back: time stands still
	present(false, true)
	now = now.Add(time.Hour + time.Minute)
	present(false, false)
	if !c.Has([]byte("longest")) {
		t.Error("the longest TTL has ended")
	}
}

func TestGetManyMarksMisses(t *testing.T) {
	c := openMemory(t, testOptions(8<<20))
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, testKey(i))
		if i%3 != 0 {
			mustSet(t, c, testKey(i), testValue(i, i))
		}
	}
	dst, ends := c.GetMany([]byte("head"), nil, keys)
	from := 4
	for i, end := range ends {
		if (end == -1) != (i%3 == 0) {
			t.Fatalf("key %d: end %d", i, end)
		}
		if end >= 0 {
			if !bytes.Equal(dst[from:end], testValue(i, i)) {
				t.Fatalf("key %d: wrong value", i)
			}
			from = end
		}
	}
}

func TestReadsNeedNoLock(t *testing.T) {
	c := openMemory(t, testOptions(8<<20))
	mustSet(t, c, []byte("k"), []byte("value"))
	for _, s := range c.shards {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	buf := make([]byte, 0, 100)
	key := []byte("k")
	allocs := testing.AllocsPerRun(100, func() {
		var ok bool
		if buf, ok = c.AppendGet(buf[:0], key); !ok || string(buf) != "value" {
			t.Fatal("missing")
		}
	})
	if allocs != 0 && !racing {
		t.Errorf("%v allocations a hit, want 0", allocs)
	}
}

func TestNothingLiveIsForgottenUnderHalf(t *testing.T) {
	alone(t)
	const maxBytes = 8 << 20
	for _, size := range []int{40, 300, 3000, 20000, 100000} {
		t.Run(fmt.Sprint("value=", size), func(t *testing.T) {
			rnd := newRand(t)
			c := openMemory(t, testOptions(maxBytes))
			live := make(map[int]int)
			n := 0
			for ; c.Bytes()+int64(size)+64 < maxBytes/2; n++ {
				mustSet(t, c, testKey(n), testValue(n, size))
				live[n] = n
			}
			laps := 10
			if racing {
				laps = 2
			}
			for written := 0; written < laps*maxBytes; written += size + 40 {
				i := rnd.Intn(n/4 + 1) // three quarters are never touched again
				live[i] = i + written
				mustSet(t, c, testKey(i), testValue(live[i], size))
			}
			t.Logf("%+v", c.Stats())
			for i, v := range live {
				wantValue(t, c, testKey(i), testValue(v, size))
			}
			if st := c.Stats(); st.Evictions != 0 || st.Rejected != 0 {
				t.Errorf("%d evictions, %d rejected", st.Evictions, st.Rejected)
			}
			checkInvariants(t, c)
		})
	}
}

func TestAFullCacheKeepsServing(t *testing.T) {
	c := openMemory(t, testOptions(4<<20))
	rnd := newRand(t)
	for i := range 100_000 {
		mustSet(t, c, testKey(i), testValue(i, rnd.Intn(600)))
		if _, ok := c.Get(testKey(i)); !ok {
			t.Fatalf("entry %d is gone at once", i)
		}
	}
	if c.Bytes() > 4<<20 || c.Bytes() < 2<<20 {
		t.Errorf("%d bytes live, MaxBytes is %d", c.Bytes(), 4<<20)
	}
	checkInvariants(t, c)
}

func TestHeapObjectsDoNotGrowWithEntries(t *testing.T) {
	if racing {
		t.Skip("memory lies in Go slices")
	}
	objects := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapObjects
	}
	before := objects()
	c := openMemory(t, testOptions(int64(*heapEntries)*300))
	key, value := make([]byte, 24), make([]byte, 64)
	n := *heapEntries
	for i := range n {
		binary.LittleEndian.PutUint64(key, uint64(i))
		mustSet(t, c, key, value)
	}
	got := int64(objects()) - int64(before)
	t.Logf("%d heap objects for %d entries", got, c.Len())
	if c.Len() != n || got > 2000 {
		t.Errorf("%d heap objects for %d entries", got, c.Len())
	}
}
