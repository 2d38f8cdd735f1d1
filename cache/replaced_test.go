package cache

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// twins is a hash under which "a-x" and "b-x" are one to the index.
func twins(key []byte) uint64 {
	h := newHasher(1)
	return h.sum(bytes.TrimLeft(key, "ab"))
}

func twin(first byte, i int) []byte { return fmt.Appendf(nil, "%c-%d", first, i) }

// openTwins opens a cache of one shard over that hash, with nothing in the background.
func openTwins(t *testing.T, change func(o *Options)) *Cache {
	t.Helper()
	o := testOptions(4 << 20)
	o.Shards, o.hooks.alone, o.hooks.hash = 1, true, twins
	if change != nil {
		change(o)
	}
	return openMemory(t, o)
}

// sizeOf is what an entry counts for in Bytes.
func sizeOf(key []byte, value int) int64 {
	return int64(headerSize+len(key)+value+unitSize-1) &^ (unitSize - 1)
}

// TestAForeignTagForgetsItsEntry, and no other, and is counted.
func TestAForeignTagForgetsItsEntry(t *testing.T) {
	c := openTwins(t, nil)
	const keys, taken = 100, 40
	for i := range keys {
		mustSet(t, c, twin('a', i), testValue(i, 40+i))
	}
	want := c.Bytes()
	for i := range taken {
		mustSet(t, c, twin('b', i), testValue(-i, 300-i))
		want += sizeOf(twin('b', i), 300-i) - sizeOf(twin('a', i), 40+i)
	}
	st := c.Stats()
	if st.Evictions != taken || st.Entries != keys || st.Bytes != want {
		t.Errorf("%d evictions, %d entries, %d bytes; want %d, %d, %d", st.Evictions, st.Entries, st.Bytes, taken, keys, want)
	}
	for i := range keys {
		if i >= taken {
			wantValue(t, c, twin('a', i), testValue(i, 40+i))
			wantNothing(t, c, twin('b', i))
			continue
		}
		wantNothing(t, c, twin('a', i))
		wantValue(t, c, twin('b', i), testValue(-i, 300-i))
	}
	checkInvariants(t, c)
}

// TestKeysAreComparedWhereATagWillNotDo: what has the other key's tag stays.
func TestKeysAreComparedWhereATagWillNotDo(t *testing.T) {
	a, b := twin('a', 1), twin('b', 1)
	for name, law := range map[string]struct {
		change func(o *Options)
		before func(c *Cache)
		write  func(c *Cache) error
	}{
		"for OnEvict": {
			change: func(o *Options) { o.OnEvict = func(key, value []byte, why Cause) {} },
		},
		"under IfAbsent": {
			write: func(c *Cache) error { return c.SetEntry(b, []byte("b"), EntryOptions{IfAbsent: true}) },
		},
		"in Compute": {
			write: func(c *Cache) error {
				return c.Compute(b, func([]byte, bool) ([]byte, Op) { return []byte("b"), OpWrite })
			},
		},
		"where a large value is about": {
			before: func(c *Cache) { _ = c.Set(twin('a', 2), make([]byte, 3*c.segmentSize)) },
		},
		"of a file's entry and one that is MemoryOnly": {
			write: func(c *Cache) error { return c.SetEntry(b, []byte("b"), EntryOptions{MemoryOnly: true}) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openTwins(t, law.change)
			if law.before != nil {
				law.before(c)
			}
			mustSet(t, c, a, []byte("a"))
			if law.write == nil {
				law.write = func(c *Cache) error { return c.Set(b, []byte("b")) }
			}
			must(t, law.write(c))
			wantValue(t, c, a, []byte("a"))
			wantValue(t, c, b, []byte("b"))
			for range 3 { // with two words of the tag
				mustSet(t, c, b, []byte("bb"))
				mustSet(t, c, a, []byte("aa"))
			}
			wantValue(t, c, a, []byte("aa"))
			wantValue(t, c, b, []byte("bb"))
			if n := c.Stats().Evictions; n != 0 {
				t.Errorf("%d evictions", n)
			}
			if c.Delete(b); !c.Has(a) {
				t.Error("Delete forgot another key")
			}
			checkInvariants(t, c)
		})
	}
}

// TestKeysAreComparedWhilePagesAreOnFile.
func TestKeysAreComparedWhilePagesAreOnFile(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	o.hooks.hash, o.hooks.lazily = twins, true
	c := openOn(t, o)
	mustSet(t, c, twin('a', 1), []byte("a"))
	mustClose(t, c)
	c = openOn(t, o)
	defer c.Close()
	mustSet(t, c, twin('b', 1), []byte("b"))
	wantValue(t, c, twin('a', 1), []byte("a"))
	wantValue(t, c, twin('b', 1), []byte("b"))
}

