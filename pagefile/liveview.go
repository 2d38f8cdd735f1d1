package pagefile

import (
	"github.com/cespare/xxhash/v2"
)

// A LiveView reads what a live log held when its process ended: a copy of the file.
// No length is trusted because a checksum was right.
type LiveView struct {
	Session, DirID uint64
	Shards         int

	b    []byte
	half int64
	from int64 // of the first half
}

// A LiveBase says that a link ends with a cut.
type LiveBase struct{ Seq, Hash, Number uint64 }

// A LiveIntent is something that was under way.
type LiveIntent struct {
	ID      uint32 // in the tags of its steps
	Kind    uint8
	Payload []byte
}

// A LiveVisitor is told what a shard did since a cut, in order; see Live.
type LiveVisitor interface {
	Store(slot uint32, entry []byte) // entry as a journal has it
	Record(q uint8, number, seq uint64, off uint32, bytes []byte)
	Seal(q uint8, number, seq uint64, fill uint32)
	Born(number uint64, fill uint32, bytes []byte)
	Died(number uint64)
	Group(state ShardState, tag uint64) // ends what came since the last one
}

// LiveHeader is how many bytes of a file LiveSession needs.
const LiveHeader = PageSize

// LiveSession reads from the first bytes of a file which process' log it is; 0: it is
// none.
func LiveSession(b []byte) uint64 {
	if len(b) < LiveHeader || string(b[:4]) != liveMagic || le16(b, 4) != liveVersion || le64(b, 40) != xxhash.Sum64(b[:40]) ||
		le16(b, 6) != 0 || le32(b, 28) != 0 || le64(b, 32) > mostLive {
		return 0
	}
	return le64(b, 8)
}

// LiveLength is how long the file of a header is that LiveSession takes.
func LiveLength(b []byte) int64 { return int64(le64(b, 32)) }

func baseAt(b []byte, i int) (base LiveBase, ok bool) {
	b = b[liveBases+i*liveBase:]
	base = LiveBase{Seq: le64(b, 0), Hash: le64(b, 8), Number: le64(b, 16)}
	return base, le64(b, 24) == checksum(b[:24]) && base.Seq&1 == uint64(i)
}

// ViewLive reads a whole file.
func ViewLive(b []byte) (*LiveView, error) {
	session := LiveSession(b)
	if session == 0 {
		return nil, corrupt("live log: no header")
	}
	v := &LiveView{Session: session, DirID: le64(b, 16), Shards: int(le32(b, 24)), b: b}
	if v.Shards < 1 || v.Shards > MaxShards || LiveLength(b) != int64(len(b)) {
		return nil, corrupt("live log: %d shards, %d of %d bytes", v.Shards, len(b), le64(b, 32))
	}
	v.from = liveStart(v.Shards)
	if v.half = (int64(len(b)) - v.from) / 2 &^ 63; v.half <= 0 {
		return nil, corrupt("live log: %d bytes for %d shards", len(b), v.Shards)
	}
	return v, nil
}

// Bases are what links it goes on from, the newest first.
func (v *LiveView) Bases() (bases []LiveBase) {
	for i := range 2 {
		if base, ok := baseAt(v.b, i); ok {
			bases = append(bases, base)
		}
	}
	if len(bases) == 2 && bases[0].Seq < bases[1].Seq {
		bases[0], bases[1] = bases[1], bases[0]
	}
	return bases
}

// Begun reports whether a shard went on from cut seq. An error says that it cannot be
// known.
func (v *LiveView) Begun(shard int, seq uint64) (bool, error) {
	at := areaAt(shard, seq)
	if v.marked(at, seq, uint32(seq)) {
		return true, nil
	}
	if _, of := v.number(brokenAt(seq), seq); of && le64(v.b, int(at)) != 0 {
		return false, corrupt("live log: whether shard %d has begun after cut %d", shard, seq)
	}
	return false, nil
}

