package pagefile

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// A live log is memory that outlives its process: a file on a tmpfs, mapped and
// allocated in whole. It has what a link of the weak chain would have, store by
// store, from the cut on that the newest link ends with, so that a process that is
// killed loses nothing. It has two halves, which serve in turn from cut to cut. The
// seq of a cut counts up; the half of seq is seq & 1. A half is written anew when the
// link of the cut that ended it is wholly in the ring.
//
//	   0  magic     4 bytes, "EmLv"
//	   4  version   u16
//	   6  reserved  u16
//	   8  session   u64  of the process that writes
//	  16  dir id    u64
//	  24  shards    u32
//	  28  reserved  u32
//	  32  size      u64  of the file
//	  40  checksum  u64  of all before it
//	  48  zeroes
//	 512  bases     2 of 32 bytes: seq u64, hash u64 of the link that ends with the
//	                cut, its number u64, checksum u64; that of seq is seq & 1
//	 640  broken    2 marks, by half: 1 if it is not whole, 0 if no shard is to blame
//	1024  intents   64 marks: where what is under way is told; 8 zeroes: nothing
//	4096  areas     of each shard two of 64 bytes, by half: marks of the lower half of
//	                seq, of the first extent, and of 1 if it is broken; 8 zeroes for
//	                the first while the shard has not come there; zeroes
//	   .  halves, from a multiple of 4096 on
//
// A mark is a number that one store of 8 bytes publishes, after all that it leads to,
// and that no other can be taken for: u32, then a u32 that follows from that one, from
// the offset of the mark in the file, and from the seq of the half (see mark).
//
// An extent belongs to one shard. No two overlap, and the next one lies behind.
//
//	 0  size   u32   bytes, with these
//	 4  shard  u32
//	 8  used   mark  bytes of groups
//	16  next   mark  offset in the file, 0: none
//	24  seq    u64
//	32  groups
//
// A group is what one critical section did, whole or not there. Its length, and that
// of each item, is a multiple of 8.
//
//	 0  length    u32
//	 4  reserved  u32
//	 8  checksum  u64  of all after it
//	16  tag       u64  of an intent: where it lies in the upper half, steps done in the lower
//	24  state     48 bytes, after the group
//	72  items, each kind u8, queue u8, reserved u16, and then
//	    1 store   slot u32, word u64
//	    2 record  length u32, segment number u64, seq u64, offset u32, reserved u32, bytes
//	    3 seal    fill u32, segment number u64, seq u64
//	    4 born    fill u32, segment number u64, place u64 of its bytes, checksum u64 of them
//	    5 died    reserved u32, segment number u64
//
// An intent lies anywhere in its half, and so do the bytes of what is born.
//
//	 0  checksum  u64  of all after it
//	 8  length    u32  of the payload
//	12  kind      u8
//	13  reserved  3 bytes
//	16  seq       u64
//	24  payload
//
// A group that is not whole was not counted in, and nobody has seen what it tells; one
// that is counted in and does not verify is damage.
type Live struct {
	b      []byte
	shards int
	half   int64 // bytes of each
	first  int64 // of the first half
	extent int64 // bytes of a common extent
	next   [2]atomic.Int64
}

const (
	liveMagic    = "EmLv"
	liveVersion  = 1
	liveBases    = 512
	liveBase     = 32
	liveBroken   = 640
	liveIntents  = 1024
	liveAreas    = PageSize
	liveArea     = 64
	liveHeader   = 48
	liveExtent   = 32
	liveGroup    = 72
	liveIntent   = 24
	mostLive     = 1 << 31 // bytes of the file: a mark has 32 bits
	leastExtent  = 4 << 10
	mostExtent   = 256 << 10
	extentsShard = 8 // that a half has for each shard, at least, where there is room
)

// In an area and in an extent.
const (
	areaFirst  = 8
	areaBroken = 16
	extentUsed = 8
	extentNext = 16
	extentSeq  = 24
)

