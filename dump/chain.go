package dump

import (
	"errors"
	"fmt"

	"github.com/embercache/ember/pagefile"
)

// Why the weak chain ends. It begins again at the next durable cut.
var (
	errRingFull    = errors.New("weak generations paused: the ring is full")
	errJournalLost = errors.New("weak generations paused: a journal overflowed")
	errLap         = errors.New("weak generations paused: a queue is a lap beyond its image")
	errDamage      = errors.New("weak generations paused: what was opened is damaged")
	errInherited   = errors.New("weak generations paused: what was opened is not all in the ring")
)

// A chain is the weak chain: one link per cut, each naming the one before it by
// hash. It is continuous or it is down: a cut that brought something and got no
// link ends it. The cut mutex guards it.
type chain struct {
	src            Source
	units          uint64 // per segment
	lineage, opens uint64

	ring      *ring
	up        bool
	first     uint64                // number of the anchor that it began with, 0: an earlier process began it
	why       error                 // of being down; nil: it never was up
	pos       pagefile.WeakPos      // after the newest link; Offset is kept by ring
	cuts      []pagefile.ShardState // of the newest cut, where the next link begins
	heads     [][fileQueues]uint64  // at the start of the image in force; nil: none
	inherited []pagefile.Section    // see Inherit; nil once the chain begins again
	clock     int64                 // of it
	since     int64                 // bytes of links since the newest durable cut
	links     uint64                // written
	bytes     int64                 // of them

	builder pagefile.BlobBuilder
	section pagefile.Section
	pins    []Pin                               // what the link is written from
	room    int                                 // bytes that its pieces can have; -1: the arena has them
	arena   []byte                              // of pieces that are copied
	kept    []byte                              // the arena of short links, while a long one has another
	memory  func(n int) (b []byte, free func()) // for an arena that is not kept; nil: the heap
	free    func()                              // gives the arena back; nil: it is kept
	stopped func() error                        // says when nothing is to be written any more
	linking func(pagefile.WeakPos)              // is told of each link before it is written; nil: nobody is
}

// add writes a cut as a link. A chain that is down begins anew with an anchor,
// if the cut is a durable one: a link without content that nothing leads to, for
// the record to name.
func (ch *chain) add(c *Cut, anchor bool) {
	ch.inherited = nil // what comes later is not in it
	if ch.up {
		if err := ch.follow(c); err != nil {
			ch.stop(err)
		}
	}
	if !ch.up && anchor && ch.ring != nil {
		ch.anchor(c)
	}
	for i := range c.Shards {
		ch.cuts[i] = c.Shards[i].State
	}
}

// follow appends a link for what is new since the cut before, if anything is.
func (ch *chain) follow(c *Cut) error {
	if !ch.news(c) {
		return nil
	}
	for i := range c.Shards {
		if c.Shards[i].Lost {
			return errJournalLost
		}
		if ch.heads != nil && beyond(c.Shards[i].State.Tails, ch.heads[i], pagefile.Lap) {
			return errLap
		}
	}
	ch.builder.Reset(ch.header(c, ch.pos.Hash))
	defer ch.leaveRoom()
	if err := ch.collect(c); err != nil {
		return err
	}
	return ch.write(false)
}

// news reports whether anything changed since the cut before.
func (ch *chain) news(c *Cut) bool {
	for i := range c.Shards {
		if ch.newsOf(i, &c.Shards[i]) {
			return true
		}
	}
	return false
}

func (ch *chain) newsOf(shard int, sc *ShardCut) bool {
	return sc.Lost || len(sc.Journal) > 0 || len(sc.Born) > 0 || len(sc.Died) > 0 || sc.State != ch.cuts[shard]
}

// anchor begins the chain. Prev is 0, so that nobody takes it for the successor
// of a link before the gap. // I9
func (ch *chain) anchor(c *Cut) {
	ch.builder.Reset(ch.header(c, 0))
	if err := ch.write(true); err != nil {
		ch.stop(err)
		return
	}
	ch.up, ch.why, ch.first = true, nil, ch.pos.Number
}

// follows reports whether a record leads to the chain: until then a killed
// process finds the cut of that record, and no link.
func (ch *chain) follows(r *pagefile.Record) bool {
	return ch.up && r != nil && r.Weak.File == ch.ring.id && r.Weak.Number >= ch.first
}

func (ch *chain) header(c *Cut, prev uint64) pagefile.BlobHeader {
	return pagefile.BlobHeader{Kind: pagefile.BlobWeak, Number: ch.pos.Number + 1,
		Lineage: ch.lineage, Opens: ch.opens, Prev: prev, Clock: c.Clock}
}

