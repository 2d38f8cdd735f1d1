package pagefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the format version that this build writes, and the newest it reads.
const Version = 1

// FileHeaderBlock is the first block of a file: the header and zeroes. In an
// image it is block 0, where more follows the header.
const FileHeaderBlock = 4096

// A FileHeader is the first 64 bytes of every numbered file. It is synced, with
// the directory, before anything names the file.
//
//	 0  magic     8 bytes, "EmberDir"
//	 8  version   u16
//	10  kind      u16
//	12  reserved  u32
//	16  id        u64
//	24  geometry  32 bytes
//	56  checksum  u64, of bytes 0 to 55
//	64
//
// Magic, version and checksum stay where they are in every version, so that a
// newer file is told from a damaged one.
type FileHeader struct {
	Kind     FileKind
	ID       uint64 // as in the file's name
	Geometry Geometry
}

const fileMagic = "EmberDir"

const (
	fileVersion  = 8
	fileKind     = 10
	fileReserved = 12
	fileID       = 16
	fileGeometry = 24
	fileChecksum = fileGeometry + geometrySize

	fileHeaderSize = 64
)

// Validate reports a header that no file can have.
func (h FileHeader) Validate() error {
	if !h.Kind.valid() {
		return fmt.Errorf("file header: unknown %v", h.Kind)
	}
	if err := h.Geometry.Validate(); err != nil {
		return fmt.Errorf("file header: %w", err)
	}
	return nil
}

func (h FileHeader) append(b []byte) []byte {
	start := len(b)
	b = append(b, fileMagic...)
	b = binary.LittleEndian.AppendUint16(b, Version)
	b = binary.LittleEndian.AppendUint16(b, uint16(h.Kind))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, h.ID)
	b = h.Geometry.append(b)
	return binary.LittleEndian.AppendUint64(b, checksum(b[start:]))
}

// MarshalBinary returns a header block.
func (h FileHeader) MarshalBinary() ([]byte, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	b := h.append(make([]byte, 0, FileHeaderBlock))
	return b[:FileHeaderBlock], nil
}

// UnmarshalBinary reads a header block. h changes only on success.
func (h *FileHeader) UnmarshalBinary(b []byte) error {
	if len(b) != FileHeaderBlock {
		return corrupt("file header: block of %d bytes", len(b))
	}
	got, err := parseFileHeader(b)
	if err != nil {
		return err
	}
	if !allZero(b[fileHeaderSize:]) {
		return corrupt("file header: reserved bytes are set")
	}
	*h = got
	return nil
}

// parseFileHeader reads the first 64 bytes of b, which has as many.
func parseFileHeader(b []byte) (FileHeader, error) {
	if string(b[:fileVersion]) != fileMagic {
		return FileHeader{}, corrupt("file header: no magic")
	}
	if le64(b, fileChecksum) != checksum(b[:fileChecksum]) {
		return FileHeader{}, corrupt("file header: checksum")
	}
	if v := le16(b, fileVersion); v != Version {
		return FileHeader{}, versionError("file header", v)
	}
	if !allZero(b[fileReserved:fileID]) {
		return FileHeader{}, corrupt("file header: reserved bytes are set")
	}
	g, err := parseGeometry(b[fileGeometry:])
	if err != nil {
		return FileHeader{}, fmt.Errorf("file header: %w", err)
	}
	h := FileHeader{Kind: FileKind(le16(b, fileKind)), ID: le64(b, fileID), Geometry: g}
	if err := h.Validate(); err != nil {
		return FileHeader{}, corrupt("%v", err)
	}
	return h, nil
}

// versionError is for a structure that verifies but is not of our version.
func versionError(what string, version uint16) error {
	if version > Version {
		return fmt.Errorf("%s: %w: %d, this build knows %d", what, ErrVersion, version, Version)
	}
	return corrupt("%s: version %d", what, version)
}

// WriteFileHeader writes the header block at the start of f. It does not sync.
func WriteFileHeader(f io.WriterAt, h FileHeader) error {
	b, err := h.MarshalBinary()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write file header: %w", err)
	}
	return nil
}

// ReadFileHeader reads and verifies the header block at the start of r, which
// must be that of the file of this kind and id: a file that was copied over
// another is refused. Images have theirs checked by [OpenImage].
func ReadFileHeader(r io.ReaderAt, kind FileKind, id uint64) (FileHeader, error) {
	var h FileHeader
	b := make([]byte, FileHeaderBlock)
	if err := readFull(r, b, 0); err != nil {
		return h, fmt.Errorf("read file header: %w", err)
	}
	if err := h.UnmarshalBinary(b); err != nil {
		return h, err
	}
	if h.Kind != kind || h.ID != id {
		return FileHeader{}, corrupt("file header: of %s, not %s", FileName(h.Kind, h.ID), FileName(kind, id))
	}
	return h, nil
}

// readFull fills b. A file that ends too early is damaged, not at its end.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if atEnd(err) {
		return corrupt("%d bytes at %d, want %d", n, off, len(b))
	}
	return err
}

// atEnd reports whether a read was short because the file ends.
func atEnd(err error) bool { return err == nil || errors.Is(err, io.EOF) }
