package pagefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// A BlobKind tells durable blobs from weak links, so that neither is taken for
// the other.
type BlobKind uint16

// The kinds of blobs.
const (
	BlobDurable BlobKind = 1 // synced, named by a record
	BlobWeak    BlobKind = 2 // not synced, a link of the weak chain
)

const (
	// BlobAlign is what a blob's length is rounded up to, with zeroes.
	BlobAlign = 64
	// MaxBlob bounds a blob's length, so that it fits an int everywhere.
	MaxBlob = 1<<31 - PageSize
)

// ErrBlobTooLong: the sections do not fit in one blob, see MaxBlob.
var ErrBlobTooLong = errors.New("blob too long")

// A BlobHeader begins a blob.
//
//	 0  magic     4 bytes, "EmBl"
//	 4  version   u16
//	 6  kind      u16
//	 8  number    u64
//	16  lineage   u64
//	24  opens     u64
//	32  prev      u64
//	40  length    u64
//	48  clock     i64
//	56  sections  u16
//	58  reserved  6 bytes
//	64  section references, 32 bytes each:
//	        0  shard     u32
//	        4  meta len  u32
//	        8  data len  u32
//	       12  reserved  u32
//	       16  meta sum  u64
//	       24  data sum  u64
//	 .  checksum  u64, of all bytes before it: the blob's hash
//	 .  zeroes to a multiple of 64
//
// Then come all meta parts, all data parts, and zeroes to a multiple of 64.
type BlobHeader struct {
	Kind    BlobKind
	Number  uint64 // of the generation, or of the link in its chain
	Lineage uint64
	Opens   uint64 // of the directory: which process wrote it
	Prev    uint64 // hash of the blob or link before it, 0 for the first
	Length  uint64 // bytes, with header and padding
	Clock   int64  // of the cache at the cut, ms
	// Sections has an entry for each section, by ascending shard.
	Sections []SectionRef
}

// A SectionRef says how long the parts of a section are and proves them.
type SectionRef struct {
	Shard            uint32
	MetaLen, DataLen uint32
	MetaSum, DataSum uint64 // xxHash64 of the part
}

const blobMagic = "EmBl"

const (
	blobVersion  = 4
	blobKind     = 6
	blobNumber   = 8
	blobLineage  = 16
	blobOpens    = 24
	blobPrev     = 32
	blobLength   = 40
	blobClock    = 48
	blobSections = 56
	blobReserved = 58
	blobFixed    = 64

	refShard    = 0
	refMetaLen  = 4
	refDataLen  = 8
	refReserved = 12
	refMetaSum  = 16
	refDataSum  = 24
	refSize     = 32

	maxBlobHeader = (blobFixed + MaxShards*refSize + 8 + BlobAlign - 1) &^ (BlobAlign - 1)
)

// headerSize is the length of a header of n sections, with its padding.
func headerSize(n int) int64 { return int64(roundUp(blobFixed+n*refSize+8, BlobAlign)) }

// Validate reports a header that no blob can have.
func (h *BlobHeader) Validate() error {
	if h.Kind != BlobDurable && h.Kind != BlobWeak {
		return fmt.Errorf("blob: kind %d", h.Kind)
	}
	if len(h.Sections) > MaxShards {
		return fmt.Errorf("blob: %d sections", len(h.Sections))
	}
	end := uint64(headerSize(len(h.Sections)))
	for i, s := range h.Sections {
		if s.Shard >= MaxShards || i > 0 && s.Shard <= h.Sections[i-1].Shard {
			return fmt.Errorf("blob: section %d is of shard %d", i, s.Shard)
		}
		end += uint64(s.MetaLen) + uint64(s.DataLen)
	}
	if h.Length != roundUp(end, BlobAlign) || h.Length > MaxBlob {
		return fmt.Errorf("blob: %d bytes, sections say %d", h.Length, end)
	}
	return nil
}

// span returns where the parts of section i lie from the start of the blob.
func (h *BlobHeader) span(i int) (meta, data int64) {
	meta = headerSize(len(h.Sections))
	data = meta
	for k, s := range h.Sections {
		if k < i {
			meta += int64(s.MetaLen)
			data += int64(s.DataLen)
		}
		data += int64(s.MetaLen)
	}
	return meta, data
}

