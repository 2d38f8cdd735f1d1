package pagefile

import (
	"fmt"
	"strconv"
	"strings"
)

// A FileKind says what a numbered file holds. The number is on file.
type FileKind uint16

// The kinds of numbered files.
const (
	KindPages FileKind = 1 // places of segments
	KindImage FileKind = 2 // one image
	KindBlobs FileKind = 3 // durable blobs, one after the other
	KindWeak  FileKind = 4 // ring of weak links
)

// RecordsName and MirrorName are the two rings of records.
const (
	RecordsName = "records.0"
	MirrorName  = "records.1"
)

const nameDigits = 16

// kindNames are the kinds' first parts of file names.
var kindNames = [...]string{KindPages: "pages", KindImage: "image", KindBlobs: "blobs", KindWeak: "weak"}

func (k FileKind) valid() bool { return k >= KindPages && k <= KindWeak }

func (k FileKind) String() string {
	if !k.valid() {
		return fmt.Sprintf("kind %d", uint16(k))
	}
	return kindNames[k]
}

// FileName is the name of a numbered file: "pages-00000000000004d2".
func FileName(kind FileKind, id uint64) string {
	return fmt.Sprintf("%v-%0*x", kind, nameDigits, id)
}

// ParseName is the inverse of FileName. What it refuses is not a file of ours
// and is left alone.
func ParseName(name string) (kind FileKind, id uint64, ok bool) {
	first, digits, found := strings.Cut(name, "-")
	if !found || len(digits) != nameDigits {
		return 0, 0, false
	}
	for kind = KindPages; kind <= KindWeak; kind++ {
		if kindNames[kind] != first {
			continue
		}
		id, err := strconv.ParseUint(digits, 16, 64)
		// Upper case and signs parse too, but we never write them.
		if err != nil || FileName(kind, id) != name {
			return 0, 0, false
		}
		return kind, id, true
	}
	return 0, 0, false
}
