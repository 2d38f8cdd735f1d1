package loader

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A live log has what a process did after the cut of its newest link; see
// pagefile.Live. It is applied as one link more. It has two halves, one for each cut,
// of each of which all shards count or none (I9). Who goes on from it writes both to
// the ring as one link before it writes anything else.

// A LiveOp is an intent of a batch that was under way, and how many of its steps
// are in the state.
type LiveOp struct {
	Payload []byte
	Done    int
}

// applyLive applies what the live log has after the newest link.
func (l *load) applyLive() {
	if l.Live == nil || l.res.Chain.File == 0 || l.unread {
		return
	}
	v, err := l.viewLive()
	if err != nil && l.res.Record.Clean && l.res.Weak == 0 {
		return // Close came last: the log had nothing more
	}
	if err != nil {
		l.met(LiveEnded, "", 1, err)
		return
	}
	seq, ok := l.liveFrom(v)
	if !ok {
		return // it goes on from what is not the newest state
	}
	for half := range uint64(2) {
		any, err := begun(v, seq+half)
		if err == nil && !any && half == 1 {
			break
		}
		if err == nil {
			err = l.applyHalf(v, seq+half, half == 0)
		}
		if err != nil {
			l.met(LiveEnded, "", 1, err)
			break
		}
	}
	if len(l.res.Live) > 0 || len(l.res.Unfinished) > 0 {
		l.met(LiveApplied, "", 1, nil)
	}
}

// viewLive gives the log, if it is this directory's.
func (l *load) viewLive() (*pagefile.LiveView, error) {
	b, err := l.Live(l.res.Record.Geometry)
	if err != nil {
		return nil, err
	}
	v, err := pagefile.ViewLive(b)
	if err == nil && (v.DirID != l.res.Record.Geometry.DirID || v.Shards != len(l.drafts)) {
		err = fmt.Errorf("%w: the live log is of another directory or shape", pagefile.ErrCorrupt)
	}
	return v, err
}

// applyHalf applies what came after cut seq, if all of it is there.
func (l *load) applyHalf(v *pagefile.LiveView, seq uint64, first bool) error {
	sections, ops, err := l.readHalf(v, seq, first)
	if err != nil {
		return err
	}
	each(l.Workers, len(sections), func(i int) {
		l.drafts[sections[i].Shard].apply(&sections[i], "")
	})
	l.res.Live = join(l.res.Live, sections)
	l.res.Unfinished = ops
	return nil
}

// join makes one section a shard of what came in two, one after the other. Both have
// ascending shards.
func join(a, b []pagefile.Section) []pagefile.Section {
	for i := range b {
		s := &b[i]
		at, ok := slices.BinarySearchFunc(a, s.Shard, func(s pagefile.Section, shard int) int { return s.Shard - shard })
		if !ok {
			a = slices.Insert(a, at, *s)
			continue
		}
		to := &a[at]
		to.State = s.State
		to.Journal = append(to.Journal, s.Journal...)
		to.Segments = append(to.Segments, s.Segments...)
		to.Pieces = append(to.Pieces, s.Pieces...)
		to.Died = append(to.Died, s.Died...)
	}
	return a
}

// liveFrom finds the cut that the newest link ends with. Its base was written before
// the link was, and a hash is no other link's.
func (l *load) liveFrom(v *pagefile.LiveView) (seq uint64, ok bool) {
	pos := l.res.Chain
	for _, base := range v.Bases() {
		if base.Hash == pos.Hash && base.Number == pos.Number {
			return base.Seq, true
		}
	}
	return 0, false
}

// begun reports whether any shard has gone on from cut seq.
func begun(v *pagefile.LiveView, seq uint64) (any bool, err error) {
	for i := 0; i < v.Shards && !any && err == nil; i++ {
		any, err = v.Begun(i, seq)
	}
	return any, err
}

// readHalf makes sections of what came after cut seq. Every shard has gone on from
// the first.
func (l *load) readHalf(v *pagefile.LiveView, seq uint64, first bool) (sections []pagefile.Section, ops []LiveOp, err error) {
	if err := v.Whole(seq); err != nil {
		return nil, nil, err
	}
	intents, err := v.Intents(seq)
	if err != nil {
		return nil, nil, err
	}
	halves := make([]half, len(l.drafts))
	errs := make([]error, len(l.drafts))
	each(l.Workers, len(halves), func(i int) {
		if any, err := v.Begun(i, seq); err != nil || first && !any {
			errs[i] = cmp.Or(err, fmt.Errorf("%w: live log: shard %d has nothing after cut %d", pagefile.ErrCorrupt, i, seq))
			return
		}
		halves[i].read(v, seq, &l.drafts[i], intents)
		errs[i] = halves[i].err
	})
	for i := range halves {
		if errs[i] != nil {
			return nil, nil, errs[i]
		}
		if halves[i].groups > 0 {
			sections = append(sections, halves[i].section)
		}
	}
	return sections, unfinished(intents, halves), nil
}

