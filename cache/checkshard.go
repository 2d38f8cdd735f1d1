package cache

import (
	"encoding/binary"
	"math/bits"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A checkedShard is a shard as its files give it back.
type checkedShard struct {
	*check
	id    int
	from  *loader.Shard
	index index // an entry's slot is emptied when the entry is proved
	arena *arena
	exact bool // nothing was evicted between cut and writing: all is comparable
	large map[uint64]int
	list  map[uint64]bool // large segments that entries list

	words, entries, forgiven int
	live                     int64
}

// shard checks one shard: its slots, then what they lead to.
func (k *check) shard(id int) error {
	from := &k.res.Shards[id]
	x := &checkedShard{check: k, id: id, from: from, large: make(map[uint64]int), list: make(map[uint64]bool)}
	x.exact = k.note.Shards[id].State.Heads == from.State.Heads
	for i := range from.Segments {
		if from.Segments[i].Queue == pagefile.QueueLarge {
			x.large[from.Segments[i].Number] = i
		}
	}
	buckets := int(from.State.Buckets)
	arena, err := newArena(buckets*bucketSize, hugePages)
	if err != nil {
		return unchecked(err.Error())
	}
	x.arena = arena
	defer arena.release()
	x.index.init(arena, 0, k.res.Record.Geometry.BaseBuckets, buckets)
	if err := x.rebuild(); err != nil {
		return err
	}
	if err := x.compareSlots(); err != nil {
		return err
	}
	for i := range from.Segments {
		if from.Segments[i].Queue < fileQueues {
			if err := x.walk(i); err != nil {
				return err
			}
		}
	}
	if err := x.proveRest(); err != nil {
		return err
	}
	return x.compareCounts()
}

// rebuild is I10: the image's blocks, the journals, the test.
func (x *checkedShard) rebuild() error {
	var b [pagefile.ImagePayload]byte
	for block := 0; block*bucketsPerBlock < x.from.ImageBuckets; block++ {
		if err := x.pace.wait(pageSize); err != nil {
			return err
		}
		if err := x.res.Image.IndexBlock(x.id, block, &b); err != nil {
			return x.lost(x.id, "image", err)
		}
		first := uint32(block * bucketsPerBlock * bucketSlots)
		for i := uint32(0); i < bucketsPerBlock*bucketSlots && first+i < x.slots(); i++ {
			x.index.store(first+i, word(binary.LittleEndian.Uint64(b[8*i:])))
		}
	}
	for _, j := range x.from.Journals {
		if err := x.pace.wait(len(j)); err != nil {
			return err
		}
		for ; len(j) >= journalEntry; j = j[journalEntry:] {
			if slot := binary.LittleEndian.Uint32(j); slot < x.slots() {
				x.index.store(slot, word(binary.LittleEndian.Uint64(j[4:])))
			}
		}
	}
	return nil
}

func (x *checkedShard) slots() uint32 { return x.index.buckets() * bucketSlots }

// compareSlots drops the words that do not stand and compares the others. Words
// that eviction cleared do not: head has passed them.
func (x *checkedShard) compareSlots() error {
	st, note := &x.from.State, &x.note.Shards[x.id]
	digest := uint64(0)
	for slot := range x.slots() {
		w := x.index.load(slot)
		switch q := w.queue(); {
		case w == 0:
		case q >= fileQueues:
			return x.differs(x.id, "slot %d has an entry that is not for files", slot)
		case w.tag() == 0 || !w.within(st.Heads[q], st.Tails[q]):
			x.index.store(slot, 0)
		default:
			digest += mixSlot(slot, w)
			x.words++
		}
	}
	if x.exact && digest != note.Digest {
		e := x.differs(x.id, "%d slots have the digest %016x, those in memory had %016x", x.words, digest, note.Digest)
		e.at.Want, e.at.Got = note.Digest, digest
		return e
	}
	return nil
}

// compareCounts compares what was proved with the gauges, and large segments with
// the lists of them.
func (x *checkedShard) compareCounts() error {
	note := &x.note.Shards[x.id]
	if !x.exact || x.forgiven > 0 {
		return nil
	}
	if st := &note.State; note.Counted && (x.entries != int(st.Entries) || uint64(x.live) != st.Live) {
		return x.differs(x.id, "%d entries of %d bytes, memory had %d of %d", x.entries, x.live, st.Entries, st.Live)
	}
	for number := range x.large {
		if !x.list[number] {
			return x.differs(x.id, "no entry lists the large segment %x", number)
		}
	}
	return nil
}

// walk proves the entries of a queue's segment from record to record, in the way
// of the cleaner. Where that ends early, proveRest goes on.
func (x *checkedShard) walk(i int) error {
	seg := &x.from.Segments[i]
	start := seg.Seq * x.units()
	from, to := x.span(seg)
	if from >= to {
		return nil
	}
	if err := x.load(&x.queue, seg, from, to); err != nil {
		return err
	}
	for off := from; off+headerSize <= to && x.queue.has(off, headerSize); {
		rec := x.queue.bytes[off:to]
		h := readHeader(rec)
		n := h.units(x.segmentSize()) * unitSize
		if h.keyLen() == 0 || n > len(rec) {
			return nil
		}
		if x.queue.has(off, n) {
			if slot, ok := x.slotOf(seg.Queue, start+uint64(off/unitSize), rec[headerSize:headerSize+h.keyLen()]); ok {
				if err := x.prove(slot, h, rec[:n]); err != nil {
					return err
				}
			}
		}
		off += n
	}
	return nil
}

func (x *checkedShard) segmentSize() int { return x.res.Record.Geometry.SegmentSize }
func (x *checkedShard) units() uint64    { return x.res.Record.Geometry.UnitsPerSegment() }

// span is where a queue's segment has records, in bytes.
func (x *checkedShard) span(seg *loader.Segment) (from, to int) {
	st := &x.from.State
	start, fill := seg.Seq*x.units(), min(uint64(seg.Fill), x.units())
	if tail := st.Tails[seg.Queue]; tail < start+fill {
		fill = max(tail, start) - start
	}
	if head := st.Heads[seg.Queue]; head > start {
		from = int(min(head-start, fill)) * unitSize
	}
	return from, int(fill) * unitSize
}

// slotOf finds the slot of the entry at pos: where its key's hash leads.
func (x *checkedShard) slotOf(q uint8, pos uint64, key []byte) (slot uint32, ok bool) {
	hash := x.c.hash.sum(key)
	if x.c.shardOf(hash).id != x.id {
		return 0, false
	}
	want := makeWord(q, pos, tagOf(hash))
	a, b := x.index.candidates(hash, x.index.buckets())
	for _, bucket := range [2]uint32{a, b} {
		for slot = bucket * bucketSlots; slot < (bucket+1)*bucketSlots; slot++ {
			if x.index.load(slot)&^freqMask == want {
				return slot, true
			}
		}
	}
	return 0, false
}

// prove empties an entry's slot once its own segments, if it has some, are proved.
func (x *checkedShard) prove(slot uint32, h header, rec []byte) error {
	left := h.valueLen()
	for list := listOf(rec, h, x.segmentSize()); len(list) >= 8; list = list[8:] {
		number, n := binary.LittleEndian.Uint64(list), min(left, x.segmentSize())
		left -= n
		i, ok := x.large[number]
		if !ok {
			return x.forgive(slot, x.differs(x.id, "the large segment %x is unknown", number))
		}
		seg := &x.from.Segments[i]
		if err := x.load(&x.value, seg, 0, n); err != nil {
			return err
		}
		if !x.value.has(0, n) {
			return x.forgive(slot, x.bad(&x.value, seg, 0, n))
		}
		x.list[number] = true
	}
	x.index.store(slot, 0)
	x.entries++
	x.live += int64(h.size(x.segmentSize()))
	return nil
}

// forgive accepts that an entry cannot be had if pages were left out, which is
// counted elsewhere; damage is never forgiven.
func (x *checkedShard) forgive(slot uint32, e *checkError) error {
	if !e.mismatch || !x.note.LeftOut {
		return e
	}
	x.forgiven++
	x.index.store(slot, 0)
	return nil
}

// proveRest proves the entries that no walk has met, or says what is wrong.
func (x *checkedShard) proveRest() error {
	for slot := range x.slots() {
		if w := x.index.load(slot); w != 0 {
			if err := x.proveWord(slot, w); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *checkedShard) proveWord(slot uint32, w word) error {
	q, head := w.queue(), x.from.State.Heads[w.queue()]
	pos := head + uint64((w.pos()-uint32(head))&posMask)
	seg, ok := x.segmentAt(q, pos/x.units())
	if !ok {
		return x.forgive(slot, x.differs(x.id, "slot %d leads to position %d of queue %d, whose segment is unknown", slot, pos, q))
	}
	_, to := x.span(seg)
	off := int(pos%x.units()) * unitSize
	if off+headerSize > to {
		return x.forgive(slot, x.differs(x.id, "slot %d leads to position %d of queue %d, behind its segment's end", slot, pos, q))
	}
	if err := x.load(&x.queue, seg, off, to); err != nil {
		return err
	}
	if !x.queue.has(off, headerSize) {
		return x.forgive(slot, x.bad(&x.queue, seg, off, headerSize))
	}
	h := readHeader(x.queue.bytes[off:])
	n := h.units(x.segmentSize()) * unitSize
	if h.keyLen() > 0 && n <= to-off {
		if !x.queue.has(off, n) {
			return x.forgive(slot, x.bad(&x.queue, seg, off, n))
		}
		rec := x.queue.bytes[off : off+n]
		if found, ok := x.slotOf(q, pos, rec[headerSize:headerSize+h.keyLen()]); ok && found == slot {
			return x.prove(slot, h, rec)
		}
	}
	return x.differs(x.id, "slot %d leads to position %d of queue %d, where the record is another's", slot, pos, q)
}

// segmentAt finds a queue's segment; they ascend by queue and seq.
func (x *checkedShard) segmentAt(q uint8, seq uint64) (*loader.Segment, bool) {
	i, ok := searchSegments(x.from.Segments, q, seq)
	if !ok {
		return nil, false
	}
	return &x.from.Segments[i], true
}

// bad says why a page of [off, off+n) is not there: it has no checksum, or
// another one.
func (x *checkedShard) bad(b *pageBuffer, seg *loader.Segment, off, n int) *checkError {
	page := bits.TrailingZeros64(pageBits(off, n) &^ b.good)
	want := b.sums[page]
	if want == 0 || seg.Place == pagefile.NoPlace {
		return x.differs(x.id, "page %d of segment %x is nowhere", page, seg.Number)
	}
	e := x.lost(x.id, "page", nil)
	e.at.Page, e.at.Want, e.at.Got = uint32(page), want, b.got
	e.cause = b.err
	e.text = e.at.Error()
	return e
}
