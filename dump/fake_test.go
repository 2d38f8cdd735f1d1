package dump

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A fakeCache is a Source that does in the plainest way what a cache does: every
// key has a slot of its own, a word says where its newest record lies, eviction
// takes whole segments from a queue's head. It remembers every cut, by its clock.
type fakeCache struct {
	mu     sync.Mutex
	wall   func() time.Time // what cuts tell
	geo    pagefile.Geometry
	rng    *rand.Rand
	shards []*fakeShard
	limit  int // segments of a queue; older ones are evicted
	clock  int64
	last   uint64 // segment number
	cuts   map[int64]*fakeCut
	held   map[*Cut]bool   // not released
	gone   map[uint64]bool // numbers of segments that were evicted, by queue segments
	asked  int             // calls of Pin
	pins   map[Pin][]byte  // what they lend
	during func()          // runs in the middle of CopyIndex and Copy, like a concurrent writer
	spoilt map[uint64]bool // numbers of segments whose pages cannot be copied
}

type fakeShard struct {
	buckets  uint32
	slots    []fakeSlot
	queues   [fileQueues]fakeQueue
	large    map[uint64]*fakeSegment
	journal  []byte
	lose     bool
	born     []Large
	died     []uint64
	overflow bool
}

type fakeSlot struct {
	word    uint64
	version uint64
}

type fakeQueue struct {
	head, tail uint64
	segments   []*fakeSegment // ascending by seq
}

type fakeSegment struct {
	number uint64
	seq    uint64
	fill   uint32
	bytes  []byte
}

// A fakeCut is what a recovery of that cut has to find.
type fakeCut struct {
	states []pagefile.ShardState
	slots  [][]fakeSlot
	large  []map[uint64]bool
}

const fakeSlots = 8 * pagefile.MinBaseBuckets

func newFake(seed uint64, shards, limit int) *fakeCache {
	f := &fakeCache{
		geo:    pagefile.Geometry{Shards: shards, SegmentSize: pagefile.MinSegmentSize, BaseBuckets: pagefile.MinBaseBuckets, Seed: 1, DirID: 7},
		rng:    rand.New(rand.NewPCG(seed, 3)),
		limit:  limit,
		last:   1 << 32,
		wall:   time.Now,
		cuts:   map[int64]*fakeCut{},
		held:   map[*Cut]bool{},
		gone:   map[uint64]bool{},
		spoilt: map[uint64]bool{},
	}
	for range shards {
		f.shards = append(f.shards, &fakeShard{buckets: pagefile.MinBaseBuckets,
			slots: make([]fakeSlot, fakeSlots), large: map[uint64]*fakeSegment{}})
	}
	return f
}

func (f *fakeCache) units() uint64 { return f.geo.UnitsPerSegment() }

// fakeWord is a word as the cache makes it: queue, position, a tag.
func fakeWord(q uint8, pos uint64) uint64 {
	return uint64(q)<<62 | pos&(pagefile.Lap-1)<<32 | 1<<2
}

// wordPos is the position that a word means, given its queue's head.
func wordPos(word, head uint64) uint64 {
	return head + (word>>32-head)&(pagefile.Lap-1)
}

// set stores another version of a key in its slot.
func (f *fakeCache) set(key int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLocked(key, 2+f.rng.IntN(60), 0)
}

// setLarge stores a value in a segment of its own.
func (f *fakeCache) setLarge(key int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[key%len(f.shards)]
	f.last++
	seg := &fakeSegment{number: f.last, seq: f.last, fill: uint32(f.units()/2 + 3), bytes: make([]byte, f.geo.SegmentSize)}
	for i := range int(seg.fill) * pagefile.UnitSize {
		seg.bytes[i] = byte(seg.number) + byte(i)*3
	}
	s.large[seg.number] = seg
	s.born = append(s.born, Large{seg.number, seg.fill})
	f.setLocked(key, 2, seg.number)
}

func (f *fakeCache) setLocked(key, units int, large uint64) {
	s := f.shards[key%len(f.shards)]
	slot := key / len(f.shards)
	f.endLarge(s, slot)
	q := uint8(f.rng.IntN(fileQueues))
	pos, b := f.append(s, q, units)
	s.slots[slot].version++
	fillRecord(b, uint64(key), s.slots[slot].version, large)
	f.store(s, slot, fakeWord(q, pos))
	f.evict(s)
}

