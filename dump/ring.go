package dump

import "github.com/embercache/ember/pagefile"

// A ring is the file of weak links. Positions in it grow for ever; position p
// lies at offset FileHeaderBlock + p % size. Links in [keep, next) are needed
// after a crash and are never written over.
type ring struct {
	file pagefile.File
	id   uint64
	size int64 // of the ring, a multiple of BlobAlign
	next int64 // where the next link begins, if it fits before the end
	keep int64 // end of the link of the newest generation whose mirror is durable
}

// anchorRoom is left free by ordinary links, so that a chain that ended because
// the ring is full can begin again at the next durable cut.
const anchorRoom = 4096

// reopened is a ring with a chain from offset keep on that ends before offset
// next. laps says whether there is a link at all when the two are the same.
func reopened(file pagefile.File, id uint64, length, keep, next int64, any bool) *ring {
	r := &ring{file: file, id: id, size: (length - pagefile.FileHeaderBlock) &^ (pagefile.BlobAlign - 1)}
	if r.size < minRing || !r.holds(keep) || !r.holds(next) {
		return nil
	}
	r.keep, r.next = keep-pagefile.FileHeaderBlock, next-pagefile.FileHeaderBlock
	if r.next < r.keep || r.next == r.keep && any {
		r.next += r.size
	}
	return r
}

func (r *ring) holds(off int64) bool {
	return off >= pagefile.FileHeaderBlock && off <= pagefile.FileHeaderBlock+r.size && off%pagefile.BlobAlign == 0
}

func (r *ring) offset(pos int64) int64 { return pagefile.FileHeaderBlock + pos%r.size }

// fit returns where a link of n bytes begins: at next, or at the ring's first
// block if it would cross the end. ok is false if it would write over a link
// that is needed, or take the anchor's room.
func (r *ring) fit(n int64, anchor bool) (pos int64, ok bool) {
	pos = r.next
	if pos%r.size+n > r.size {
		pos += r.size - pos%r.size
	}
	room := r.size
	if !anchor {
		room -= anchorRoom
	}
	return pos, pos+n-r.keep <= room
}

// held is how many bytes lie between keep and next.
func (r *ring) held() int64 { return r.next - r.keep }

// free is told that the mirror of a generation is durable whose link ends at
// position pos: nothing before it is needed any more.
func (r *ring) free(pos int64) { r.keep = max(r.keep, pos) }
