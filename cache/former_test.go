package cache

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/fuzzing"
)

// formerValue has three segments of 256 KiB, the last of them not full.
const formerValue = 700 << 10

// TestALargeValueOfAFormerShape comes along whole or not at all: not if its record
// claims more segments than there are, which costs no memory, if one that it lists is
// none, or if a page of one cannot be proved.
func TestALargeValueOfAFormerShape(t *testing.T) {
	t.Run("as it was", func(t *testing.T) {
		c, _ := formerOpened(t, nil, nil)
		wantValue(t, c, []byte("large"), testValue(1, formerValue))
		drop(c)
	})
	spoiled := func(name string, lie func(t *testing.T, s *shard, rec []byte, h header), damage func(t *testing.T, fs *crashfs.FS)) {
		t.Run(name, func(t *testing.T) {
			c, used := formerOpened(t, lie, damage)
			if r := reopened(t, c); c.Has([]byte("large")) || r.Dropped != 1 || r.Reason == nil {
				t.Errorf("there: %v; report %+v", c.Has([]byte("large")), r)
			}
			if used > 32<<20 {
				t.Errorf("%d bytes allocated", used)
			}
			drop(c)
		})
	}
	spoiled("more segments than there are", func(t *testing.T, s *shard, rec []byte, h header) {
		makeHeader(h.keyLen(), maxValue, flagLarge, 0, h.stored()).put(rec)
	}, nil)
	spoiled("a segment that is none", func(t *testing.T, s *shard, rec []byte, h header) {
		list := listOf(rec, h, s.segmentSize)
		binary.LittleEndian.PutUint64(list[8:], binary.LittleEndian.Uint64(list[8:])+1000)
	}, nil)
	spoiled("a page that is damaged", nil, func(t *testing.T, fs *crashfs.FS) {
		part := testValue(1, formerValue)[300<<10:][:64]
		for _, name := range fs.List() {
			b, err := fs.ReadFile(name)
			must(t, err)
			if at := bytes.Index(b, part); at >= 0 {
				must(t, fs.Flip(name, int64(at), 1))
				return
			}
		}
		t.Fatal("the page is in no file")
	})
}

// formerOpened writes a large value and others, with a lie about it or damage, and
// opens that in another shape. The others are there; used is what was allocated.
func formerOpened(t *testing.T, lie func(t *testing.T, s *shard, rec []byte, h header), damage func(t *testing.T, fs *crashfs.FS)) (c *Cache, used uint64) {
	t.Helper()
	fs := crashfs.New()
	o := sizing{16 << 20, 1}.of(quietOptions(fs, 1))
	c = openOn(t, o)
	c.shards[0].small = 1 // all goes to one queue: what claims too much is followed by others
	mustSet(t, c, []byte("large"), testValue(1, formerValue))
	for i := range 20 {
		mustSet(t, c, testKey(i), testValue(i, 1000))
	}
	if lie != nil {
		w := wordOf(t, c, []byte("large"))
		rec := c.shards[0].recordAt(w.queue(), uint64(w.pos()))
		lie(t, c.shards[0], rec, readHeader(rec))
	}
	flushUnchecked(t, c)
	drop(c)
	fs = fs.Clone()
	if damage != nil {
		damage(t, fs)
	}
	o = sizing{16 << 20, 8}.of(o)
	o.hooks.fs = fs
	before := fuzzing.Allocated()
	c = openOn(t, o)
	used = fuzzing.Allocated() - before
	for i := range 20 {
		wantValue(t, c, testKey(i), testValue(i, 1000))
	}
	checkInvariants(t, c)
	return c, used
}