// unfinished is what is left of batches.
func unfinished(intents []pagefile.LiveIntent, halves []half) (ops []LiveOp) {
	for _, in := range intents {
		if in.Kind != pagefile.IntentBatch {
			continue
		}
		op := LiveOp{Payload: in.Payload}
		for i := range halves {
			op.Done = max(op.Done, int(uint32(halves[i].steps[in.ID])))
		}
		ops = append(ops, op)
	}
	return ops
}

// A half is what a shard did after a cut, as a section of a link.
type half struct {
	d       *draft
	section pagefile.Section
	journal []byte
	pieces  map[uint64]int // number -> of section.Pieces, the last
	groups  int
	steps   map[uint32]uint64 // of what is under way, by id
	clears  map[uint32]bool   // of Clears that are
	tails   [2]uint64
	err     error
}

// read tells the half, and finishes the Clears that were under way.
func (h *half) read(v *pagefile.LiveView, seq uint64, d *draft, intents []pagefile.LiveIntent) {
	*h = half{d: d, section: pagefile.Section{Shard: d.shard, State: d.out.State}, tails: d.tails,
		pieces: make(map[uint64]int), steps: make(map[uint32]uint64), clears: make(map[uint32]bool)}
	for _, in := range intents {
		if in.Kind == pagefile.IntentClear {
			h.clears[in.ID] = true
		}
	}
	if err := v.Visit(d.shard, seq, h); err != nil && h.err == nil {
		h.err = err
	}
	for id := range h.clears {
		if h.steps[id] == 0 {
			h.clear()
		}
	}
	if len(h.journal) > 0 {
		h.section.Journal = [][]byte{h.journal}
	}
	h.check()
}

// clear ends all that the shard has.
func (h *half) clear() {
	s := &h.section
	s.State.Heads, s.State.Entries, s.State.Live = s.State.Tails, 0, 0
	for i := range h.d.rows {
		if r := &h.d.rows[i]; r.Queue == pagefile.QueueLarge {
			s.Died = append(s.Died, r.Number)
		}
	}
	for _, seg := range s.Segments {
		if seg.Queue == pagefile.QueueLarge {
			s.Died = append(s.Died, seg.Number)
		}
	}
	h.groups++
}

// check is what is asked of a link's section, and that words stay within a lap.
func (h *half) check() {
	s := &h.section
	switch {
	case h.err != nil || h.groups == 0:
		return
	case h.d.started && s.State.Tails[0]-h.d.start[0] > pagefile.Lap, h.d.started && s.State.Tails[1]-h.d.start[1] > pagefile.Lap:
		h.err = fmt.Errorf("%w: live log: shard %d is a lap beyond its image", pagefile.ErrCorrupt, s.Shard)
		return
	}
	if h.err = s.Validate(); h.err == nil {
		h.err = h.d.checkSection(s)
	}
	if h.err == nil {
		h.err = checkOrder(h.tails, s)
	}
}

func (h *half) Store(_ uint32, entry []byte) { h.journal = append(h.journal, entry...) }

func (h *half) Record(q uint8, number, seq uint64, off uint32, bytes []byte) {
	s := &h.section
	if i, ok := h.pieces[number]; ok {
		if p := &s.Pieces[i]; int(p.Offset)+len(p.Bytes) == int(off) {
			p.Bytes = append(p.Bytes, bytes...)
			return
		}
	} else {
		s.Segments = append(s.Segments, pagefile.Segment{Number: number, Queue: q, Seq: seq, Place: pagefile.NoPlace, Fill: pagefile.OpenFill})
	}
	h.pieces[number] = len(s.Pieces)
	// A copy, which grows: bytes belong to the log.
	s.Pieces = append(s.Pieces, pagefile.Piece{Number: number, Offset: off, Bytes: append(make([]byte, 0, 2*len(bytes)), bytes...)})
}

func (h *half) Seal(q uint8, number, seq uint64, fill uint32) {
	h.section.Segments = append(h.section.Segments, pagefile.Segment{Number: number, Queue: q, Seq: seq, Place: pagefile.NoPlace, Fill: fill})
}

func (h *half) Born(number uint64, fill uint32, bytes []byte) {
	s := &h.section
	s.Segments = append(s.Segments, pagefile.Segment{Number: number, Queue: pagefile.QueueLarge, Seq: number, Place: pagefile.NoPlace, Fill: fill})
	s.Pieces = append(s.Pieces, pagefile.Piece{Number: number, Bytes: bytes})
}

func (h *half) Died(number uint64) { h.section.Died = append(h.section.Died, number) }

func (h *half) Group(state pagefile.ShardState, tag uint64) {
	h.groups++
	h.section.State = state
	if tag == 0 {
		return
	}
	id := uint32(tag >> 32)
	if h.clears[id] && h.steps[id] == 0 {
		h.clear() // what it had: the sweep that ends large values may not have come to them
		h.section.State = state
	}
	h.steps[id] = max(h.steps[id], tag&(1<<32-1))
}
