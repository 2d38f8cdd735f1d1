package cache

import (
	"runtime"
	"testing"
)

// TestALongLinkIsNotOnTheHeap: what a link carries after a time in which the disk
// was slow is copied to memory that goes back to the kernel, and comes back after
// a kill like any other.
func TestALongLinkIsNotOnTheHeap(t *testing.T) {
	o := stepOptions(32 << 20)
	dir := t.TempDir()
	c := open(t, dir, o)
	mustFlush(t, c)
	for i := range 6 << 10 {
		mustSet(t, c, testKey(i), testValue(i, 1<<10))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	mustWeak(t, c)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 && !racing {
		t.Errorf("a link of 6 MiB took %d bytes of the heap", n)
	}
	drop(c)
	c = open(t, dir, o)
	for i := range 6 << 10 {
		wantValue(t, c, testKey(i), testValue(i, 1<<10))
	}
	if r := reopened(t, c); r.Weak != 1 || r.Outcome != OutcomeWarm {
		t.Errorf("report %+v", r)
	}
	mustClose(t, c)
}
