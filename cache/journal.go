package cache

import "encoding/binary"

// A journal holds a shard's slot stores since the last cut, 12 bytes each: the
// slot's number and its new word. What a cut took is not written until the dumper
// lets go of it, so that reads it without a lock. The zero journal keeps nothing.
type journal struct {
	chunks *chunks
	chunk  *[journalChunk]byte
	left   int // bytes of chunk that are free, at its end; 0 without a chunk
	// parked stands in for left between a cut and the first store after it, which
	// so comes by extend, and is noted.
	parked int
	clock  *clock // may be nil
	since  int64  // when the first store since the last cut came; 0: none, or no clock
	taken  int    // bytes of chunk that earlier cuts took
	full   [][]byte
	size   int // bytes of full
	// limit is how many stores between two cuts a disk that hangs can make a shard
	// hold, to a chunk; 0: no journal is kept.
	limit int
	lost  bool // overflowed since the last cut: the next durable generation is full
}

const (
	journalEntry = 12
	journalChunk = 5461 * journalEntry // just under 64 KiB
)

// leastJournal is the limit of a shard's journal in the smallest cache.
const leastJournal = 4096

// journalRoom is for the journals of all shards, in bytes: what they may hold, as
// much that the dumper keeps, and what lies in chunks that are not full.
func journalRoom(limit int64, shards int) int {
	return shards * (2*int(limit)*journalEntry + 8*chunkStride)
}

func (j *journal) append(slot uint32, w word) {
	if j.left == 0 && !j.extend() {
		return
	}
	b := j.chunk[journalChunk-j.left:][:journalEntry]
	binary.LittleEndian.PutUint32(b, slot)
	binary.LittleEndian.PutUint64(b[4:], uint64(w))
	j.left -= journalEntry
}

func (j *journal) used() int { return journalChunk - j.left - j.parked }

// extend starts another chunk; false if the store need not be kept.
func (j *journal) extend() bool {
	if j.limit == 0 || j.lost {
		return false
	}
	if j.since == 0 && j.clock != nil {
		j.since = j.clock.last()
	}
	if j.parked > 0 {
		j.left, j.parked = j.parked, 0
		return true
	}
	j.putAside()
	if j.size < j.limit*journalEntry {
		if j.chunk = j.chunks.take(); j.chunk != nil {
			j.left, j.taken = journalChunk, 0
			return true
		}
	}
	j.drop()
	*j = journal{chunks: j.chunks, limit: j.limit, lost: true, clock: j.clock, since: j.since}
	return false
}

// putAside is for a chunk that is full.
func (j *journal) putAside() {
	switch {
	case j.chunk == nil:
	case j.used() > j.taken: // the part holds the chunk from here on
		j.full = append(j.full, j.chunk[j.taken:j.used()])
		j.size += j.used() - j.taken
	default:
		j.chunks.drop(j.chunk[:])
	}
	j.chunk = nil
}

// drop lets go of all memory.
func (j *journal) drop() {
	j.putAside()
	for _, part := range j.full {
		j.chunks.drop(part)
	}
}

// cut returns the stores since the cut before, whether some were lost, and when
// the first came. Who has the parts drops each from chunks when it is done.
func (j *journal) cut() (parts [][]byte, lost bool, since int64) {
	parts, lost, since = j.full, j.lost, j.since
	if j.chunk != nil && j.used() > j.taken {
		parts = append(parts, j.chunk[j.taken:j.used():j.used()])
		j.chunks.hold(j.chunk[:])
		j.taken = j.used()
	}
	j.parked, j.left = j.parked+j.left, 0
	j.full, j.size, j.lost, j.since = nil, 0, false, 0
	return parts, lost, since
}