// Whole is nil if nothing is missing of what came after cut seq, as far as it was
// begun.
func (v *LiveView) Whole(seq uint64) error {
	if !v.marked(brokenAt(seq), seq, 0) {
		return corrupt("live log: what came after cut %d did not fit, or does not verify", seq)
	}
	left := uint64(v.half) // extents do not overlap: so much can be read of all shards
	for i := range v.Shards {
		if begun, err := v.Begun(i, seq); err != nil {
			return err
		} else if !begun {
			continue
		}
		if !v.marked(areaAt(i, seq)+areaBroken, seq, 0) {
			return corrupt("live log: what shard %d did after cut %d did not fit, or does not verify", i, seq)
		}
		err := v.extents(i, seq, func(e []byte, _ uint32) error {
			if uint64(len(e)) > left {
				return corrupt("live log: extents of shard %d overlap with others", i)
			}
			left -= uint64(len(e))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// marked reports whether v is marked at an offset.
func (v *LiveView) marked(at int64, seq uint64, n uint32) bool {
	return le64(v.b, int(at)) == mark(at, seq, n)
}

// number is what is marked at an offset.
func (v *LiveView) number(at int64, seq uint64) (n uint32, ok bool) {
	n = le32(v.b, int(at))
	return n, v.marked(at, seq, n)
}

// inHalf returns n bytes at off, nil if they are not all in the half of seq.
func (v *LiveView) inHalf(seq, off, n uint64) []byte {
	from := uint64(v.from + int64(seq&1)*v.half)
	if off < from || off > from+uint64(v.half) || n > from+uint64(v.half)-off || off%8 != 0 {
		return nil
	}
	return v.b[off : off+n]
}

// Visit tells what a shard did after cut seq, if Whole says that it can be told. After
// an error what was told is of no account.
func (v *LiveView) Visit(shard int, seq uint64, to LiveVisitor) error {
	if begun, err := v.Begun(shard, seq); err != nil || !begun {
		return err
	}
	r := &liveReader{v: v, seq: seq, to: to, left: v.half}
	return v.extents(shard, seq, func(e []byte, used uint32) error {
		return r.groups(e[liveExtent : liveExtent+used])
	})
}

// extents calls f with each extent of a shard. They ascend, so that there is no cycle.
func (v *LiveView) extents(shard int, seq uint64, f func(e []byte, used uint32) error) error {
	for at, end := areaAt(shard, seq)+areaFirst, uint64(0); ; {
		next, ok := v.number(at, seq)
		if next == 0 && ok {
			return nil
		}
		h := v.inHalf(seq, uint64(next), liveExtent)
		if !ok || h == nil || uint64(next) < end {
			return corrupt("live log: shard %d: an extent at %d", shard, next)
		}
		at = int64(next)
		e := v.inHalf(seq, uint64(next), uint64(le32(h, 0)))
		used, ok := v.number(at+extentUsed, seq)
		if !ok || e == nil || int(le32(h, 4)) != shard || le64(h, extentSeq) != seq || int64(used) > int64(len(e))-liveExtent {
			return corrupt("live log: shard %d: extent at %d of %d bytes, %d used", shard, at, le32(h, 0), used)
		}
		if err := f(e, used); err != nil {
			return err
		}
		at, end = at+extentNext, uint64(at)+uint64(len(e))
	}
}

// A liveReader reads what a shard did.
type liveReader struct {
	v    *LiveView
	seq  uint64
	to   LiveVisitor
	left int64 // bytes that may yet be born: none are twice
}

func (r *liveReader) groups(b []byte) error {
	for len(b) > 0 {
		if len(b) < liveGroup {
			return corrupt("live log: a group of %d bytes", len(b))
		}
		n := le64(b, 0)
		if n < liveGroup || n > uint64(len(b)) || n%8 != 0 || le64(b, 8) != xxhash.Sum64(b[16:n]) {
			return corrupt("live log: a group of %d bytes does not verify", n)
		}
		state, err := parseState(b[24:])
		if err != nil {
			return err
		}
		for items := b[liveGroup:n]; len(items) > 0; {
			size, err := r.item(items)
			if err != nil {
				return err
			}
			items = items[size:]
		}
		r.to.Group(state, le64(b, 16))
		b = b[n:]
	}
	return nil
}

// liveSizes are those of items, by kind, without the bytes of a record.
var liveSizes = [256]int{liveStore: liveStoreSize, liveRecord: liveRecordSize, liveSeal: liveSealSize, liveBorn: liveBornSize, liveDied: liveDiedSize}

// item tells one item and returns its size.
func (r *liveReader) item(b []byte) (size int, err error) {
	kind, q, arg := b[0], b[1], le32(b, 4)
	size = liveSizes[kind]
	if size == 0 || size > len(b) || le16(b, 2) != 0 || q > QueueMain || q != 0 && kind != liveRecord && kind != liveSeal {
		return 0, corrupt("live log: item %d of queue %d", kind, q)
	}
	switch kind {
	case liveStore:
		r.to.Store(arg, b[4:liveStoreSize])
	case liveRecord:
		if arg%UnitSize != 0 || int64(arg) > int64(len(b)-size) || le32(b, 28) != 0 {
			return 0, corrupt("live log: a record of %d bytes", arg)
		}
		size += int(arg)
		r.to.Record(q, le64(b, 8), le64(b, 16), le32(b, 24), b[liveRecordSize:size])
	case liveSeal:
		r.to.Seal(q, le64(b, 8), le64(b, 16), arg)
	case liveBorn:
		return size, r.born(b)
	case liveDied:
		if arg != 0 {
			return 0, corrupt("live log: a segment that died has %d", arg)
		}
		r.to.Died(le64(b, 8))
	}
	return size, nil
}

func (r *liveReader) born(b []byte) error {
	number, fill := le64(b, 8), le32(b, 4)
	n := int64(fill) * UnitSize
	if r.left -= n; n > MaxSegmentSize || r.left < 0 {
		return corrupt("live log: segment %x with %d units", number, fill)
	}
	bytes := r.v.inHalf(r.seq, le64(b, 16), uint64(n))
	if bytes == nil || xxhash.Sum64(bytes) != le64(b, 24) {
		return corrupt("live log: bytes of segment %x", number)
	}
	r.to.Born(number, fill, bytes)
	return nil
}

// Intents are what was under way after cut seq. No cut falls meanwhile: what is told
// of another one is told of the next.
func (v *LiveView) Intents(seq uint64) (list []LiveIntent, err error) {
	for slot := range LiveSlots {
		at := intentAt(slot)
		off, ok := v.number(at, seq)
		if le64(v.b, int(at)) == 0 || v.marked(at, seq+1, off) {
			continue
		}
		h := v.inHalf(seq, uint64(off), liveIntent)
		if !ok || h == nil {
			return nil, corrupt("live log: what was under way in slot %d", slot)
		}
		b := v.inHalf(seq, uint64(off), liveIntent+uint64(le32(h, 8)))
		if b == nil || le64(h, 0) != xxhash.Sum64(b[8:]) || le64(h, 16) != seq || le32(h, 12) != IntentBatch && le32(h, 12) != IntentClear {
			return nil, corrupt("live log: what was under way at %d", off)
		}
		list = append(list, LiveIntent{ID: off, Kind: h[12], Payload: b[liveIntent:]})
	}
	return list, nil
}
