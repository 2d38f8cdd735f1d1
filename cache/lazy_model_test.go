package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// A page that Open left on file, good or bad: a reader who needs it, the prefetch that
// ends the time of such pages, and a cleaner who ends the segment and has its frame
// taken by another. // I3, I13

type lazyState struct {
	at      [3]uint8
	lazy    bool // shard.lazy
	slot    bool
	number  uint8
	present bool
	frame   uint8 // what it holds
	bad     bool  // the page cannot be had
	owner   int8  // of the shard's lock

	readerLazy bool
	seen       uint8    // number that the reader loaded
	value      uint8    // that it copied
	want       [2]uint8 // by loader: number of the segment that it loads
	answered   outcome
	done       bool
}

const (
	frameEmpty = iota // as the kernel gave it, or of an earlier owner
	frameRight
	frameOther
)

type lazyStep = explore.Step[lazyState]

func lazyLock(actor int) lazyStep {
	return lazyStep{Does: "lock", If: func(s *lazyState) bool { return s.owner == 0 }, Do: func(s *lazyState) string { s.owner = int8(actor + 1); return "" }}
}

func lazyUnlock(next string) lazyStep {
	return lazyStep{Does: "unlock", Do: func(s *lazyState) string { s.owner = 0; return next }}
}

// adopt is loadPages and adoptLocked (lazy.go), then loadOrLose.
func adopt(fault string, actor int, next string) []lazyStep {
	here := func(s *lazyState) bool {
		return !s.bad && (s.number == s.want[actor] || fault == "a page is adopted whatever the number") && !s.present
	}
	fill := lazyStep{Does: "copy the page into the frame, if the number holds and the bit is clear", Do: func(s *lazyState) string {
		if here(s) {
			s.frame = frameRight
		}
		return ""
	}}
	bit := lazyStep{Does: "set its bit", Do: func(s *lazyState) string {
		if !s.bad && s.number == s.want[actor] {
			s.present = true
		}
		return ""
	}}
	lose := lazyStep{Does: "forget the entry, if the page cannot be had", Do: func(s *lazyState) string {
		if s.bad && s.number == s.want[actor] {
			s.slot = false
		}
		return ""
	}}
	read := lazyStep{Label: "load", Does: "read the page and verify it, under no lock", Do: func(s *lazyState) string { return "" }}
	if fault == "the bit is set before the copy" {
		set := lazyStep{Does: bit.Does, Do: func(s *lazyState) string { s.present = s.present || here(s); return "" }}
		late := lazyStep{Does: fill.Does, Do: func(s *lazyState) string {
			if !s.bad && s.number == s.want[actor] {
				s.frame = frameRight
			}
			return ""
		}}
		return []lazyStep{read, lazyLock(actor), set, late, lose, lazyUnlock(next)}
	}
	return []lazyStep{read, lazyLock(actor), fill, bit, lose, lazyUnlock(next)}
}

// lazyReader is find and read (get.go).
func lazyReader(fault string) []lazyStep {
	ask := lazyStep{Label: "again", Does: "ask whether pages can be on file only", Do: func(s *lazyState) string { s.readerLazy = s.lazy; return "" }}
	look := lazyStep{Does: "load the slot", Do: func(s *lazyState) string {
		if !s.slot {
			s.answered, s.done = miss, true
			return explore.End
		}
		return ""
	}}
	number := lazyStep{Does: "load the number", Do: func(s *lazyState) string { s.seen = s.number; return "" }}
	again := lazyStep{Does: "load the slot again", Do: func(s *lazyState) string {
		if !s.slot {
			return "again"
		}
		return ""
	}}
	steps := []lazyStep{ask, look, number, again}
	if fault == "whether pages can be on file only is asked last" {
		look.Label, ask.Label = "again", ""
		steps = []lazyStep{look, number, again, ask}
	}
	steps = append(steps,
		lazyStep{Does: "look at the page's bit", Do: func(s *lazyState) string {
			if s.readerLazy && !s.present {
				s.want[0] = s.seen
				return "load"
			}
			return ""
		}},
		lazyStep{Does: "copy", Do: func(s *lazyState) string { s.value = s.frame; return "" }},
		lazyStep{Does: "load the number again", Do: func(s *lazyState) string {
			if s.number != s.seen {
				return "again"
			}
			s.answered, s.done = hit, true
			return explore.End
		}})
	return append(steps, adopt(fault, 0, "again")...)
}

// lazyPrefetch is prefetchSegment and settlePages (prefetch.go).
func lazyPrefetch(fault string) []lazyStep {
	begin := lazyStep{Does: "prefetch the segment", Do: func(s *lazyState) string { s.want[1] = 1; return "" }}
	end := lazyStep{Label: "settle", Does: "no page is on file only any more (prefetch.go: settlePages)", Do: func(s *lazyState) string { s.lazy = false; return "" }}
	load := adopt(fault, 1, "")
	if fault == "the time of such pages ends before what is lost is forgotten" {
		return append([]lazyStep{begin, end}, load...)
	}
	return append(append([]lazyStep{begin}, load...), end)
}

// lazyCleaner ends the segment (evict.go: finishLocked); one of another shard takes
// its frame.
func lazyCleaner() []lazyStep {
	return []lazyStep{lazyLock(2),
		{Does: "clear the slot", Do: func(s *lazyState) string { s.slot = false; return "" }},
		{Does: "take the number away", Do: func(s *lazyState) string { s.number = 0; return "" }},
		lazyUnlock(""),
		{Does: "another segment has a record in the frame", Do: func(s *lazyState) string { s.frame = frameOther; return "" }}}
}

func buildLazy(bad bool) func(fault string) *explore.Model[lazyState] {
	return func(fault string) *explore.Model[lazyState] {
		m := &explore.Model[lazyState]{Start: lazyState{lazy: true, slot: true, number: 1, bad: bad}, Check: func(s *lazyState) string {
			switch {
			case s.done && s.answered == hit && s.value != frameRight:
				return "Get has bytes of a page that was not there"
			case s.at[2] == 5 && s.frame != frameOther:
				return "a page was copied over another segment's bytes"
			}
			return ""
		}}
		for i, steps := range [][]lazyStep{lazyReader(fault), lazyPrefetch(fault), lazyCleaner()} {
			m.Actors = append(m.Actors, explore.Actor[lazyState]{Name: []string{"reader", "prefetch", "cleaner"}[i],
				At: func(s *lazyState) *uint8 { return &s.at[i] }, Steps: steps})
		}
		m.Witnesses = []explore.Witness[lazyState]{
			{Name: "a miss", Seen: func(s *lazyState) bool { return s.done && s.answered == miss }},
			{Name: "the reader loads", Seen: func(s *lazyState) bool { return s.want[0] == 1 }},
		}
		if !bad {
			m.Witnesses = append(m.Witnesses, explore.Witness[lazyState]{Name: "a hit", Seen: func(s *lazyState) bool { return s.done && s.answered == hit }})
		}
		return m
	}
}

func TestModelOfPagesOnFile(t *testing.T) {
	t.Run("good", func(t *testing.T) {
		checkProtocol(t, buildLazy(false), "the bit is set before the copy", "a page is adopted whatever the number")
	})
	t.Run("bad", func(t *testing.T) {
		checkProtocol(t, buildLazy(true), "whether pages can be on file only is asked last", "the time of such pages ends before what is lost is forgotten")
	})
}
