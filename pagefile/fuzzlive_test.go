package pagefile

import (
	"bytes"
	"encoding/binary"
	"math/rand"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/embercache/ember/internal/fuzzing"
)

// sampleLive is a log of two cuts with everything in it.
func sampleLive() *liveRig {
	rng := rand.New(rand.NewSource(1))
	r := newLiveRig(2, 0)
	for range 2 {
		for i := range 10 {
			r.item(i&1, rng)
			r.item(i&1, rng)
			r.commit(i&1, uint64(i%3))
		}
		r.l.Begin(r.seq, IntentBatch, pattern(40, 3), &r.slots)
		r.l.Begin(r.seq, IntentClear, nil, &r.slots)
		if r.seq&1 == 1 {
			r.cut()
			r.base()
		}
	}
	return r
}

// resealLive makes checksums and marks right again, of the cuts that seqs names.
func resealLive(b []byte, seqs ...uint64) {
	if len(b) < LiveHeader {
		return
	}
	binary.LittleEndian.PutUint64(b[40:], xxhash.Sum64(b[:40]))
	for i := range 2 {
		base := b[liveBases+i*liveBase:]
		binary.LittleEndian.PutUint64(base[24:], checksum(base[:24]))
	}
	v, err := ViewLive(b)
	if err != nil {
		return
	}
	for _, seq := range seqs {
		remark(b, brokenAt(seq), seq)
		for shard := range v.Shards {
			at := areaAt(shard, seq)
			remark(b, at, seq)
			remark(b, at+areaFirst, seq)
			remark(b, at+areaBroken, seq)
			resealExtents(v, seq, uint64(le32(b, int(at+areaFirst))))
		}
		for slot := range LiveSlots {
			resealIntent(v, seq, intentAt(slot))
		}
	}
}

func remark(b []byte, at int64, seq uint64) {
	binary.LittleEndian.PutUint64(b[at:], mark(at, seq, le32(b, int(at))))
}

func resealExtents(v *LiveView, seq, off uint64) {
	for range 20 {
		e := v.inHalf(seq, off, liveExtent)
		if e == nil {
			return
		}
		remark(v.b, int64(off)+extentUsed, seq)
		remark(v.b, int64(off)+extentNext, seq)
		groups := v.inHalf(seq, off+liveExtent, uint64(le32(e, extentUsed)))
		for len(groups) >= liveGroup {
			n := le64(groups, 0)
			if n < liveGroup || n > uint64(len(groups)) {
				break
			}
			binary.LittleEndian.PutUint64(groups[8:], xxhash.Sum64(groups[16:n]))
			groups = groups[n:]
		}
		off = uint64(le32(e, extentNext))
	}
}

func resealIntent(v *LiveView, seq uint64, at int64) {
	off := uint64(le32(v.b, int(at)))
	h := v.inHalf(seq, off, liveIntent)
	if h == nil {
		return
	}
	remark(v.b, at, seq)
	if b := v.inHalf(seq, off, liveIntent+uint64(le32(h, 8))); b != nil {
		binary.LittleEndian.PutUint64(b, xxhash.Sum64(b[8:]))
	}
}

// A liveCopy writes what it is told to another log.
type liveCopy struct {
	l   *Live
	w   *LiveWriter
	seq uint64
}

func (c *liveCopy) Store(slot uint32, entry []byte) { c.w.Store(slot, le64(entry, 4)) }
func (c *liveCopy) Record(q uint8, number, seq uint64, off uint32, b []byte) {
	c.w.Record(q, number, seq, int(off), b)
}
func (c *liveCopy) Seal(q uint8, number, seq uint64, fill uint32) { c.w.Seal(q, number, seq, fill) }
func (c *liveCopy) Died(number uint64)                            { c.w.Died(number) }
func (c *liveCopy) Born(number uint64, fill uint32, b []byte) {
	off, sum, ok := c.l.Keep(c.seq, b)
	if !ok {
		c.w.Break()
	}
	c.w.Born(number, fill, off, sum)
}
func (c *liveCopy) Group(s ShardState, tag uint64) {
	if p, v := c.w.Commit(&s, tag); p != nil {
		*p = v
	}
}

