package dump

import (
	"slices"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// Once Close ran out of time the cache has given its memory back: a link that was
// collected since would say that everything is gone.
func TestNoLinkAfterCloseRanOutOfTime(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	r.f.churn(100)
	links := r.d.chain.links
	r.d.abandoned.Store(true)
	if err := r.d.Weak(); err == nil {
		t.Error("Weak succeeded")
	}
	if got := r.d.chain.links; got != links {
		t.Errorf("got %d links more", got-links)
	}
}

// A place that two segments claim stays with one; the other has a place again
// after the next generation, with all of its pages.
func TestPlaceClaimedTwice(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(400)
	r.flush()
	fsys := r.fs.Clone()
	got := r.recover(fsys, true)
	start := got.start()
	second := slices.Collect(start.Shards[1].Segments)[0].Segment
	if second.Place == pagefile.NoPlace {
		t.Fatal("nothing is home")
	}
	stray := pagefile.Segment{Number: 1 << 20, Seq: 1 << 20, Queue: pagefile.QueueLarge, Place: second.Place, Fill: 1}
	first := append(slices.Collect(start.Shards[0].Segments), StartSegment{Segment: stray, ImageEntry: -1})
	start.Shards[0].Segments = slices.Values(first)
	r.f.revive(got)
	r.fs, r.cfg.FS = fsys, fsys
	r.d = New(r.cfg, r.f, start)
	if err := r.d.prepare(); err != nil {
		t.Fatal(err)
	}
	owners := map[uint32]uint64{}
	for number, place := range placesOf(r.d) {
		if owner, taken := owners[place]; taken {
			t.Errorf("place %d is that of segments %x and %x", place, owner, number)
		}
		owners[place] = number
	}
	r.f.churn(1)
	r.d.pending.shards[0].died = append(r.d.pending.shards[0].died, stray.Number)
	r.flush()
	r.verify()
	r.d.needFull = true
	r.flush()
	r.verify()
}

// A light generation after an image that failed has the journals from before it.
func TestLightAfterAFailedImage(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(100)
	r.flush()
	r.f.churn(100)
	r.d.needFull = true
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: "image-", Err: syscall.EIO})
	r.flushFails()
	remove()
	r.d.needFull = false
	r.f.churn(10)
	r.flush()
	if r.d.Stats().Full != 1 {
		t.Fatal("the generation after it is full too")
	}
	r.verify()
}