func areaAt(shard int, seq uint64) int64 {
	return liveAreas + (2*int64(shard)+int64(seq&1))*liveArea
}

// LiveSlots is how many things can be under way at a time.
const LiveSlots = 64

// Kinds of items.
const (
	liveStore  = 1
	liveRecord = 2
	liveSeal   = 3
	liveBorn   = 4
	liveDied   = 5

	liveStoreSize  = 16
	liveRecordSize = 32
	liveSealSize   = 24
	liveBornSize   = 32
	liveDiedSize   = 16
)

// Kinds of intents.
const (
	IntentBatch = 1 // payload: what BatchOps there are, for the cache
	IntentClear = 2 // no payload; each shard tags the group with which it is cleared
)

// LiveSize rounds a size up to one that a live log can have; 2 GiB are the most.
func LiveSize(shards int, size int64) int64 {
	least := liveStart(shards) + 2*int64(shards)*leastExtent
	return roundUp(min(max(size, least), mostLive), 2*PageSize)
}

// mark is v with what proves that it was stored at that offset for cut seq, in its
// upper half.
func mark(at int64, seq uint64, v uint32) uint64 {
	h := (uint64(v)<<32|uint64(uint32(at)))*0x9e3779b97f4a7c15 ^ seq*0xc2b2ae3d27d4eb4f
	h = (h ^ h>>32) * 0xff51afd7ed558ccd
	return h&^(1<<32-1) | uint64(v)
}

// little is v as a store of 8 bytes has to have it.
func little(v uint64) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return binary.NativeEndian.Uint64(b[:])
}

func liveStart(shards int) int64 {
	return roundUp(int64(liveAreas+shards*2*liveArea), PageSize)
}

// NewLive makes an empty log of memory, whatever it holds. LiveSize gave its size.
// Until SetBase nothing leads to what it had: that comes first.
func NewLive(b []byte, shards int, session, dirID uint64) *Live {
	l := &Live{b: b, shards: shards, first: liveStart(shards)}
	clear(b[:l.first])
	h := append(b[:0], liveMagic...)
	h = binary.LittleEndian.AppendUint16(h, liveVersion)
	h = binary.LittleEndian.AppendUint16(h, 0)
	h = appendWords(h, session, dirID)
	h = append32(h, uint32(shards), 0)
	h = appendWords(h, uint64(len(b)))
	appendWords(h, xxhash.Sum64(h))
	l.half = (int64(len(b)) - l.first) / 2 &^ 63
	l.extent = min(max(l.half/int64(shards*extentsShard), leastExtent), mostExtent) &^ 63
	return l
}

// Reset empties the half of seq. Nobody writes there: the link of the cut that ended
// it is in the ring, or nothing counts any more.
func (l *Live) Reset(seq uint64) {
	l.next[seq&1].Store(0)
	for shard := range l.shards {
		l.store(areaAt(shard, seq), 0)
	}
	l.store(brokenAt(seq), mark(brokenAt(seq), seq, 0)) // from now on it is that of seq
}

// SetBase says which link ends with cut seq.
func (l *Live) SetBase(seq uint64, pos WeakPos) {
	b := l.b[liveBases+(seq&1)*liveBase:][:liveBase]
	binary.LittleEndian.PutUint64(b[24:], 0) // torn, it does not verify
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint64(b[8:], pos.Hash)
	binary.LittleEndian.PutUint64(b[16:], pos.Number)
	l.store(int64(liveBases+(seq&1)*liveBase+24), checksum(b[:24]))
}

// End takes both bases away: nothing leads to the log any more.
func (l *Live) End() { clear(l.b[liveBases : liveBases+2*liveBase]) }

// Break says that the half of seq is not whole.
func (l *Live) Break(seq uint64) { l.store(brokenAt(seq), mark(brokenAt(seq), seq, 1)) }