// fillRecord writes a record of whole units: key, version, large segment, then
// bytes that follow from them.
func fillRecord(b []byte, key, version, large uint64) {
	binary.LittleEndian.PutUint64(b, key)
	binary.LittleEndian.PutUint64(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], large)
	binary.LittleEndian.PutUint64(b[24:], uint64(len(b)))
	for i := 32; i < len(b); i++ {
		b[i] = byte(key*7 + version*13 + uint64(i))
	}
}

// append reserves units at a queue's tail, opening a segment if they do not fit.
// What is left of the old one keeps stale bytes, as a recycled frame would.
func (f *fakeCache) append(s *fakeShard, q uint8, units int) (pos uint64, b []byte) {
	qu := &s.queues[q]
	if used := qu.tail % f.units(); used == 0 || used+uint64(units) > f.units() {
		f.seal(qu)
		f.last++
		seg := &fakeSegment{number: f.last, seq: qu.tail / f.units(), fill: pagefile.OpenFill, bytes: make([]byte, f.geo.SegmentSize)}
		for i := range seg.bytes {
			seg.bytes[i] = 0xEE // stale: no file may hold it
		}
		qu.segments = append(qu.segments, seg)
	}
	pos = qu.tail
	qu.tail += uint64(units)
	seg := qu.segments[len(qu.segments)-1]
	off := int(pos%f.units()) * pagefile.UnitSize
	if qu.tail%f.units() == 0 {
		seg.fill = uint32(f.units())
	}
	return pos, seg.bytes[off : off+units*pagefile.UnitSize]
}

// seal ends a queue's open segment.
func (f *fakeCache) seal(qu *fakeQueue) {
	if qu.tail%f.units() == 0 {
		return
	}
	seq := qu.tail / f.units()
	for _, seg := range qu.segments {
		if seg.seq == seq {
			seg.fill = uint32(qu.tail % f.units())
		}
	}
	qu.tail = (seq + 1) * f.units()
}

func (f *fakeCache) store(s *fakeShard, slot int, word uint64) {
	s.slots[slot].word = word
	s.journal = binary.LittleEndian.AppendUint32(s.journal, uint32(slot))
	s.journal = binary.LittleEndian.AppendUint64(s.journal, word)
	s.overflow = s.overflow || s.lose
}

// remove deletes a key.
func (f *fakeCache) remove(key int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[key%len(f.shards)]
	f.endLarge(s, key/len(f.shards))
	f.store(s, key/len(f.shards), 0)
}

// endLarge ends the large segment of the record in a slot, if it has one.
func (f *fakeCache) endLarge(s *fakeShard, slot int) {
	rec := f.record(s, s.slots[slot].word)
	if rec == nil {
		return
	}
	if n := binary.LittleEndian.Uint64(rec[16:]); s.large[n] != nil {
		delete(s.large, n)
		f.gone[n] = true
		s.died = append(s.died, n)
	}
}

// record is the bytes from a word's position on, nil if it is not live.
func (f *fakeCache) record(s *fakeShard, word uint64) []byte {
	if word == 0 {
		return nil
	}
	qu := &s.queues[word>>62]
	pos := wordPos(word, qu.head)
	seg := qu.find(pos / f.units())
	if pos >= qu.tail || seg == nil {
		return nil
	}
	return seg.bytes[pos%f.units()*pagefile.UnitSize:]
}

func (qu *fakeQueue) find(seq uint64) *fakeSegment {
	for _, seg := range qu.segments {
		if seg.seq == seq {
			return seg
		}
	}
	return nil
}

// evict takes segments from the head of queues that are too long: slots are
// cleared and not journaled, head says it.
func (f *fakeCache) evict(s *fakeShard) {
	for q := range s.queues {
		qu := &s.queues[q]
		for len(qu.segments) > f.limit {
			seg := qu.segments[0]
			end := (seg.seq + 1) * f.units()
			for i := range s.slots {
				if w := s.slots[i].word; w != 0 && int(w>>62) == q && wordPos(w, qu.head) < end {
					f.endLarge(s, i)
					s.slots[i].word = 0
				}
			}
			f.gone[seg.number] = true
			qu.head, qu.segments = end, qu.segments[1:]
		}
	}
}

// grow adds a bucket to every shard.
func (f *fakeCache) grow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shards {
		s.buckets++
		s.slots = append(s.slots, make([]fakeSlot, 8)...)
	}
}

func (f *fakeCache) keys() int { return len(f.shards) * len(f.shards[0].slots) }

