package power

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/draw"
)

const testSeed = 7

// ofKind is a number beyond from of a write of that kind, whose key has nothing yet.
func ofKind(k opKind, writer int, from uint64, state []uint64) uint64 {
	for n := from + 1; ; n++ {
		if o := writeOf(testSeed, writer, n); o.kind == k && state[o.keys[0]] == 0 {
			return n
		}
	}
}

// A testHistory has two writers: each sets keys, all of them different, in turn.
type testHistory struct {
	*history
	states [2][][]uint64 // after so many events
}

func newTestHistory(t *testing.T, lossy bool) *testHistory {
	t.Helper()
	h := &testHistory{history: newHistory(testSeed, 2, lossy)}
	number := [2]uint64{}
	for w := range 2 {
		h.states[w] = append(h.states[w], make([]uint64, keys))
	}
	for i := range 12 {
		w := i % 2
		number[w] = ofKind(opSet, w, number[w], h.states[w][i/2])
		h.append(oneEvent(w, event{Number: number[w], From: uint64(2*i + 1), To: uint64(2*i + 2)}))
		st := slices.Clone(h.states[w][i/2])
		h.apply(st, w, h.events[w][i/2])
		h.states[w] = append(h.states[w], st)
	}
	return h
}

func oneEvent(w int, e event) [][]event {
	list := make([][]event, 2)
	list[w] = []event{e}
	return list
}

// at is what is found after so many events of each writer.
func (h *testHistory) at(a, b int) *message {
	m := &message{Time: time.Now().UnixNano(), Found: [][]uint64{slices.Clone(h.states[0][a]), slices.Clone(h.states[1][b])}}
	m.Report.Outcome, m.Report.Generation, m.Report.Before = "warm", 5, m.Time
	return m
}

func TestJudge(t *testing.T) {
	acknowledged := floor{counts: []int{3, 3}, generation: 5}
	for _, law := range []struct {
		name        string
		wrong, lost string // part of what the verdict says
		lossy       bool
		find        func(h *testHistory) *message
	}{
		{name: "the state at a cut", find: func(h *testHistory) *message { return h.at(4, 4) }},
		{name: "what was acknowledged and no more", find: func(h *testHistory) *message { return h.at(3, 3) }},
		{name: "everything", find: func(h *testHistory) *message { return h.at(6, 6) }},
		{name: "a state older than what was acknowledged is lost", lost: "2 of 6 events left (acknowledged 3)", find: func(h *testHistory) *message { return h.at(2, 2) }},
		{name: "an older generation is lost", lost: "generation 5", find: func(h *testHistory) *message {
			m := h.at(3, 3)
			m.Report.Generation = 4
			return m
		}},
		{name: "a cold start is lost", lost: "cold", find: func(h *testHistory) *message {
			m := h.at(0, 0)
			m.Report.Outcome, m.Report.Generation = "cold", 0
			return m
		}},
		{name: "an effect without its cause is wrong", wrong: "which had returned before", find: func(h *testHistory) *message { return h.at(3, 6) }},
		{name: "a mixture is wrong", wrong: "closest", find: func(h *testHistory) *message {
			m := h.at(5, 5)
			m.Found[0][writeOf(testSeed, 0, h.events[0][3].Number).keys[0]] = 0
			return m
		}},
		{name: "a missing entry is wrong", wrong: "closest", find: func(h *testHistory) *message {
			m := h.at(6, 6)
			m.Found[0][writeOf(testSeed, 0, h.events[0][4].Number).keys[0]] = 0
			return m
		}},
		{name: "a missing entry may be where memory is little", lossy: true, find: func(h *testHistory) *message {
			m := h.at(6, 6)
			m.Found[0][writeOf(testSeed, 0, h.events[0][4].Number).keys[0]] = 0
			return m
		}},
		{name: "an unknown value is wrong", wrong: "closest", lossy: true, find: func(h *testHistory) *message {
			m := h.at(6, 6)
			m.Found[1][0] = 1 << 40
			return m
		}},
		{name: "a drop without damage is wrong", wrong: "nothing was damaged", find: func(h *testHistory) *message {
			m := h.at(6, 6)
			m.Report.Dropped = 1
			return m
		}},
		{name: "what a life says is wrong is wrong", wrong: "bytes", find: func(h *testHistory) *message {
			m := h.at(6, 6)
			m.Wrong = []string{"17 bytes"}
			return m
		}},
	} {
		t.Run(law.name, func(t *testing.T) {
			h := newTestHistory(t, law.lossy)
			v := h.judge(law.find(h), acknowledged)
			wrong, lost := strings.Join(v.wrong, "; "), strings.Join(v.lost, "; ")
			if !strings.Contains(wrong, law.wrong) || !strings.Contains(lost, law.lost) || (law.wrong == "") != (wrong == "") || (law.lost == "") != (lost == "") {
				t.Errorf("wrong %q, lost %q; want %q, %q", wrong, lost, law.wrong, law.lost)
			}
		})
	}
}

