package forge

import (
	"bytes"
	"encoding/binary"
	"os"
	"path"

	"github.com/cespare/xxhash/v2"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

var le = binary.LittleEndian

// Files are what is sealed.
type Files interface {
	OpenFile(name string, flag int, perm os.FileMode) (pagefile.File, error)
	Overwrite(name string, off int64, data []byte) error
}

// checksum is xxHash64, 1 for 0.
func checksum(b []byte) uint64 { return max(xxhash.Sum64(b), 1) }

// seal puts the checksum of b[:at] at at.
func seal(b []byte, at int) { le.PutUint64(b[at:], checksum(b[:at])) }

// Seal makes right again what the files of a directory say of their own bytes and of
// each other's: checksums, hashes of blobs in records, and each link's hash of the
// one before it. Page checksums stay as they are. A directory without damage is not
// changed.
func Seal(disk *crashfs.FS, dir string) error {
	for _, name := range disk.List() {
		if err := SealFile(disk, name); err != nil {
			return err
		}
	}
	var newest anchor
	for _, name := range [...]string{pagefile.RecordsName, pagefile.MirrorName} {
		if err := sealRing(disk, dir, name, &newest); err != nil {
			return err
		}
	}
	sealLinks(disk, dir, newest.WeakPos)
	return nil
}

// SealFile seals the header of a file, and all blocks of an image.
func SealFile(disk Files, name string) error {
	kind, _, ok := pagefile.ParseName(path.Base(name))
	if !ok {
		return nil
	}
	if kind == pagefile.KindImage {
		return edit(disk, name, 0, -1, SealImage)
	}
	return edit(disk, name, 0, pagefile.FileHeaderBlock, sealHeader)
}

// SealImage seals the header and all blocks of an image.
func SealImage(b []byte) {
	sealHeader(b)
	sealBlocks(b)
}

// SealRecord seals a record, and all that it names.
func SealRecord(disk Files, dir string, slot []byte) {
	var of anchor
	sealRecord(disk, dir, slot, &of)
	sealLinks(disk, dir, of.WeakPos)
}

// An anchor is where links follow the newest record.
type anchor struct {
	generation uint64
	pagefile.WeakPos
}

func sealRing(disk Files, dir, name string, newest *anchor) error {
	f, err := disk.OpenFile(path.Join(dir, name), 0, 0)
	if err != nil {
		return nil // lost
	}
	defer f.Close()
	var magic [8]byte
	for slot := range pagefile.RingSlots {
		off := int64(slot) * pagefile.MaxRecord
		if f.ReadAt(magic[:], off); string(magic[:]) != "EmberGen" {
			continue // most have never been written
		}
		err := edit(disk, path.Join(dir, name), off, pagefile.MaxRecord, func(b []byte) { sealRecord(disk, dir, b, newest) })
		if err != nil {
			return err
		}
		clear(magic[:])
	}
	return nil
}

// edit rewrites n bytes of a file, as far as it goes; -1: all of it.
func edit(disk Files, name string, off int64, n int, change func(b []byte)) error {
	f, err := disk.OpenFile(name, 0, 0)
	if err != nil {
		return nil // lost: nothing to seal
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || off < 0 || off >= size {
		return err
	}
	if n >= 0 {
		size = min(size, off+int64(n))
	}
	b := make([]byte, size-off)
	if _, err := f.ReadAt(b, off); err != nil {
		return err
	}
	was := bytes.Clone(b)
	change(b)
	if bytes.Equal(b, was) {
		return nil
	}
	return disk.Overwrite(name, off, b)
}

func sealHeader(b []byte) {
	if len(b) >= 64 {
		seal(b, 56)
	}
}

func sealBlocks(b []byte) {
	for ; len(b) >= pagefile.PageSize; b = b[pagefile.PageSize:] {
		if le.Uint64(b[4088:]) != 0 { // else it was never written
			seal(b, 4088)
		}
	}
}

// sealRecord seals a slot, after the blobs that its record names.
func sealRecord(disk Files, dir string, b []byte, newest *anchor) {
	if len(b) < 232 || string(b[:8]) != "EmberGen" {
		return
	}
	n := int(le.Uint32(b[12:]))
	if n < 232 || n > len(b) {
		return
	}
	at := 224 + 48*int(le.Uint16(b[192:]))
	for range le.Uint16(b[188:]) {
		if at+32 > n-8 {
			break
		}
		name := pagefile.FileName(pagefile.KindBlobs, le.Uint64(b[at:]))
		edit(disk, path.Join(dir, name), int64(le.Uint64(b[at+8:])), int(le.Uint32(b[at+24:])), func(blob []byte) {
			if hash, ok := sealBlob(blob); ok {
				le.PutUint64(b[at+16:], hash)
			}
		})
		at += 32
	}
	if g := le.Uint64(b[48:]); g > newest.generation {
		*newest = anchor{g, pagefile.WeakPos{File: le.Uint64(b[96:]), Offset: le.Uint64(b[104:]), Hash: le.Uint64(b[120:])}}
	}
	seal(b, n-8)
}

// mostLinks bounds what is sealed of a chain.
const mostLinks = 100

func sealLinks(disk Files, dir string, pos pagefile.WeakPos) {
	name := path.Join(dir, pagefile.FileName(pagefile.KindWeak, pos.File))
	for range mostLinks {
		length := uint64(0)
		edit(disk, name, int64(pos.Offset), 64, func(b []byte) {
			if len(b) == 64 && string(b[:4]) == "EmBl" {
				length = le.Uint64(b[40:])
			}
		})
		if length < pagefile.BlobAlign || length > pagefile.MaxBlob {
			return
		}
		edit(disk, name, int64(pos.Offset), int(length), func(b []byte) {
			if len(b) > 40 {
				le.PutUint64(b[32:], pos.Hash)
			}
			pos.Hash, _ = sealBlob(b)
		})
		pos.Offset += length
	}
}

// sealBlob seals the parts of a blob, as far as they are there, then its header.
func sealBlob(b []byte) (hash uint64, ok bool) {
	if len(b) < 72 || string(b[:4]) != "EmBl" {
		return 0, false
	}
	n := int(le.Uint16(b[56:]))
	sum := 64 + 32*n
	if n > pagefile.MaxShards || sum+8 > len(b) {
		return 0, false
	}
	at := uint64(sum+8+pagefile.BlobAlign-1) &^ (pagefile.BlobAlign - 1)
	for _, part := range [2]struct{ length, sum int }{{4, 16}, {8, 24}} {
		for i := range n {
			ref := b[64+32*i:]
			end := at + uint64(le.Uint32(ref[part.length:]))
			if end > uint64(len(b)) {
				break
			}
			le.PutUint64(ref[part.sum:], checksum(b[at:end]))
			at = end
		}
	}
	seal(b, sum)
	return le.Uint64(b[sum:]), true
}

// A linkAt is where a link lies.
type linkAt struct{ off, length uint64 }

// linksOf finds the links that follow pos.
func linksOf(disk *crashfs.FS, name string, pos pagefile.WeakPos) (list []linkAt) {
	f, err := disk.OpenFile(name, 0, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, _ := f.Size()
	for {
		h, hash, err := pagefile.ReadBlobHeader(f, int64(pos.Offset), size)
		if err != nil || h.Prev != pos.Hash {
			return list
		}
		list = append(list, linkAt{pos.Offset, h.Length})
		pos.Offset, pos.Hash = pos.Offset+h.Length, hash
	}
}
