package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand"
	"runtime"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// TestHostileRecordsCostLittle: whoever can write to a directory can write records
// that lie, under checksums that are right. They may be any value's, but whatever is
// done with them costs no more time and memory than records that do not, and brings
// nobody down.
func TestHostileRecordsCostLittle(t *testing.T) {
	rng := newRand(t)
	for range 8 {
		fs := lyingFiles(t, rng)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		o := quietOptions(fs, 2)
		c := openOn(t, o)
		if c.Recovery().Outcome == OutcomeCold {
			t.Fatalf("got a cold start, %v: nothing was tried", c.Recovery().Reason)
		}
		useAll(t, c, rng)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > hostileBytes {
			t.Errorf("got %d bytes allocated, want at most %d", n, hostileBytes)
		}
		if took := time.Since(began); took > hostileTime && !racing {
			t.Errorf("got %v, want at most %v", took, hostileTime)
		}
	}
}

const (
	hostileBytes = 128 << 20        // honest records take 40 MiB
	hostileTime  = 30 * time.Second // a few ms, on a machine that is not busy
)

// useAll does all that a cache can, until everything was read, written and evicted.
func useAll(t *testing.T, c *Cache, rng *rand.Rand) {
	var dst []byte
	var ends []int
	for i := range hostileKeys {
		key := testKey(i)
		dst, _ = c.AppendGet(dst[:0], key)
		_ = c.View(key, func([]byte) error { return nil })
		_, _ = c.Info(key)
		dst, ends = c.GetMany(dst[:0], ends[:0], [][]byte{key, testKey(i + 1)})
		switch rng.Intn(5) {
		case 0:
			mustSet(t, c, key, testValue(i, 100))
		case 1:
			c.Delete(key)
		case 2:
			_ = c.SetEntry(key, testValue(i, 100), EntryOptions{IfAbsent: true})
		case 3:
			if err := c.Compute(key, func(old []byte, _ bool) ([]byte, Op) { return append(old[:len(old):len(old)], 1), OpWrite }); err != nil && !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
		}
	}
	for key, value := range c.All() {
		dst = append(append(dst[:0], key...), value...)
	}
	flushUnchecked(t, c)
	for i := range 4 * hostileKeys { // a lap and more: the rest is evicted
		mustSet(t, c, testKey(hostileKeys+i), testValue(i, 700))
	}
	flushUnchecked(t, c)
	if err := c.Clear(); err != nil {
		t.Error(err)
	}
	flushUnchecked(t, c)
	for key := range c.All() {
		t.Errorf("got %q after Clear, want nothing", key)
	}
}

const hostileKeys = 1000

// lyingFiles has a cache write files in which one record in two lies.
func lyingFiles(t *testing.T, rng *rand.Rand) *crashfs.FS {
	fs := crashfs.New()
	c := openOn(t, quietOptions(fs, 2))
	for i := range hostileKeys {
		n := 200
		if i%50 == 0 {
			n = 3 * c.segmentSize / 2
		}
		mustSet(t, c, testKey(i), testValue(i, n))
	}
	for _, s := range c.shards {
		for slot := range s.index.buckets() * bucketSlots {
			if w := s.index.load(slot); w != 0 && rng.Intn(2) == 0 {
				s.lieAt(rng, w)
			}
		}
	}
	flushUnchecked(t, c)
	drop(c)
	return fs.Kill(fs.Ops())
}

// lieAt writes another header, or another list of segments.
func (s *shard) lieAt(rng *rand.Rand, w word) {
	rec := s.recordAt(w.queue(), s.positionLocked(w))
	h := readHeader(rec)
	some := func(have int, all ...int) int { return append(all, have, rng.Intn(1<<27))[rng.Intn(len(all)+2)] }
	key := some(h.keyLen(), 0, 1, maxKey, h.keyLen()+1)
	value := some(h.valueLen(), 0, maxValue, s.segmentSize, s.segmentSize-1, s.segmentSize/2)
	flags := uint8(some(int(h.flags()), int(flagLarge), int(flagAbsent), int(flagLarge|flagSliding), int(flagsMask)))
	if list := listOf(rec, h, s.segmentSize); len(list) > 0 && rng.Intn(2) == 0 {
		for ; len(list) >= 8; list = list[8:] { // one of its own again, none, or any
			binary.LittleEndian.PutUint64(list, [...]uint64{binary.LittleEndian.Uint64(list), 0, 1, ^uint64(0), rng.Uint64()}[rng.Intn(5)])
		}
		return
	}
	makeHeader(key, value, flags, int64(some(0, 1, timeMask)), int64(some(0, timeMask))).put(rec)
}

// flushUnchecked is without the self-check, which would find the lies.
func flushUnchecked(t *testing.T, c *Cache) {
	t.Helper()
	if _, err := c.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}
