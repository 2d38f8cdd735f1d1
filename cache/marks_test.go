package cache

import (
	"bytes"
	"testing"
)

// TestTheCleanerPassesTheDead: of what was overwritten it looks at nothing, however
// often the log turns over, and what lies between is kept.
func TestTheCleanerPassesTheDead(t *testing.T) {
	alone(t)
	o := testOptions(4 << 20)
	o.Shards, o.hooks.alone = 1, true
	c := openMemory(t, o)
	const kept, sets = 100, 60_000
	w := walkedBy(c, func() {
		for i := range sets {
			if i%100 == 0 && i/100 < kept {
				mustSet(t, c, testKey(i/100), testValue(i/100, 200))
			}
			mustSet(t, c, []byte("again"), testValue(i, 200))
		}
	})
	laps := uint64(sets*256/o.MaxBytes) + 2
	if w.records > laps*kept*4 {
		t.Errorf("the cleaner looked at %d records while %d were kept for %d laps", w.records, kept, laps)
	}
	for i := range kept {
		if got, ok := c.Get(testKey(i)); !ok || !bytes.Equal(got, testValue(i, 200)) {
			t.Errorf("key %d is forgotten or wrong", i)
		}
	}
	checkInvariants(t, c)
}

// TestNextMark against a look at each unit.
func TestNextMark(t *testing.T) {
	c := openMemory(t, testOptions(4<<20))
	f, rng := c.frames, newRand(t)
	frame, _ := f.take(0)
	var seg segment
	seg.open(1, frame, allPages)
	marks, units := f.marksOf(frame), f.segmentSize/unitSize
	has := func(u int) bool { return marks[u/64]>>(u%64)&1 != 0 }
	for range fewer(2000) {
		clear(marks)
		for range rng.Intn(20) {
			marks[rng.Intn(len(marks))] |= 1 << rng.Intn(64)
		}
		u := rng.Intn(units)
		end := u + rng.Intn(units-u+1)
		want := u
		for want < end && !has(want) {
			want++
		}
		if got := f.nextMark(&seg, uint64(u), uint64(end)); got != uint64(want) {
			t.Fatalf("got unit %d of [%d, %d), want %d", got, u, end, want)
		}
	}
	f.give(frame)
}
