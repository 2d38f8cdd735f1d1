// Package forge damages the files of a cache and makes their checksums right again,
// as somebody can who may write to the directory: what a decoder makes of lies that
// verify is for tests to find out. The offsets are those of docs/FORMAT.md.
package forge

import (
	"encoding/binary"
	"path"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A patch of a script is the number of a file, in the order of their names, how many
// bytes go there, and where, each modulo what there is; then these bytes. A length
// of 0 cuts the file off.
//
//	0  file    u8
//	1  length  u8
//	2  unused  u16
//	4  offset  u32
//	8  bytes
const patchHeader = 8

// Apply damages the files as script says.
func Apply(disk *crashfs.FS, script []byte) error {
	names := disk.List()
	for len(script) >= patchHeader && len(names) > 0 {
		name, n := names[int(script[0])%len(names)], min(int(script[1]), len(script)-patchHeader)
		size, err := sizeOf(disk, name)
		if err != nil {
			return err
		}
		if size > 0 {
			off := int64(binary.LittleEndian.Uint32(script[4:])) % size
			if script[1] == 0 {
				err = disk.TruncateFile(name, off)
			} else {
				err = disk.Overwrite(name, off, script[patchHeader:][:min(int64(n), size-off)])
			}
			if err != nil {
				return err
			}
		}
		script = script[patchHeader+n:]
	}
	return nil
}

// Same is a script that changes nothing in n bytes of a file: where mutations begin.
func Same(disk *crashfs.FS, name string, off, n int) (script []byte, err error) {
	b, err := disk.ReadFile(name)
	if err != nil {
		return nil, err
	}
	number := 0
	for disk.List()[number] != name {
		number++
	}
	for end := min(off+n, len(b)); off < end; {
		k := min(end-off, 64)
		script = append(script, byte(number), byte(k), 0, 0)
		script = binary.LittleEndian.AppendUint32(script, uint32(off))
		script = append(script, b[off:off+k]...)
		off += k
	}
	return script, nil
}

func sizeOf(disk *crashfs.FS, name string) (int64, error) {
	f, err := disk.OpenFile(name, 0, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size()
}

// Scripts are where mutations of a directory begin: patches that change nothing, of
// all that its newest record names.
func Scripts(disk *crashfs.FS, dir string) (list [][]byte, err error) {
	same := func(name string, off, n int) {
		script, sameErr := Same(disk, path.Join(dir, name), off, n)
		if sameErr != nil {
			err = sameErr
		}
		list = append(list, script)
	}
	newest, err := newestRecord(disk, dir)
	if err != nil {
		return nil, err
	}
	slot := pagefile.RingSlot(newest.Generation) * pagefile.MaxRecord
	same(pagefile.RecordsName, slot, 700)
	same(pagefile.MirrorName, slot, 700)
	for _, e := range newest.Blobs {
		same(pagefile.FileName(pagefile.KindBlobs, e.File), int(e.Offset), min(int(e.Length), 1024))
	}
	if w := newest.Weak; w.File != 0 {
		name := pagefile.FileName(pagefile.KindWeak, w.File)
		for _, l := range linksOf(disk, path.Join(dir, name), w) {
			same(name, int(l.off), min(int(l.length), 1024))
		}
	}
	if newest.Image != 0 {
		name := pagefile.FileName(pagefile.KindImage, newest.Image)
		size, sizeErr := sizeOf(disk, path.Join(dir, name))
		if sizeErr != nil {
			return nil, sizeErr
		}
		for off := 0; off < int(size); off += pagefile.PageSize {
			same(name, off, 256)
		}
	}
	same(pagefile.FileName(pagefile.KindPages, newest.PageFile), 0, 64)
	return list, err
}

func newestRecord(disk *crashfs.FS, dir string) (*pagefile.Record, error) {
	r, err := pagefile.OpenRingReadOnly(disk, dir, pagefile.RecordsName)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	records, _, _ := r.ReadAll()
	newest := new(pagefile.Record)
	if len(records) > 0 {
		newest = records[len(records)-1]
	}
	return newest, nil
}
