package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// Counts are cumulative, a bound belongs to what it bounds, and Sub is the change.
func TestHistogram(t *testing.T) {
	var a tally
	a.add(0)
	a.add(time.Millisecond)
	before := a.histogram()
	a.add(time.Millisecond + 1)
	a.add(time.Minute)
	a.add(time.Hour)
	h := a.histogram()
	if len(h.Counts) != len(h.Bounds)+1 {
		t.Fatalf("%d counts for %d bounds", len(h.Counts), len(h.Bounds))
	}
	last := len(h.Bounds)
	for i, want := range map[int]uint64{0: 2, 1: 3, last - 2: 3, last - 1: 4, last: 5} {
		if h.Counts[i] != want {
			t.Errorf("count %d: got %d, want %d", i, h.Counts[i], want)
		}
	}
	d := Stats{FlushTime: h}.Sub(Stats{FlushTime: before}).FlushTime
	if d.Counts[0] != 0 || d.Counts[1] != 1 || d.Counts[last] != 3 || d.Sum != time.Hour+time.Minute+time.Millisecond+1 {
		t.Errorf("the change is %v", d)
	}
	if zero := (Stats{FlushTime: h}).Sub(Stats{}).FlushTime; zero.Counts[last] != 5 || h.Counts[last] != 5 {
		t.Errorf("since nothing: %v", zero)
	}
}

// FlushTime counts every durable generation, DurableLag how long the oldest write
// of each waited, by the cache's clock.
func TestDurableLag(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 2)
	passed := setClock(o)
	c := openOn(t, o)
	mustSet(t, c, testKey(1), nil)
	mustFlush(t, c)
	passed.Add(int64(time.Hour)) // nothing is written: nothing waits
	for i, lag := range []time.Duration{30 * time.Millisecond, 3 * time.Second} {
		mustSet(t, c, testKey(i), nil)
		passed.Add(int64(lag / 2))
		mustWeak(t, c)
		mustSet(t, c, testKey(100+i), nil)
		passed.Add(int64(lag / 2))
		mustFlush(t, c)
	}
	st := c.Stats()
	if h := st.DurableLag; h.Sum != 3*time.Second+30*time.Millisecond || h.Counts[0] != 1 || h.Counts[5] != 2 || h.Counts[len(h.Bounds)] != 3 {
		t.Errorf("DurableLag %v", h)
	}
	if h := st.FlushTime; h.Counts[len(h.Bounds)] != st.Flushes || st.Flushes != 3 || h.Sum <= 0 {
		t.Errorf("FlushTime %v of %d flushes", h, st.Flushes)
	}
	fs.SetBudget(fs.Used()) // a flush that failed is not in the histogram, what waited goes on to wait
	mustSet(t, c, testKey(7), make([]byte, 100_000))
	passed.Add(int64(time.Minute))
	if _, err := c.Flush(t.Context()); err == nil {
		t.Fatal("no failure")
	}
	fs.SetBudget(-1)
	passed.Add(int64(time.Minute))
	mustFlush(t, c)
	if d := c.Stats().Sub(st); d.DurableLag.Sum != 2*time.Minute || d.FlushTime.Counts[len(d.FlushTime.Bounds)] != 1 {
		t.Errorf("after a failure: lag %v, time %v", d.DurableLag, d.FlushTime)
	}
	mustClose(t, c)
}

// OnDisk is what the files have, right after Open too, and MappedBytes what of
// them is mapped.
func TestOnDisk(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Durability.Weak = time.Hour
	onDisk := func(c *Cache) {
		t.Helper()
		var want int64
		for _, name := range fs.List() {
			if strings.HasSuffix(name, "/LOCK") || strings.HasSuffix(name, "/LEASE") {
				continue
			}
			file, err := fs.OpenFile(name, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			size, _ := file.Size()
			want += size
			_ = file.Close()
		}
		if got := c.Stats().OnDisk; got != want || want == 0 {
			t.Errorf("%d bytes on disk, want %d in %v", got, want, fs.List())
		}
	}
	c := openOn(t, o)
	if st := c.Stats(); st.MappedBytes != 0 || st.OnDisk != 0 {
		t.Errorf("a new directory has %d bytes, %d mapped", st.OnDisk, st.MappedBytes)
	}
	for i := range 4 {
		fill(t, c, 500*(i+1))
		mustFlush(t, c)
		onDisk(c)
	}
	mustClose(t, c)
	c = openOn(t, o)
	onDisk(c)
	if st := c.Stats(); st.MappedBytes <= 0 || st.MappedBytes > st.OnDisk {
		t.Errorf("%d bytes are mapped, of %d", st.MappedBytes, st.OnDisk)
	}
	fill(t, c, 3000)
	mustFlush(t, c)
	onDisk(c)
	mustClose(t, c)
	if n := c.Stats().MappedBytes; n != 0 {
		t.Errorf("%d bytes are mapped after Close", n)
	}
}
