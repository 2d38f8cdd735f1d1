package pagefile

import (
	"encoding/binary"
	"fmt"
)

// Limits of a Record. With all of them reached it is shorter than a slot.
const (
	MaxExtents  = 96
	MaxRetained = 16
	MaxSchema   = 255       // bytes
	MaxOpens    = 1<<30 - 1 // the upper half of a segment number, which has 62 bits
)

// A Record is a durable generation: it names every file and blob that make up
// the state at its cut, and is written after all of them are durable (I2). It
// needs no other record.
//
//	  0  magic       8 bytes, "EmberGen"
//	  8  version     u16
//	 10  flags       u16  bit 0: Clean, the others reserved
//	 12  length      u32  bytes, with checksum, without padding
//	 16  geometry    32 bytes
//	 48  generation  u64
//	 56  lineage     u64
//	 64  parent      u64
//	 72  opens       u64
//	 80  page file   u64
//	 88  image       u64
//	 96  weak        file u64, offset u64, number u64, hash u64
//	128  entries     u64
//	136  live        u64
//	144  stores      u64
//	152  clock       i64
//	160  wall        i64
//	168  boot id     16 bytes
//	184  places      u32
//	188  extents     u16
//	190  retained    u16
//	192  shards      u16
//	194  schema      u16
//	196  reserved    28 bytes
//	224  shard states, 48 bytes each
//	     extents, 32 bytes each: file u64, offset u64, hash u64, length u32, reserved u32
//	     retained, 8 bytes each
//	     schema, zeroes to a multiple of 8
//	  .  checksum    u64, of all bytes before it: the record's hash
//	  .  zeroes to a multiple of 4096
//
// Magic, version, length and checksum stay where they are in every version.
type Record struct {
	Geometry   Geometry
	Generation uint64 // from 1, never reused (I12)
	Lineage    uint64 // changes with each roll-back, never reused (I12)
	Parent     uint64 // hash of the record before it, 0 for the first
	Opens      uint64 // how many processes have opened the directory to write, from 1
	PageFile   uint64 // id, 0: none yet
	Places     uint32 // places in the page file
	Image      uint64 // id, 0: none, the indexes began empty
	Blobs      []Extent
	Weak       WeakPos
	Retained   []uint64 // generations that may be opened, ascending, the last is this one
	Entries    uint64
	Live       uint64 // bytes
	Stores     uint64 // journal entries since the image
	Clock      int64  // of the cache at the cut, ms
	Wall       int64  // Unix time, ns
	BootID     [16]byte
	Clean      bool   // written by Close: nothing follows
	Schema     string // of the values
	Shards     []ShardState
}

// An Extent is a blob in a blob file.
type Extent struct {
	File   uint64 // id
	Offset uint64
	Length uint32
	Hash   uint64 // of the blob, its header's checksum
}

// A WeakPos is a point in the weak chain: after a link.
type WeakPos struct {
	File   uint64 // id of the ring, 0: no chain
	Offset uint64 // where the next link goes, unless it has to go to the ring's start
	Number uint64 // of the link
	Hash   uint64 // of the link
}

const recordMagic = "EmberGen"

const (
	recordVersion  = 8
	recordFlags    = 10
	recordLength   = 12
	recordGeometry = 16
	recordNumbers  = 48 // generation, lineage, parent, opens, page file, image
	recordWeak     = 96
	recordCounts   = 128 // entries, live, stores
	recordClock    = 152
	recordWall     = 160
	recordBootID   = 168
	recordPlaces   = 184
	recordLists    = 188 // extents, retained, shards, schema
	recordReserved = 196
	recordHeader   = 224

	extentSize   = 32
	retainedSize = 8

	flagClean = 1 // the only flag
)

// MaxRecord is the length of a slot: the longest record has 15,976 bytes.
const MaxRecord = 16 << 10

// recordSize is the length of a record without padding.
func recordSize(shards, extents, retained, schema int) int {
	return recordHeader + shards*stateSize + extents*extentSize + retained*retainedSize + roundUp(schema, 8) + 8
}

