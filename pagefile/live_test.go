package pagefile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
)

// A liveRig is a live log, its writers, and what they were told.
type liveRig struct {
	b       []byte
	l       *Live
	writers []*LiveWriter
	slots   atomic.Uint64
	seq     uint64
	told    map[uint64][]*liveTale // by seq and shard
	numbers uint64                 // of segments
}

const liveSession, liveDirID = 0x5e55, 0xd1d

func newLiveRig(shards int, size int64) *liveRig {
	r := &liveRig{b: make([]byte, LiveSize(shards, size)), told: make(map[uint64][]*liveTale), seq: 6}
	for i := range r.b {
		r.b[i] = byte(i * 7) // what was there does not matter
	}
	r.l = NewLive(r.b, shards, liveSession, liveDirID)
	for i := range shards {
		r.writers = append(r.writers, r.l.Writer(i))
	}
	r.cut()
	r.base()
	return r
}

// cut has all shards go on from the next cut.
func (r *liveRig) cut() { r.cutTo(r.seq + 1) }

func (r *liveRig) cutTo(seq uint64) {
	r.seq = seq
	r.l.Reset(r.seq)
	r.told[r.seq] = make([]*liveTale, len(r.writers))
	for i, w := range r.writers {
		w.Cut(r.seq)
		r.told[r.seq][i] = &liveTale{}
	}
}

func (r *liveRig) base() { r.l.SetBase(r.seq, WeakPos{Hash: 0xabc0 + r.seq, Number: 100 + r.seq}) }

// commit ends a group, and makes the store that counts it in.
func (r *liveRig) commit(shard int, tag uint64) {
	s := sampleState(shard)
	p, v := r.writers[shard].Commit(&s, tag)
	if p != nil {
		atomic.StoreUint64(p, v)
	}
	if !r.writers[shard].Broken() {
		r.told[r.seq][shard].Group(s, tag)
	}
}

// item adds one of every kind in turn, and says so to the tale.
func (r *liveRig) item(shard int, rng *rand.Rand) {
	w, tale := r.writers[shard], r.told[r.seq][shard]
	r.numbers++
	q, number, n := uint8(rng.Intn(2)), 1<<32|r.numbers, UnitSize*rng.Intn(30)
	switch kind := rng.Intn(6); kind {
	case 0, 1:
		b := pattern(n, byte(number))
		w.Record(q, number, number*3, n, b)
		tale.Record(q, number, number*3, uint32(n), b)
	case 2:
		w.Seal(q, number, number*5, uint32(n))
		tale.Seal(q, number, number*5, uint32(n))
	case 3:
		b := pattern(UnitSize+n, byte(number))
		if off, sum, ok := r.l.Keep(r.seq, b); ok {
			w.Born(number, uint32(len(b)/UnitSize), off, sum)
			tale.Born(number, uint32(len(b)/UnitSize), b)
		}
	case 4:
		w.Died(number)
		tale.Died(number)
	default:
		entry := appendWords(append32(nil, uint32(number)), number<<20)
		w.Store(uint32(number), number<<20)
		tale.Store(uint32(number), entry)
	}
}

