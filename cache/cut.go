package cache

import (
	"encoding/binary"
	"fmt"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/pagefile"
)

// The cut divides the writes that a generation contains from the rest, stopping
// nobody: the cutter advances the epoch; every writer that finds a new epoch,
// under its shard's lock and before it stores anything, notes what the shard has
// at that instant; the cutter then does the same for the shards that nobody
// writes to.
//
// No effect without its cause (I9): if write A returned, or was seen, before
// write B began, A read the epoch before B did. If B read the old one, so had A,
// and both shards noted their cut after that; if A read the new one, so did B.
type cutter struct{ c *Cache }

var _ dump.Source = cutter{}

func (c *Cache) source() dump.Source {
	if between := c.opts.hooks.source; between != nil {
		return between(cutter{c})
	}
	return cutter{c}
}

// noteCutLocked ends the shard's part of a cut.
func (s *shard) noteCutLocked(epoch uint64) {
	s.epoch = epoch
	s.settleReplacedLocked()
	parts, lost, since := s.journal.cut()
	s.cut = dump.ShardCut{State: s.stateLocked(), Journal: parts, Lost: lost, Since: since, Born: s.born, Died: s.died, Digest: s.digest}
	s.cut.Digested = s.digested == allSlots
	s.cut.Counted = s.cut.Digested && !s.guessed
	s.born, s.died = nil, nil
	if l := s.cache.livelog; l != nil && l.seq.Load() == epoch {
		s.startLogLocked(epoch)
	}
}

// stateLocked is what files are told of the shard.
func (s *shard) stateLocked() pagefile.ShardState {
	st := pagefile.ShardState{
		Buckets: s.index.buckets(),
		Entries: uint32(max(s.fileEntries, 0)),
		Live:    uint64(max(s.fileLive, 0)),
	}
	if s.guessed {
		st.Live = st.Live&^(unitSize-1) | pagefile.LiveEstimate
	}
	for q := range fileQueues {
		st.Heads[q], st.Tails[q] = s.queues[q].head, s.queues[q].tail
	}
	return st
}

// Cut advances the epoch, touches every shard and returns what each had. While a
// batch runs it waits. The cut's segments are held until Release.
func (k cutter) Cut() *dump.Cut {
	epoch := k.c.epoch.Load() + 1 // nobody else advances it
	k.c.held.hold(epoch)
	k.c.batches.Lock()
	if k.c.livelog != nil {
		k.c.livelog.next(epoch)
	}
	k.c.epoch.Store(epoch)
	k.c.batches.Unlock()
	cut := &dump.Cut{Epoch: epoch, Clock: k.c.now(), Shards: make([]dump.ShardCut, len(k.c.shards))}
	for i, s := range k.c.shards {
		s.lock()
		cut.Shards[i], s.cut = s.cut, dump.ShardCut{}
		s.unlock()
	}
	k.c.held.taken(epoch, k.c.numbers.last.Load())
	return cut
}

// Release lets go of a cut.
func (k cutter) Release(cut *dump.Cut) { k.c.held.release(cut.Epoch, k.c.frames) }

// Drop gives journals of cuts back.
func (k cutter) Drop(journals [][]byte) {
	for _, part := range journals {
		k.c.journals.drop(part)
	}
}

// Home notes which segments no generation needs any more when they end.
func (k cutter) Home(cut *dump.Cut) {
	for i, s := range k.c.shards {
		for q, tail := range cut.Shards[i].State.Tails {
			s.home[q].Store(s.seqOf(tail))
		}
	}
}

// Segment tells the number and fill of the segment at seq, false if it was
// evicted and is not held.
func (k cutter) Segment(shard int, q uint8, seq uint64) (number uint64, fill uint32, ok bool) {
	s := k.c.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	qu := &s.queues[q]
	// Clear moves head before it gives segments back: until then the ring has them.
	seg, first, lapped := s.segmentAt(q, s.startOf(seq)), s.startOf(seq), s.startOf(seq+uint64(s.ringMask)+1)
	if first < qu.tail && qu.tail <= lapped && seg.number.Load() != 0 {
		return seg.number.Load(), seg.fill.Load(), true
	}
	h, ok := k.c.held.find(heldKey{shard, q, seq})
	return h.number, h.fill, ok
}

// Copy copies bytes of a segment, loading its pages first if Open left them on
// file.
func (k cutter) Copy(dst []byte, shard int, id dump.SegmentID, off int) bool {
	s := k.c.shards[shard]
	seg := s.large.at(id.Number)
	if id.Queue != pagefile.QueueLarge {
		seg = s.segmentAt(id.Queue, s.startOf(id.Seq))
	}
	if !seg.has(off, len(dst)) && seg.number.Load() == id.Number {
		l, bits := s.lazy.Load(), pageBits(off, len(dst))
		if l != nil && !s.loadPages(l, want{seg, id.Number, bits}) || l == nil && seg.present.Load()&bits != bits {
			return false
		}
	}
	return s.copySegment(seg, id.Number, off, dst) || k.c.held.copy(dst, s, id, off)
}

// CopyIndex copies buckets for an image, MemoryOnly words as 0. No writer waits for
// it, since it takes no lock: each word is copied whole, at some instant after the
// cut that divides the journals from the image. A store that it sees and that came
// after that cut is in a journal of the next: who stores appends before letting go
// of the lock under which the shard's part of that cut is noted. // I10
func (k cutter) CopyIndex(shard, first int, dst []byte) error {
	s := k.c.shards[shard]
	if n := first + len(dst)/bucketSize; n > int(s.index.buckets()) {
		return fmt.Errorf("copy index of shard %d: bucket %d of %d", shard, n, s.index.buckets())
	}
	s.loadIndex()
	slot := uint32(first * bucketSlots)
	for ; len(dst) >= 8; dst, slot = dst[8:], slot+1 {
		binary.LittleEndian.PutUint64(dst, uint64(s.index.load(slot).onFile()))
	}
	return nil
}