// end is where the last part ends and the padding begins.
func (h *BlobHeader) end() int64 {
	_, end := h.span(len(h.Sections))
	return end
}

// append appends the header block and returns the blob's hash.
func (h *BlobHeader) append(b []byte) ([]byte, uint64) {
	start := len(b)
	b = append(b, blobMagic...)
	b = binary.LittleEndian.AppendUint16(b, Version)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Kind))
	b = appendWords(b, h.Number, h.Lineage, h.Opens, h.Prev, h.Length, uint64(h.Clock))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(h.Sections)))
	b = appendZeroes(b, blobFixed-blobReserved)
	for _, s := range h.Sections {
		b = append32(b, s.Shard, s.MetaLen, s.DataLen, 0)
		b = appendWords(b, s.MetaSum, s.DataSum)
	}
	hash := checksum(b[start:])
	b = binary.LittleEndian.AppendUint64(b, hash)
	return appendZeroes(b, start+int(headerSize(len(h.Sections)))-len(b)), hash
}

// parse reads the header that b begins with, reusing h.Sections. limit is how
// many bytes the blob may have. h is undefined after an error.
func (h *BlobHeader) parse(b []byte, limit int64) (hash uint64, err error) {
	if len(b) < blobFixed || string(b[:blobVersion]) != blobMagic {
		return 0, corrupt("blob: no header")
	}
	n := int(le16(b, blobSections))
	sum := blobFixed + n*refSize
	if n > MaxShards || int64(len(b)) < headerSize(n) {
		return 0, corrupt("blob: header of %d sections in %d bytes", n, len(b))
	}
	if hash = checksum(b[:sum]); hash != le64(b, sum) {
		return 0, corrupt("blob: header checksum")
	}
	if v := le16(b, blobVersion); v != Version {
		return 0, versionError("blob", v)
	}
	if !allZero(b[blobReserved:blobFixed]) || !allZero(b[sum+8:headerSize(n)]) {
		return 0, corrupt("blob: reserved bytes are set")
	}
	h.Kind = BlobKind(le16(b, blobKind))
	h.Number, h.Lineage, h.Opens = le64(b, blobNumber), le64(b, blobLineage), le64(b, blobOpens)
	h.Prev, h.Length, h.Clock = le64(b, blobPrev), le64(b, blobLength), int64(le64(b, blobClock))
	h.Sections = h.Sections[:0]
	for i := range n {
		ref := b[blobFixed+i*refSize:]
		if le32(ref, refReserved) != 0 {
			return 0, corrupt("blob: reserved bytes are set")
		}
		h.Sections = append(h.Sections, SectionRef{
			Shard:   le32(ref, refShard),
			MetaLen: le32(ref, refMetaLen),
			DataLen: le32(ref, refDataLen),
			MetaSum: le64(ref, refMetaSum),
			DataSum: le64(ref, refDataSum),
		})
	}
	if err := h.Validate(); err != nil {
		return 0, corrupt("%v", err)
	}
	if int64(h.Length) > limit {
		return 0, corrupt("blob: %d bytes where %d are left", h.Length, limit)
	}
	return hash, nil
}

// ReadBlobHeader reads and verifies the header at off. limit is where the file,
// or the ring, ends: a blob that would go beyond is refused, so a caller may
// allocate by the lengths of h. hash proves the whole blob.
func ReadBlobHeader(r io.ReaderAt, off, limit int64) (h BlobHeader, hash uint64, err error) {
	if off < 0 || limit-off < blobFixed {
		return h, 0, corrupt("blob at %d: beyond the end", off)
	}
	b := make([]byte, min(maxBlobHeader, limit-off))
	n, err := r.ReadAt(b, off)
	if n < len(b) && !atEnd(err) {
		return h, 0, fmt.Errorf("read blob at %d: %w", off, err)
	}
	if hash, err = h.parse(b[:n], limit-off); err != nil {
		return BlobHeader{}, 0, fmt.Errorf("blob at %d: %w", off, err)
	}
	return h, hash, nil
}

