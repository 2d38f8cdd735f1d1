package cache

import "encoding/binary"

// A journal holds a shard's slot stores since the last cut, 12 bytes each: the
// slot's number and its new word. What a cut took is never written again, so the
// dumper reads it without a lock.
type journal struct {
	limit  int  // stores between two cuts that a disk that hangs can make a shard hold; 0: no journal
	lost   bool // overflowed since the last cut: the next durable generation is full
	stores int  // since the last cut
	full   [][]byte
	chunk  []byte
	taken  int // bytes of chunk that earlier cuts took
}

const (
	journalEntry = 12
	journalChunk = 5461 * journalEntry // just under 64 KiB
)

func (j *journal) append(slot uint32, w word) {
	n := len(j.chunk)
	if n+journalEntry > cap(j.chunk) {
		if !j.extend() {
			return
		}
		n = 0
	}
	b := j.chunk[: n+journalEntry : cap(j.chunk)]
	binary.LittleEndian.PutUint32(b[n:], slot)
	binary.LittleEndian.PutUint64(b[n+4:], uint64(w))
	j.chunk = b
	j.stores++
}

// extend starts another chunk; false if the store need not be kept.
func (j *journal) extend() bool {
	if j.limit == 0 || j.lost {
		return false
	}
	if j.stores >= j.limit {
		j.full, j.chunk, j.taken, j.stores, j.lost = nil, nil, 0, 0, true
		return false
	}
	if len(j.chunk) > j.taken {
		j.full = append(j.full, j.chunk[j.taken:])
	}
	j.chunk, j.taken = make([]byte, 0, journalChunk), 0
	return true
}

// cut returns the stores since the cut before, and whether some were lost.
func (j *journal) cut() (parts [][]byte, lost bool) {
	parts, lost = j.full, j.lost
	if len(j.chunk) > j.taken {
		parts = append(parts, j.chunk[j.taken:len(j.chunk):len(j.chunk)])
	}
	j.taken = len(j.chunk)
	j.full, j.stores, j.lost = nil, 0, false
	return parts, lost
}