// copyOf writes what a log tells of a cut to another one.
func copyOf(t testing.TB, v *LiveView, seq uint64, b []byte) *LiveView {
	l := NewLive(b, v.Shards, v.Session, v.DirID)
	l.Reset(seq)
	for shard := range v.Shards {
		c := &liveCopy{l, l.Writer(shard), seq}
		if begun, err := v.Begun(shard, seq); err != nil || !begun {
			continue
		}
		c.w.Cut(seq)
		if err := v.Visit(shard, seq, c); err != nil || c.w.Broken() {
			t.Fatalf("what shard %d did after cut %d was told, and now: %v, broken %t", shard, seq, err, c.w.Broken())
		}
	}
	again, err := ViewLive(b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// liveTarget: patches of a live log. What is told of a cut is told by a log that was
// written as it says, and costs no more than the bytes that are there.
func liveTarget(tb testing.TB) *fuzzing.Target {
	r := sampleLive()
	file := bytes.Clone(r.b)
	room := make([]byte, LiveSize(r.view(tb).Shards, 1<<20))
	buf := make([]byte, 0, len(file))
	seqs := []uint64{r.seq - 1, r.seq}
	check := func(t testing.TB, script []byte, mode byte) (taken bool) {
		buf = fuzzing.Patch(buf[:0], file, script, nil)
		if mode == sealed {
			resealLive(buf, seqs...)
		}
		v, err := ViewLive(buf)
		if err != nil {
			return refused(t, err)
		}
		if v.Session != LiveSession(buf) || len(v.Bases()) > 2 {
			t.Fatalf("session %x, bases %v", v.Session, v.Bases())
		}
		for _, seq := range seqs {
			taken = checkLive(t, v, seq, room) || taken
		}
		return taken
	}
	var list [][]byte
	for _, at := range []int64{0, liveBases, liveBroken, liveIntents, liveAreas, r.l.first, r.l.first + 512, r.l.first + r.l.half, r.l.first + r.l.half + 512} {
		list = append(list, fuzzing.Same(file, int(at), 256))
	}
	list = append(list, fuzzing.Short(LiveHeader), fuzzing.Short(len(file)-1))
	return &fuzzing.Target{Name: "FuzzLive", Seeds: fuzzing.Inputs(sealings, list...), Modes: sealings, Most: 1 << 10,
		Memory: func(int) int64 { return 4 << 20 }, Check: check}
}

func checkLive(t testing.TB, v *LiveView, seq uint64, room []byte) (taken bool) {
	told, err := tale(v, seq)
	if err != nil {
		return refused(t, err)
	}
	if len(told) > 8*len(v.b) {
		t.Fatalf("%d bytes tell %d", len(v.b), len(told))
	}
	intents, _ := v.Intents(seq)
	again, err := tale(copyOf(t, v, seq, room), seq)
	if err != nil || !bytes.HasPrefix(told, again) || len(intents) == 0 && len(told) != len(again) {
		t.Fatalf("cut %d: %v, %d bytes are told, and of a copy %d", seq, err, len(told), len(again))
	}
	return true
}

// hostileLives are changes of a log, and what is said of it.
var hostileLives = []struct {
	name, says string
	change     func(r *liveRig, b []byte)
}{
	{"a size of 2^63", "no header", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<63) }},
	{"another size", "bytes", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint64(b[32:], uint64(len(b))+64) }},
	{"no shards", "0 shards", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[24:], 0) }},
	{"2^31 shards", "shards", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[24:], 1<<31) }},
	{"more shards than there is room for", "bytes for 256 shards", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[24:], 256) }},
	{"another version", "no header", func(_ *liveRig, b []byte) { b[4]++ }},
	{"a reserved byte", "no header", func(_ *liveRig, b []byte) { b[30] = 1 }},
	{"an extent in the header", "an extent at", func(r *liveRig, b []byte) { r.first(b, 0, 512) }},
	{"an extent in the other half", "an extent at", func(r *liveRig, b []byte) { r.first(b, 0, uint32(r.l.first+(1-int64(r.seq&1))*r.l.half)) }},
	{"an extent at an odd place", "an extent at", func(r *liveRig, b []byte) { r.first(b, 0, uint32(r.extent(b, 0))+4) }},
	{"an extent at the end", "an extent at", func(r *liveRig, b []byte) { r.first(b, 0, uint32(r.l.first+2*r.l.half)) }},
	{"an extent of another shard", "extent at", func(r *liveRig, b []byte) { r.first(b, 0, uint32(r.extent(b, 1))) }},
	{"an extent of 4 GiB", "extent at", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[r.extent(b, 0):], 1<<32-1) }},
	{"an extent of nothing", "extent at", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[r.extent(b, 0):], 0) }},
	{"an extent that leads to itself", "an extent at", func(r *liveRig, b []byte) {
		at := r.extent(b, 0)
		binary.LittleEndian.PutUint32(b[at+extentNext:], uint32(at))
	}},
	{"an extent that leads into itself", "an extent at", func(r *liveRig, b []byte) {
		at := r.extent(b, 0)
		binary.LittleEndian.PutUint32(b[at+extentNext:], uint32(at)+64)
	}},
	{"an extent of another cut", "extent at", func(r *liveRig, b []byte) { b[r.extent(b, 0)+extentSeq]++ }},
	{"more used than there is", "used", func(r *liveRig, b []byte) {
		at := r.extent(b, 0)
		binary.LittleEndian.PutUint32(b[at+extentUsed:], le32(b, int(at))-liveExtent+8)
	}},
	{"a group of 4 GiB", "a group", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[r.group(b):], 1<<32-8) }},
	{"a group of 2^63", "a group", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint64(b[r.group(b):], 1<<63) }},
	{"a group of nothing", "a group", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint64(b[r.group(b):], 0) }},
	{"a group of an odd length", "a group", func(r *liveRig, b []byte) { b[r.group(b)] -= 4 }},
	{"an item beyond its group", "item 5", func(r *liveRig, b []byte) { b[r.group(b)] -= 8 }},
	{"a head beyond its tail", "shard state", func(r *liveRig, b []byte) { b[r.group(b)+24+7] = 0xff }},
	{"an item of no kind", "item 200", func(r *liveRig, b []byte) { b[r.item0(b)] = 200 }},
	{"an item of queue 2", "queue 2", func(r *liveRig, b []byte) { b[r.item0(b)+1] = 2 }},
	{"an item with a reserved byte", "item 2", func(r *liveRig, b []byte) { b[r.item0(b)+2] = 1 }},
	{"a store of queue 1", "item 1 of queue 1", func(r *liveRig, b []byte) { b[r.store0(b)+1] = 1 }},
	{"a record with a reserved byte", "a record of", func(r *liveRig, b []byte) { b[r.item0(b)+28] = 1 }},
	{"an end with a reserved byte", "that died has 1", func(r *liveRig, b []byte) { b[r.store0(b)+liveStoreSize+4] = 1 }},
	{"a record of 4 GiB", "a record of", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[r.item0(b)+4:], 1<<32-16) }},
	{"a record of a byte less", "a record of", func(r *liveRig, b []byte) { b[r.item0(b)+4]-- }},
	{"a segment of 2^32 units", "units", func(r *liveRig, b []byte) { r.born(b, 1<<32-1, 0) }},
	{"a segment beyond the end", "bytes of segment", func(r *liveRig, b []byte) { r.born(b, 16, uint64(len(b)-64)) }},
	{"a segment at 2^64 - 8", "bytes of segment", func(r *liveRig, b []byte) { r.born(b, 16, 1<<64-8) }},
	{"an intent in the header", "slot 5", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[intentAt(5):], 64) }},
	{"an intent beyond the end", "slot 5", func(_ *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[intentAt(5):], 1<<32-8) }},
	{"an intent of 4 GiB", "under way at", func(r *liveRig, b []byte) { binary.LittleEndian.PutUint32(b[r.intent(b)+8:], 1<<32-1) }},
	{"an intent of no kind", "under way at", func(r *liveRig, b []byte) { b[r.intent(b)+12] = 3 }},
	{"an intent of another cut", "under way at", func(r *liveRig, b []byte) { b[r.intent(b)+16]++ }},
}

