package cache

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A lazyShard is what a shard still has in files only: index blocks of the image,
// and pages of the segments that Open found. Whoever needs one of them reads and
// verifies it outside every lock and then, under the shard's lock, copies it into
// memory if it is still wanted. // I3, I7
//
// A journal's store leaves a mark in its slot, also when it empties it; a block
// that is read later fills only unmarked slots, with words that lie in their
// queue, as it was at the opened cut and as it is now, and whose segment stands.
type lazyShard struct {
	image   imageReader
	buckets uint32          // that the image holds; those beyond were empty
	loaded  []atomic.Uint64 // a bit an index block
	left    atomic.Int64    // index blocks not loaded

	pages    io.ReaderAt
	places   func(place uint32) int64 // offset of a place in the page file
	segments []loader.Segment         // those that Open found; not all need be restored
	sources  []source                 // of each
	partial  bool                     // some of what was written was not restored
	dangling []uint32                 // slots for which journals had words that dangle; until they are applied

	// Guarded by the shard's mu.
	marks   []uint64 // a bit a slot of the image's buckets
	opened  [fileQueues]queue
	missing int64 // entries of the opened cut that have not been met yet
	settled bool  // missing has been taken from the gauges
}

type imageReader interface {
	IndexBlock(shard, block int, dst *[pagefile.ImagePayload]byte) error
	Sums(entry int, dst []uint64) error
}

// A source is what became known of a segment since Open, which touches none of
// them: fresh memory costs it more than all else.
type source struct {
	once sync.Once     // fetches sums
	sums []uint64      // by page; 0: none
	bad  atomic.Uint64 // pages that cannot be had
}

// sourceOf finds where a segment's pages lie; false if Open did not restore it.
func (l *lazyShard) sourceOf(seg *segment, number uint64) (*loader.Segment, *source, bool) {
	i := int(seg.source)
	if i >= len(l.segments) || l.segments[i].Number != number {
		return nil, nil, false
	}
	return &l.segments[i], &l.sources[i], true
}

const bucketsPerBlock = pagefile.ImagePayload / bucketSize

func (l *lazyShard) blockLoaded(block uint32) bool {
	return l.loaded[block/64].Load()&(1<<(block%64)) != 0
}

// hasBucket reports whether bucket b is in memory.
func (l *lazyShard) hasBucket(b uint32) bool {
	return b >= l.buckets || l.left.Load() == 0 || l.blockLoaded(b/bucketsPerBlock)
}

func (s *shard) indexLoaded(b uint32) bool {
	l := s.lazy.Load()
	return l == nil || l.hasBucket(b)
}

// presentLocked reports whether the whole record at pos is in memory.
func (s *shard) presentLocked(q uint8, pos uint64) bool {
	seg := s.segmentAt(q, pos)
	off := s.offsetOf(pos)
	if !seg.has(off, headerSize) {
		return false
	}
	n := readHeader(s.recordAt(q, pos)).units(s.segmentSize) * unitSize
	return seg.has(off, min(n, s.segmentSize-off))
}

func (s *shard) recordPresentLocked(w word) bool {
	return s.presentLocked(w.queue(), s.positionLocked(w))
}

// loadFor brings in what a look-up of key needs next, or forgets an entry whose
// page cannot be had. Each call makes progress; the caller starts over.
func (s *shard) loadFor(key []byte, hash uint64) {
	l := s.lazy.Load()
	if l == nil {
		return
	}
	a, b := s.index.candidates(hash, s.index.buckets())
	for _, bucket := range [2]uint32{a, b} {
		if !l.hasBucket(bucket) {
			s.loadBlock(l, bucket/bucketsPerBlock)
			return
		}
	}
	s.lock()
	slot, w, need, ok := s.absentLocked(a, b, tagOf(hash))
	s.unlock()
	if ok {
		s.loadOrLose(slot, w, need)
	}
}

// loadOrLose brings in what a word's entry needs, or forgets it.
func (s *shard) loadOrLose(slot uint32, w word, need want) {
	l := s.lazy.Load()
	if l == nil || s.loadPages(l, need) {
		return
	}
	s.lock()
	defer s.unlock()
	if s.index.load(slot)&^freqMask == w&^freqMask {
		s.loseLocked(slot, w)
	}
}

// A want names pages of a segment.
type want struct {
	seg    *segment
	number uint64
	bits   uint64
}

