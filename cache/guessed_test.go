package cache

import (
	"bytes"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestSizesThatWereGuessedAreCounted: an entry is lost of which a page
// cannot be had; the average stands in for it. The process writes a generation, and is killed
// before it has all in memory and counts. The next one counts.
func TestSizesThatWereGuessedAreCounted(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	c := openOn(t, o)
	large := testValue(1, 8100)
	for i := range 100 {
		mustSet(t, c, testKey(i), testValue(i, 100))
		if i == 50 {
			mustSet(t, c, []byte("large"), large)
		}
	}
	mustFlush(t, c)
	drop(c)
	fs = fs.Clone()
	flipped := false
	for _, name := range fs.List() {
		b, err := fs.ReadFile(name)
		must(t, err)
		if at := bytes.Index(b, large[4050:][:64]); at >= 0 {
			must(t, fs.Flip(name, int64(at), 1))
			flipped = true
		}
	}
	o.hooks.fs, o.hooks.lazily = fs, true
	c = openOn(t, o)
	if c.Has([]byte("large")) || !flipped {
		t.Fatalf("damaged: %v, and there all the same", flipped)
	}
	mustFlush(t, c)
	drop(c)
	o.hooks.fs, o.hooks.lazily = fs.Clone(), false
	c = openOn(t, o)
	defer drop(c)
	r := reopened(t, c)
	if r.Dropped != 0 || c.Len() != 100 {
		t.Fatalf("%d entries, report %+v, want all but the one that was lost, and nothing dropped", c.Len(), r)
	}
	checkInvariants(t, c)
}
