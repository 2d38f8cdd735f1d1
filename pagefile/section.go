package pagefile

import (
	"encoding/binary"
	"fmt"
)

// A Section is what a blob says of one shard. Its meta part and its data part,
// the bytes of the pieces, are verified apart: with damaged data the journal
// still counts.
//
// Meta:
//
//	 0  shard     u32
//	 4  flags     u32  bit 0: ImageReset, the others reserved
//	 8  state     48 bytes
//	56  entries   u32  of the journal
//	60  segments  u32
//	64  runs      u32
//	68  sums      u32  of all runs
//	72  pieces    u32
//	76  died      u32
//	80  reserved  16 bytes
//	96  segments, 24 bytes each
//	    runs, 16 bytes each: number u64, first page u32, pages u32
//	    pieces, 16 bytes each: number u64, offset u32, length u32
//	    died, 8 bytes each: number
//	    sums, 8 bytes each, run by run
//	    journal, 12 bytes each: slot u32, word u64
//
// Data: the bytes of the pieces, one after the other.
type Section struct {
	Shard int
	State ShardState // at the blob's cut
	// Journal is the slot stores since the cut before, in order, entries of 12
	// bytes; a slice holds whole entries. A decoder gives at most one slice.
	// Slot numbers are not compared with State.Buckets here.
	Journal    [][]byte
	Segments   []Segment // new, sealed since, or given a place since
	Pages      []PageRun // pages that went home
	Pieces     []Piece   // bytes that are not home
	Died       []uint64  // numbers of segments of large values that are gone
	ImageReset bool      // what came before, image and journals, does not count for this shard
}

// A PageRun is checksums of adjacent pages that are home.
type PageRun struct {
	Number uint64   // of the segment
	First  int      // page within the segment
	Sums   []uint64 // PageSum of each
}

// A Piece is bytes of a segment that are not home yet.
type Piece struct {
	Number uint64 // of the segment
	Offset uint32 // within the segment, bytes
	Bytes  []byte
}

const (
	sectionShard    = 0
	sectionFlags    = 4
	sectionState    = 8
	sectionEntries  = sectionState + stateSize
	sectionSegments = 60
	sectionRuns     = 64
	sectionSums     = 68
	sectionPieces   = 72
	sectionDied     = 76
	sectionReserved = 80
	sectionHeader   = 96
)

const flagImageReset = 1 // the only flag

const (
	runSize   = 16
	pieceSize = 16
	sumSize   = 8
	diedSize  = 8

	maxPages = MaxSegmentSize / PageSize
)

// Validate reports a section that no blob can have. What depends on the
// directory's geometry is left to the reader, see [ShardState.Validate].
func (s *Section) Validate() error {
	if s.Shard < 0 || s.Shard >= MaxShards {
		return fmt.Errorf("shard %d", s.Shard)
	}
	if err := s.State.check(); err != nil {
		return err
	}
	for _, j := range s.Journal {
		if len(j)%JournalEntrySize != 0 {
			return fmt.Errorf("journal of %d bytes", len(j))
		}
	}
	for _, seg := range s.Segments {
		if err := seg.Validate(); err != nil {
			return err
		}
	}
	for _, number := range s.Died {
		if number == 0 {
			return fmt.Errorf("died: segment without a number")
		}
	}
	return s.validatePages()
}

func (s *Section) validatePages() error {
	for _, r := range s.Pages {
		if r.Number == 0 || r.First < 0 || r.First >= maxPages || len(r.Sums) == 0 || len(r.Sums) > maxPages-r.First {
			return fmt.Errorf("segment %x: pages %d+%d", r.Number, r.First, len(r.Sums))
		}
		for i, sum := range r.Sums {
			if sum == 0 {
				return fmt.Errorf("segment %x: page %d is home without a checksum", r.Number, r.First+i)
			}
		}
	}
	for _, p := range s.Pieces {
		if p.Number == 0 || p.Offset >= MaxSegmentSize || len(p.Bytes) == 0 || len(p.Bytes) > MaxSegmentSize-int(p.Offset) {
			return fmt.Errorf("segment %x: bytes %d+%d", p.Number, p.Offset, len(p.Bytes))
		}
	}
	return nil
}