// absentLocked finds a word of the tag whose record, or whose large segments, are
// not in memory.
func (s *shard) absentLocked(a, b, tag uint32) (slot uint32, w word, need want, ok bool) {
	for _, bucket := range [2]uint32{a, b} {
		for i := uint32(0); i < bucketSlots; i++ {
			slot = bucket*bucketSlots + i
			if w = s.index.load(slot); w == 0 || w.tag() != tag {
				continue
			}
			if need, ok = s.wantLocked(w); ok {
				return slot, w, need, true
			}
		}
	}
	return 0, 0, need, false
}

// wantLocked says which pages of a word's entry are missing, if any.
func (s *shard) wantLocked(w word) (need want, ok bool) {
	pos := s.positionLocked(w)
	seg, off := s.segmentAt(w.queue(), pos), s.offsetOf(pos)
	need = want{seg, seg.number.Load(), pageBits(off, headerSize)}
	if !seg.has(off, headerSize) {
		return need, true
	}
	rec := s.recordAt(w.queue(), pos)
	h := readHeader(rec)
	n := min(h.units(s.segmentSize)*unitSize, len(rec))
	need.bits = pageBits(off, n)
	if !seg.has(off, n) {
		return need, true
	}
	left := h.valueLen()
	for list := listOf(rec, h, s.segmentSize); len(list) >= 8; list = list[8:] {
		number := binary.LittleEndian.Uint64(list)
		seg, n := s.large.at(number), min(left, s.segmentSize)
		if seg.number.Load() == number && !seg.has(0, n) {
			return want{seg, number, pageBits(0, n)}, true
		}
		left -= n
	}
	return need, false
}

// loadBlock reads one index block. One that is damaged is empty slots, and the
// journal says so: who reads the block once more may find it whole, and would have
// the words back that nobody could clear meanwhile. // I10
func (s *shard) loadBlock(l *lazyShard, block uint32) {
	var b [pagefile.ImagePayload]byte
	err := l.image.IndexBlock(s.id, int(block), &b)
	s.stats.loads.Add(1)
	if s.takeBlock(l, block, &b, err == nil) && err != nil {
		s.stats.corrupt.Add(1)
		s.cache.foundDamage(err)
	}
}

// takeBlock fills the slots of a block that was read, and reports whether it was
// the first to be.
func (s *shard) takeBlock(l *lazyShard, block uint32, b *[pagefile.ImagePayload]byte, good bool) bool {
	s.lock()
	defer s.unlock()
	if l.blockLoaded(block) {
		return false
	}
	if good {
		s.fillBlockLocked(l, block, b[:])
	} else {
		s.emptyBlockLocked(l, block)
	}
	word := &l.loaded[block/64]
	word.Store(word.Load() | 1<<(block%64))
	if l.left.Add(-1) == 0 {
		s.settleLocked(l)
	}
	return true
}

// slots are those of an index block.
func (l *lazyShard) slots(block uint32) (first, last uint32) {
	first = block * bucketsPerBlock * bucketSlots
	return first, min(first+bucketsPerBlock*bucketSlots, l.buckets*bucketSlots)
}

func (l *lazyShard) marked(slot uint32) bool { return l.marks[slot/64]&(1<<(slot%64)) != 0 }

func (s *shard) emptyBlockLocked(l *lazyShard, block uint32) {
	first, last := l.slots(block)
	for slot := first; slot < last; slot++ {
		if !l.marked(slot) {
			s.putLocked(slot, 0)
		}
	}
}

func (s *shard) fillBlockLocked(l *lazyShard, block uint32, b []byte) {
	first, last := l.slots(block)
	for slot := first; slot < last; slot++ {
		w := word(binary.LittleEndian.Uint64(b[(slot-first)*8:]))
		if w == 0 || l.marked(slot) {
			continue
		}
		switch stands, dangles := s.standsLocked(l, w); {
		case stands:
			s.index.store(slot, w)
			l.missing--
		case dangles:
			s.putLocked(slot, 0)
		}
	}
}

// standsLocked is the test that every word from a file has to pass. One that dangles
// lies within its queue, but its segment is unknown: it ended before its bytes were
// written. Files have such a word until head has passed it, so who drops it has the
// journal say so; of others that do not stand heads and tails tell. // I10
func (s *shard) standsLocked(l *lazyShard, w word) (stands, dangles bool) {
	q := w.queue()
	if q >= fileQueues || w.tag() == 0 || !w.within(l.opened[q].head, l.opened[q].tail) {
		return false, false
	}
	pos := l.opened[q].head + uint64((w.pos()-uint32(l.opened[q].head))&posMask)
	if pos < s.queues[q].head {
		return false, false
	}
	stands = s.segmentAt(q, pos).number.Load() != 0
	return stands, !stands
}

