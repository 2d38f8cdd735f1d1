package cache

import (
	"context"
	"fmt"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// TestWhatFindsNoMemoryIsToldDead opens large values with less memory than they
// take. Segments that were left out must not be live in the next generation:
// their places belong to others then.
func TestWhatFindsNoMemoryIsToldDead(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	for i := range 6 {
		for range 37 { // numbers that lie far apart meet in a smaller table
			mustSet(t, c, []byte("again"), testValue(i, 200<<10))
		}
		mustSet(t, c, fmt.Appendf(nil, "large-%d", i), testValue(i, 200<<10))
	}
	mustFlush(t, c)
	drop(c)
	o.MaxBytes = 2 << 20
	c = openOn(t, o)
	r := reopened(t, c)
	if left, all := c.Len(), r.Entries-r.Dropped; left != all {
		t.Errorf("%d entries are left of %d, %d are said to be lost", left, r.Entries, r.Dropped)
	}
	for i := range 6 {
		c.Get(fmt.Appendf(nil, "large-%d", i))
	}
	if now := reopened(t, c); now.Dropped != r.Dropped {
		t.Errorf("%d entries were lost after all was verified", now.Dropped-r.Dropped)
	}
	checkInvariants(t, c)
	mustSet(t, c, []byte("a"), []byte("1"))
	mustFlush(t, c)
	defer drop(c)
	if c.Stats().FullGenerations != 0 {
		t.Fatal("a full generation says nothing of what it leaves out")
	}
	res, err := loader.Load(context.Background(), loader.Options{FS: fs, Dir: worldDir})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	onFile, places := 0, make(map[uint32]bool)
	for _, seg := range res.Shards[0].Segments {
		if seg.Queue != pagefile.QueueLarge {
			continue
		}
		if onFile++; c.large.at(seg.Number).number.Load() != seg.Number {
			t.Errorf("segment %x is live on file alone", seg.Number)
		}
		places[seg.Place] = true
	}
	if onFile == 0 || len(places) != onFile {
		t.Errorf("%d large segments in %d places", onFile, len(places))
	}
}

// TestTheNewestComesBackIntoLessMemory: large values do not take the place of the
// small ones that are newer.
func TestTheNewestComesBackIntoLessMemory(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	for i := range 10 {
		mustSet(t, c, fmt.Appendf(nil, "large-%d", i), testValue(i, 150<<10))
	}
	for i := range 100 {
		mustSet(t, c, fmt.Appendf(nil, "small-%d", i), testValue(i, 2<<10))
	}
	mustFlush(t, c)
	drop(c)
	o.MaxBytes = 1 << 20
	c = openOn(t, o)
	defer drop(c)
	for i := 50; i < 100; i++ {
		wantValue(t, c, fmt.Appendf(nil, "small-%d", i), testValue(i, 2<<10))
	}
	if _, err := c.WaitVerified(context.Background()); err != nil {
		t.Fatal(err)
	}
	checkInvariants(t, c)
}