// A sectionCounts is the number of things in a section's meta part.
type sectionCounts struct{ entries, segments, runs, sums, pieces, died uint64 }

// size is the length of the meta part. It cannot overflow: each count came from
// 32 bits or from a slice.
func (c sectionCounts) size() uint64 {
	return sectionHeader + c.segments*segmentSize + c.runs*runSize + c.pieces*pieceSize +
		c.died*diedSize + c.sums*sumSize + c.entries*JournalEntrySize
}

// count returns the counts of s and the length of its data part.
func (s *Section) count() (c sectionCounts, data uint64) {
	c.segments, c.runs = uint64(len(s.Segments)), uint64(len(s.Pages))
	c.pieces, c.died = uint64(len(s.Pieces)), uint64(len(s.Died))
	for _, j := range s.Journal {
		c.entries += uint64(len(j) / JournalEntrySize)
	}
	for _, r := range s.Pages {
		c.sums += uint64(len(r.Sums))
	}
	for _, p := range s.Pieces {
		data += uint64(len(p.Bytes))
	}
	return c, data
}

// appendMeta appends the meta part without the journal, which follows it.
func (s *Section) appendMeta(b []byte, c sectionCounts) []byte {
	var flags uint32
	if s.ImageReset {
		flags |= flagImageReset
	}
	b = append32(b, uint32(s.Shard), flags)
	b = s.State.append(b)
	b = append32(b, uint32(c.entries), uint32(c.segments), uint32(c.runs), uint32(c.sums), uint32(c.pieces), uint32(c.died))
	b = appendZeroes(b, sectionHeader-sectionReserved)
	for _, seg := range s.Segments {
		b = seg.append(b)
	}
	for _, r := range s.Pages {
		b = binary.LittleEndian.AppendUint64(b, r.Number)
		b = append32(b, uint32(r.First), uint32(len(r.Sums)))
	}
	for _, p := range s.Pieces {
		b = binary.LittleEndian.AppendUint64(b, p.Number)
		b = append32(b, p.Offset, uint32(len(p.Bytes)))
	}
	b = appendWords(b, s.Died...)
	for _, r := range s.Pages {
		b = appendWords(b, r.Sums...)
	}
	return b
}

// decodeMeta reads a meta part into s, reusing its slices. The journal aliases
// meta; the pieces get their lengths but no bytes until setData. s is undefined
// after an error.
func (s *Section) decodeMeta(meta []byte, dataLen uint64) error {
	if len(meta) < sectionHeader {
		return corrupt("section: meta of %d bytes", len(meta))
	}
	c := sectionCounts{
		entries:  uint64(le32(meta, sectionEntries)),
		segments: uint64(le32(meta, sectionSegments)),
		runs:     uint64(le32(meta, sectionRuns)),
		sums:     uint64(le32(meta, sectionSums)),
		pieces:   uint64(le32(meta, sectionPieces)),
		died:     uint64(le32(meta, sectionDied)),
	}
	// From here on every count is bounded by the bytes that are there.
	if c.size() != uint64(len(meta)) {
		return corrupt("section: meta of %d bytes, counts say %d", len(meta), c.size())
	}
	flags := le32(meta, sectionFlags)
	if flags&^flagImageReset != 0 || !allZero(meta[sectionReserved:sectionHeader]) {
		return corrupt("section: reserved bits are set")
	}
	shard := le32(meta, sectionShard)
	if shard >= MaxShards {
		return corrupt("section: shard %d", shard)
	}
	s.Shard, s.ImageReset = int(shard), flags&flagImageReset != 0
	var err error
	if s.State, err = parseState(meta[sectionState:]); err != nil {
		return fmt.Errorf("section of shard %d: %w", s.Shard, err)
	}
	if err := s.decodeTables(meta[sectionHeader:], c, dataLen); err != nil {
		return fmt.Errorf("section of shard %d: %w", s.Shard, err)
	}
	return nil
}