// Broken reports whether the half of seq is not whole, for what no shard has.
func (l *Live) Broken(seq uint64) bool {
	return atomic.LoadUint64(l.word(brokenAt(seq))) == little(mark(brokenAt(seq), seq, 1))
}

func brokenAt(seq uint64) int64 { return liveBroken + 8*int64(seq&1) }

func (l *Live) word(off int64) *uint64 { return (*uint64)(unsafe.Pointer(&l.b[off])) }

func (l *Live) store(off int64, v uint64) { atomic.StoreUint64(l.word(off), little(v)) }

// alloc takes n bytes of the half of seq; false if there are not as many. Any
// goroutine may call it, while no cut can fall.
func (l *Live) alloc(seq uint64, n int64) (off int64, ok bool) {
	h := seq & 1
	n = roundUp(n, 64)
	for {
		have := l.next[h].Load()
		if n > l.half-have {
			return 0, false
		}
		if l.next[h].CompareAndSwap(have, have+n) {
			return l.first + int64(h)*l.half + have, true
		}
	}
}

// Fullness is what part of the half of seq is taken, in 64ths.
func (l *Live) Fullness(seq uint64) int { return int(l.next[seq&1].Load() * 64 / l.half) }

// Room is how many bytes more Begin can tell in the half of seq, if nobody else takes any.
func (l *Live) Room(seq uint64) int {
	return int(l.half-l.next[seq&1].Load()) - liveIntent
}

// Keep copies bytes of a large segment into the half of seq, outside every lock but
// while no cut can fall, and returns where and their checksum; false: no room.
func (l *Live) Keep(seq uint64, b []byte) (off, sum uint64, ok bool) {
	at, ok := l.alloc(seq, int64(len(b)))
	if !ok {
		return 0, 0, false
	}
	copy(l.b[at:], b)
	return uint64(at), xxhash.Sum64(b), true
}

// Forget wipes what Keep has kept and nothing leads to, before another cut can fall.
func (l *Live) Forget(off uint64, n int) { clear(l.b[off : off+uint64(n)]) }

// Begin tells what is about to be done, so that all of it is done or nothing. While
// it is under way no cut can fall. slot is for Done; -1: there is no room, and the
// half counts no more. id is no other's in this half.
func (l *Live) Begin(seq uint64, kind uint8, payload []byte, slots *atomic.Uint64) (slot int, id uint32) {
	at, ok := l.alloc(seq, int64(liveIntent+len(payload)))
	if ok {
		slot, ok = takeBit(slots)
	}
	if !ok {
		l.Break(seq)
		return -1, 0
	}
	b := l.b[at:][:liveIntent+len(payload)]
	appendWords(append32(b[8:8], uint32(len(payload)), uint32(kind)), seq)
	copy(b[liveIntent:], payload)
	binary.LittleEndian.PutUint64(b, xxhash.Sum64(b[8:]))
	l.store(intentAt(slot), mark(intentAt(slot), seq, uint32(at)))
	return slot, uint32(at)
}

// Done ends what Begin began.
func (l *Live) Done(slot int, slots *atomic.Uint64) {
	if slot < 0 {
		return
	}
	l.store(intentAt(slot), 0)
	for {
		old := slots.Load()
		if slots.CompareAndSwap(old, old&^(1<<slot)) {
			return
		}
	}
}

func intentAt(slot int) int64 { return int64(liveIntents + 8*slot) }

// LiveTag is the tag of a step of what has that id.
func LiveTag(id uint32, steps int) uint64 { return uint64(id)<<32 | uint64(uint32(steps)) }

// takeBit takes a bit that is not set.
func takeBit(w *atomic.Uint64) (bit int, ok bool) {
	for {
		old := w.Load()
		for bit = 0; bit < 64 && old&(1<<bit) != 0; bit++ {
		}
		if bit == 64 {
			return 0, false
		}
		if w.CompareAndSwap(old, old|1<<bit) {
			return bit, true
		}
	}
}