// verifyChunk is how much VerifyBlob reads at once.
const verifyChunk = 1 << 20

// VerifyBlob reads a whole blob, header, sections and padding, and proves it
// without decoding. buf is scratch, used when it is large enough to be worth it.
func VerifyBlob(r io.ReaderAt, off, limit int64, buf []byte) (h BlobHeader, hash uint64, err error) {
	if h, hash, err = ReadBlobHeader(r, off, limit); err != nil {
		return h, 0, err
	}
	if len(buf) < PageSize {
		buf = make([]byte, min(verifyChunk, h.Length))
	}
	v := blobVerifier{r: r, off: off + headerSize(len(h.Sections)), buf: buf}
	for _, s := range h.Sections {
		v.part("meta", s.Shard, int64(s.MetaLen), s.MetaSum)
	}
	for _, s := range h.Sections {
		v.part("data", s.Shard, int64(s.DataLen), s.DataSum)
	}
	v.padding(off + int64(h.Length) - v.off)
	if v.err != nil {
		return BlobHeader{}, 0, fmt.Errorf("blob at %d: %w", off, v.err)
	}
	return h, hash, nil
}

// A blobVerifier reads parts in order; err is the first thing that failed.
type blobVerifier struct {
	r   io.ReaderAt
	off int64
	buf []byte
	sum xxhash.Digest
	err error
}

func (v *blobVerifier) part(what string, shard uint32, n int64, want uint64) {
	v.sum.Reset()
	for n > 0 && v.err == nil {
		b := v.buf[:min(n, int64(len(v.buf)))]
		if v.err = readFull(v.r, b, v.off); v.err == nil {
			v.sum.Write(b)
			v.off += int64(len(b))
			n -= int64(len(b))
		}
	}
	if v.err == nil && nonZero(v.sum.Sum64()) != want {
		v.err = corrupt("%s of shard %d: checksum", what, shard)
	}
}

func (v *blobVerifier) padding(n int64) {
	if v.err != nil || n == 0 {
		return
	}
	if v.err = readFull(v.r, v.buf[:n], v.off); v.err == nil && !allZero(v.buf[:n]) {
		v.err = corrupt("padding is set")
	}
}

// ReadSection reads section i of the blob at off, whose header h was verified.
// With damaged meta nothing of the section is known: it is nil. With damaged
// data the rest of it holds and Pieces is empty. An index out of range, or a
// header that was not verified, is damaged meta.
func ReadSection(r io.ReaderAt, off int64, h *BlobHeader, i int) (s *Section, metaErr, dataErr error) {
	if i < 0 || i >= len(h.Sections) {
		return nil, corrupt("section %d of %d", i, len(h.Sections)), nil
	}
	if err := h.Validate(); err != nil {
		return nil, corrupt("%v", err), nil
	}
	ref := h.Sections[i]
	metaAt, dataAt := h.span(i)
	meta, err := readPart(r, off+metaAt, ref.MetaLen, ref.MetaSum)
	if err != nil {
		return nil, fmt.Errorf("meta of shard %d: %w", ref.Shard, err), nil
	}
	s = new(Section)
	if err := s.decode(meta, ref); err != nil {
		return nil, err, nil
	}
	data, err := readPart(r, off+dataAt, ref.DataLen, ref.DataSum)
	if err != nil {
		s.Pieces = nil
		return s, nil, fmt.Errorf("data of shard %d: %w", ref.Shard, err)
	}
	s.setData(meta, data)
	return s, nil, nil
}

func readPart(r io.ReaderAt, off int64, n uint32, sum uint64) ([]byte, error) {
	b := make([]byte, n)
	if err := readFull(r, b, off); err != nil {
		return nil, err
	}
	if checksum(b) != sum {
		return nil, corrupt("checksum")
	}
	return b, nil
}

// decode reads a verified meta part that ref names.
func (s *Section) decode(meta []byte, ref SectionRef) error {
	if err := s.decodeMeta(meta, uint64(ref.DataLen)); err != nil {
		return err
	}
	if uint32(s.Shard) != ref.Shard {
		return corrupt("section of shard %d in the place of shard %d", s.Shard, ref.Shard)
	}
	return nil
}
