//go:build linux && !race && !emberheap

package cache

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a reader finds is overtaken between two of its loads: each recheck of quick and
// of get is there for one of these. quick has to leave what was overtaken to get, and
// get has to answer what is true afterwards.

// An overtaking is a cache and a key of it, the page that a reader waits at, and what
// is done meanwhile.
type overtaking struct {
	c         *Cache
	s         *shard
	key       []byte
	dst       []byte
	page      []byte
	meanwhile func()
	want      []byte // nil: the key is not there afterwards
}

// overtake has quick overtaken, then get in a cache of its own.
func overtake(t *testing.T, prepare func(t *testing.T) *overtaking) {
	t.Run("quick", func(t *testing.T) {
		x := prepare(t)
		whileTouching(t, x.page, func() {
			if v, o := x.s.quick(x.dst, x.key, x.c.hash.sum(x.key)); o != changed {
				t.Errorf("got outcome %d, %d bytes, want %d", o, len(v), changed)
			}
		}, x.meanwhile)
		checkInvariants(t, x.c)
	})
	t.Run("get", func(t *testing.T) {
		x := prepare(t)
		whileTouching(t, x.page, func() {
			if v, ok := x.s.get(x.dst, x.key, x.c.hash.sum(x.key), &x.c.terms); ok != (x.want != nil) || ok && !bytes.Equal(v, x.want) {
				t.Errorf("got %d bytes, %v, want %d, %v", len(v), ok, len(x.want), x.want != nil)
			}
		}, x.meanwhile)
		checkInvariants(t, x.c)
	})
}

func newOvertaking(t *testing.T, maxBytes int64) *overtaking {
	o := testOptions(maxBytes)
	o.Shards, o.hooks.alone = 1, true
	c := openMemory(t, o)
	return &overtaking{c: c, s: c.shards[0]}
}

// TestARecordThatEndsWhileItIsCopied: half of it is copied, then its frame has others.
func TestARecordThatEndsWhileItIsCopied(t *testing.T) {
	overtake(t, func(t *testing.T) *overtaking {
		x := newOvertaking(t, 1<<20)
		x.key = testKey(1)
		mustSet(t, x.c, x.key, testValue(1, 900))
		n := os.Getpagesize()
		mem, err := unix.Mmap(-1, 0, 2*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(mem) })
		clear(mem)
		x.dst, x.page = mem[n-450:n-450:2*n], mem[n:]
		x.meanwhile = func() {
			if err := x.c.Clear(); err != nil {
				t.Error(err)
			}
			for i := range 2000 { // other bytes in every frame
				mustSet(t, x.c, testKey(100+i), testValue(i, 1000))
			}
		}
		return x
	})
}

// TestAWordOfAnotherLap: a reader has a word, and before it has the number of the
// segment that the word leads to a lap of the ring goes by. There is a record of its
// key now where the word points, but it is a part of another's value.
func TestAWordOfAnotherLap(t *testing.T) {
	overtake(t, func(t *testing.T) *overtaking {
		x := newOvertaking(t, 1<<20)
		s := x.s
		s.small = 1 // main is filled: what is new goes to small, and goes first
		mustSet(t, x.c, []byte("before it"), testValue(0, 500))
		x.key = testKey(1)
		mustSet(t, x.c, x.key, testValue(1, 100))
		w := wordOf(t, x.c, x.key)
		seg, off := s.segmentAt(w.queue(), uint64(w.pos())), s.offsetOf(uint64(w.pos()))
		x.page = pageAt(unsafe.Pointer(seg))
		number := seg.number.Load()
		x.meanwhile = func() {
			name := func(i int) []byte { return fmt.Appendf(nil, "other-%06d", i) }
			value := make([]byte, s.segmentSize/2-headerSize-len(name(0)))
			forged := value[off-headerSize-len(name(0)):]
			makeHeader(len(x.key), 6, 0, 0, x.c.now()).put(forged)
			copy(forged[headerSize:], append(bytes.Clone(x.key), "forged"...))
			lapped := func() bool { n := seg.number.Load(); return n != 0 && n != number }
			for i := 0; !lapped() && i < 1<<14; i++ {
				mustSet(t, x.c, name(i), value)
			}
			if rec := s.recordAt(w.queue(), uint64(w.pos())); !lapped() || !bytes.Equal(rec[:headerSize], forged[:headerSize]) {
				t.Error("there is no forged record in its place")
			}
		}
		return x
	})
}

// TestAnEntryThatIsDisplaced from the bucket that is read last to the one that is read
// first, in between, is no miss.
func TestAnEntryThatIsDisplaced(t *testing.T) {
	overtake(t, func(t *testing.T) *overtaking {
		x := newOvertaking(t, 16<<20)
		s := x.s
		var first, last uint32
		for i := 0; ; i++ {
			x.key = testKey(i)
			first, last = s.index.candidates(x.c.hash.sum(x.key), s.index.buckets())
			if &pageAt(s.index.bucket(first))[0] != &pageAt(s.index.bucket(last))[0] {
				break
			}
		}
		x.want = testValue(1, 100)
		mustSet(t, x.c, x.key, x.want)
		move := func(to uint32) {
			s.lock()
			defer s.unlock()
			from, w, _, _ := s.findLocked(x.key, x.c.hash.sum(x.key))
			slot, _, _ := s.index.emptySlot(to)
			if from/bucketSlots != to {
				s.moveSlotLocked(from, slot, w, 1<<32)
			}
		}
		move(last)
		x.page, x.meanwhile = pageAt(s.index.bucket(last)), func() { move(first) }
		return x
	})
}

// TestAnEntryWhoseBucketIsSplit before it is read is no miss.
func TestAnEntryWhoseBucketIsSplit(t *testing.T) {
	overtake(t, func(t *testing.T) *overtaking {
		x := newOvertaking(t, 1<<20)
		s := x.s
		n := s.index.buckets() // bucket 0 is split next
		for i := 0; ; i++ {
			x.key = testKey(i)
			hash := x.c.hash.sum(x.key)
			now, _ := s.index.candidates(hash, n)
			then, _ := s.index.candidates(hash, n+1)
			if now == 0 && then == n {
				break
			}
		}
		x.want = testValue(1, 100)
		mustSet(t, x.c, x.key, x.want)
		x.page = pageAt(s.index.bucket(0))
		x.meanwhile = func() {
			s.lock()
			defer s.unlock()
			if !s.splitLocked() {
				t.Error("nothing was split")
			}
		}
		return x
	})
}