// Of one writer everything is missing, of another something is there that was deleted
// and acknowledged: that state is too old, and no effect without its cause.
func TestJudgeLostAndMissing(t *testing.T) {
	h := newTestHistory(t, true)
	first := writeOf(testSeed, 1, h.events[1][0].Number).keys[0]
	number := h.events[1][5].Number + 1
	for o := writeOf(testSeed, 1, number); o.kind != opDelete || o.keys[0] != first; o = writeOf(testSeed, 1, number) {
		number++
	}
	h.append(oneEvent(1, event{Number: number, From: 100, To: 101}))
	m := h.at(0, 6)
	v := h.judge(m, floor{counts: []int{6, 7}})
	if len(v.wrong) > 0 || len(v.lost) != 1 {
		t.Errorf("wrong %v, lost %v", v.wrong, v.lost)
	}
}

func TestJudgeClear(t *testing.T) {
	h := newTestHistory(t, false)
	e := event{Number: 100, Clear: true, From: 100, To: 101}
	h.append([][]event{{e}, {e}})
	none := make([]uint64, keys)
	for w := range 2 {
		h.states[w] = append(h.states[w], none)
	}
	f := floor{counts: []int{6, 6}}
	if v := h.judge(h.at(7, 7), f); !v.ok() {
		t.Errorf("after Clear: %v %v", v.wrong, v.lost)
	}
	if v := h.judge(h.at(7, 6), f); len(v.wrong) == 0 {
		t.Error("half a Clear passes")
	}
	f.counts = []int{7, 7}
	if v := h.judge(h.at(6, 6), f); len(v.lost) == 0 {
		t.Error("what was cleared and acknowledged is back, and passes")
	}
}

func TestJudgeExpiry(t *testing.T) {
	h := newTestHistory(t, false)
	now := time.Now()
	number := ofKind(opShort, 0, h.events[0][5].Number, h.states[0][6])
	e := event{Number: number, From: 100, To: 101, Born: now.UnixNano(), Done: now.UnixNano()}
	h.append(oneEvent(0, e))
	st := slices.Clone(h.states[0][6])
	h.apply(st, 0, e)
	h.states[0] = append(h.states[0], st)
	key := writeOf(testSeed, 0, number).keys[0]
	for _, law := range []struct {
		name  string
		after time.Duration
		there bool
		ok    bool
	}{
		{"there in time", 0, true, true},
		{"gone too early", 0, false, false},
		{"gone in time", 2 * shortTTL, false, true},
		{"there too late", shortTTL + 2*clockSlack, true, false},
	} {
		m := h.at(7, 6)
		m.Time = now.Add(law.after).UnixNano()
		m.Report.Before = m.Time
		if !law.there {
			m.Found[0][key] = 0
		}
		if v := h.judge(m, floor{counts: []int{7, 6}}); v.ok() != law.ok {
			t.Errorf("%s: %v %v", law.name, v.wrong, v.lost)
		}
	}
}

func TestValuesTellTheirWrite(t *testing.T) {
	for number := uint64(1); number < 500; number++ {
		o := writeOf(testSeed, 1, number)
		for _, key := range o.keys {
			v := draw.Value(1, key, number, o.size)
			n, ok := numberOf(testSeed, 1, key, v)
			if n != number || ok != o.sets(key) {
				t.Fatalf("write %d of kind %d, key %d: %d, %v", number, o.kind, key, n, ok)
			}
			if _, ok := numberOf(testSeed, 0, key, v); ok {
				t.Fatal("the value of another writer passes")
			}
			v[len(v)-1] ^= 1
			if _, ok := numberOf(testSeed, 1, key, v); ok {
				t.Fatal("a flipped bit passes")
			}
		}
	}
}