// decodeTables reads what follows the header; b has exactly the bytes of c.
func (s *Section) decodeTables(b []byte, c sectionCounts, dataLen uint64) error {
	next := func(n uint64) (part []byte) {
		part, b = b[:n], b[n:]
		return part
	}
	if err := s.decodeSegments(next(c.segments * segmentSize)); err != nil {
		return err
	}
	runs := next(c.runs * runSize)
	if err := s.decodePieces(next(c.pieces*pieceSize), dataLen); err != nil {
		return err
	}
	if err := s.decodeDied(next(c.died * diedSize)); err != nil {
		return err
	}
	if err := s.decodeRuns(runs, next(c.sums*sumSize)); err != nil {
		return err
	}
	s.Journal = s.Journal[:0]
	if len(b) > 0 {
		s.Journal = append(s.Journal, b)
	}
	return nil
}

func (s *Section) decodeSegments(b []byte) error {
	s.Segments = s.Segments[:0]
	for ; len(b) > 0; b = b[segmentSize:] {
		seg, err := parseSegment(b)
		if err != nil {
			return err
		}
		s.Segments = append(s.Segments, seg)
	}
	return nil
}

func (s *Section) decodePieces(b []byte, dataLen uint64) error {
	s.Pieces = s.Pieces[:0]
	var total uint64
	for ; len(b) > 0; b = b[pieceSize:] {
		p := Piece{Number: le64(b, 0), Offset: le32(b, 8)}
		n := le32(b, 12)
		if p.Number == 0 || n == 0 || uint64(p.Offset)+uint64(n) > MaxSegmentSize {
			return corrupt("segment %x: bytes %d+%d", p.Number, p.Offset, n)
		}
		total += uint64(n)
		s.Pieces = append(s.Pieces, p)
	}
	if total != dataLen {
		return corrupt("data of %d bytes, pieces say %d", dataLen, total)
	}
	return nil
}

func (s *Section) decodeDied(b []byte) error {
	s.Died = s.Died[:0]
	for ; len(b) > 0; b = b[diedSize:] {
		number := le64(b, 0)
		if number == 0 {
			return corrupt("died: segment without a number")
		}
		s.Died = append(s.Died, number)
	}
	return nil
}

// decodeRuns reads the runs; their checksums share one array.
func (s *Section) decodeRuns(runs, sums []byte) error {
	s.Pages = s.Pages[:0]
	all := make([]uint64, len(sums)/sumSize)
	for i := range all {
		if all[i] = le64(sums, i*sumSize); all[i] == 0 {
			return corrupt("a page is home without a checksum")
		}
	}
	for ; len(runs) > 0; runs = runs[runSize:] {
		number, first, n := le64(runs, 0), le32(runs, 8), le32(runs, 12)
		if number == 0 || n == 0 || uint64(first)+uint64(n) > maxPages || int(n) > len(all) {
			return corrupt("segment %x: pages %d+%d", number, first, n)
		}
		s.Pages = append(s.Pages, PageRun{Number: number, First: int(first), Sums: all[:n:n]})
		all = all[n:]
	}
	if len(all) > 0 {
		return corrupt("%d checksums too many", len(all))
	}
	return nil
}

// setData gives the pieces their bytes; they alias data. pieces is the table
// that decodeMeta has read, data the part that it has compared with it.
func (s *Section) setData(meta, data []byte) {
	table := meta[sectionHeader+len(s.Segments)*segmentSize+len(s.Pages)*runSize:]
	for i := range s.Pieces {
		n := le32(table, i*pieceSize+12)
		s.Pieces[i].Bytes, data = data[:n:n], data[n:]
	}
}
