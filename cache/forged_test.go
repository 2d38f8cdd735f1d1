package cache

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/pagefile"
)

// A directory whose checksums are right and whose contents are lies: nothing is
// known of what it gives back, but that it costs bounded time and memory, and that
// what is stored from then on is served as it was stored, or forgotten.

const (
	openSealed     = 1 << iota // checksums are put right
	openReshaped               // Open converts it to another shape
	openPositional             // without mappings
	openModes
)

// forgedSample is a directory with an image, blobs, links, and a large value.
func forgedSample(tb testing.TB) *crashfs.FS {
	fs := crashfs.New()
	c := openOn(tb, forgedOptions(fs, 0))
	for i := range 40 {
		mustSet(tb, c, worldKey(i), testValue(i, i*i%1500))
		if i%13 == 12 {
			mustFlush(tb, c)
		}
	}
	mustSet(tb, c, []byte("large"), testValue(41, 20000))
	mustFlush(tb, c)
	for i := range 3 {
		c.Delete(worldKey(i))
		mustSet(tb, c, worldKey(40+i), testValue(40+i, 300))
		if err := c.persist.dumper.Weak(); err != nil {
			tb.Fatal(err)
		}
	}
	drop(c)
	return fs.Clone()
}

func forgedOptions(fs *crashfs.FS, mode byte) *Options {
	o := quietOptions(fs, 1)
	if mode&openReshaped != 0 {
		o.Shards, o.MaxBytes = 2, 2<<20
	}
	o.Recovery.Positional = mode&openPositional != 0
	return o
}

func openTarget(tb testing.TB) *fuzzing.Target {
	disk := forgedSample(tb)
	check := func(t testing.TB, script []byte, mode byte) bool {
		c, _, warm := openForged(t, disk.Clone(), script, mode)
		drop(c)
		return warm
	}
	scripts, err := forge.Scripts(disk, worldDir)
	if err != nil {
		tb.Fatal(err)
	}
	seeds := []fuzzing.Input{{}, {Mode: openReshaped}}
	for _, s := range scripts {
		seeds = append(seeds, fuzzing.Input{Bytes: s, Mode: openSealed}, fuzzing.Input{Bytes: s, Mode: openSealed | openReshaped})
	}
	return &fuzzing.Target{Name: "FuzzOpen", Seeds: seeds, Modes: openModes, Most: 2 << 10, Slow: true,
		Memory: func(int) int64 { return 1 << 30 }, Check: check} // of the harness
}

// openForged forges, opens, uses what is there, closes and opens again. It returns
// what is open now, whether that is written to, and whether anything came back first.
func openForged(t testing.TB, fs *crashfs.FS, script []byte, mode byte) (c *Cache, written, warm bool) {
	t.Helper()
	if err := forge.Apply(fs, script); err != nil {
		t.Fatal(err)
	}
	if mode&openSealed != 0 {
		if err := forge.Seal(fs, worldDir); err != nil {
			t.Fatal(err)
		}
	}
	before := fuzzing.Allocated()
	c, err := Open(context.Background(), worldDir, forgedOptions(fs, mode))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	warm = c.Recovery().Outcome != OutcomeCold
	readForged(t, c, mode&openSealed == 0)
	var twice map[string]bool
	if mode&openSealed != 0 {
		twice = doubled(c)
	}
	want := useForged(t, c, twice)
	if used := fuzzing.Allocated() - before; used > 64<<20 {
		t.Errorf("%d bytes allocated to open and read", used)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if c, err = Open(context.Background(), worldDir, forgedOptions(fs, mode)); err != nil {
		t.Fatalf("open again: %v", err)
	}
	if want != nil {
		checkUsed(t, c, want)
	}
	return c, want != nil, warm
}

// readForged looks at everything, in every way. Without forged checksums a value is
// one that was stored under its key.
func readForged(t testing.TB, c *Cache, honest bool) {
	t.Helper()
	known := func(key, value []byte) {
		for i := 0; honest && i < 43; i++ {
			if bytes.Equal(key, worldKey(i)) && !bytes.Equal(value, testValue(i, forgedSize(i))) {
				t.Fatalf("%q has a value of %d bytes that nobody stored", key, len(value))
			}
		}
	}
	for i := range 44 {
		key := worldKey(i)
		if v, ok := c.Get(key); ok {
			known(key, v)
		}
		c.Info(key)
		_ = c.View(key, func(v []byte) error { return nil })
	}
	c.Get([]byte("large"))
	for i := range 2 { // before and after all is in memory
		for key, value := range c.All() {
			known(key, value)
		}
		if i == 0 {
			if _, err := c.WaitVerified(context.Background()); err != nil {
				t.Fatalf("verify: %v", err)
			}
		}
	}
}

func forgedSize(i int) int {
	if i >= 40 {
		return 300
	}
	return i * i % 1500
}

// doubled are the keys that a forged index has in more slots than one, which no write
// of ours ever makes. A Set or Delete changes one of them, so the other may come back.
// All pages are in memory.
func doubled(c *Cache) map[string]bool {
	twice := make(map[string]bool)
	for _, s := range c.shards {
		s.mu.Lock()
		for slot := range s.index.buckets() * bucketSlots {
			if w := s.index.load(slot); w != 0 {
				rec := s.recordAt(w.queue(), s.positionLocked(w))
				if h := readHeader(rec); h.fits(rec, s.segmentSize) {
					key := rec[headerSize : headerSize+h.keyLen()]
					_, before := twice[string(key)]
					twice[string(key)] = before
				}
			}
		}
		s.mu.Unlock()
	}
	return twice
}

// useForged changes entries, stores some that have to be right from then on, and
// deletes some that have to be gone: they want nil. Of twice nothing is known.
func useForged(t testing.TB, c *Cache, twice map[string]bool) (want map[string][]byte) {
	t.Helper()
	want = make(map[string][]byte)
	for i := range 30 {
		key, value := fmt.Appendf(nil, "new-%d", i), testValue(500+i, i*40)
		if i == 29 {
			value = testValue(529, 40000)
		}
		if i%2 == 0 { // over what may be there
			key = worldKey(i)
		}
		if err := c.Set(key, value); err != nil {
			t.Fatalf("set: %v", err)
		}
		want[string(key)] = value
	}
	for i := 31; i < 44; i += 3 {
		c.Delete(worldKey(i))
		want[string(worldKey(i))] = nil
		_ = c.Compute(worldKey(i+1), func(old []byte, found bool) ([]byte, Op) { return nil, OpDelete })
	}
	maps.DeleteFunc(want, func(key string, _ []byte) bool { return twice[key] })
	checkUsed(t, c, want)
	_, err := c.Flush(context.Background())
	if errors.Is(err, pagefile.ErrVersion) {
		return nil // said to be a newer build's: nothing is written
	}
	if err != nil {
		t.Fatalf("flush: %v", err)
	}
	return want
}

func checkUsed(t testing.TB, c *Cache, want map[string][]byte) {
	t.Helper()
	for key, value := range want {
		if got, ok := c.Get([]byte(key)); ok && (value == nil || !bytes.Equal(got, value)) {
			t.Fatalf("%q: %d bytes that are not what was stored, or deleted", key, len(got))
		}
	}
}

func FuzzOpen(f *testing.F) { openTarget(f).Fuzz(f) }

var forgedFlag = flag.Int("directories", 60, "damaged directories that are opened")

func TestOpenTakesAnything(t *testing.T) {
	alone(t)
	t.Logf("seed %d (set with -seed)", *seedFlag)
	openTarget(t).Run(t, *forgedFlag, *seedFlag)
}