// churn does n random things.
func (f *fakeCache) churn(n int) {
	for range n {
		f.mu.Lock()
		key, what := f.rng.IntN(f.keys()), f.rng.IntN(20)
		f.mu.Unlock()
		switch what {
		case 0:
			f.remove(key)
		case 1:
			f.setLarge(key)
		default:
			f.set(key)
		}
	}
}

// Release implements Source. What was evicted is gone all the same.
func (f *fakeCache) Release(c *Cut) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.held[c] {
		panic("a cut is released twice, or never was")
	}
	delete(f.held, c)
}

// Cut implements Source.
func (f *fakeCache) Cut() *Cut {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock++
	c := &Cut{Epoch: uint64(f.clock), Clock: f.clock, Wall: f.wall()}
	seen := &fakeCut{}
	for _, s := range f.shards {
		sc := ShardCut{State: s.state(), Born: s.born, Died: s.died}
		if s.overflow {
			sc.Lost = true
		} else if len(s.journal) > 0 {
			sc.Journal = [][]byte{s.journal}
		}
		s.journal, s.born, s.died, s.overflow = nil, nil, nil, false
		c.Shards = append(c.Shards, sc)
		seen.states = append(seen.states, sc.State)
		seen.slots = append(seen.slots, slices.Clone(s.slots))
		large := map[uint64]bool{}
		for n := range s.large {
			large[n] = true
		}
		seen.large = append(seen.large, large)
	}
	f.cuts[f.clock] = seen
	f.held[c] = true
	return c
}

func (s *fakeShard) state() (st pagefile.ShardState) {
	for q := range s.queues {
		st.Heads[q], st.Tails[q] = s.queues[q].head, s.queues[q].tail
	}
	st.Buckets = s.buckets
	for _, slot := range s.slots {
		if slot.word != 0 {
			st.Entries++
			st.Live += 32
		}
	}
	return st
}

// Segment implements Source.
func (f *fakeCache) Segment(shard int, queue uint8, seq uint64) (uint64, uint32, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seg := f.segment(shard, queue, seq)
	if seg == nil {
		return 0, 0, false
	}
	return seg.number, seg.fill, true
}

func (f *fakeCache) segment(shard int, queue uint8, seq uint64) *fakeSegment {
	if queue == pagefile.QueueLarge {
		return f.shards[shard].large[seq]
	}
	return f.shards[shard].queues[queue].find(seq)
}

// Copy implements Source.
func (f *fakeCache) Copy(dst []byte, shard int, id SegmentID, off int) bool {
	if f.during != nil {
		f.during()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	seg := f.segment(shard, id.Queue, id.Seq)
	if seg == nil || seg.number != id.Number || f.spoilt[id.Number] {
		return false
	}
	if off+len(dst) > len(seg.bytes) {
		panic(fmt.Sprintf("copy of %d+%d", off, len(dst)))
	}
	copy(dst, seg.bytes[off:])
	return true
}

// Pin implements Source, every other time. Whoever reads what was unpinned finds
// nonsense.
func (f *fakeCache) Pin(shard int, id SegmentID, off, n int) ([]byte, Pin, bool) {
	f.mu.Lock()
	f.asked++
	refuse := f.asked%2 == 0
	f.mu.Unlock()
	b := make([]byte, n)
	if refuse || !f.Copy(b, shard, id, off) {
		return nil, 0, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins == nil {
		f.pins = make(map[Pin][]byte)
	}
	f.pins[Pin(f.asked)] = b
	return b, Pin(f.asked), true
}

// Unpin implements Source.
func (f *fakeCache) Unpin(pins []Pin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range pins {
		b, ok := f.pins[p]
		if !ok {
			panic("unpinned twice")
		}
		for i := range b {
			b[i] = 0xff
		}
		delete(f.pins, p)
	}
}

// Drop implements Source. Whoever reads a journal after it finds nonsense.
func (f *fakeCache) Drop(journals [][]byte) {
	for _, j := range journals {
		for i := range j {
			j[i] = 0xff
		}
	}
}

// Home implements Source.
func (f *fakeCache) Home(*Cut) {}

// Ghosts implements Source.
func (f *fakeCache) Ghosts(shard int) pagefile.Ghosts { return pagefile.Ghosts{Shard: shard} }

// CopyIndex implements Source.
func (f *fakeCache) CopyIndex(shard, first int, dst []byte) error {
	if f.during != nil {
		f.during()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[shard]
	for i := range len(dst) / 8 {
		binary.LittleEndian.PutUint64(dst[i*8:], s.slots[first*8+i].word)
	}
	return nil
}
