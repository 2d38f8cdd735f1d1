package pagefile

import "fmt"

// A Blob is a blob in memory of ours (I3: copied before it is verified). What it
// decodes aliases those bytes: pieces and journals are not copied.
type Blob struct {
	Header BlobHeader
	Hash   uint64
	bytes  []byte // Header.Length of them
}

// ReadBlob verifies the header of the blob that b begins with. Bytes after it
// are ignored: b[blob.Header.Length:] may hold the next one.
func ReadBlob(b []byte) (*Blob, error) {
	blob := new(Blob)
	if err := blob.Reset(b); err != nil {
		return nil, err
	}
	return blob, nil
}

// Reset is ReadBlob into a Blob that was used before, without allocation. The
// Blob is empty after an error.
func (b *Blob) Reset(bytes []byte) error {
	hash, err := b.Header.parse(bytes, int64(len(bytes)))
	if err != nil {
		*b = Blob{}
		return err
	}
	b.Hash, b.bytes = hash, bytes[:b.Header.Length]
	return nil
}

// Verify proves all sections and the padding. Hashing is all it does: about a
// millisecond for 10 MB.
func (b *Blob) Verify() error {
	at := headerSize(len(b.Header.Sections))
	for _, s := range b.Header.Sections {
		if at = b.verify(at, s.MetaLen, s.MetaSum); at < 0 {
			return corrupt("meta of shard %d: checksum", s.Shard)
		}
	}
	for _, s := range b.Header.Sections {
		if at = b.verify(at, s.DataLen, s.DataSum); at < 0 {
			return corrupt("data of shard %d: checksum", s.Shard)
		}
	}
	if at < int64(len(b.bytes)) && !allZero(b.bytes[at:]) {
		return corrupt("padding of a blob is set")
	}
	return nil
}

// verify returns where the part at at ends, -1 if it is damaged.
func (b *Blob) verify(at int64, n uint32, sum uint64) int64 {
	end := at + int64(n)
	if checksum(b.bytes[at:end]) != sum {
		return -1
	}
	return end
}

// Decode reads section i into s, reusing its slices, of a blob for which Verify
// returned nil. It checks lengths, not checksums. s is undefined after an error.
func (b *Blob) Decode(i int, s *Section) error {
	meta, data, err := b.parts(i)
	if err != nil {
		return err
	}
	if err := s.decode(meta, b.Header.Sections[i]); err != nil {
		return err
	}
	s.setData(meta, data)
	return nil
}

// Section is [ReadSection] of a blob in memory: it verifies section i alone.
func (b *Blob) Section(i int) (s *Section, metaErr, dataErr error) {
	meta, data, err := b.parts(i)
	if err != nil {
		return nil, err, nil
	}
	ref := b.Header.Sections[i]
	if checksum(meta) != ref.MetaSum {
		return nil, corrupt("meta of shard %d: checksum", ref.Shard), nil
	}
	s = new(Section)
	if err := s.decode(meta, ref); err != nil {
		return nil, err, nil
	}
	if checksum(data) != ref.DataSum {
		s.Pieces = nil
		return s, nil, corrupt("data of shard %d: checksum", ref.Shard)
	}
	s.setData(meta, data)
	return s, nil, nil
}

func (b *Blob) parts(i int) (meta, data []byte, err error) {
	if i < 0 || i >= len(b.Header.Sections) {
		return nil, nil, fmt.Errorf("section %d of %d", i, len(b.Header.Sections))
	}
	ref := b.Header.Sections[i]
	metaAt, dataAt := b.Header.span(i)
	metaEnd, dataEnd := metaAt+int64(ref.MetaLen), dataAt+int64(ref.DataLen)
	if dataEnd > int64(len(b.bytes)) {
		return nil, nil, corrupt("section %d: the header was changed", i)
	}
	return b.bytes[metaAt:metaEnd:metaEnd], b.bytes[dataAt:dataEnd:dataEnd], nil
}