// Validate reports a record that must not be written, nor believed.
func (r *Record) Validate() error {
	if err := r.Geometry.Validate(); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	switch {
	case r.Generation == 0:
		return fmt.Errorf("record: generation 0")
	case r.Opens == 0 || r.Opens > MaxOpens:
		return fmt.Errorf("record %d: opens %d", r.Generation, r.Opens)
	case r.Image > r.Generation:
		return fmt.Errorf("record %d: image %d is of a later generation", r.Generation, r.Image)
	case r.PageFile == 0 && r.Places != 0:
		return fmt.Errorf("record %d: %d places in no file", r.Generation, r.Places)
	case r.Places == NoPlace:
		return fmt.Errorf("record %d: %d places", r.Generation, r.Places)
	case len(r.Schema) > MaxSchema:
		return fmt.Errorf("record %d: schema of %d bytes", r.Generation, len(r.Schema))
	case len(r.Shards) != r.Geometry.Shards:
		return fmt.Errorf("record %d: states of %d shards, want %d", r.Generation, len(r.Shards), r.Geometry.Shards)
	}
	for i, s := range r.Shards {
		if err := s.Validate(r.Geometry); err != nil {
			return fmt.Errorf("record %d: shard %d: %w", r.Generation, i, err)
		}
	}
	if err := r.validateNames(); err != nil {
		return fmt.Errorf("record %d: %w", r.Generation, err)
	}
	return nil
}

// validateNames checks what the record refers to.
func (r *Record) validateNames() error {
	if err := r.Weak.validate(); err != nil {
		return err
	}
	if len(r.Blobs) > MaxExtents {
		return fmt.Errorf("%d extents", len(r.Blobs))
	}
	for i, e := range r.Blobs {
		if err := e.validate(); err != nil {
			return err
		}
		// A blob file is only appended to, so later blobs lie further back.
		if i > 0 && e.File == r.Blobs[i-1].File && e.Offset < r.Blobs[i-1].end() {
			return fmt.Errorf("blob %d overlaps the one before it", i)
		}
	}
	n := len(r.Retained)
	if n == 0 || n > MaxRetained || r.Retained[n-1] != r.Generation {
		return fmt.Errorf("retained %d", r.Retained)
	}
	for i, g := range r.Retained {
		if g == 0 || i > 0 && g <= r.Retained[i-1] {
			return fmt.Errorf("retained %d", r.Retained)
		}
	}
	return nil
}

func (e Extent) end() uint64 { return e.Offset + uint64(e.Length) }

func (e Extent) validate() error {
	switch {
	case e.File == 0 || e.Hash == 0:
		return fmt.Errorf("extent without file or hash")
	case e.Offset < FileHeaderBlock || e.Offset%BlobAlign != 0 || e.Offset >= 1<<62:
		return fmt.Errorf("extent at %d", e.Offset)
	case e.Length < BlobAlign || e.Length%BlobAlign != 0 || e.Length > MaxBlob:
		return fmt.Errorf("extent of %d bytes", e.Length)
	}
	return nil
}

func (w WeakPos) validate() error {
	if w == (WeakPos{}) {
		return nil
	}
	if w.File == 0 || w.Hash == 0 {
		return fmt.Errorf("weak chain without file or hash")
	}
	if w.Offset < FileHeaderBlock || w.Offset%BlobAlign != 0 || w.Offset >= 1<<62 {
		return fmt.Errorf("weak chain at %d", w.Offset)
	}
	return nil
}

// Hash names the record in its child's Parent: it is the record's checksum.
func (r *Record) Hash() uint64 {
	_, hash := r.append(nil)
	return hash
}

// MarshalBinary returns the record with its padding, a multiple of 4 KiB.
func (r *Record) MarshalBinary() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	b, _ := r.append(make([]byte, 0, MaxRecord))
	return b[:roundUp(len(b), PageSize)], nil
}

// append appends the record without padding.
func (r *Record) append(b []byte) ([]byte, uint64) {
	start := len(b)
	var flags uint16
	if r.Clean {
		flags |= flagClean
	}
	b = append(b, recordMagic...)
	b = append16(b, Version, flags)
	b = append32(b, uint32(recordSize(len(r.Shards), len(r.Blobs), len(r.Retained), len(r.Schema))))
	b = r.Geometry.append(b)
	b = appendWords(b, r.Generation, r.Lineage, r.Parent, r.Opens, r.PageFile, r.Image)
	b = appendWords(b, r.Weak.File, r.Weak.Offset, r.Weak.Number, r.Weak.Hash)
	b = appendWords(b, r.Entries, r.Live, r.Stores, uint64(r.Clock), uint64(r.Wall))
	b = append(b, r.BootID[:]...)
	b = append32(b, r.Places)
	b = append16(b, uint16(len(r.Blobs)), uint16(len(r.Retained)), uint16(len(r.Shards)), uint16(len(r.Schema)))
	b = appendZeroes(b, recordHeader-recordReserved)
	for _, s := range r.Shards {
		b = s.append(b)
	}
	for _, e := range r.Blobs {
		b = appendWords(b, e.File, e.Offset, e.Hash)
		b = append32(b, e.Length, 0)
	}
	b = appendWords(b, r.Retained...)
	b = append(b, r.Schema...)
	b = appendZeroes(b, roundUp(len(r.Schema), 8)-len(r.Schema))
	hash := checksum(b[start:])
	return binary.LittleEndian.AppendUint64(b, hash), hash
}

