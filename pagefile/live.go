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
//	 512  bases     2 of 32 bytes: seq u64, hash u64 of the link that ends with the
//	                cut, its number u64, checksum u64; that of seq is seq & 1
//	 640  broken    u64  seq whose half is not whole, 0: none
//	1024  intents   64 u64: where what is under way is told, 0: nothing
//	4096  areas     of each shard two of 64 bytes, by half:
//	                seq u64, first extent u64, broken u64 (as above), zeroes
//	  .   the halves, from a multiple of 4096 on
//
// An extent belongs to one shard: size u64, used u64, next u64, seq u64, then groups,
// used bytes of them. Offsets are those in the file. A group is what one critical
// section did, whole or not there:
//
//	 0  length    u32  a multiple of 8
//	 4  reserved  u32
//	 8  checksum  u64  of all after it, plus seq<<16 and the shard: another's does not verify
//	16  tag       u64  of an intent: where it lies in the upper half, steps done in the lower
//	24  state     48 bytes, after the group
//	72  items, each a multiple of 8, beginning with kind u8, queue u8, reserved u16:
//	    store   slot u32, word u64
//	    record  length u32, segment number u64, seq u64, offset u32, reserved u32, bytes
//	    seal    fill u32, segment number u64, seq u64
//	    born    fill u32, segment number u64, place u64 of its bytes, checksum u64 of them
//	    died    reserved u32, segment number u64
//
// An intent lies anywhere in its half: length u32, kind u8, reserved u24, seq u64,
// checksum u64 of the payload, payload.
//
// What is counted in is published by one store of 8 bytes, of used, next, first,
// an intent or broken, after all that it leads to. So a group that is not whole was
// not counted in, and nobody has seen what it tells; one that is counted in and does
// not verify is damage.
type Live struct {
	b      []byte
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
	liveSlots    = 64
	liveAreas    = PageSize
	liveArea     = 64
	liveHeader   = 48
	liveExtent   = 32
	liveGroup    = 72
	liveIntent   = 24
	leastExtent  = 4 << 10
	mostExtent   = 256 << 10
	extentsShard = 8 // that a half has for each shard, at least, where there is room
)

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

// LiveSize rounds a size up to one that a live log can have.
func LiveSize(shards int, size int64) int64 {
	least := liveStart(shards) + 2*int64(shards)*leastExtent
	return (max(size, least) + 2*PageSize - 1) &^ (2*PageSize - 1)
}

func liveStart(shards int) int64 {
	return roundUp(int64(liveAreas+shards*2*liveArea), PageSize)
}

// NewLive makes an empty log of memory, whatever it holds. LiveSize gave its size.
// Until SetBase nothing leads to what it had: that comes first.
func NewLive(b []byte, shards int, session, dirID uint64) *Live {
	l := &Live{b: b, first: liveStart(shards)}
	clear(b[liveBases:l.first])
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
func (l *Live) Reset(seq uint64) { l.next[seq&1].Store(0) }

// SetBase says which link ends with cut seq.
func (l *Live) SetBase(seq uint64, pos WeakPos) {
	b := l.b[liveBases+(seq&1)*liveBase:][:liveBase]
	binary.LittleEndian.PutUint64(b[24:], 0) // torn, it does not verify
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint64(b[8:], pos.Hash)
	binary.LittleEndian.PutUint64(b[16:], pos.Number)
	atomic.StoreUint64(l.word(int64(liveBases+(seq&1)*liveBase+24)), nonZero(xxhash.Sum64(b[:24])))
}

// End takes both bases away: nothing leads to the log any more.
func (l *Live) End() { clear(l.b[liveBases : liveBases+2*liveBase]) }

// Break says that the half of seq is not whole.
func (l *Live) Break(seq uint64) { atomic.StoreUint64(l.word(liveBroken), seq) }

// Broken reports whether the half of seq is not whole, for what no shard has.
func (l *Live) Broken(seq uint64) bool { return atomic.LoadUint64(l.word(liveBroken)) == seq }

func (l *Live) word(off int64) *uint64 { return (*uint64)(unsafe.Pointer(&l.b[off])) }

// alloc takes n bytes of the half of seq; false if there are not as many. Any
// goroutine may call it, while no cut can fall.
func (l *Live) alloc(seq uint64, n int64) (off int64, ok bool) {
	h := seq & 1
	n = (n + 63) &^ 63
	for {
		at := l.next[h].Load()
		if n > l.half-at {
			return 0, false // and nothing was taken: others may want less
		}
		if l.next[h].CompareAndSwap(at, at+n) {
			return l.first + int64(h)*l.half + at, true
		}
	}
}

// Fullness is what part of the half of seq is taken, in 64ths.
func (l *Live) Fullness(seq uint64) int { return int(l.next[seq&1].Load() * 64 / l.half) }

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

// Begin tells what is about to be done, so that all of it is done or nothing. While
// it is under way no cut can fall. slot is for tags; -1: there is no room, and the
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
	h := append32(l.b[at:at], uint32(len(payload)), uint32(kind))
	h = appendWords(h, seq, xxhash.Sum64(payload))
	copy(l.b[int(at)+len(h):], payload)
	atomic.StoreUint64(l.word(int64(liveIntents+8*slot)), uint64(at))
	return slot, uint32(at)
}

// Done ends what Begin began.
func (l *Live) Done(slot int, slots *atomic.Uint64) {
	if slot < 0 {
		return
	}
	atomic.StoreUint64(l.word(int64(liveIntents+8*slot)), 0)
	for {
		old := slots.Load()
		if slots.CompareAndSwap(old, old&^(1<<slot)) {
			return
		}
	}
}

// groupSum is the checksum of a group.
func groupSum(b []byte, shard int, seq uint64) uint64 {
	return xxhash.Sum64(b[16:]) + seq<<16 + uint64(shard)
}

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
