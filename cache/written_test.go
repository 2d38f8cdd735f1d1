//go:build linux

package cache

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"testing"
	"time"
)

var (
	writtenEntries     = flag.Int("written.entries", 1<<18, "entries of 24+256 bytes that are overwritten by the percent; 4194304 for 1 GiB")
	writtenGenerations = flag.Int("written.generations", 110, "generations, each with a percent overwritten")
	writtenPace        = flag.Duration("written.pace", 0, "time between two of them; 1s with 60 generations for a minute")
)

// A percentage is a full cache of equal entries, of which a percent at a time is
// overwritten, and what that makes the disk write.
type percentage struct {
	t       *testing.T
	c       *Cache
	rng     *rand.Rand
	entries int
	value   []byte
	version int
}

const (
	writtenKey   = 24
	writtenValue = 256
)

func newPercentage(t *testing.T) *percentage {
	p := &percentage{t: t, rng: newRand(t), entries: *writtenEntries, value: make([]byte, writtenValue)}
	o := testOptions(2 * p.payload())
	o.Durability.Interval = -1 // each generation is asked for
	p.c = open(t, t.TempDir(), o)
	for i := range p.entries {
		p.set(i)
	}
	mustFlush(t, p.c)
	mustFlush(t, p.c) // what the fill left to write
	return p
}

// payload is keys plus values.
func (p *percentage) payload() int64 { return int64(p.entries) * (writtenKey + writtenValue) }

func (p *percentage) set(i int) {
	copy(p.value, fmt.Sprintf("%d of %d", p.version, i))
	mustSet(p.t, p.c, fmt.Appendf(nil, "key-%020d", i), p.value)
}

// overwrite overwrites a percent of the entries, chosen uniformly, once each.
func (p *percentage) overwrite() {
	p.version++
	for _, i := range p.rng.Perm(p.entries)[:p.entries/100] {
		p.set(i)
	}
}

// percent says what part of the payload n bytes are.
func (p *percentage) percent(n int64) float64 { return 100 * float64(n) / float64(p.payload()) }

// diskWrites is what this process has made the kernel write or hold for writing.
func diskWrites(t *testing.T) (n int64) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skipf("the kernel does not count: %v", err)
	}
	var skip string
	if _, err := fmt.Sscanf(string(b), "rchar: %s\nwchar: %s\nsyscr: %s\nsyscw: %s\nread_bytes: %s\nwrite_bytes: %d\n",
		&skip, &skip, &skip, &skip, &skip, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBytesWrittenFollowBytesChanged measures what a change of a percent costs
// the disk: with everything and at once, and in the mean over many generations,
// full ones among them, without the weak ring.
func TestBytesWrittenFollowBytesChanged(t *testing.T) {
	if racing || testing.Short() {
		t.Skip("a measurement of bytes, with many writes")
	}
	p := newPercentage(t)
	t.Run("at once", func(t *testing.T) {
		before := diskWrites(t)
		p.overwrite()
		mustFlush(t, p.c)
		got := p.percent(diskWrites(t) - before)
		t.Logf("%d of %d entries overwritten: %.2f %% of keys and values reached the disk", p.entries/100, p.entries, got)
		if got > 2.5 || got < 1 {
			t.Errorf("%.2f %% of keys and values written for 1 %%, want 1 to 2.5", got)
		}
	})
	t.Run("in the mean", func(t *testing.T) {
		before, start := p.c.Stats(), time.Now()
		for n := range *writtenGenerations {
			p.overwrite()
			mustFlush(t, p.c)
			time.Sleep(time.Until(start.Add(time.Duration(n+1) * *writtenPace)))
		}
		after := p.c.Stats()
		flushes, full := after.Flushes-before.Flushes, after.FullGenerations-before.FullGenerations
		weak := after.WeakBytes - before.WeakBytes
		got := p.percent(after.DiskWritten-before.DiskWritten-weak) / float64(flushes)
		t.Logf("%d generations, %d full, in %v: %.2f %% of keys and values each (pages %.2f, blobs %.2f, images %.2f), weak ring %.2f beside",
			flushes, full, time.Since(start).Round(time.Millisecond), got,
			p.percent(after.PageBytes-before.PageBytes)/float64(flushes), p.percent(after.BlobBytes-before.BlobBytes)/float64(flushes),
			p.percent(after.ImageBytes-before.ImageBytes)/float64(flushes), p.percent(weak)/float64(flushes))
		if got > 3 || full == 0 {
			t.Errorf("%.2f %% a generation with %d full ones, want at most 3 and one at least", got, full)
		}
	})
}
