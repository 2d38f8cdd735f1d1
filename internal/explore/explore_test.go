package explore

import (
	"strings"
	"testing"
)

// A counter is incremented by two actors, each in two steps.
type counter struct {
	at      [2]uint8
	value   int
	private [2]int
	locked  bool
}

func twoIncrements(locking bool) *Model[counter] {
	m := &Model[counter]{
		Check: func(s *counter) string {
			if s.at[0] == 4 && s.at[1] == 4 && s.value != 2 {
				return "an increment is lost"
			}
			return ""
		},
		Witnesses: []Witness[counter]{{"both done", func(s *counter) bool { return s.value == 2 }}},
	}
	for i := range 2 {
		m.Actors = append(m.Actors, Actor[counter]{
			Name: [2]string{"one", "two"}[i],
			At:   func(s *counter) *uint8 { return &s.at[i] },
			Steps: []Step[counter]{
				{Does: "lock", If: func(s *counter) bool { return !s.locked }, Do: func(s *counter) string { s.locked = locking; return "" }},
				{Does: "load", Do: func(s *counter) string { s.private[i] = s.value; return "" }},
				{Does: "store", Do: func(s *counter) string { s.value = s.private[i] + 1; return "" }},
				{Does: "unlock", Do: func(s *counter) string { s.locked = false; return End }},
			},
		})
	}
	return m
}

func TestExploreFindsALostIncrement(t *testing.T) {
	if r := twoIncrements(true).Explore(1000); r.Wrong != "" || len(r.Unseen) > 0 || r.Cut {
		t.Errorf("with a lock: %v, unseen %v, cut %v", r, r.Unseen, r.Cut)
	}
	r := twoIncrements(false).Explore(1000)
	if r.Wrong != "an increment is lost" || len(r.Trace) != 8 || !strings.Contains(r.String(), "one: load") {
		t.Errorf("without a lock: %v, want a way of 8 steps to a lost increment", r)
	}
}

func TestExploreFindsADeadlock(t *testing.T) {
	m := twoIncrements(true)
	m.Actors[0].Steps[3].Do = func(*counter) string { return "" } // never unlocks
	if r := m.Explore(1000); !strings.HasPrefix(r.Wrong, "nobody can go on") {
		t.Errorf("got %v, want a deadlock", r)
	}
}

func TestExploreSaysWhatItDidNotSee(t *testing.T) {
	m := twoIncrements(true)
	m.Witnesses = append(m.Witnesses, Witness[counter]{"three", func(s *counter) bool { return s.value == 3 }})
	r := m.Explore(1000)
	if len(r.Unseen) != 1 || r.Unseen[0] != "three" {
		t.Errorf("unseen %v, want three", r.Unseen)
	}
	if r := m.Explore(3); !r.Cut {
		t.Error("3 states were enough")
	}
}
