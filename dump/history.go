package dump

import (
	"slices"

	"github.com/embercache/ember/pagefile"
)

// A history is the generations that may still be opened or are being read.
type history struct {
	retained []*pagefile.Record // of the newest record, ascending, with that record
	next     []*pagefile.Record // of the record that is being written
	pinned   []pinned           // no longer retained, but somebody read them when last asked
}

// A pinned generation's record may be gone from the rings: then its files are
// only known to its reader, who has them open.
type pinned struct {
	generation uint64
	record     *pagefile.Record // nil: unknown
}

// restoredHistory is what a new process knows of the past.
func restoredHistory(s *Start) history {
	h := history{retained: slices.Clone(s.Retained)}
	if s.Record == nil {
		return h
	}
	if !h.has(s.Record.Generation) {
		h.retained = append(h.retained, s.Record)
	}
	for _, n := range s.Record.Retained {
		if !h.has(n) {
			h.pinned = append(h.pinned, pinned{n, nil})
		}
	}
	return h
}

func (h *history) has(generation uint64) bool {
	return slices.ContainsFunc(h.retained, func(r *pagefile.Record) bool { return r.Generation == generation })
}

// retain decides what the record r, the next one, retains: the newest keep cuts,
// and what is being read, as far as a record has room. Of records that state the
// same cut one is enough. It returns their generations with r's own. // I11
func (h *history) retain(r *pagefile.Record, keep int, held func(uint64) bool) []uint64 {
	h.next = h.next[:0]
	cuts, newer := 1, r
	for i := len(h.retained) - 1; i >= 0; i-- {
		old := h.retained[i]
		twin := sameCut(old, newer)
		if !twin {
			cuts++
		}
		newer = old
		room := len(h.next) < pagefile.MaxRetained-1
		if room && (!twin && cuts <= keep || held(old.Generation)) {
			h.next = append(h.next, old)
		}
	}
	slices.Reverse(h.next)
	h.next = append(h.next, r)
	list := make([]uint64, len(h.next))
	for i, rec := range h.next {
		list[i] = rec.Generation
	}
	return list
}

// sameCut reports whether two records state the same cut. A blob carries one cut.
func sameCut(a, b *pagefile.Record) bool {
	n := len(a.Blobs)
	return a.Image == b.Image && n == len(b.Blobs) && n > 0 && a.Blobs[n-1] == b.Blobs[n-1]
}

// commit makes what the record that is durable now retains the present. What it
// does not retain may be pinned until somebody has asked.
func (h *history) commit() {
	for _, old := range h.retained {
		if !slices.Contains(h.next, old) {
			h.drop(old)
		}
	}
	h.retained = append(h.retained[:0], h.next...)
}

// drop is for a record that may have been found and that no later one retains.
func (h *history) drop(r *pagefile.Record) {
	h.pinned = append(h.pinned, pinned{r.Generation, r})
}

// found adds what somebody reads and no record that was restored retains: the
// process that knew of it has ended. Of one that is not in the rings any more only
// the reader knows the files, and has them open.
func (h *history) found(generation uint64, r *pagefile.Record) {
	known := slices.ContainsFunc(h.pinned, func(p pinned) bool { return p.generation == generation })
	if !known && !h.has(generation) {
		h.pinned = append(h.pinned, pinned{generation, r})
	}
}

// spare reports whether there is more than the two generations that always stay.
func (h *history) spare() bool { return len(h.retained) > minKeep || len(h.pinned) > 0 }

// unpin forgets generations that nobody reads. It is asked after the record that
// does not retain them is durable in both rings: a reader that comes later sees
// that record and gives up. // I11
func (h *history) unpin(held func(uint64) bool) {
	h.pinned = slices.DeleteFunc(h.pinned, func(p pinned) bool { return !held(p.generation) })
}

// oldest is the oldest generation that somebody may still read.
func (h *history) oldest() uint64 {
	oldest := h.retained[0].Generation
	for _, p := range h.pinned {
		oldest = min(oldest, p.generation)
	}
	return oldest
}

// needs adds the files of all of them.
func (h *history) needs(keep map[fileKey]bool) {
	for _, r := range h.retained {
		needs(keep, r)
	}
	for _, p := range h.pinned {
		needs(keep, p.record)
	}
}
