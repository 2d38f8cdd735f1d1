package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// A miss without a lock, while the only entry goes to another bucket and back
// (index.go: moveSlotLocked), or its bucket is split (index.go: splitLocked).

type missState struct {
	at      [2]uint8
	version uint8
	slots   [2]bool // whether the old place and the new one have the entry
	seen    uint8   // the version that the reader loaded
	found   bool
	outcome outcome
	done    bool
}

type missStep = explore.Step[missState]

// moves brings the entry from one place to the other.
func moves(fault string, from, to int) []missStep {
	put := missStep{Does: "store the entry in its new place", Do: func(s *missState) string { s.slots[to] = true; return "" }}
	tell := missStep{Does: "change the version", Do: func(s *missState) string { s.version++; return "" }}
	wipe := missStep{Does: "clear its old place", Do: func(s *missState) string { s.slots[from] = false; return "" }}
	switch fault {
	case "the version changes after the old place is cleared":
		return []missStep{put, wipe, tell}
	case "the version changes first":
		return []missStep{tell, put, wipe}
	case "the old place is cleared first":
		return []missStep{wipe, put, tell}
	}
	return []missStep{put, tell, wipe}
}

// missReader is find (get.go). A split leads it to one of the places only.
func missReader(fault string, split bool) []missStep {
	look := func(place int) func(s *missState) string {
		return func(s *missState) string {
			if !split || int(s.seen) == place {
				s.found = s.found || s.slots[place]
			}
			return ""
		}
	}
	return []missStep{
		{Label: "again", Does: "load the version", Do: func(s *missState) string { s.seen, s.found = s.version, false; return "" }},
		{Does: "look at the old place", Do: look(0)},
		{Does: "look at the new place", Do: look(1)},
		{Does: "load the version again", Do: func(s *missState) string {
			switch {
			case s.found:
				s.outcome = hit
			case s.version != s.seen && fault != "who misses does not look at the version":
				return "again"
			default:
				s.outcome = miss
			}
			s.done = true
			return explore.End
		}},
	}
}

func buildMiss(split bool) func(fault string) *explore.Model[missState] {
	return func(fault string) *explore.Model[missState] {
		mover := moves(fault, 0, 1)
		if !split {
			mover = append(mover, moves(fault, 1, 0)...)
		}
		m := &explore.Model[missState]{Start: missState{slots: [2]bool{true, false}}, Check: func(s *missState) string {
			if s.done && s.outcome == miss {
				return "Get misses a key that is there"
			}
			return ""
		}}
		for i, steps := range [][]missStep{mover, missReader(fault, split)} {
			m.Actors = append(m.Actors, explore.Actor[missState]{Name: []string{"mover", "reader"}[i],
				At: func(s *missState) *uint8 { return &s.at[i] }, Steps: steps})
		}
		m.Witnesses = []explore.Witness[missState]{
			{Name: "the reader had to look again", Seen: func(s *missState) bool { return s.done && s.seen > 0 }},
		}
		return m
	}
}

func TestModelOfMisses(t *testing.T) {
	faults := []string{"the version changes after the old place is cleared", "the old place is cleared first", "who misses does not look at the version"}
	t.Run("displaced", func(t *testing.T) { checkProtocol(t, buildMiss(false), faults...) })
	t.Run("split", func(t *testing.T) { checkProtocol(t, buildMiss(true), append(faults, "the version changes first")...) })
}