// write puts the link that was built into the ring, without sync. Once Close ran
// out of time the cache gives its memory back, and what was collected since then
// would say that all had been evicted: that is asked last.
func (ch *chain) write(anchor bool) error {
	if err := ch.stopped(); err != nil {
		return err
	}
	at, ok := ch.ring.fit(ch.builder.Len(), anchor)
	if !ok {
		return errRingFull
	}
	if ch.linking != nil {
		ch.linking(pagefile.WeakPos{File: ch.ring.id, Number: ch.pos.Number + 1, Hash: ch.builder.Hash()})
	}
	hash, n, err := ch.builder.WriteTo(ch.ring.file, ch.ring.offset(at))
	if err != nil {
		ch.abandon()
		return fmt.Errorf("write weak link %d: %w", ch.pos.Number+1, err)
	}
	ch.ring.next = at + n
	ch.since += n
	ch.links++
	ch.bytes += n
	ch.pos = pagefile.WeakPos{File: ch.ring.id, Offset: uint64(ch.ring.offset(ch.ring.next)),
		Number: ch.pos.Number + 1, Hash: hash}
	return nil
}

// abandon gives up a ring whose file failed: it is not written again, the next
// durable cut has another. // I8
func (ch *chain) abandon() {
	ch.ring.file.Close()
	ch.ring = nil
}

func (ch *chain) stop(err error) { ch.up, ch.why = false, err }

// collect adds a section for each shard with news. Pieces are pinned where they
// lie: what is before a cut's tail never changes while its segment has its frame.
// Others are copied to the arena, which has its final size before the first.
func (ch *chain) collect(c *Cut) error {
	if err := ch.makeRoom(c); err != nil {
		return err
	}
	for i := range c.Shards {
		sc := &c.Shards[i]
		if !ch.newsOf(i, sc) {
			continue
		}
		s := &ch.section
		*s = pagefile.Section{Shard: i, Journal: sc.Journal, Died: sc.Died,
			Segments: s.Segments[:0], Pieces: s.Pieces[:0]}
		s.State = sc.State // a copy: the cut itself stays what the source said
		for q := range uint8(fileQueues) {
			ch.collectQueue(i, q, &s.State)
		}
		ch.collectLarge(i, sc.Born)
		if err := ch.builder.Add(s); err != nil {
			return fmt.Errorf("build weak link: %w", err)
		}
	}
	return nil
}

// arenaKept bounds the arena between links. It has a power of two from leastArena
// on, so that links that grow bit by bit do not allocate each time.
const (
	arenaKept  = 1 << 20
	leastArena = 16 << 10
)

// makeRoom says how large the arena is to be: for all bytes of the link. What cannot
// fit the ring is not collected.
func (ch *chain) makeRoom(c *Cut) error {
	var n, journals uint64
	for i := range c.Shards {
		sc := &c.Shards[i]
		for q := range sc.State.Tails {
			n += (sc.State.Tails[q] - ch.cuts[i].Tails[q]) * pagefile.UnitSize
		}
		for _, l := range sc.Born {
			n += uint64(l.Fill) * pagefile.UnitSize
		}
		for _, j := range sc.Journal {
			journals += uint64(len(j))
		}
	}
	if n+journals > uint64(ch.ring.size) {
		return errRingFull
	}
	ch.room = int(n)
	return nil
}

func (ch *chain) takeArena(n int) []byte {
	if n > arenaKept && ch.memory != nil {
		if b, free := ch.memory(n); free != nil {
			ch.kept, ch.free = ch.arena, free
			return b[:0]
		}
	}
	if n <= cap(ch.arena) {
		return ch.arena[:0]
	}
	size := leastArena
	for size < n {
		size *= 2
	}
	return make([]byte, 0, size)
}

// leaveRoom lets go of what was pinned, and gives a large arena back: after a time
// in which the disk was slow a link can be as long as the ring, and on the heap that
// much would stay for minutes. Builder and section refer to it until the next link,
// and nobody looks.
func (ch *chain) leaveRoom() {
	if len(ch.pins) > 0 {
		ch.src.Unpin(ch.pins)
		ch.pins = ch.pins[:0]
	}
	switch {
	case ch.free != nil:
		ch.free()
		ch.arena, ch.kept, ch.free = ch.kept, nil, nil
	case cap(ch.arena) > arenaKept:
		ch.arena = nil
	}
}

