package cache

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/embercache/ember/pagefile"
)

func ghostHash(i int) uint64 { return uint64(i+1) * 0x9e3779b97f4a7c15 * 0xbf58476d1ce4e5b9 }

func recalls(g *ghosts, i int) bool {
	_, ok := g.take(ghostHash(i))
	return ok
}

// grown makes room as clean does.
func (g *ghosts) grown() {
	if g.want > len(g.table) {
		g.grow(make([]uint32, g.want))
	}
}

// TestGhostsAreForgottenByAge: about as many as there is room for are there, the
// youngest, and none that is much older.
func TestGhostsAreForgottenByAge(t *testing.T) {
	for _, room := range []int{1, 100, 1000, 100_000} {
		var g ghosts
		g.add(ghostHash(0), room)
		g.grown()
		const laps = 5
		for i := range laps * room {
			g.add(ghostHash(i), room)
		}
		if g.want != 0 {
			t.Errorf("room %d: %d words are too few", room, len(g.table))
		}
		young, old := 0, 0
		for i := range laps * room {
			if !recalls(&g, i) {
				continue
			}
			if age := laps*room - i; age <= room {
				young++
			} else if age > room+room/100+2 {
				old++
			}
		}
		if young < room*98/100 || old > room/1000 {
			t.Errorf("room %d: %d of the youngest are there, and %d older ones", room, young, old)
		}
	}
}

// TestAGhostCountsOnce: and it is found in the table before, for as long as it is
// young.
func TestAGhostCountsOnce(t *testing.T) {
	var g ghosts
	g.add(0, 1000)
	g.grown()
	for i := range 1000 {
		g.add(ghostHash(i), 1000)
	}
	g.add(ghostHash(1000), 4000)
	if g.grown(); len(g.older) == 0 {
		t.Fatal("the table did not grow")
	}
	for i := 500; i < 1000; i++ {
		if !recalls(&g, i) || recalls(&g, i) {
			t.Fatalf("ghost %d does not count once", i)
		}
	}
	for i := 1001; i < 6000; i++ {
		g.add(ghostHash(i), 4000)
	}
	if len(g.older) != 0 || recalls(&g, 400) {
		t.Error("a ghost that is too old counts")
	}
	if got := g.bytes.Load(); got != int64(4*len(g.table)) {
		t.Errorf("%d bytes counted for %d words", got, len(g.table))
	}
}

// overfilled is a cache in which entries had to go, the first ones.
func overfilled(t *testing.T, c *Cache, o EntryOptions) {
	t.Helper()
	for i := range 3 * int(c.opts.MaxBytes) / 400 {
		if err := c.SetEntry(testKey(i), testValue(i, 200), o); err != nil {
			t.Fatal(err)
		}
	}
	if c.Stats().Evictions == 0 {
		t.Fatal("nothing was evicted")
	}
}

// lastEvicted is a key that is not there, and whose ghost should be.
func lastEvicted(t *testing.T, c *Cache) []byte {
	t.Helper()
	last := -1
	for i := range 3 * int(c.opts.MaxBytes) / 400 {
		if !c.Has(testKey(i)) {
			last = i
		}
	}
	if last < 0 {
		t.Fatal("everything is there")
	}
	return testKey(last)
}

// queueOfNext is the queue into which key goes when it is set.
func queueOfNext(t *testing.T, c *Cache, key []byte) uint8 {
	t.Helper()
	mustSet(t, c, key, []byte("again"))
	return wordOf(t, c, key).queue()
}

// TestGhostsComeBack: after Close, and after a kill, a key that had left comes back
// to main.
func TestGhostsComeBack(t *testing.T) {
	alone(t)
	for name, end := range map[string]func(*Cache){
		"Close": func(c *Cache) { mustClose(t, c) },
		"kill":  func(c *Cache) { mustFlush(t, c); drop(c) },
	} {
		dir, o := t.TempDir(), stepOptions(2<<20)
		c := open(t, dir, o)
		overfilled(t, c, EntryOptions{})
		key := lastEvicted(t, c)
		end(c)
		c = open(t, dir, o)
		reopened(t, c)
		if got := queueOfNext(t, c, key); got != mainQueue {
			t.Errorf("after %s a key that had left comes to queue %d, want main", name, got)
		}
		drop(c)
	}
}

