package dirty

import "math/bits"

// A Run is count adjacent pages of a segment.
type Run struct {
	Number uint64 // the segment's
	First  int    // page
	Count  int
}

// A Set is the set of pages that are to go home. A segment has at most 64 pages,
// bit i of a mask is page i. The zero Set is empty and ready.
type Set struct {
	segments []segment
	at       map[uint64]int // number -> index in segments
	pages    int
}

// A segment without pages was dropped; its entry goes with the next Take.
type segment struct {
	number uint64
	pages  uint64
}

// Add adds pages of a segment. Segments keep the order of their first Add, so
// that those that were filled one after the other are written that way.
func (s *Set) Add(number, pages uint64) {
	if pages == 0 {
		return
	}
	i, ok := s.at[number]
	if !ok {
		if s.at == nil {
			s.at = make(map[uint64]int)
		}
		i = len(s.segments)
		s.at[number] = i
		s.segments = append(s.segments, segment{number: number})
	}
	s.pages += bits.OnesCount64(pages &^ s.segments[i].pages)
	s.segments[i].pages |= pages
}

// Take empties the Set and returns its pages as the longest runs there are, by
// segment in the order of their Add, ascending within each.
func (s *Set) Take() []Run {
	var runs []Run
	for _, seg := range s.segments {
		runs = appendRuns(runs, seg)
	}
	clear(s.at)
	s.segments, s.pages = s.segments[:0], 0
	return runs
}

func appendRuns(runs []Run, seg segment) []Run {
	for rest := seg.pages; rest != 0; {
		first := bits.TrailingZeros64(rest)
		count := bits.TrailingZeros64(^(rest >> first))
		runs = append(runs, Run{seg.number, first, count})
		rest &^= Mask(first, count)
	}
	return runs
}

// GiveBack puts runs that were taken in front of what was added since: they are
// older, and the next Take has them first.
func (s *Set) GiveBack(runs []Run) {
	later := s.segments
	s.segments = make([]segment, 0, len(later)+len(runs))
	s.pages = 0
	clear(s.at)
	for _, r := range runs {
		s.Add(r.Number, Mask(r.First, r.Count))
	}
	for _, seg := range later {
		s.Add(seg.number, seg.pages)
	}
}

// Drop removes all pages of a segment: it died, or its pages are to be added
// anew.
func (s *Set) Drop(number uint64) {
	i, ok := s.at[number]
	if !ok {
		return
	}
	s.pages -= bits.OnesCount64(s.segments[i].pages)
	s.segments[i].pages = 0
	delete(s.at, number)
}

// Len is the number of pages in the Set.
func (s *Set) Len() int { return s.pages }

// Mask has the bits of count pages from first on.
func Mask(first, count int) uint64 {
	if count <= 0 {
		return 0
	}
	return ^uint64(0) >> (64 - count) << first
}