// collectQueue adds what was appended to a queue since the cut before. What was
// evicted meanwhile is left out, and head moves past it. Words that lead to a segment
// behind one that is held dangle, and are dropped by who opens the link. // I10
func (ch *chain) collectQueue(shard int, q uint8, state *pagefile.ShardState) {
	from, to := ch.cuts[shard].Tails[q], state.Tails[q]
	if from >= to {
		return
	}
	whole := true
	for seq := from / ch.units; seq*ch.units < to; seq++ {
		start := seq * ch.units
		seg, ok := look(ch.src, ch.units, shard, q, seq, to)
		if !ok {
			whole = false
			continue
		}
		first := max(from, start) - start
		if first == 0 || seg.Fill != pagefile.OpenFill {
			ch.section.Segments = append(ch.section.Segments, seg)
		}
		whole = ch.piece(shard, seg, first, min(to-start, uint64(seg.Fill))) && whole
	}
	if !whole {
		state.Heads[q] = livingHead(ch.src, ch.units, shard, q, state.Heads[q], to)
	}
}

// collectLarge adds the segments of large values. One that has ended meanwhile is
// named all the same, without its bytes: so who opens the link knows to look for the
// entry that lists it.
func (ch *chain) collectLarge(shard int, born []Large) {
	for _, l := range born {
		seg := largeSegment(l)
		ch.section.Segments = append(ch.section.Segments, seg)
		ch.piece(shard, seg, 0, uint64(l.Fill))
	}
}

// leastPin is how long a piece must be for its pin to cost less than a copy.
const leastPin = 2 << 10

// piece adds units [first, end) of a segment; false if it is gone.
func (ch *chain) piece(shard int, seg pagefile.Segment, first, end uint64) bool {
	if first >= end {
		return true
	}
	id := SegmentID{seg.Queue, seg.Seq, seg.Number}
	off, n := int(first*pagefile.UnitSize), int((end-first)*pagefile.UnitSize)
	b, ok := ch.pin(shard, id, off, n)
	if !ok {
		b, ok = ch.copyOut(shard, id, off, n)
	}
	if ok {
		ch.section.Pieces = append(ch.section.Pieces, pagefile.Piece{Number: seg.Number, Offset: uint32(off), Bytes: b})
	}
	return ok
}

func (ch *chain) pin(shard int, id SegmentID, off, n int) ([]byte, bool) {
	if n < leastPin {
		return nil, false
	}
	b, pin, ok := ch.src.Pin(shard, id, off, n)
	if ok {
		ch.pins = append(ch.pins, pin)
	}
	return b, ok
}

func (ch *chain) copyOut(shard int, id SegmentID, off, n int) ([]byte, bool) {
	if ch.room >= 0 {
		ch.arena, ch.room = ch.takeArena(ch.room), -1
	}
	from := len(ch.arena)
	b := ch.arena[from : from+n : from+n]
	if !ch.src.Copy(b, shard, id, off) {
		return nil, false
	}
	ch.arena = ch.arena[:from+n]
	return b, true
}

// largeSegment is a large segment as a table line.
func largeSegment(l Large) pagefile.Segment {
	return pagefile.Segment{Number: l.Number, Queue: pagefile.QueueLarge, Seq: l.Number,
		Place: pagefile.NoPlace, Fill: l.Fill}
}

// look asks for the segment at seq of a queue as it was at a cut with that tail:
// one that was sealed since is still open there.
func look(src Source, units uint64, shard int, q uint8, seq, tail uint64) (seg pagefile.Segment, ok bool) {
	number, fill, ok := src.Segment(shard, q, seq)
	if !ok || number == 0 {
		return seg, false
	}
	switch {
	case tail < (seq+1)*units:
		fill = pagefile.OpenFill
	case uint64(fill) > units:
		fill = uint32(units)
	}
	return pagefile.Segment{Number: number, Queue: q, Seq: seq, Place: pagefile.NoPlace, Fill: fill}, true
}

// livingHead moves a cut's head past the segments that were evicted since. A
// queue is evicted from its head on, so they are the first ones. One that is gone
// further back is damage, or there was no room to hold it, and does not take those
// before it along.
func livingHead(src Source, units uint64, shard int, q uint8, head, tail uint64) uint64 {
	for head < tail {
		if _, _, ok := src.Segment(shard, q, head/units); ok {
			break
		}
		head = min((head/units+1)*units, tail)
	}
	return head
}

// beyond reports whether a tail lies more than limit units after the head that
// its image began with.
func beyond(tails, heads [fileQueues]uint64, limit uint64) bool {
	for q := range tails {
		if tails[q] > heads[q]+limit {
			return true
		}
	}
	return false
}