// TestDamagedGhostsAreNoDamage: they are forgotten, and nothing else is, nor is it
// reported.
func TestDamagedGhostsAreNoDamage(t *testing.T) {
	alone(t)
	for name, harm := range map[string]func(b []byte) []byte{
		"cut off": func(b []byte) []byte { return b[:0] },
		"torn":    func(b []byte) []byte { return b[:100] },
		"flipped": func(b []byte) []byte {
			for i := 0; i < len(b); i += 1000 {
				b[i] ^= 1
			}
			return b
		},
	} {
		dir, o := t.TempDir(), stepOptions(2<<20)
		c := open(t, dir, o)
		overfilled(t, c, EntryOptions{})
		key, entries := lastEvicted(t, c), c.Len()
		mustClose(t, c)
		for _, path := range imagesIn(t, dir) {
			b, from := ghostsIn(t, path)
			if from == len(b) {
				t.Fatal("the image has no ghosts")
			}
			if err := os.WriteFile(path, append(b[:from:from], harm(b[from:])...), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c = open(t, dir, o)
		if r := reopened(t, c); r.Outcome != OutcomeWarm || r.Reason != nil || c.Len() != entries || r.PagesDropped != 0 {
			t.Errorf("%s: %d of %d entries, report %+v", name, c.Len(), entries, r)
		}
		if got := queueOfNext(t, c, key); got != smallQueue {
			t.Errorf("%s: a key whose ghost is lost comes to queue %d, want small", name, got)
		}
		drop(c)
	}
}

func imagesIn(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "image-*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no image: %v", err)
	}
	return paths
}

// ghostsIn is an image and where its ghosts begin.
func ghostsIn(t *testing.T, path string) (b []byte, from int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b = make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	var h pagefile.FileHeader
	if err := h.UnmarshalBinary(b[:4096]); err != nil {
		// The block of an image's header is not empty behind it.
		id := filepath.Base(path)[len("image-"):]
		for _, d := range id {
			h.ID = h.ID<<4 | uint64(d-'0')
		}
	}
	m, err := pagefile.OpenImage(f, info.Size(), h.ID)
	if err != nil {
		t.Fatal(err)
	}
	return b, int(m.Size())
}

// TestGhostsOfMemoryOnlyStayInMemory: they count, and no image has one.
func TestGhostsOfMemoryOnlyStayInMemory(t *testing.T) {
	dir, o := t.TempDir(), stepOptions(2<<20)
	c := open(t, dir, o)
	overfilled(t, c, EntryOptions{MemoryOnly: true})
	mustSet(t, c, []byte("on file"), []byte("v"))
	key := lastEvicted(t, c)
	if err := c.SetEntry(key, []byte("again"), EntryOptions{MemoryOnly: true}); err != nil {
		t.Fatal(err)
	}
	if got := wordOf(t, c, key).queue(); got != memoryMain {
		t.Errorf("a key that had left comes to queue %d, want memory's main", got)
	}
	for _, s := range c.shards {
		if n := len(s.ghosts[0].table); n != 0 {
			t.Errorf("shard %d has a table of %d ghosts for files", s.id, n)
		}
	}
	mustFlush(t, c)
	mustClose(t, c)
	for _, path := range imagesIn(t, dir) {
		if b, from := ghostsIn(t, path); from != len(b) {
			t.Errorf("%d bytes of ghosts in %s", len(b)-from, filepath.Base(path))
		}
	}
}

// TestAnEntryOutlivesItsOwnSet: also one of more than small's share.
func TestAnEntryOutlivesItsOwnSet(t *testing.T) {
	o := testOptions(4 << 20)
	c := openMemory(t, o)
	overfilled(t, c, EntryOptions{})
	for i := range 20 {
		for _, only := range []bool{false, true} {
			key := testKey(1_000_000 + i)
			if err := c.SetEntry(key, testValue(i, 500<<10), EntryOptions{MemoryOnly: only}); err != nil {
				t.Fatal(err)
			}
			wantValue(t, c, key, testValue(i, 500<<10))
		}
	}
	checkInvariants(t, c)
}

// TestWhatIsHomeIsNotHeld: of what ends while a cut is written, only what that
// needs takes frames from a full cache.
func TestWhatIsHomeIsNotHeld(t *testing.T) {
	o := stepOptions(2 << 20)
	c := open(t, t.TempDir(), o)
	overfilled(t, c, EntryOptions{})
	if _, err := c.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	used := c.Stats().ResidentBytes
	cut := cutter{c}.Cut()
	for i := range int(o.MaxBytes) / 2 / 240 {
		mustSet(t, c, testKey(2_000_000+i), testValue(i, 200))
	}
	c.held.mu.Lock()
	held := len(c.held.segments)
	c.held.mu.Unlock()
	if held > 2 { // the open segments at the cut
		t.Errorf("%d segments are held; before, %d bytes were in use", held, used)
	}
	cutter{c}.Release(cut)
	drop(c)
}

// TestGhostsOfAnotherShapeAreForgotten: a conversion makes other shards.
func TestGhostsOfAnotherShapeAreForgotten(t *testing.T) {
	alone(t)
	dir, o := t.TempDir(), stepOptions(4<<20)
	for _, shards := range []int{4, 1, 2} {
		o.Shards = shards
		c := open(t, dir, o)
		reopened(t, c)
		for _, s := range c.shards {
			if n := len(s.ghosts[0].table); len(c.shards) != shards || n != 0 {
				t.Errorf("shard %d of %d has a table of %d ghosts of another shape", s.id, len(c.shards), n)
			}
		}
		overfilled(t, c, EntryOptions{})
		mustClose(t, c)
	}
}
