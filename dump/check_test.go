package dump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A checker compares a shard that was recovered with what it was at its cut.
type checker struct {
	*fakeCache
	r     *replayed
	s     *replayedShard
	shard int
	slots []fakeSlot          // at the cut
	state pagefile.ShardState // at the cut
	large map[uint64]bool     // live at the cut
}

// check compares what was recovered with the cut that it is of: every slot has
// the word that it had, and every word leads to its record's bytes. An entry may
// be missing only if its segment was evicted before its bytes could be written.
func (f *fakeCache) check(r *replayed) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	cut := f.cuts[r.clock]
	if cut == nil {
		return fmt.Errorf("generation %d is of a cut that never was: %d", r.record.Generation, r.clock)
	}
	for i, s := range r.shards {
		c := checker{f, r, s, i, cut.slots[i], cut.states[i], cut.large[i]}
		if err := c.check(); err != nil {
			return fmt.Errorf("generation %d, %d links, cut %d, shard %d: %w", r.record.Generation, r.links, r.clock, i, err)
		}
	}
	return nil
}

func (c *checker) check() error {
	if err := c.checkState(); err != nil {
		return err
	}
	for slot := range max(len(c.s.words), len(c.slots)) {
		var got uint64
		if slot < len(c.s.words) {
			got = c.s.words[slot]
		}
		var want fakeSlot
		if slot < len(c.slots) {
			want = c.slots[slot]
		}
		if err := c.checkSlot(got, want, uint64(slot*len(c.shards)+c.shard)); err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
	}
	for number, row := range c.s.rows {
		if row.Queue == pagefile.QueueLarge && !c.large[number] {
			return fmt.Errorf("large segment %x has ended, and nothing says so", number)
		}
	}
	return checkStale(c.r, c.s)
}

// checkState allows a head that has moved past segments that were evicted.
func (c *checker) checkState() error {
	got, want := c.s.state, c.state
	for q := range got.Heads {
		if got.Heads[q] < want.Heads[q] {
			return fmt.Errorf("head of queue %d: got %d, want %d", q, got.Heads[q], want.Heads[q])
		}
	}
	got.Heads = want.Heads
	if got != want {
		return fmt.Errorf("state: got %+v, want %+v", got, want)
	}
	return nil
}

func (c *checker) checkSlot(got uint64, want fakeSlot, key uint64) error {
	if got != want.word {
		if got == 0 && c.evicted(want.word) {
			return nil
		}
		return fmt.Errorf("word: got %x, want %x", got, want.word)
	}
	if got == 0 {
		return nil
	}
	q := uint8(got >> 62)
	pos := wordPos(got, c.s.state.Heads[q])
	row := c.s.rowAt(q, pos/c.units())
	if row == nil {
		if c.evicted(want.word) {
			return nil
		}
		return fmt.Errorf("no segment at position %d of queue %d", pos, q)
	}
	err := c.checkRecord(row, int(pos%c.units())*pagefile.UnitSize, key, want.version)
	if errors.Is(err, errNotThere) && (c.gone[row.Number] || c.spoilt[row.Number]) {
		return nil
	}
	return err
}

// evicted reports whether the segment of a word has been evicted since the cut.
func (c *checker) evicted(word uint64) bool {
	q := uint8(word >> 62)
	return word != 0 && wordPos(word, c.state.Heads[q]) < c.shards[c.shard].queues[q].head
}

func (c *checker) checkRecord(row *replayedRow, off int, key, version uint64) error {
	head, err := c.r.read(row, off, 32)
	if err != nil {
		return err
	}
	n := int(binary.LittleEndian.Uint64(head[24:]))
	if n < 32 || off+n > c.geo.SegmentSize {
		return fmt.Errorf("record of %d bytes at %d of segment %x", n, off, row.Number)
	}
	got, err := c.r.read(row, off, n)
	if err != nil {
		return err
	}
	large := binary.LittleEndian.Uint64(got[16:])
	want := make([]byte, n)
	fillRecord(want, key, version, large)
	if !bytes.Equal(got, want) {
		return fmt.Errorf("key %d: another record than version %d", key, version)
	}
	if large != 0 {
		return c.checkLarge(large)
	}
	return nil
}

func (c *checker) checkLarge(number uint64) error {
	row := c.s.rows[number]
	if row == nil {
		if c.gone[number] {
			return nil
		}
		return fmt.Errorf("large segment %x is missing", number)
	}
	b, err := c.r.read(row, 0, int(row.Fill)*pagefile.UnitSize)
	if err != nil {
		if errors.Is(err, errNotThere) && c.gone[number] {
			return nil
		}
		return err
	}
	for i, v := range b {
		if v != byte(number)+byte(i)*3 {
			return fmt.Errorf("large segment %x: byte %d is wrong", number, i)
		}
	}
	return nil
}

// checkStale refuses bytes after a sealed segment's last record: memory that was
// never written to by this segment may be anybody's.
func checkStale(r *replayed, s *replayedShard) error {
	for _, row := range s.live(r.record.Geometry.UnitsPerSegment()) {
		if row.Fill == pagefile.OpenFill {
			continue
		}
		used := int(row.Fill) * pagefile.UnitSize
		page := used / pagefile.PageSize
		if used%pagefile.PageSize == 0 || row.sums[page] == 0 {
			continue
		}
		b, err := r.page(row, page, used, used)
		if err != nil {
			return err
		}
		if slices.Contains(b[used%pagefile.PageSize:], 0xEE) {
			return fmt.Errorf("page %d of segment %x holds stale bytes", page, row.Number)
		}
	}
	return nil
}
