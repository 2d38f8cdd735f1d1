package cache

import (
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// TestDefaultMaxBytes: a cache that nobody has given a size fits, with what the
// kernel caches of it, into any container, and needs no warning there.
func TestDefaultMaxBytes(t *testing.T) {
	for _, c := range []struct{ limit, want int64 }{
		{0, 256 << 20},
		{16 * gib, 256 << 20},
		{gib, 256 << 20},
		{gib/2 - 1, 127 << 20},
		{gib / 2, 128 << 20},
		{gib / 4, 64 << 20},
		{64 << 20, 16 << 20},
		{1 << 20, 1 << 20},
	} {
		o := &Options{hooks: hooks{machine: machineOf(c.limit)}}
		if c.limit == 0 {
			o.hooks.machine = machineWith()
		}
		if d, err := o.withDefaults(); err != nil || d.MaxBytes != c.want {
			t.Errorf("of %d bytes: got %d, %v, want %d", c.limit, d.MaxBytes, err, c.want)
		}
		memory, _ := o.Footprint()
		if c.limit >= gib/4 && memory > c.limit*9/10 {
			t.Errorf("of %d bytes it takes %d", c.limit, memory)
		}
		if lines := adviceIn(t, o); c.limit >= 64<<20 && len(lines) > 0 {
			t.Errorf("of %d bytes: %v", c.limit, lines)
		}
	}
}

// adviceIn is what a cache with these options says about memory.
func adviceIn(t *testing.T, o *Options) []line {
	t.Helper()
	log := newRecorder()
	o.Logger = slog.New(log)
	c, err := OpenMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, c)
	return log.of("low_memory")
}

func TestAdviceAboutMemory(t *testing.T) {
	if racing {
		t.Skip("frames are Go's own memory under the race detector, and 64 GiB of it too much")
	}
	const mib = 1 << 20
	for _, c := range []struct {
		law              string
		max, limit, goes int64
		warns            bool
	}{
		{"half of a container is enough for a small program", 256 * mib, 640 * mib, 0, false},
		{"nine tenths of it are not", 460 * mib, 512 * mib, 0, true},
		{"nor is a container smaller than the cache", 256 * mib, 128 * mib, 0, true},
		{"Go's limit counts whole", 256 * mib, 640 * mib, 384 * mib, true},
		{"and fits where both do", 256 * mib, gib, 512 * mib, false},
		{"Go's limit over all of it leaves nothing", 256 * mib, gib, 2 * gib, true},
		{"what nobody limits is not warned about", 64 * gib, 0, 0, false},
	} {
		t.Run(c.law, func(t *testing.T) {
			before := debug.SetMemoryLimit(-1)
			t.Cleanup(func() { debug.SetMemoryLimit(before) })
			debug.SetMemoryLimit(math.MaxInt64)
			if c.goes > 0 {
				debug.SetMemoryLimit(c.goes)
			}
			o := testOptions(c.max)
			if o.hooks.machine = machineWith(); c.limit > 0 {
				o.hooks.machine = machineOf(c.limit)
			}
			lines := adviceIn(t, o)
			if len(lines) > 1 || (len(lines) == 1) != c.warns {
				t.Fatalf("logged %v, want a line: %v", lines, c.warns)
			}
			if c.warns {
				checkFits(t, o, lines[0].text)
			}
		})
	}
}

// checkFits: who follows the advice is not warned again.
func checkFits(t *testing.T, o *Options, text string) {
	t.Helper()
	var fits int64
	_, end, _ := strings.Cut(text, "fits=")
	if _, err := fmt.Sscan(end, &fits); err != nil || fits >= o.MaxBytes {
		t.Fatalf("%v: %s", err, text)
	}
	if o.MaxBytes = fits; fits < minBytes {
		return
	}
	if lines := adviceIn(t, o); len(lines) > 0 {
		t.Errorf("with the advice: %v", lines)
	}
}

// TestDefaultShapes: whatever the size and the processors, segments are neither too
// few nor too small to work with, shards as many as there is memory for, and what
// comes on top of MaxBytes stays small.
func TestDefaultShapes(t *testing.T) {
	const mib, kib = 1 << 20, 1 << 10
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, c := range []struct {
		procs int
		bytes int64
		want  [2]int // shards, segment size
	}{
		{1, 16 * mib, [2]int{4, 64 * kib}}, {64, 16 * mib, [2]int{4, 64 * kib}},
		{1, 256 * mib, [2]int{4, 256 * kib}}, {2, 256 * mib, [2]int{8, 256 * kib}}, {8, 256 * mib, [2]int{32, 128 * kib}}, {64, 256 * mib, [2]int{64, 64 * kib}},
		{1, 4 * gib, [2]int{4, 256 * kib}}, {8, 4 * gib, [2]int{32, 256 * kib}}, {64, 4 * gib, [2]int{256, 256 * kib}},
		{1, 64 * gib, [2]int{16, 256 * kib}}, {8, 64 * gib, [2]int{32, 256 * kib}}, {64, 64 * gib, [2]int{256, 256 * kib}},
	} {
		runtime.GOMAXPROCS(c.procs)
		o := testOptions(c.bytes)
		g := o.shape()
		if got := [2]int{g.shards, g.segmentSize}; got != c.want {
			t.Errorf("%d MiB, %d processors: got %v, want %v", c.bytes/mib, c.procs, got, c.want)
		}
		if n := c.bytes / int64(g.shards*g.segmentSize); n < segmentsPerShard {
			t.Errorf("%d MiB, %d processors: %d segments a shard", c.bytes/mib, c.procs, n)
		}
		frames := int64(framesFor(c.bytes, g)) * int64(g.segmentSize)
		if over := 100 * (frames - c.bytes) / c.bytes; over > 10 || c.bytes >= 4*gib && over > 7 {
			t.Errorf("%d MiB, %d processors: frames have %d %% more", c.bytes/mib, c.procs, over)
		}
		if n := o.entryLimit(g); int64(n) < c.bytes/64 && n < 32*mib {
			t.Errorf("%d MiB, %d processors: an entry has %d bytes at most", c.bytes/mib, c.procs, n)
		}
	}
}
