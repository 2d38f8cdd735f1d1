package dump

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// Sizes is how long the files of a directory are.
type Sizes map[fileKey]int64

// Measure looks at the files of a directory, and at the weak rings in weakDir.
// What cannot be opened counts for nothing.
func Measure(fsys pagefile.FS, dir, weakDir string) Sizes {
	sizes := make(Sizes)
	for _, d := range []string{dir, weakDir} {
		if d == "" {
			continue
		}
		names, err := fsys.ReadDir(d)
		if err != nil {
			continue
		}
		for _, name := range names {
			key, ok := keyOf(name)
			if ok && (d == dir || key.kind == pagefile.KindWeak) {
				sizes[key] = lengthOf(fsys, filepath.Join(d, name))
			}
		}
	}
	return sizes
}

// keyOf is ParseName with the rings of records, which have no kind.
func keyOf(name string) (key fileKey, ok bool) {
	if i := slices.Index(ringNames[:], name); i >= 0 {
		return fileKey{id: uint64(i)}, true
	}
	key.kind, key.id, ok = pagefile.ParseName(name)
	return key, ok
}

func lengthOf(fsys pagefile.FS, path string) int64 {
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0
	}
	defer file.Close()
	size, _ := file.Size()
	return size
}

// onDisk is what the files take now, as far as it is known.
func (d *Dumper) onDisk() (total int64) {
	sizes := d.files.sizes
	if d.home.file != nil {
		sizes[fileKey{pagefile.KindPages, d.home.id}] = d.home.size
	}
	if d.blobs.file != nil {
		sizes[fileKey{pagefile.KindBlobs, d.blobs.id}] = d.blobs.size
	}
	for i, ring := range d.rings {
		if ring != nil {
			sizes[fileKey{id: uint64(i)}] = pagefile.RingSize
		}
	}
	for _, size := range sizes {
		total += size
	}
	return total
}