// TestHostileLiveLogs: whatever a log says, with every checksum right, it is refused or
// costs what its bytes cost.
func TestHostileLiveLogs(t *testing.T) {
	for _, c := range hostileLives {
		t.Run(c.name, func(t *testing.T) {
			r := hostileRig()
			b := bytes.Clone(r.b)
			resealLive(b, r.seq)
			if v, err := ViewLive(b); err != nil {
				t.Fatal(err)
			} else if _, err := tale(v, r.seq); err != nil {
				t.Fatalf("as it was: %v", err)
			}
			c.change(r, b)
			resealLive(b, r.seq)
			v, err := ViewLive(b)
			if err == nil {
				_, err = tale(v, r.seq)
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want an error with %q", err, c.says)
			}
		})
	}
}

// hostileRig has a group of each of two shards: a record, a segment that was born, a
// store, a segment that died; and an intent.
func hostileRig() *liveRig {
	r := newLiveRig(2, 0)
	for shard, w := range r.writers {
		w.Record(0, 7, 9, 0, pattern(64, 1))
		off, sum, _ := r.l.Keep(r.seq, pattern(256, 2))
		w.Born(8, 16, off, sum)
		w.Store(1, 2)
		w.Died(3)
		r.commit(shard, 0)
	}
	r.l.Begin(r.seq, IntentBatch, pattern(40, 3), &r.slots)
	return r
}