// settleLocked corrects the gauges once every word of the opened cut was met.
func (s *shard) settleLocked(l *lazyShard) {
	if l.settled || l.missing == 0 {
		l.settled = true
		return
	}
	l.settled = true
	s.guessLocked(smallQueue, l.missing)
	s.cache.lost.Add(max(l.missing, 0))
}

// loadIndex brings in all index blocks.
func (s *shard) loadIndex() {
	l := s.lazy.Load()
	if l == nil || l.left.Load() == 0 {
		return
	}
	for block := uint32(0); block < (l.buckets+bucketsPerBlock-1)/bucketsPerBlock; block++ {
		if !l.blockLoaded(block) {
			s.loadBlock(l, block)
		}
	}
}

// loadSegment brings in all pages of a segment; false if one cannot be had.
func (s *shard) loadSegment(q uint8, pos, number uint64) bool {
	seg := s.segmentAt(q, pos)
	l := s.lazy.Load()
	fill := int(min(uint64(seg.fill.Load()), s.unitMask+1)) * unitSize
	if l == nil || fill == 0 {
		return false
	}
	return s.loadPages(l, want{seg, number, pageBits(0, fill)})
}

// loadPages brings in pages of a segment, or finds that its number has changed;
// false if one of them cannot be had.
func (s *shard) loadPages(l *lazyShard, need want) bool {
	from, src, ok := l.sourceOf(need.seg, need.number)
	if !ok {
		return need.seg.number.Load() != need.number
	}
	src.once.Do(func() { s.fetchSums(l, from, src) })
	var run [loadRun * pageSize]byte
	for page := 0; page < s.segmentSize/pageSize; page += loadRun {
		bits := need.bits >> page & (1<<loadRun - 1)
		bits &^= (need.seg.present.Load() | src.bad.Load()) >> page
		if bits == 0 {
			continue
		}
		good := s.readRun(l, from, src, page, bits, run[:])
		s.lock()
		if need.seg.number.Load() == need.number {
			s.adoptLocked(need.seg, page, good, run[:])
		}
		s.unlock()
	}
	return need.seg.number.Load() != need.number || need.seg.present.Load()&need.bits == need.bits
}

const loadRun = 4 // pages read at a time

// adoptLocked copies verified pages into the frame, those that are not there yet.
func (s *shard) adoptLocked(seg *segment, first int, good uint64, run []byte) {
	frame := s.frames.bytes(seg.frame.Load())
	for i := 0; i < loadRun; i++ {
		bit := uint64(1) << (first + i)
		if good&(1<<i) == 0 || seg.present.Load()&bit != 0 {
			continue
		}
		copy(frame[(first+i)*pageSize:(first+i+1)*pageSize], run[i*pageSize:(i+1)*pageSize])
		seg.present.Store(seg.present.Load() | bit)
	}
}

// fetchSums reads a segment's checksums from the image, but for those that a blob
// has overridden.
func (s *shard) fetchSums(l *lazyShard, from *loader.Segment, src *source) {
	src.sums = make([]uint64, s.segmentSize/pageSize)
	if from.ImageEntry >= 0 && l.image != nil {
		if err := l.image.Sums(from.ImageEntry, src.sums); err != nil {
			s.cache.foundDamage(err)
			clear(src.sums)
		}
	}
	for i, sum := range from.Sums {
		if sum != 0 {
			src.sums[i] = sum
		}
	}
}

// readRun reads pages of a segment and verifies them; bits of those that are good
// come back, the others are bad from now on. A page without a checksum is a miss.
func (s *shard) readRun(l *lazyShard, from *loader.Segment, src *source, first int, bits uint64, run []byte) (good uint64) {
	for i := 0; i < loadRun; i++ {
		if bits&(1<<i) == 0 {
			continue
		}
		page, b := first+i, run[i*pageSize:(i+1)*pageSize]
		s.stats.loads.Add(1)
		if err := s.readPage(l, from, src.sums[page], page, b); err != nil {
			src.bad.Or(1 << page)
			s.cache.foundDamage(err)
			continue
		}
		good |= 1 << i
		s.stats.verified.Add(1)
	}
	return good
}

func (s *shard) readPage(l *lazyShard, from *loader.Segment, want uint64, page int, b []byte) error {
	got := uint64(0)
	if want != 0 && from.Place != pagefile.NoPlace && l.pages != nil {
		if _, err := l.pages.ReadAt(b, l.places(from.Place)+int64(page)*pageSize); err != nil {
			return err
		}
		if got = pagefile.PageSum(from.Number, page, b); got == want {
			return nil
		}
	}
	return &CorruptionError{Path: s.cache.pagePath, Shard: s.id, Page: uint32(page), Generation: s.cache.opened, Want: want, Got: got}
}
