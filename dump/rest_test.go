package dump

import (
	"testing"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A counted source notes how much is copied between two questions whether to rest.
type countedSource struct {
	*fakeCache
	d           *Dumper
	asked       uint64
	bytes, most int
	total       int
}

func (c *countedSource) count(n int) {
	if c.asked != c.d.limit.asked {
		c.asked, c.bytes = c.d.limit.asked, 0
	}
	c.bytes += n
	c.total += n
	c.most = max(c.most, c.bytes)
}

func (c *countedSource) CopyIndex(shard, first int, dst []byte) error {
	c.count(len(dst))
	return c.fakeCache.CopyIndex(shard, first, dst)
}

func (c *countedSource) Copy(dst []byte, shard int, id SegmentID, off int) bool {
	c.count(len(dst))
	return c.fakeCache.Copy(dst, shard, id, off)
}

// TestWorkComesInPieces: however much a generation has to copy, whoever writes it
// asks after each piece whether it is time to rest.
func TestWorkComesInPieces(t *testing.T) {
	const piece = 64 << 10
	r := newRig(t, *firstSeed, nil)
	r.f.limit = 100
	for _, s := range r.f.shards {
		s.buckets = r.f.geo.MaxBuckets()
		s.slots = make([]fakeSlot, 8*s.buckets)
	}
	c := &countedSource{fakeCache: r.f}
	r.cfg.WeakBytes = 0
	r.cfg.Frames = 1000
	r.d = New(r.cfg, c, Start{Opens: 1})
	c.d = r.d
	r.f.churn(3000)
	r.flush()
	if c.total < 16*piece {
		t.Fatalf("%d bytes were copied: too few to tell", c.total)
	}
	if c.most > piece {
		t.Errorf("%d bytes were copied at a stretch, want %d at most", c.most, piece)
	}
	r.verify()
}

// TestRestsStayBounded: however much a step has to do, and however long a rest takes
// until the processor is free again.
func TestRestsStayBounded(t *testing.T) {
	for _, c := range []struct {
		name             string
		ease, work, rest time.Duration
		least, most      time.Duration
	}{
		{"an image of 45 MB", easeImage, 25 * time.Millisecond, time.Millisecond, 240 * time.Millisecond, 260 * time.Millisecond},
		{"an image of 3 GB", easeImage, 2 * time.Second, time.Millisecond, 500 * time.Millisecond, time.Second},
		{"where nobody else rests", easeImage, 2 * time.Second, 10 * time.Millisecond, 0, 2 * time.Second},
		{"pages of a second", easeOthers, 200 * time.Millisecond, time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond},
		{"few pages", easeOthers, time.Millisecond, time.Millisecond, 8 * time.Millisecond, 11 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rester{ease: c.ease}
			for done := time.Duration(0); done < c.work; r.spent += c.rest {
				done += r.stretch()
			}
			if r.spent < c.least || r.spent > c.most {
				t.Errorf("%v of work had %v of rest, want %v to %v", c.work, r.spent, c.least, c.most)
			}
		})
	}
}

func TestWhoWritesRests(t *testing.T) {
	quit := make(chan struct{})
	pressed := false
	l := limiter{quit: quit, pressed: func() bool { return pressed }}
	l.begin(easeOthers)
	l.resumed = time.Now().Add(time.Hour)
	l.rest()
	if l.spent != 0 {
		t.Errorf("it rested %v though it had done nothing", l.spent)
	}
	l.resumed = time.Now().Add(-time.Hour)
	l.wait(pagefile.PageSize)
	if l.spent < stretch || l.total() != l.spent {
		t.Errorf("after an hour of work it rested %v, and says %v", l.spent, l.total())
	}
	pressed = true
	l.begin(easeOthers)
	l.resumed = time.Now().Add(-time.Hour)
	if l.rest(); l.spent != 0 {
		t.Errorf("it rested %v while the cache was pressed", l.spent)
	}
	pressed = false
	close(quit)
	l.begin(easeOthers)
	l.resumed = time.Now().Add(-time.Hour)
	if l.rest(); l.spent != 0 {
		t.Errorf("the last generation rested %v", l.spent)
	}
}