func (r *liveRig) first(b []byte, shard int, off uint32) {
	binary.LittleEndian.PutUint32(b[areaAt(shard, r.seq)+areaFirst:], off)
}

func (r *liveRig) extent(b []byte, shard int) int64 {
	return int64(le32(b, int(areaAt(shard, r.seq)+areaFirst)))
}
func (r *liveRig) group(b []byte) int64  { return r.extent(b, 0) + liveExtent }
func (r *liveRig) item0(b []byte) int64  { return r.group(b) + liveGroup }
func (r *liveRig) born0(b []byte) int64  { return r.item0(b) + liveRecordSize + 64 }
func (r *liveRig) store0(b []byte) int64 { return r.born0(b) + liveBornSize }
func (r *liveRig) intent(b []byte) int64 { return int64(le32(b, int(intentAt(0)))) }

// born changes the segment that was born, and says what its bytes are, if they are.
func (r *liveRig) born(b []byte, fill uint32, off uint64) {
	at := r.born0(b)
	binary.LittleEndian.PutUint32(b[at+4:], fill)
	binary.LittleEndian.PutUint64(b[at+16:], off)
}

// TestNestedExtentsAreRefused: an extent in a record of another, and so on down, would
// be read as often as it is deep. All checksums are right.
func TestNestedExtentsAreRefused(t *testing.T) {
	for _, c := range []struct {
		depth int
		says  string
	}{{2, "overlap"}, {1000, "an extent at"}} {
		r := newLiveRig(2, 1<<20)
		places := make([]int64, c.depth)
		for i := range places {
			places[i] = r.l.first + int64(r.seq&1)*r.l.half + int64(i)*(liveExtent+liveGroup+liveRecordSize)
		}
		for i := c.depth - 1; i >= 0; i-- {
			r.nest(places, i)
		}
		for shard := range 2 {
			r.first(r.b, shard, uint32(places[shard]))
			remark(r.b, areaAt(shard, r.seq)+areaFirst, r.seq)
		}
		v, before := r.view(t), fuzzing.Allocated()
		if _, err := tale(v, r.seq); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d deep: got %v", c.depth, err)
		}
		if used := fuzzing.Allocated() - before; used > 1<<20 {
			t.Errorf("%d deep: %d bytes allocated", c.depth, used)
		}
	}
}