// UnmarshalBinary reads the record that b begins with; b has at least its
// padding, as a slot has. It aliases nothing. r changes only on success. The
// error of a record of a newer version wraps ErrVersion.
func (r *Record) UnmarshalBinary(b []byte) error {
	body, err := recordBody(b)
	if err != nil {
		return err
	}
	var got Record
	if err := got.parse(body); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := got.Validate(); err != nil {
		return corrupt("%v", err)
	}
	*r = got
	return nil
}

// recordBody proves a record and returns it without checksum.
func recordBody(b []byte) ([]byte, error) {
	if len(b) < recordHeader || string(b[:recordVersion]) != recordMagic {
		return nil, corrupt("record: no header")
	}
	length := le32(b, recordLength)
	if length < recordHeader+8 || length > MaxRecord || int(length) > len(b) {
		return nil, corrupt("record: %d bytes in %d", length, len(b))
	}
	sum := int(length) - 8
	if checksum(b[:sum]) != le64(b, sum) {
		return nil, corrupt("record: checksum")
	}
	if v := le16(b, recordVersion); v != Version {
		return nil, versionError("record", v)
	}
	end := roundUp(int(length), PageSize)
	if end > len(b) || !allZero(b[length:end]) {
		return nil, corrupt("record: padding")
	}
	return b[:sum], nil
}

// parse reads the fields of a record that was proved.
func (r *Record) parse(b []byte) (err error) {
	extents, retained := int(le16(b, recordLists)), int(le16(b, recordLists+2))
	shards, schema := int(le16(b, recordLists+4)), int(le16(b, recordLists+6))
	if recordSize(shards, extents, retained, schema) != len(b)+8 {
		return corrupt("%d bytes, counts say otherwise", len(b)+8)
	}
	flags := le16(b, recordFlags)
	if flags&^flagClean != 0 || !allZero(b[recordReserved:recordHeader]) {
		return corrupt("reserved bits are set")
	}
	if r.Geometry, err = parseGeometry(b[recordGeometry:]); err != nil {
		return err
	}
	r.Clean = flags&flagClean != 0
	for i, field := range []*uint64{&r.Generation, &r.Lineage, &r.Parent, &r.Opens, &r.PageFile, &r.Image} {
		*field = le64(b, recordNumbers+8*i)
	}
	for i, field := range []*uint64{&r.Weak.File, &r.Weak.Offset, &r.Weak.Number, &r.Weak.Hash} {
		*field = le64(b, recordWeak+8*i)
	}
	for i, field := range []*uint64{&r.Entries, &r.Live, &r.Stores} {
		*field = le64(b, recordCounts+8*i)
	}
	r.Clock, r.Wall = int64(le64(b, recordClock)), int64(le64(b, recordWall))
	copy(r.BootID[:], b[recordBootID:])
	r.Places = le32(b, recordPlaces)
	return r.parseLists(b[recordHeader:], shards, extents, retained, schema)
}

// parseLists reads what follows the header; b has exactly that.
func (r *Record) parseLists(b []byte, shards, extents, retained, schema int) error {
	for range shards {
		s, err := parseState(b)
		if err != nil {
			return err
		}
		r.Shards, b = append(r.Shards, s), b[stateSize:]
	}
	for range extents {
		if le32(b, 28) != 0 {
			return corrupt("reserved bits are set")
		}
		r.Blobs = append(r.Blobs, Extent{File: le64(b, 0), Offset: le64(b, 8), Hash: le64(b, 16), Length: le32(b, 24)})
		b = b[extentSize:]
	}
	for range retained {
		r.Retained, b = append(r.Retained, le64(b, 0)), b[retainedSize:]
	}
	r.Schema = string(b[:schema])
	if !allZero(b[schema:]) {
		return corrupt("reserved bits are set")
	}
	return nil
}
