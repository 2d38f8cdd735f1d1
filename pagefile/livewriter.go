package pagefile

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// A LiveWriter appends what one shard does to a Live. Its caller has the shard's
// lock. Items wait until Commit makes a group of them. When a half is full the shard
// is broken until the next cut: Commit says so once, and nothing more is written.
type LiveWriter struct {
	live   *Live
	shard  int
	seq    uint64 // 0: nothing is written
	broken bool
	told   bool  // that it is
	area   int64 // of the half
	extent int64 // that is filled; 0: none
	fresh  bool  // nothing leads to it yet
	link   int64 // where that will be said
	group  int64 // begun, 0: none
	at     int64 // where the next item goes
	end    int64 // of the extent
}

// Writer is for one shard.
func (l *Live) Writer(shard int) *LiveWriter { return &LiveWriter{live: l, shard: shard} }

// Cut goes on in the half of seq, whose Reset came before. What waits is in the
// link of the cut.
func (w *LiveWriter) Cut(seq uint64) {
	area := areaAt(w.shard, seq)
	*w = LiveWriter{live: w.live, shard: w.shard, seq: seq, area: area, link: area + areaFirst}
	binary.LittleEndian.PutUint64(w.live.b[area+areaFirst:], mark(area+areaFirst, seq, 0))
	binary.LittleEndian.PutUint64(w.live.b[area+areaBroken:], mark(area+areaBroken, seq, 0))
	w.live.store(area, mark(area, seq, uint32(seq)))
}

// Seq is the cut that it goes on from, 0 if nothing is written.
func (w *LiveWriter) Seq() uint64 { return w.seq }

// Break gives the half up.
func (w *LiveWriter) Break() { w.broken = true }

// room returns n bytes for an item of a group; nil if nothing is written.
func (w *LiveWriter) room(n int64) []byte {
	if w.seq == 0 || w.broken {
		return nil
	}
	if w.group == 0 {
		w.group, w.at = w.at, w.at+liveGroup
	}
	if w.at+n > w.end && !w.extend(n) {
		w.broken = true
		return nil
	}
	b := w.live.b[w.at : w.at+n : w.at+n]
	w.at += n
	return b
}

// extend moves the group that was begun to another extent, with room for n more.
func (w *LiveWriter) extend(n int64) bool {
	have := w.at - w.group
	size := max(w.live.extent, (liveExtent+2*(have+n)+63)&^63)
	at, ok := w.live.alloc(w.seq, size)
	if !ok {
		size = (liveExtent + have + n + 63) &^ 63
		if at, ok = w.live.alloc(w.seq, size); !ok {
			return false
		}
	}
	b := w.live.b
	appendWords(append32(b[at:at], uint32(size), uint32(w.shard)), mark(at+extentUsed, w.seq, 0), mark(at+extentNext, w.seq, 0), w.seq)
	if have > liveGroup {
		copy(b[at+liveExtent+liveGroup:], b[w.group+liveGroup:w.at])
	}
	if w.extent != 0 && !w.fresh {
		w.link = w.extent + extentNext
	}
	w.extent, w.fresh = at, true
	w.group, w.at, w.end = at+liveExtent, at+liveExtent+have, at+size
	return true
}

// Store adds a slot's word, as the journal has it.
func (w *LiveWriter) Store(slot uint32, word uint64) {
	if b := w.room(liveStoreSize); b != nil {
		binary.LittleEndian.PutUint32(b, liveStore)
		binary.LittleEndian.PutUint32(b[4:], slot)
		binary.LittleEndian.PutUint64(b[8:], word)
	}
}

// Record adds bytes of segment number, which is seq of queue q, from off on. They
// are a multiple of UnitSize.
func (w *LiveWriter) Record(q uint8, number, seq uint64, off int, bytes []byte) {
	b := w.room(liveRecordSize + int64(len(bytes)))
	if b == nil {
		return
	}
	binary.LittleEndian.PutUint32(b, liveRecord|uint32(q)<<8)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(bytes)))
	binary.LittleEndian.PutUint64(b[8:], number)
	binary.LittleEndian.PutUint64(b[16:], seq)
	binary.LittleEndian.PutUint64(b[24:], uint64(uint32(off)))
	copy(b[liveRecordSize:], bytes)
}

// Seal says that a segment of queue q ends after fill units.
func (w *LiveWriter) Seal(q uint8, number, seq uint64, fill uint32) {
	if b := w.room(liveSealSize); b != nil {
		binary.LittleEndian.PutUint32(b, liveSeal|uint32(q)<<8)
		binary.LittleEndian.PutUint32(b[4:], fill)
		binary.LittleEndian.PutUint64(b[8:], number)
		binary.LittleEndian.PutUint64(b[16:], seq)
	}
}

// Born adds a segment of a large value, whose bytes Keep has kept.
func (w *LiveWriter) Born(number uint64, fill uint32, off, sum uint64) {
	if b := w.room(liveBornSize); b != nil {
		binary.LittleEndian.PutUint32(b, liveBorn)
		binary.LittleEndian.PutUint32(b[4:], fill)
		binary.LittleEndian.PutUint64(b[8:], number)
		binary.LittleEndian.PutUint64(b[16:], off)
		binary.LittleEndian.PutUint64(b[24:], sum)
	}
}

// Died says that a segment of a large value has ended.
func (w *LiveWriter) Died(number uint64) {
	if b := w.room(liveDiedSize); b != nil {
		binary.LittleEndian.PutUint64(b, liveDied)
		binary.LittleEndian.PutUint64(b[8:], number)
	}
}

// Commit makes a group of what waits, with the shard's state after it, and returns
// the store that counts it in: the caller makes it, after all stores of before and
// before any other; p is nil if there is none to make.
func (w *LiveWriter) Commit(state *ShardState, tag uint64) (p *uint64, v uint64) {
	if w.room(0) == nil {
		if w.broken && !w.told {
			w.told = true
			return w.published(w.area+areaBroken, 1)
		}
		return nil, 0
	}
	b := w.live.b[w.group:w.at]
	binary.LittleEndian.PutUint64(b, uint64(len(b)))
	binary.LittleEndian.PutUint64(b[16:], tag)
	state.put(b[24:])
	binary.LittleEndian.PutUint64(b[8:], xxhash.Sum64(b[16:]))
	used, at := uint32(w.at-w.extent-liveExtent), w.extent+extentUsed
	w.group = 0
	if w.fresh {
		w.fresh = false
		binary.LittleEndian.PutUint64(w.live.b[at:], mark(at, w.seq, used))
		return w.published(w.link, uint32(w.extent))
	}
	return w.published(at, used)
}

// published is the store of a mark.
func (w *LiveWriter) published(at int64, v uint32) (*uint64, uint64) {
	return w.live.word(at), little(mark(at, w.seq, v))
}

// Broken reports whether the half is given up.
func (w *LiveWriter) Broken() bool { return w.seq != 0 && w.broken }

// put writes the state to the first bytes of b.
func (s *ShardState) put(b []byte) {
	_ = b[stateSize-1]
	binary.LittleEndian.PutUint64(b, s.Heads[0])
	binary.LittleEndian.PutUint64(b[8:], s.Heads[1])
	binary.LittleEndian.PutUint64(b[16:], s.Tails[0])
	binary.LittleEndian.PutUint64(b[24:], s.Tails[1])
	binary.LittleEndian.PutUint32(b[32:], s.Buckets)
	binary.LittleEndian.PutUint32(b[36:], s.Entries)
	binary.LittleEndian.PutUint64(b[40:], s.Live)
}
