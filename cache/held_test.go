package cache

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// Large values are overwritten while Flush writes the cut that has them, twice
// over: what Flush acknowledged is there, or what came after.
func TestWhatEndsDuringAFlushIsInIt(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.MaxBytes = 64 << 20
	c := openOn(t, o)
	mustFlush(t, c)
	const size = 1500 << 10
	for i := range 4 {
		mustSet(t, c, testKey(i), testValue(i, size))
	}
	rounds := 0
	remove := fs.Inject(func(op crashfs.Op) error {
		if op.Kind == crashfs.OpWrite && strings.Contains(op.Path, "/pages-") && op.Off >= pageSize && rounds < 3 {
			rounds++
			for i := range 4 {
				mustSet(t, c, testKey(i), testValue(i+10*rounds, size))
			}
		}
		return nil
	})
	mustFlush(t, c)
	remove()
	if rounds == 0 {
		t.Fatal("nothing was overwritten")
	}
	if n := c.Stats().LeftOut; n != 0 {
		t.Errorf("%d pages were left out", n)
	}
	n := fs.Ops()
	drop(c)
	for name, after := range map[string]*crashfs.FS{"a kill": fs.Kill(n), "a power cut": fs.Crash(n, crashfs.Cut{Fate: crashfs.FateLost})} {
		o.hooks.fs = after
		c = openOn(t, o)
		for i := range 4 {
			v, ok := c.Get(testKey(i))
			for r := range rounds + 1 {
				ok = ok && !bytes.Equal(v, testValue(i+10*r, size))
			}
			if len(v) == 0 || ok {
				t.Errorf("after %s: key %d has %d bytes that are none of its values", name, i, len(v))
			}
		}
		if r, _ := c.WaitVerified(t.Context()); r.Outcome != OutcomeWarm || r.Dropped != 0 {
			t.Errorf("after %s: %+v", name, r)
		}
		checkInvariants(t, c)
		drop(c)
	}
}

// While a cut is held everything of it can be copied as it was, whether it was
// overwritten, evicted or cleared since; afterwards every frame is free again.
func TestACutIsHeldUntilItIsReleased(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	large := testValue(1, 100<<10)
	mustSet(t, c, []byte("large"), large)
	for i := range 100 {
		mustSet(t, c, testKey(i), testValue(i, 300))
	}
	k, s := cutter{c}, c.shards[0]
	cut := k.Cut()
	tail := cut.Shards[0].State.Tails[smallQueue]
	var was [][]byte
	for seq := uint64(0); seq <= s.seqOf(tail-1); seq++ {
		was = append(was, bytes.Clone(s.frames.bytes(s.segmentAt(smallQueue, s.startOf(seq)).frame.Load())))
	}
	mustSet(t, c, []byte("large"), testValue(2, 100<<10))
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 { // other bytes in every frame that is free
		mustSet(t, c, testKey(i), testValue(-i, 3000))
	}
	for seq := range uint64(len(was)) {
		number, fill, ok := k.Segment(0, smallQueue, seq)
		if !ok || fill == 0 {
			t.Fatalf("segment %d of the cut is gone", seq)
		}
		n := int(min(tail-s.startOf(seq), s.unitMask+1)) * unitSize
		got := make([]byte, n)
		if !k.Copy(got, 0, dump.SegmentID{Queue: smallQueue, Seq: seq, Number: number}, 0) || !bytes.Equal(got, was[seq][:n]) {
			t.Errorf("segment %d of the cut cannot be copied as it was", seq)
		}
	}
	for _, l := range cut.Shards[0].Born {
		got := make([]byte, int(l.Fill)*unitSize)
		if !k.Copy(got, 0, dump.SegmentID{Queue: pagefile.QueueLarge, Seq: l.Number, Number: l.Number}, 0) || !bytes.Contains(large, got[:1024]) {
			t.Errorf("segment %x of a large value cannot be copied as it was", l.Number)
		}
	}
	k.Release(cut)
	if _, _, ok := k.Segment(0, smallQueue, 0); ok {
		t.Error("a segment is still held")
	}
	checkInvariants(t, c)
	drop(c)
}

// Who never releases a cut, as a disk that hangs, takes an eighth of the memory.
func TestHoldingIsBounded(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	c := openOn(t, o)
	k := cutter{c}
	var cuts []*dump.Cut
	for i := range 20 {
		mustSet(t, c, testKey(i), testValue(i, 1000))
	}
	for round := range 20 {
		cuts = append(cuts, k.Cut())
		for i := 100; i < 1100; i++ {
			mustSet(t, c, testKey(i), testValue(i+round, 1000))
		}
	}
	if got := len(c.held.segments); got > c.frames.count/8 || got == 0 {
		t.Errorf("%d of %d frames are held", got, c.frames.count)
	}
	if !c.held.pressed() {
		t.Error("who writes is not told to hurry")
	}
	for _, cut := range cuts {
		k.Release(cut)
	}
	if got := len(c.held.segments); got != 0 {
		t.Errorf("%d frames are held by nobody", got)
	}
	if c.held.pressed() {
		t.Error("who writes is told to hurry though nothing is held")
	}
	checkInvariants(t, c)
	drop(c)
}

