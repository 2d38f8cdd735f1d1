package cache

import (
	"context"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// What was used most before the end comes back first, also where it is old.
func TestTheHottestComeBackFirst(t *testing.T) {
	o := quietOptions(crashfs.New(), 2)
	o.MaxBytes = 8 << 20
	c := openOn(t, o)
	const entries, warm, hot = 4000, 400, 100 // the oldest are used most
	for i := range entries {
		mustSet(t, c, testKey(i), testValue(i, 300))
	}
	for i := range warm {
		for range min(1+2*(warm-i)/(warm-hot), 3) {
			wantValue(t, c, testKey(i), testValue(i, 300))
		}
	}
	mustClose(t, c)

	o.hooks.lazily = true
	c = openOn(t, o)
	for _, s := range c.shards {
		s.loadIndex()
	}
	list := c.waiting()
	if !slices.IsSortedFunc(list, func(a, b waiting) int { return b.heat - a.heat }) {
		t.Error("segments are not ordered by their heat")
	}
	if last := list[len(list)-1]; list[0].heat == 0 || last.heat != 0 {
		t.Errorf("heat goes from %d to %d, want some to none", list[0].heat, last.heat)
	}
	used := 0
	for used < len(list) && list[used].heat > 0 {
		used++
	}
	for _, w := range list[:used] {
		w.shard.prefetchSegment(w.lazy, w.segment)
	}
	reads := c.Stats().Faults
	for i := range warm {
		wantValue(t, c, testKey(i), testValue(i, 300))
	}
	if got := c.Stats().Faults - reads; got != 0 {
		t.Errorf("%d pages were read for what was used before, want all of them there after %d of %d segments", got, used, len(list))
	}
	if used > len(list)/2 {
		t.Errorf("%d of %d segments count as used, of %d entries %d were", used, len(list), entries, warm)
	}
	c.prefetch()
	if _, err := c.WaitVerified(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		wantValue(t, c, testKey(i), testValue(i, 300))
	}
	checkInvariants(t, c)
	mustClose(t, c)
}