// view is what a process that is killed now leaves.
func (r *liveRig) view(t testing.TB) *LiveView {
	t.Helper()
	v, err := ViewLive(bytes.Clone(r.b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A liveTale is what a shard did: a LiveVisitor that writes it down. It ends with the
// last group.
type liveTale struct {
	text, group []byte // whole groups, and the one that is told
}

func (s *liveTale) add(what string, b []byte, words ...uint64) {
	s.group = append(appendWords(append(s.group, what...), words...), b...)
}

func (s *liveTale) Store(slot uint32, entry []byte) { s.add("store", entry, uint64(slot)) }
func (s *liveTale) Record(q uint8, number, seq uint64, off uint32, b []byte) {
	s.add("record", b, uint64(q), number, seq, uint64(off), uint64(len(b)))
}
func (s *liveTale) Seal(q uint8, number, seq uint64, fill uint32) {
	s.add("seal", nil, uint64(q), number, seq, uint64(fill))
}
func (s *liveTale) Born(number uint64, fill uint32, b []byte) {
	s.add("born", b, number, uint64(fill), uint64(len(b)))
}
func (s *liveTale) Died(number uint64) { s.add("died", nil, number) }
func (s *liveTale) Group(state ShardState, tag uint64) {
	s.add("group", state.append(nil), tag)
	s.text, s.group = append(s.text, s.group...), s.group[:0]
}

// tale reads all that a log says of a cut.
func tale(v *LiveView, seq uint64) (all []byte, err error) {
	if err := v.Whole(seq); err != nil {
		return nil, err
	}
	for shard := range v.Shards {
		begun, err := v.Begun(shard, seq)
		if err != nil {
			return nil, err
		}
		s := liveTale{text: all}
		if begun {
			s.text = append(s.text, "shard "...)
		}
		if err := v.Visit(shard, seq, &s); err != nil {
			return nil, err
		}
		all = s.text
	}
	intents, err := v.Intents(seq)
	for _, in := range intents {
		all = append(appendWords(append(all, "intent"...), uint64(in.ID), uint64(in.Kind)), in.Payload...)
	}
	return all, err
}

// want is the tale of what was committed.
func (r *liveRig) want(seq uint64) (all []byte) {
	for _, s := range r.told[seq] {
		all = append(append(all, "shard "...), s.text...)
	}
	return all
}

func wantTale(t *testing.T, v *LiveView, seq uint64, want []byte) {
	t.Helper()
	if got, err := tale(v, seq); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("cut %d: %v, got %d bytes, want %d:\n%.900q\n---\n%.900q", seq, err, len(got), len(want), got, want)
	}
}

// TestLiveLogIsReadAsItWasWritten: groups of every kind of item, in extents that grow,
// over several cuts; and nothing of a cut before the last two.
func TestLiveLogIsReadAsItWasWritten(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	r := newLiveRig(3, 1<<20)
	for range 5 {
		for range 150 {
			shard := rng.Intn(3)
			for range rng.Intn(4) {
				r.item(shard, rng)
			}
			r.commit(shard, rng.Uint64())
		}
		v := r.view(t)
		wantTale(t, v, r.seq, r.want(r.seq))
		if r.told[r.seq-1] != nil {
			wantTale(t, v, r.seq-1, r.want(r.seq-1))
		}
		if begun, _ := v.Begun(0, r.seq-2); begun || v.Whole(r.seq-2) == nil {
			t.Errorf("the half of cut %d, which was written over: begun %t, %v", r.seq-2, begun, v.Whole(r.seq-2))
		}
		r.cut()
		r.base()
	}
}

// TestLiveSeqsMaySkip: a half that was last of another cut than two before is as any
// other, while some shards have come there and others have not.
func TestLiveSeqsMaySkip(t *testing.T) {
	r := newLiveRig(2, 0)
	r.commit(0, 0)
	for _, seq := range []uint64{8, 14, 17, 22, 24, 25} {
		r.seq = seq
		r.l.Reset(seq)
		v := r.view(t)
		for shard := range 2 {
			if begun, err := v.Begun(shard, seq); begun || err != nil || v.Whole(seq) != nil {
				t.Errorf("cut %d, before shard %d came: begun %t, %v, %v", seq, shard, begun, err, v.Whole(seq))
			}
		}
		r.cutTo(seq)
		r.commit(1, 0)
		wantTale(t, r.view(t), seq, r.want(seq))
	}
}

// TestLiveRecordLongerThanAnExtent has an extent of its own, and so has what waited in
// the same group.
func TestLiveRecordLongerThanAnExtent(t *testing.T) {
	r := newLiveRig(2, 1<<20)
	for i, n := range []int{UnitSize, 100 << 10, 0, 64 << 10} {
		w, s := r.writers[1], r.told[r.seq][1]
		b := pattern(n, byte(i))
		for _, number := range []uint64{7, 8} {
			w.Record(1, number, 9, 0, b[:n])
			s.Record(1, number, 9, 0, b[:n])
		}
		r.commit(1, 0)
	}
	wantTale(t, r.view(t), r.seq, r.want(r.seq))
	if w := r.writers[1]; w.end-w.extent <= r.l.extent {
		t.Errorf("an extent of %d bytes, and a common one has %d", w.end-w.extent, r.l.extent)
	}
}

// TestLiveGroupIsThereOrNot: until the store that counts it in is made, a log tells
// what it told before; then the whole group. A group that is moved to another extent,
// while it is written, is no other case. // I9
func TestLiveGroupIsThereOrNot(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	r := newLiveRig(1, 64<<10)
	before, extents := r.want(r.seq), 0
	for range 80 {
		for range 1 + rng.Intn(3) {
			r.item(0, rng)
		}
		wantTale(t, r.view(t), r.seq, before)
		s := sampleState(0)
		fresh := r.writers[0].fresh
		p, v := r.writers[0].Commit(&s, 0)
		if r.writers[0].Broken() {
			break
		}
		if fresh {
			extents++
		}
		wantTale(t, r.view(t), r.seq, before)
		atomic.StoreUint64(p, v)
		r.told[r.seq][0].Group(s, 0)
		before = r.want(r.seq)
		wantTale(t, r.view(t), r.seq, before)
	}
	if extents < 2 {
		t.Errorf("%d extents", extents)
	}
}

// TestFullHalfSaysSoOnce: the store that says that a shard is broken is made once,
// nothing is written after it, the half does not apply, and the next does.
func TestFullHalfSaysSoOnce(t *testing.T) {
	r := newLiveRig(2, 0)
	stores := 0
	for i := range 500 {
		w := r.writers[0]
		w.Record(0, 3, 4, 0, pattern(512, byte(i)))
		was := w.Broken()
		s := sampleState(0)
		p, v := w.Commit(&s, 0)
		if p == nil {
			continue
		}
		atomic.StoreUint64(p, v)
		if was || w.Broken() {
			stores++
		}
	}
	full := bytes.Clone(r.b)
	r.writers[0].Store(1, 2)
	r.commit(0, 0)
	if stores != 1 || !bytes.Equal(r.b, full) || !r.writers[0].Broken() {
		t.Errorf("%d stores say that it is broken; changed after that: %t", stores, !bytes.Equal(r.b, full))
	}
	if _, err := tale(r.view(t), r.seq); err == nil {
		t.Error("a half that is not whole is told")
	}
	r.cut()
	r.commit(0, 0)
	r.commit(1, 0)
	wantTale(t, r.view(t), r.seq, r.want(r.seq))
}

// TestBothHalvesMayBeBroken: that the second is does not make the first one whole. The
// disk hangs, so that no link ends the first.
func TestBothHalvesMayBeBroken(t *testing.T) {
	r := newLiveRig(1, 0)
	first := r.seq
	r.commit(0, 0)
	if r.l.Broken(first) || r.view(t).Whole(first) != nil {
		t.Fatal("broken from the beginning")
	}
	r.l.Break(first)
	r.cut()
	r.commit(0, 0)
	wantTale(t, r.view(t), r.seq, r.want(r.seq))
	r.l.Break(r.seq)
	v := r.view(t)
	for seq := first; seq <= r.seq; seq++ {
		if !r.l.Broken(seq) || v.Whole(seq) == nil {
			t.Errorf("cut %d: broken %t, whole: %v", seq, r.l.Broken(seq), v.Whole(seq))
		}
	}
}

// TestLiveBytesAreGivenOnce: who finds no room takes none, not for a moment. Else, of
// those who come meanwhile, one gets room behind what another is about to give back,
// and then somebody gets it again.
func TestLiveBytesAreGivenOnce(t *testing.T) {
	l := NewLive(make([]byte, LiveSize(1, 0)), 1, 1, 1)
	l.Reset(0)
	var done atomic.Bool
	go func() {
		defer done.Store(true)
		for range 2000000 {
			l.alloc(0, l.half+1)
		}
	}()
	for !done.Load() {
		if have := l.next[0].Load(); have != 0 {
			t.Fatalf("%d bytes are taken, want none", have)
		}
		runtime.Gosched()
	}
	for want := l.first; want < l.first+l.half; want += 64 {
		if off, ok := l.alloc(0, 1); !ok || off != want {
			t.Fatalf("given %d, %t, want %d", off, ok, want)
		}
	}
	if off, ok := l.alloc(0, 1); ok {
		t.Errorf("beyond the end: %d", off)
	}
}

// TestLiveIntents: what was begun and is not done is there, with its bytes, in its
// half alone; one more than there are slots for breaks the half.
func TestLiveIntents(t *testing.T) {
	r := newLiveRig(1, 1<<20)
	first, _ := r.l.Begin(r.seq, IntentBatch, pattern(100, 1), &r.slots)
	slot, id := r.l.Begin(r.seq, IntentClear, nil, &r.slots)
	_, batch := r.l.Begin(r.seq, IntentBatch, pattern(1000, 2), &r.slots)
	r.l.Done(first, &r.slots)
	r.commit(0, LiveTag(id, 3))
	want := []LiveIntent{{id, IntentClear, []byte{}}, {batch, IntentBatch, pattern(1000, 2)}}
	got, err := r.view(t).Intents(r.seq)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err := r.view(t).Intents(r.seq - 1); err != nil || len(got) != 0 {
		t.Errorf("the half before: %v, %v", got, err)
	}
	r.l.Done(slot, &r.slots)
	for n := 1; ; n++ {
		if slot, _ := r.l.Begin(r.seq, IntentClear, nil, &r.slots); slot < 0 {
			if n != LiveSlots || !r.l.Broken(r.seq) {
				t.Errorf("%d are under way, broken: %t", n, r.l.Broken(r.seq))
			}
			break
		}
	}
	r.l.Done(-1, &r.slots) // of what found no room
	if have := r.slots.Load(); have != 1<<64-1 {
		t.Errorf("slots taken: %x", have)
	}
}

// TestLiveIntentThatDoesNotFit breaks the half, and takes no slot.
func TestLiveIntentThatDoesNotFit(t *testing.T) {
	r := newLiveRig(1, 0)
	if slot, _ := r.l.Begin(r.seq, IntentBatch, make([]byte, r.l.half), &r.slots); slot >= 0 || !r.l.Broken(r.seq) || r.slots.Load() != 0 {
		t.Errorf("slot %d, broken %t, slots %x", slot, r.l.Broken(r.seq), r.slots.Load())
	}
}

// TestLiveBases: the newest first; one that is half written leaves the other; End
// takes both.
func TestLiveBases(t *testing.T) {
	r := newLiveRig(1, 0)
	r.cut()
	r.base()
	newer, older := LiveBase{r.seq, 0xabc0 + r.seq, 100 + r.seq}, LiveBase{r.seq - 1, 0xabc0 + r.seq - 1, 99 + r.seq}
	if got := r.view(t).Bases(); !slices.Equal(got, []LiveBase{newer, older}) {
		t.Errorf("got %v", got)
	}
	swapped := bytes.Clone(r.b)
	copy(swapped[liveBases+(r.seq&1)*liveBase:][:liveBase], r.b[liveBases+(1-r.seq&1)*liveBase:])
	if v, err := ViewLive(swapped); err != nil || !slices.Equal(v.Bases(), []LiveBase{older}) {
		t.Errorf("with the older one in both places: %v, %v", v.Bases(), err)
	}
	r.b[liveBases+(r.seq&1)*liveBase+3] ^= 1
	if got := r.view(t).Bases(); !slices.Equal(got, []LiveBase{older}) {
		t.Errorf("with the newer one torn: %v", got)
	}
	r.l.End()
	if len(r.view(t).Bases()) != 0 {
		t.Error("after its end something leads to it")
	}
}

// TestNewLiveLogTellsNothing: whatever memory it is made of, another log's too, and at
// whatever byte its making ends.
func TestNewLiveLogTellsNothing(t *testing.T) {
	old := newLiveRig(1, 0)
	old.commit(0, 0)
	old.l.Begin(old.seq, IntentBatch, nil, &old.slots)
	b := bytes.Clone(old.b)
	NewLive(b, 1, 77, 78)
	v, err := ViewLive(b)
	if err != nil {
		t.Fatal(err)
	}
	if v.Session != 77 || v.DirID != 78 || len(v.Bases()) != 0 {
		t.Errorf("session %d of directory %d, bases %v", v.Session, v.DirID, v.Bases())
	}
	for seq := uint64(0); seq < 10; seq++ {
		if begun, _ := v.Begun(0, seq); begun || v.Whole(seq) == nil {
			t.Errorf("cut %d: begun %t, %v", seq, begun, v.Whole(seq))
		}
	}
}

// TestLiveSizes: a log has room for an extent of each shard in each half, and numbers
// of 32 bits lead anywhere in it.
func TestLiveSizes(t *testing.T) {
	for _, shards := range []int{1, 2, 3, 64, MaxShards} {
		for _, size := range []int64{-1, 0, 4096, 1 << 20, 64<<20 + 1, 1 << 40} {
			n := LiveSize(shards, size)
			if n%(2*PageSize) != 0 || n > mostLive || n < min(size, mostLive) {
				t.Errorf("%d shards, %d bytes: a log of %d", shards, size, n)
			}
			if half := (n - liveStart(shards)) / 2 &^ 63; half < int64(shards)*leastExtent {
				t.Errorf("%d shards: halves of %d bytes", shards, half)
			}
		}
	}
}

// flipped changes every byte of a log in turn, but most of those where nobody wrote,
// and says how many changes were refused. What is told is told as it was.
func (r *liveRig) flipped(t *testing.T, seqs ...uint64) (refused int) {
	want := make(map[uint64][]byte)
	for _, seq := range seqs {
		want[seq], _ = tale(r.view(t), seq)
	}
	b := bytes.Clone(r.b)
	for i := range b {
		k := int64(i) - r.l.first
		unused := i >= 64 && i < liveBases || i >= liveIntents+8*LiveSlots && i < liveAreas ||
			k >= 0 && k%r.l.half >= r.l.next[k/r.l.half&1].Load()
		if unused && i%64 != 0 {
			continue
		}
		for _, mask := range []byte{1 << (i % 8), 0xff} {
			b[i] ^= mask
			v, err := ViewLive(b)
			if err == nil && (v.Session != liveSession || v.DirID != liveDirID || !r.based(v.Bases())) {
				t.Fatalf("byte %d changed by %x: session %x of %x, bases %v", i, mask, v.Session, v.DirID, v.Bases())
			}
			for _, seq := range seqs {
				if err != nil {
					refused++
				} else if got, bad := tale(v, seq); bad != nil {
					refused++
				} else if !bytes.Equal(got, want[seq]) {
					t.Fatalf("byte %d changed by %x: cut %d is told as\n%.600q\nwant\n%.600q", i, mask, seq, got, want[seq])
				}
			}
			b[i] ^= mask
		}
	}
	return refused
}

// based reports whether a log goes on from these links, or did.
func (r *liveRig) based(list []LiveBase) bool {
	for _, base := range list {
		if base.Seq > r.seq || base.Seq+1 < r.seq || base.Hash != 0xabc0+base.Seq || base.Number != 100+base.Seq {
			return false
		}
	}
	return true
}

// TestLiveFlippedAnywhere: a byte that changes costs the half that it is of, and never
// changes what is told: not by a group that is missing, nor by one of another shard.
func TestLiveFlippedAnywhere(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	r := newLiveRig(2, 0)
	fill := func() {
		for i := range 6 {
			r.item(i&1, rng)
			r.commit(i&1, 0)
		}
	}
	fill()
	r.cut()
	fill()
	r.l.Begin(r.seq, IntentBatch, pattern(50, 3), &r.slots)
	r.l.Begin(r.seq, IntentClear, nil, &r.slots)
	if refused := r.flipped(t, r.seq-1, r.seq); refused < 1000 {
		t.Errorf("%d changed bytes were refused", refused)
	}
}

// TestMarksAreOfTheirPlace: no mark verifies elsewhere, for another cut or with
// another number.
func TestMarksAreOfTheirPlace(t *testing.T) {
	seen := make(map[uint32]string)
	for _, at := range []int64{liveBroken, liveBroken + 8, liveIntents, 4096, 4104, 8192, 1 << 30} {
		for _, seq := range []uint64{0, 1, 2, 3, 1 << 32, 1<<64 - 1} {
			for _, v := range []uint32{0, 1, 64, 4096, 1<<32 - 1} {
				what := fmt.Sprint(at, seq, v)
				m := mark(at, seq, v)
				if uint32(m) != v {
					t.Errorf("%s is marked as %x", what, m)
				}
				if other, ok := seen[uint32(m>>32)]; ok {
					t.Errorf("%s has the check of %s", what, other)
				}
				seen[uint32(m>>32)] = what
			}
		}
	}
}

// TestStoresAreLittleEndian on every machine: the files say so.
func TestStoresAreLittleEndian(t *testing.T) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], little(0x0102030405060708))
	if b != [8]byte{8, 7, 6, 5, 4, 3, 2, 1} {
		t.Errorf("got %x", b)
	}
}
