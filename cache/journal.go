package cache

import "encoding/binary"

// A journal holds a shard's slot stores since the last cut, 12 bytes each: the
// slot's number and its new word. What a cut took is never written again, so the
// dumper reads it without a lock.
type journal struct {
	chunk  *[journalChunk]byte
	used   int // bytes of chunk
	taken  int // bytes of chunk that earlier cuts took
	stores int // since the last cut
	// limit is how many stores between two cuts a disk that hangs can make a shard
	// hold; 0: no journal is kept.
	limit int
	lost  bool // overflowed since the last cut: the next durable generation is full
	full  [][]byte
}

const (
	journalEntry = 12
	leastJournal = 4096                // entries that a shard may always have
	journalChunk = 5461 * journalEntry // just under 64 KiB
)

func (j *journal) append(slot uint32, w word) {
	n := j.used
	if n+journalEntry > journalChunk || j.chunk == nil {
		if !j.extend() {
			return
		}
		n = 0
	}
	b := j.chunk[n : n+journalEntry]
	binary.LittleEndian.PutUint32(b, slot)
	binary.LittleEndian.PutUint64(b[4:], uint64(w))
	j.used = n + journalEntry
	j.stores++
}

// extend starts another chunk; false if the store need not be kept.
func (j *journal) extend() bool {
	if j.limit == 0 || j.lost {
		return false
	}
	if j.stores >= j.limit {
		*j = journal{limit: j.limit, lost: true}
		return false
	}
	if j.used > j.taken {
		j.full = append(j.full, j.chunk[j.taken:j.used])
	}
	j.chunk, j.used, j.taken = new([journalChunk]byte), 0, 0
	return true
}

// cut returns the stores since the cut before, and whether some were lost.
func (j *journal) cut() (parts [][]byte, lost bool) {
	parts, lost = j.full, j.lost
	if j.used > j.taken {
		parts = append(parts, j.chunk[j.taken:j.used:j.used])
	}
	j.taken = j.used
	j.full, j.stores, j.lost = nil, 0, false
	return parts, lost
}