// Who ends a segment takes its number away first and holds its frame next: who
// copies meanwhile waits for that, and leaves nothing out.
func TestCopyWaitsForWhatIsBeingHeld(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	k, s := cutter{c}, c.shards[0]
	mustSet(t, c, []byte("large"), testValue(1, 100<<10))
	cut := k.Cut()
	n := cut.Shards[0].Born[0].Number
	id := dump.SegmentID{Queue: pagefile.QueueLarge, Seq: n, Number: n}
	s.mu.Lock() // what retireLocked does, with a pause in it
	seg := s.large.at(n)
	h := heldSegment{number: n, present: seg.present.Load(), fill: seg.fill.Load()}
	h.frame = seg.frame.Load()
	seg.retire(n)
	s.used.Add(-1)
	copied := make(chan bool, 1)
	go func() { copied <- k.Copy(make([]byte, 16), 0, id, 0) }()
	for range 10000 {
		runtime.Gosched()
	}
	if !c.held.keep(heldKey{0, pagefile.QueueLarge, n}, h) {
		t.Fatal("the segment is not held")
	}
	s.mu.Unlock()
	if !<-copied {
		t.Error("a segment of the cut cannot be copied")
	}
	c.Delete([]byte("large"))
	k.Release(cut)
	checkInvariants(t, c)
	drop(c)
}

// Clear has moved the heads and not given the segments back yet: what a cut from
// before has is there.
func TestACutIsWholeWhileClearRuns(t *testing.T) {
	c := openOn(t, quietOptions(crashfs.New(), 1))
	for i := range 200 {
		mustSet(t, c, testKey(i), testValue(i, 300))
	}
	k, s := cutter{c}, c.shards[0]
	cut := k.Cut()
	check := func(when string) {
		t.Helper()
		tail := cut.Shards[0].State.Tails[smallQueue]
		for seq := uint64(0); s.startOf(seq) < tail; seq++ {
			number, _, ok := k.Segment(0, smallQueue, seq)
			var b [16]byte
			if !ok || !k.Copy(b[:], 0, dump.SegmentID{Queue: smallQueue, Seq: seq, Number: number}, 0) {
				t.Errorf("%s: segment %d of the cut is gone", when, seq)
			}
		}
	}
	check("before")
	heads, tails := s.passAll(underWay{slot: -1})
	check("while words are swept")
	s.sweepCleared(heads, tails)
	check("after")
	k.Release(cut)
	checkInvariants(t, c)
	drop(c)
}

// A disk hangs, and so holds a cut, while the cleaner moves on what has long been
// there: it keeps its frames, and nothing live is forgotten.
func TestHoldingLeavesTheCleanerItsFrames(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	o.MaxBytes = 32 << 20
	o.hooks.lazily = true
	c := openOn(t, o)
	const n = 450
	for i := range n { // a little under half
		mustSet(t, c, testKey(i), testValue(i, 32<<10))
	}
	k := cutter{c}
	cut := k.Cut()
	for i := range 4 * n {
		mustSet(t, c, []byte("again"), testValue(i, 32<<10))
	}
	if st := c.Stats(); st.Evictions != 0 || st.Rejected != 0 {
		t.Errorf("%d entries evicted and %d rejected while under half is live", st.Evictions, st.Rejected)
	}
	for i := range n {
		if !c.Has(testKey(i)) {
			t.Fatalf("key %d is forgotten", i)
		}
	}
	k.Release(cut)
	checkInvariants(t, c)
	drop(c)
}

// A large value that lost one of its segments gives back the others.
func TestWhatIsLeftOfALargeValueIsGivenBack(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	o.MaxBytes = 4 << 20
	c := openOn(t, o)
	mustSet(t, c, []byte("large"), testValue(1, 300<<10))
	s := c.shards[0]
	var seg *segment
	for i := range s.large.entries {
		if s.large.entries[i].number.Load() != 0 {
			seg = &s.large.entries[i]
		}
	}
	frame := seg.frame.Load()
	seg.retire(seg.number.Load())
	c.frames.give(frame)
	s.used.Add(-1)
	if _, ok := c.Get([]byte("large")); ok {
		t.Fatal("a value without one of its segments is found")
	}
	for i := range s.large.entries {
		if n := s.large.entries[i].number.Load(); n != 0 {
			t.Errorf("segment %x is still there", n)
		}
	}
	checkInvariants(t, c)
	drop(c)
}