// TestGaugesAreExactWhenTheyAreAsked, whatever is replaced by what.
func TestGaugesAreExactWhenTheyAreAsked(t *testing.T) {
	rng := newRand(t)
	o := testOptions(16 << 20)
	o.Shards = 2
	c := openMemory(t, o)
	sizes, total := make(map[int]int64), int64(0)
	for n := range fewer(6000) {
		i, value := rng.Intn(300), rng.Intn(1500)
		if n%1000 == 999 {
			value = 20 << 10 // some of it in segments of its own
		}
		var o EntryOptions
		o.MemoryOnly = rng.Intn(8) == 0
		total -= sizes[i]
		if rng.Intn(10) == 0 {
			c.Delete(testKey(i))
			delete(sizes, i)
		} else {
			must(t, c.SetEntry(testKey(i), testValue(i, value), o))
			h := makeHeader(len(testKey(i)), value, 0, 0, 0)
			if headerSize+len(testKey(i))+value > c.segmentSize/2 {
				h = makeHeader(len(testKey(i)), value, flagLarge, 0, 0)
			}
			sizes[i] = int64(h.size(c.segmentSize))
			total += sizes[i]
		}
		if c.Len() != len(sizes) {
			t.Fatalf("after %d writes: %d entries, want %d", n, c.Len(), len(sizes))
		}
		if rng.Intn(20) == 0 && c.Bytes() != total {
			t.Fatalf("after %d writes: %d bytes, want %d", n, c.Bytes(), total)
		}
	}
	if st := c.Stats(); st.Evictions != 0 {
		t.Errorf("%d evictions", st.Evictions)
	}
	must(t, c.Clear())
	if c.Len() != 0 || c.Bytes() != 0 {
		t.Errorf("%d entries of %d bytes after Clear", c.Len(), c.Bytes())
	}
	checkInvariants(t, c)
}

// TestACutCountsWhatWasReplaced before it, and not what is replaced after.
func TestACutCountsWhatWasReplaced(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	c := openOn(t, o)
	defer c.Close()
	mustSet(t, c, testKey(1), testValue(1, 1000))
	mustSet(t, c, testKey(1), testValue(1, 100))
	want := uint64(sizeOf(testKey(1), 100))
	cut := cutter{c}.Cut()
	mustSet(t, c, testKey(1), testValue(1, 2000))
	cutter{c}.Release(cut)
	if st := cut.Shards[0].State; st.Entries != 1 || st.Live != want {
		t.Errorf("the cut has %d entries of %d bytes, want 1 of %d", st.Entries, st.Live, want)
	}
}

// TestReplacedRecordsAreSettledBeforeTheirSegmentEnds: by the cleaner and by Clear,
// which give its frame to somebody else.
func TestReplacedRecordsAreSettledBeforeTheirSegmentEnds(t *testing.T) {
	for name, end := range map[string]func(c *Cache){
		"by the cleaner": func(c *Cache) {
			for range c.steps() {
				c.shards[0].clean(&pressure{keep: true, half: true, due: true})
			}
		},
		"by Clear": func(c *Cache) { _ = c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			alone(t)
			c := openTwins(t, nil)
			s := c.shards[0]
			for i := 0; s.seqOf(s.queues[mainQueue].tail)+s.seqOf(s.queues[smallQueue].tail) == 0; i++ {
				mustSet(t, c, twin('a', i), testValue(i, 100))
			}
			for i := range mostReplaced {
				mustSet(t, c, twin('a', i), testValue(-i, 200))
			}
			for q := range uint8(fileQueues) {
				s.mu.Lock()
				s.sealLocked(q)
				s.mu.Unlock()
			}
			if got := s.replaced.n - s.replaced.done; got != mostReplaced {
				t.Fatalf("%d replaced records wait, want %d", got, mostReplaced)
			}
			waiting := s.replaced.ring[0].old
			number := s.segmentAt(waiting.queue(), uint64(waiting.pos())).number.Load()
			end(c)
			if s.segmentAt(waiting.queue(), uint64(waiting.pos())).number.Load() == number {
				t.Fatal("the segment has not ended")
			}
			if got := s.replaced.n - s.replaced.done; got != 0 {
				t.Errorf("%d replaced records wait though their segment has ended", got)
			}
			checkInvariants(t, c)
		})
	}
}

// TestClosingSettles: nothing looks at memory that was given back.
func TestClosingSettles(t *testing.T) {
	c := openTwins(t, nil)
	mustSet(t, c, twin('a', 1), testValue(1, 100))
	mustSet(t, c, twin('a', 1), testValue(1, 200))
	mustClose(t, c)
	if s := c.shards[0]; s.replaced.n != s.replaced.done {
		t.Errorf("%d replaced records wait in a cache that is closed", s.replaced.n-s.replaced.done)
	}
	if got, want := c.Stats().Bytes, sizeOf(twin('a', 1), 200); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}
