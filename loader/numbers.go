package loader

import (
	"path/filepath"

	"github.com/embercache/ember/pagefile"
)

const (
	// maxNumber bounds what a name or a damaged file can make us count on from: half
	// of mostGeneration.
	maxNumber = mostGeneration / 2
	// surveyed bounds how many headers of a file are read.
	surveyed = 1 << 14
)

// sawGeneration and sawOpens keep the highest numbers (I12).
func (l *load) sawGeneration(g uint64) {
	if g < maxNumber {
		l.res.LastGeneration = max(l.res.LastGeneration, g)
	}
}

func (l *load) sawOpens(n uint64) {
	if n <= pagefile.MaxOpens {
		l.res.LastOpens = max(l.res.LastOpens, n)
	}
}

// countNumbers takes the numbers of all records, and of images: one whose record
// was never written has used its number up.
func (l *load) countNumbers(p rings) {
	for _, r := range p {
		for _, rec := range r.slots {
			if rec != nil {
				l.highest = max(l.highest, rec.Generation)
				l.sawGeneration(rec.Generation)
				l.sawOpens(rec.Opens)
			}
		}
	}
	for _, name := range l.names {
		if kind, id, ok := pagefile.ParseName(name); ok && kind == pagefile.KindImage {
			l.sawGeneration(id)
		}
	}
}

// survey looks for numbers in blobs and links, for when records are lost. A ring
// of links is read from its start up to where its newest lap ends.
func (l *load) survey() {
	for _, name := range l.names {
		if kind, _, ok := pagefile.ParseName(name); ok && kind == pagefile.KindBlobs {
			l.surveyFile(l.path(name))
		}
	}
	names, err := l.FS.ReadDir(l.WeakDir)
	if err != nil {
		return // there is no ring then
	}
	for _, name := range names {
		if kind, _, ok := pagefile.ParseName(name); ok && kind == pagefile.KindWeak {
			l.surveyFile(filepath.Join(l.WeakDir, name))
		}
	}
}

func (l *load) surveyFile(path string) {
	src, err := openFile(l.FS, path)
	if err != nil {
		return
	}
	defer src.Close()
	for off, n := int64(pagefile.FileHeaderBlock), 0; n < surveyed && !l.stopped(); n++ {
		h, _, err := pagefile.ReadBlobHeader(src, off, src.size)
		if err != nil {
			return
		}
		if h.Kind == pagefile.BlobDurable {
			l.sawGeneration(h.Number)
		}
		l.sawOpens(h.Opens)
		off += int64(h.Length)
	}
}
