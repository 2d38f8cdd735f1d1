package cache

import (
	"slices"

	"github.com/embercache/ember/loader"
)

// A refill fills new shards with what former ones held. Both have the same keys,
// and nobody else has them, so one goroutine does it, without a lock. It goes
// from the newest segment to the oldest and fills queues from the tail to the
// head: so it can stop where memory ends, or time, and what is left out is the
// oldest, unread.
type refill struct {
	v       *conversion
	formers []*former
	shards  []*shard
	stacks  [][fileQueues]stack // of each shard
	left    int                 // frames that it may still take
	tight   bool                // not all of it may fit
	full    bool                // something did not
	page    []byte              // a former segment
	large   []byte              // a former value
}

// A stack is a queue that is filled from its tail to its head.
type stack struct {
	open bool
	seq  uint64 // of the segment being filled
	used uint64 // units of it
}

// run copies what fits.
func (r *refill) run() {
	classes := []func(word) bool{func(word) bool { return true }}
	if r.tight { // then what nobody used comes last
		classes = []func(word) bool{
			func(w word) bool { return w.freq() > 0 },
			func(w word) bool { return w.freq() == 0 },
		}
	}
	r.page = make([]byte, r.v.geo.SegmentSize)
	order := r.order()
	for _, class := range classes {
		for _, o := range order {
			r.segment(o, class)
		}
	}
	for i, s := range r.shards {
		for q := range uint8(fileQueues) {
			r.seal(s, q, &r.stacks[i][q])
		}
	}
}

// An origin is a former segment that has live records.
type origin struct {
	f   *former
	at  int
	seg *loader.Segment
}

// order lists the segments, the newest first.
func (r *refill) order() (list []origin) {
	for _, f := range r.formers {
		for i := range f.from.Segments {
			if len(f.of(i)) > 0 {
				list = append(list, origin{f, i, &f.from.Segments[i]})
			}
		}
	}
	slices.SortFunc(list, func(a, b origin) int {
		if a.seg.Number > b.seg.Number {
			return -1
		}
		return 1
	})
	return list
}

// segment copies the records of one segment that are of a class.
func (r *refill) segment(o origin, class func(word) bool) {
	var in *segmentReader
	for _, w := range o.f.of(o.at) {
		if !class(w) {
			continue
		}
		if in == nil {
			if r.full || r.v.stop() {
				return
			}
			in = o.f.read(o.seg, r.page)
		}
		r.record(in, w)
	}
}

func (r *refill) record(in *segmentReader, w word) {
	off := int(uint64(w.pos())%r.v.geo.UnitsPerSegment()) * unitSize
	rec, h, ok := in.record(off)
	if !ok {
		return
	}
	if r.v.c.over(h) {
		r.v.expired.Add(1)
		return
	}
	key := rec[headerSize : headerSize+h.keyLen()]
	hash := r.v.c.hash.sum(key)
	if tagOf(hash) != w.tag() || int(shardOf(hash))*r.v.geo.Shards/maxShards != in.f.id {
		return // not written by us
	}
	value, buf, ok := in.f.value(rec, h, r.large)
	if r.large = buf; ok {
		r.put(h, hash, key, value, w)
	}
}

// put stores an entry. One that the shape has no room for, or that finds none, is
// left out.
func (r *refill) put(h header, hash uint64, key, value []byte, w word) {
	c, size := r.v.c, r.v.c.segmentSize
	s := c.shardOf(hash)
	e := entry{hash: hash, key: key, body: value, q: w.queue()}
	flags := h.flags() &^ flagLarge
	if headerSize+len(key) > size/2 {
		return
	}
	if headerSize+len(key)+len(value) > size/2 {
		own, _ := layout(len(key), len(value), size)
		if 8*own > size/4 {
			return
		}
		ok := false
		if e.body, ok = c.fillLarge(value, own, r.take); !ok {
			return
		}
		flags |= flagLarge
	}
	e.head = makeHeader(len(key), len(value), flags, h.expiry(), h.stored())
	if !r.publish(s, &e, w.freq()) {
		list := e.list(size)
		c.freeLarge(list)
		r.left += len(list) / 8
	}
}

// publish is setLocked without its cut, its journal and its cleaning: the image
// of the first generation has all of it.
func (r *refill) publish(s *shard, e *entry, freq int) bool {
	pos, ok := r.reserve(s, e.q, e.head.units(s.segmentSize))
	if !ok {
		r.full = r.left == 0
		return false
	}
	s.writeLocked(e.q, pos, e.head, e.key, e.body)
	slot, ok := s.slotLocked(e.hash)
	if !ok {
		return false
	}
	s.putLocked(slot, makeWord(e.q, pos, tagOf(e.hash)).withFreq(freq))
	s.addLocked(e.q, e.head.size(s.segmentSize))
	s.bearLocked(e.q, e.list(s.segmentSize))
	s.growLocked(splitsPerSet)
	return true
}

// reserve makes room for n units before all that the queue has, but for what lies
// in the same segment.
func (r *refill) reserve(s *shard, q uint8, n int) (pos uint64, ok bool) {
	st := &r.stacks[s.id-r.shards[0].id][q]
	if !st.open || st.used+uint64(n) > s.unitMask+1 {
		if !r.open(s, q, st) {
			return 0, false
		}
	}
	pos = s.startOf(st.seq) + st.used
	st.used += uint64(n)
	return pos, true
}

// open opens the segment before the one that is full.
func (r *refill) open(s *shard, q uint8, st *stack) bool {
	qu := &s.queues[q]
	if !st.open {
		qu.tail = s.startOf(uint64(s.ringMask) + 1)
		qu.head = qu.tail
	}
	if s.roomInRing(q) <= ringSpare {
		return false
	}
	frame, ok := r.take()
	if !ok {
		return false
	}
	r.seal(s, q, st)
	qu.head -= s.unitMask + 1
	*st = stack{open: true, seq: s.seqOf(qu.head)}
	s.segmentAt(q, qu.head).open(r.v.number(), frame, allPages)
	s.used.Add(1)
	return true
}

// seal is sealLocked for a segment that nothing will be appended to.
func (r *refill) seal(s *shard, q uint8, st *stack) {
	if !st.open {
		return
	}
	seg := s.segmentAt(q, s.startOf(st.seq))
	off := int(st.used) * unitSize
	clear(s.frames.bytes(seg.frame.Load())[off : (off+pageSize-1)&^(pageSize-1)])
	seg.fill.Store(uint32(st.used))
}

func (r *refill) take() (frame uint32, ok bool) {
	if r.left == 0 {
		return 0, false
	}
	if frame, ok = r.v.c.frames.take(r.v.c.reserve); ok {
		r.left--
	}
	return frame, ok
}
