package dump

import (
	"iter"
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A Start is the state of the directory that a Dumper goes on from: what was
// recovered, or nothing. The zero Start is an empty directory.
type Start struct {
	Record   *pagefile.Record   // the generation that was opened; nil: cold
	Retained []*pagefile.Record // all that the directory still holds, ascending, with Record
	// MirrorMissing says that only one ring has Record. It is written to both
	// again before anything is retired.
	MirrorMissing bool
	NeedFull      bool // something of the image or the blobs was damaged
	// NewLineage says that Record is not the newest of its lineage: somebody
	// rolled back. No link that exists may follow what is written now. // I12
	NewLineage bool
	// RolledBack says besides that Record is not the newest: nothing that was
	// written after it may come back. Before anything else it is written again,
	// under a new number and without the links that follow it; Begin waits for that.
	// Nothing of the weak chain was applied. // I12
	RolledBack bool

	LastGeneration, LastOpens uint64 // the highest seen anywhere
	Opens                     uint64 // the number of this process: LastOpens + 1

	// Image has the checksums of segments with an ImageEntry. It stays open until
	// the Dumper is done. May be nil.
	Image *pagefile.ImageReader
	// Chain is where the weak chain that was applied ends, Record.Weak if none of
	// its links was. File 0: there is no chain.
	Chain pagefile.WeakPos
	// Live is what was recovered beyond Chain, as sections of a link that no ring has
	// yet: Inherit writes it before anything else. Severed says that it must not,
	// and that no chain goes on until the next generation: what was recovered is at no
	// cut.
	Live    []pagefile.Section
	Severed bool
	Clock   int64 // of what was recovered, ms

	Shards []StartShard // of the geometry's number; empty if Record is nil
	Count  int          // of their segments
	Sizes  Sizes        // of the directory's files; nil: unknown
	// Named tells which places durable generations name. It is asked when places
	// run out while some are held back for older generations: those that were not in
	// use at Start, or what came and went since one that is kept. May be nil: then
	// they stay held back.
	Named func(generations []uint64) (places map[uint32]bool, err error)
}

// A StartShard is one shard of a Start.
type StartShard struct {
	Durable pagefile.ShardState // at Record's cut
	State   pagefile.ShardState // at the last cut that was applied
	// Segments are those live at State, ascending by queue and seq. They are asked
	// for once, when the first durable generation begins: nobody waits for that.
	Segments iter.Seq[StartSegment]
	// Journals is what the links that were applied stored, in order: it is in no
	// durable blob, so the next durable generation writes it again. A caller that
	// cannot tell sets NeedFull. // I5
	Journals [][]byte
	Died     []uint64 // large segments live at Record's cut, but not at State
}

// A StartSegment is a segment that was recovered.
type StartSegment struct {
	pagefile.Segment
	ImageEntry int      // of Start.Image; -1: none
	Sums       []uint64 // checksums from blobs, which override the image's; nil, or one per page, 0 where the image's counts
	// Dirty has the pages with bytes that are not home: they came back as pieces
	// and are complete in memory.
	Dirty uint64
}

// firstNumber is the first generation number that a new process may use. Files
// of attempts that left no record count too. // I12
func (s *Start) firstNumber(highestFile uint64) uint64 {
	n := max(s.LastGeneration, highestFile)
	for _, r := range s.Retained {
		n = max(n, r.Generation)
	}
	if s.Record != nil {
		n = max(n, s.Record.Generation)
	}
	return n + 1
}

// places is how many the page file has: a later generation, which was gone back
// from and is retained, may have more than Record counts. // I11
func (s *Start) places() uint32 {
	n := s.Record.Places
	for _, r := range s.Retained {
		if r.PageFile == s.Record.PageFile {
			n = max(n, r.Places)
		}
	}
	return n
}

// forked reports whether a generation that may still be opened may not lead to
// Record, because somebody went back from it. Then it may have pages at home that
// are not full yet at Record's cut, in places that Record names too. The process
// that went back gives such segments other places, but a kill may come before a
// record says so, and the next one has to give them anew. // I1
//
// Of what is pinned nobody knows: its record cannot be read, or somebody reads it
// though no record retains it. It counts as much, see prepare.
func (s *Start) forked() bool {
	return s.NewLineage || slices.ContainsFunc(s.Retained, func(r *pagefile.Record) bool { return r.Lineage != s.Record.Lineage })
}