// nest writes extent i, with one group of one record that has all up to the end of the
// half. Shards take turns.
func (r *liveRig) nest(places []int64, i int) {
	at, next := places[i], uint32(0)
	if i+2 < len(places) {
		next = uint32(places[i+2])
	}
	size := r.l.first + int64(1+r.seq&1)*r.l.half - at
	used := (size-liveExtent-8)&^15 + 8
	h := append32(r.b[at:at], uint32(size), uint32(i&1))
	appendWords(h, mark(at+extentUsed, r.seq, uint32(used)), mark(at+extentNext, r.seq, next), r.seq)
	g := r.b[at+liveExtent:][:used]
	binary.LittleEndian.PutUint64(g, uint64(used))
	state := sampleState(0)
	state.put(g[24:])
	item := append32(g[liveGroup:liveGroup], liveRecord, uint32(used-liveGroup-liveRecordSize)&^15)
	appendWords(item, 7, 9, 0)
	binary.LittleEndian.PutUint64(g[8:], xxhash.Sum64(g[16:]))
}

// TestBornSegmentIsASegment: no longer than the longest, though its bytes are there.
func TestBornSegmentIsASegment(t *testing.T) {
	for n, fits := range map[int]bool{MaxSegmentSize: true, MaxSegmentSize + UnitSize: false} {
		r := newLiveRig(1, 4<<20)
		off, sum, _ := r.l.Keep(r.seq, pattern(n, 2))
		r.writers[0].Born(7, uint32(n/UnitSize), off, sum)
		r.commit(0, 0)
		if _, err := tale(r.view(t), r.seq); (err == nil) != fits {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestLiveNumbersAreProved: each number that leads to something, or counts it, replaced
// by another that could stand there. What follows would be missing, or of another.
func TestLiveNumbersAreProved(t *testing.T) {
	r := newLiveRig(2, 32<<10)
	for i := range 40 {
		shard := i & 1
		r.writers[shard].Record(0, 7, 9, 0, pattern(512, byte(i)))
		r.commit(shard, 0)
	}
	first := r.extent(r.b, 0)
	next := int64(le32(r.b, int(first+extentNext)))
	if next == 0 || int64(le32(r.b, int(next+extentUsed))) == 0 {
		t.Fatal("one extent holds it all")
	}
	area := areaAt(0, r.seq)
	for _, c := range []struct {
		name string
		at   int64
		v    uint32
	}{
		{"no extents", area + areaFirst, 0},
		{"the second extent first", area + areaFirst, uint32(next)},
		{"another shard's extents", area + areaFirst, uint32(r.extent(r.b, 1))},
		{"no extent after the first", first + extentNext, 0},
		{"nothing in an extent", first + extentUsed, 0},
		{"one group less", next + extentUsed, le32(r.b, int(next+extentUsed)) - liveGroup - liveRecordSize - 512},
		{"not begun", area, uint32(r.seq - 2)},
		{"a shard that gave up", area + areaBroken, 1},
		{"a half that is not whole", brokenAt(r.seq), 1},
	} {
		b := bytes.Clone(r.b)
		binary.LittleEndian.PutUint32(b[c.at:], c.v)
		v, err := ViewLive(b)
		if err == nil {
			_, err = tale(v, r.seq)
		}
		if err == nil {
			t.Errorf("%s: it is told", c.name)
		}
	}
}

// TestBornBytesAreReadOnce: a log that says that the same bytes were born again and
// again is refused when they are more than a half has.
func TestBornBytesAreReadOnce(t *testing.T) {
	r := newLiveRig(1, 1<<20)
	off, sum, _ := r.l.Keep(r.seq, pattern(128<<10, 2))
	for i := range 8 {
		r.writers[0].Born(uint64(8+i), 128<<10/UnitSize, off, sum)
	}
	r.commit(0, 0)
	if _, err := tale(r.view(t), r.seq); err == nil || !strings.Contains(err.Error(), "units") {
		t.Errorf("got %v", err)
	}
}
