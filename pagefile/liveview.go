package pagefile

import (
	"encoding/binary"

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

// LiveHeader is how many bytes of a file PeekLive needs.
const LiveHeader = PageSize

// PeekLive reads whose log it is, and whether anything may lead to it, from the first
// bytes of a file.
func PeekLive(b []byte) (session, dirID uint64, based bool) {
	if len(b) < LiveHeader || string(b[:4]) != liveMagic || le16(b, 4) != liveVersion || le64(b, 40) != xxhash.Sum64(b[:40]) {
		return 0, 0, false
	}
	for i := range 2 {
		_, ok := baseAt(b, i)
		based = based || ok
	}
	return le64(b, 8), le64(b, 16), based
}

func baseAt(b []byte, i int) (base LiveBase, ok bool) {
	b = b[liveBases+i*liveBase:]
	base = LiveBase{Seq: le64(b, 0), Hash: le64(b, 8), Number: le64(b, 16)}
	return base, le64(b, 24) == nonZero(xxhash.Sum64(b[:24])) && base.Seq&1 == uint64(i)
}

// ViewLive reads a whole file.
func ViewLive(b []byte) (*LiveView, error) {
	session, dirID, _ := PeekLive(b)
	if session == 0 {
		return nil, corrupt("live log: no header")
	}
	v := &LiveView{Session: session, DirID: dirID, Shards: int(le32(b, 24)), b: b}
	if v.Shards < 1 || v.Shards > MaxShards || le64(b, 32) != uint64(len(b)) {
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

func (v *LiveView) area(shard int, seq uint64) []byte {
	return v.b[liveAreas+(2*shard+int(seq&1))*liveArea:][:liveArea]
}

// Begun reports whether a shard went on from cut seq.
func (v *LiveView) Begun(shard int, seq uint64) bool { return le64(v.area(shard, seq), 0) == seq }

// Whole is nil if nothing is missing of what came after cut seq, as far as it was
// begun.
func (v *LiveView) Whole(seq uint64) error {
	if le64(v.b, liveBroken) == seq {
		return corrupt("live log: what came after cut %d did not fit", seq)
	}
	for i := range v.Shards {
		if a := v.area(i, seq); le64(a, 0) == seq && le64(a, 16) == seq {
			return corrupt("live log: what shard %d did after cut %d did not fit", i, seq)
		}
	}
	return nil
}

// inHalf returns n bytes at off, nil if they are not all in the half of seq.
func (v *LiveView) inHalf(seq, off, n uint64) []byte {
	from := uint64(v.from + int64(seq&1)*v.half)
	if off < from || off > from+uint64(v.half) || n > from+uint64(v.half)-off || off%8 != 0 {
		return nil
	}
	return v.b[off : off+n]
}

// Visit tells what a shard did after cut seq. After an error what was told is of no
// account.
func (v *LiveView) Visit(shard int, seq uint64, to LiveVisitor) error {
	if !v.Begun(shard, seq) {
		return nil
	}
	last := uint64(0)
	for off := le64(v.area(shard, seq), 8); off != 0; {
		h := v.inHalf(seq, off, liveExtent)
		if h == nil || off <= last {
			return corrupt("live log: shard %d: extent at %d", shard, off)
		}
		size, used, next := le64(h, 0), le64(h, 8), le64(h, 16)
		if e := v.inHalf(seq, off, size); e == nil || le64(h, 24) != seq || used > size || size-used < liveExtent {
			return corrupt("live log: shard %d: extent at %d of %d bytes, %d used", shard, off, size, used)
		} else if err := v.groups(shard, seq, e[liveExtent:liveExtent+used], to); err != nil {
			return err
		}
		last, off = off, next // they ascend, so that there is no cycle
	}
	return nil
}

func (v *LiveView) groups(shard int, seq uint64, b []byte, to LiveVisitor) error {
	for len(b) > 0 {
		if len(b) < liveGroup {
			return corrupt("live log: a group of %d bytes", len(b))
		}
		n := le64(b, 0)
		if n < liveGroup || n > uint64(len(b)) || n%8 != 0 || le64(b, 8) != groupSum(b[:n], shard, seq) {
			return corrupt("live log: a group of %d bytes does not verify", n)
		}
		state, err := parseState(b[24:])
		if err != nil {
			return err
		}
		for items := b[liveGroup:n]; len(items) > 0; {
			size, err := v.item(seq, items, to)
			if err != nil {
				return err
			}
			items = items[size:]
		}
		to.Group(state, le64(b, 16))
		b = b[n:]
	}
	return nil
}

// item tells one item and returns its size.
func (v *LiveView) item(seq uint64, b []byte, to LiveVisitor) (size int, err error) {
	kind, q, arg := b[0], b[1], le32(b, 4)
	size = [...]int{liveStore: liveStoreSize, liveRecord: liveRecordSize, liveSeal: liveSealSize, liveBorn: liveBornSize, liveDied: liveDiedSize, 255: 0}[kind]
	if size == 0 || size > len(b) || le16(b, 2) != 0 || q > QueueMain {
		return 0, corrupt("live log: item %d of queue %d", kind, q)
	}
	switch kind {
	case liveStore:
		to.Store(arg, b[4:liveStoreSize])
	case liveRecord:
		n := int64(arg)
		if n%UnitSize != 0 || n > int64(len(b)-size) {
			return 0, corrupt("live log: a record of %d bytes", n)
		}
		size += int(n)
		to.Record(q, le64(b, 8), le64(b, 16), le32(b, 24), b[liveRecordSize:size])
	case liveSeal:
		to.Seal(q, le64(b, 8), le64(b, 16), arg)
	case liveBorn:
		bytes := v.inHalf(seq, le64(b, 16), min(uint64(arg), MaxSegmentSize/UnitSize)*UnitSize)
		if bytes == nil || xxhash.Sum64(bytes) != le64(b, 24) {
			return 0, corrupt("live log: bytes of segment %x", le64(b, 8))
		}
		to.Born(le64(b, 8), arg, bytes)
	case liveDied:
		to.Died(le64(b, 8))
	}
	return size, nil
}

// Intents are what was under way after cut seq.
func (v *LiveView) Intents(seq uint64) (list []LiveIntent, err error) {
	for slot := range liveSlots {
		off := le64(v.b, liveIntents+8*slot)
		if off == 0 {
			continue
		}
		h := v.inHalf(seq, off, liveIntent)
		if h == nil || le64(h, 8) != seq {
			continue // of a half that was written over
		}
		p := v.inHalf(seq, off+liveIntent, uint64(le32(h, 0)))
		if p == nil || xxhash.Sum64(p) != le64(h, 16) {
			return nil, corrupt("live log: what was under way in slot %d", slot)
		}
		list = append(list, LiveIntent{ID: uint32(off), Kind: uint8(binary.LittleEndian.Uint32(h[4:])), Payload: p})
	}
	return list, nil
}
