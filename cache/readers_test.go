package cache

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
)

// A timeline is a key with one writer, and what a reader may find under it: a
// value that begins with its version repeats it throughout, and no version is
// older than what stood when the read began.
type timeline struct {
	key   []byte
	least atomic.Uint64 // versions below are gone
}

const readerKeys = 64

// stamp is a value of n bytes of a version of key i.
func stamp(dst []byte, i int, version uint64, n int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst[:0], version<<8|uint64(i))
	for len(dst) < n {
		dst = append(dst, dst[:min(len(dst), n-len(dst))]...)
	}
	return dst
}

// check says what is wrong with a value that was read of key i.
func (l *timeline) check(i int, v []byte, least uint64) error {
	first := binary.LittleEndian.Uint64(v)
	if int(first&0xff) != i || first>>8 < least {
		return fmt.Errorf("key %d: version %d of key %d, at least %d was there", i, first>>8, first&0xff, least)
	}
	for off := 8; off+8 <= len(v); off += 8 {
		if got := binary.LittleEndian.Uint64(v[off:]); got != first {
			return fmt.Errorf("key %d: byte %d of %d is of %x, the value begins with %x", i, off, len(v), got, first)
		}
	}
	return nil
}

// TestReadersNeverSeeThePast: writers on a cache so small that segments are
// recycled all the time, with Deletes, Clears, large values and a growing index,
// and readers that hold every value to its key's timeline.
func TestReadersNeverSeeThePast(t *testing.T) {
	for shards := 1; shards <= 2; shards++ {
		t.Run(fmt.Sprint("shards=", shards), func(t *testing.T) {
			rng := newRand(t)
			o := testOptions(int64(shards) << 20)
			o.Shards, o.MaxEntryBytes = shards, 200<<10
			c := openMemory(t, o)
			lines := make([]timeline, readerKeys)
			for i := range lines {
				lines[i].key = testKey(i)
			}
			var done atomic.Bool
			var writers, readers sync.WaitGroup
			for w := range 2 {
				writing, reading := rand.New(rand.NewSource(rng.Int63())), rand.New(rand.NewSource(rng.Int63()))
				writers.Go(func() { writeLines(t, c, lines, w, writing) })
				readers.Go(func() { readLines(t, c, lines, &done, reading) })
			}
			writers.Wait()
			done.Store(true)
			readers.Wait()
			checkInvariants(t, c)
		})
	}
}

// writeLines writes the keys with the number w modulo 2.
func writeLines(t *testing.T, c *Cache, lines []timeline, w int, rng *rand.Rand) {
	var value []byte
	rounds := 40_000
	if racing || testing.Short() {
		rounds /= 40
	}
	for n := range rounds {
		i := rng.Intn(readerKeys/2)*2 + w
		l, version := &lines[i], uint64(n+1)
		size := 8 * (1 + rng.Intn(100))
		switch rng.Intn(200) {
		case 0:
			size = 8 * (1000 + rng.Intn(15000))
		case 1:
			c.Delete(l.key)
			l.least.Store(version)
			continue
		case 2:
			if n%50 == 0 {
				_ = c.Clear()
			}
		case 3, 4, 5: // keys that nobody reads, for the index to grow
			for j := range 40 {
				mustSet(t, c, testKey(1000+rng.Intn(4000)), value[:min(len(value), 8*j)])
			}
		}
		value = stamp(value, i, version, size)
		if err := c.SetEntry(l.key, value, EntryOptions{MemoryOnly: i%8 == 0}); err != nil {
			t.Error(err)
		}
		l.least.Store(version)
	}
}

func readLines(t *testing.T, c *Cache, lines []timeline, done *atomic.Bool, rng *rand.Rand) {
	var buf []byte
	for n := 0; !done.Load() && !t.Failed(); n++ {
		i := rng.Intn(readerKeys)
		l := &lines[i]
		least := l.least.Load()
		var err error
		if n%3 == 0 {
			_ = c.View(l.key, func(v []byte) error { err = l.check(i, v, least); return nil })
		} else {
			var ok bool
			if buf, ok = c.AppendGet(buf[:0], l.key); ok {
				err = l.check(i, buf, least)
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestAStaleWordIsNoHit: a reader took a word, and a lap of the ring later a
// record of the same key, dead by now, lies where the word points.
func TestAStaleWordIsNoHit(t *testing.T) {
	o := testOptions(1 << 20)
	o.Shards = 1
	c := openMemory(t, o)
	s, key := c.shards[0], testKey(1)
	s.small = 1 // main is filled: what is new goes to small, and goes first
	hash := c.hash.sum(key)
	mustSet(t, c, key, testValue(0, 1000))
	s.mu.Lock()
	slot, stale, _, _ := s.findLocked(key, hash)
	s.mu.Unlock()
	var r ref
	s.find(&r, key, hash)
	ring := uint64(len(s.segments) / queues)
	for i := 1; s.queues[smallQueue].tail>>s.unitBits <= ring; i++ {
		mustSet(t, c, key, testValue(i, 1000))
	}
	if r.holds() {
		t.Error("a record holds whose segment was recycled")
	}
	mustSet(t, c, key, testValue(1, 1000))
	if o := s.read(&ref{slot: s.index.slot(slot)}, stale, key); o != changed {
		t.Errorf("got outcome %d of a word that is in its slot no more, want %d", o, changed)
	}
}

// TestWhatStandsIsFound while it is moved from one candidate bucket to the other
// and back: a miss is true.
func TestWhatStandsIsFound(t *testing.T) {
	c := openMemory(t, testOptions(1<<20))
	key := testKey(1)
	mustSet(t, c, key, nil)
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	var done atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		for n := 0; !done.Load(); n++ {
			if !c.Has(key) {
				t.Errorf("look-up %d did not find what was there all the time", n)
				return
			}
		}
	})
	for range fewer(1_000_000) {
		s.lock()
		from, w, _, _ := s.findLocked(key, hash)
		to, _, _ := s.index.emptySlot(s.index.otherBucket(from/bucketSlots, w, s.index.buckets()))
		s.moveSlotLocked(from, to, w, 1<<32)
		s.unlock()
	}
	done.Store(true)
	reader.Wait()
	checkInvariants(t, c)
}
