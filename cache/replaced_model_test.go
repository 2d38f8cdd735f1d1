package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// A plain Set takes the only word with its key's tag for the key's, and what that word
// led to is settled some Sets later (replaced.go): against Deletes, eviction, records
// that move on, Clear, growth, segments that are opened anew, an image that is copied
// meanwhile, and the cut. Keys a and b have one tag and the same buckets: slots 0 and 1,
// and once the index has grown 2 and 1. A segment has one record; two records wait at
// most. What is under the shard's lock happens at once. // I10, I13

const (
	replacedRing      = 3 // segments
	replacedPositions = 8
	replacedSlots     = 3
	replacedMost      = 2
)

// A replacedRecord is what lies in a frame.
type replacedRecord struct{ key, size uint8 }

// A replacedNote is what waits: words, and the slot for the fault that looks there.
type replacedNote struct{ old, by, slot uint8 }

type replacedState struct {
	at         [1]uint8
	ops        uint8
	slots      [replacedSlots]uint8 // words: 0, or 1 + position
	grown      bool
	head, tail uint8
	numbers    [replacedRing]uint8 // 1 + position, 0 none
	frames     [replacedRing]replacedRecord
	marks      [replacedRing]bool
	waiting    [replacedMost]replacedNote
	n          uint8 // of them
	live       int8  // the gauges
	entries    int8
	taken      int8 // entries that were forgotten for another key's
	clearing   uint8
	heads      uint8 // what Clear has passed ends here

	// What is true, whatever the gauges say.
	records [replacedPositions]replacedRecord
	has     [2]uint8 // by key: 1 + position, 0 nothing
	foreign int8

	journal [replacedSlots]uint8 // 1 + word, 0 nothing since the image was begun
	image   [replacedSlots]uint8
	imageTo uint8
	wrong   string
	cuts    uint8 // noted so far; what they saw, for a witness
	waited  bool  // a cut found something waiting
	lapped  bool  // a segment ended under something that waited
}

type replacedModel struct{ fault string }

// put is putLocked (index.go).
func (b *replacedModel) put(s *replacedState, slot, w uint8) {
	s.slots[slot] = w
	if b.fault != "a store is journaled when what it replaced is settled" || w == 0 {
		s.journal[slot] = 1 + w
	}
}

// account is accountLocked (shard.go).
func (b *replacedModel) account(s *replacedState, entries, bytes int8) {
	s.entries += entries
	s.live += bytes
	if s.entries == 0 {
		if b.fault != "the last entry ends before what waits is settled" {
			b.settle(s)
		}
		s.live = 0
	}
}

func (s *replacedState) frame(w uint8) *replacedRecord { return &s.frames[(w-1)%replacedRing] }

// settleFirst is settleFirstLocked.
func (b *replacedModel) settleFirst(s *replacedState) {
	r := s.waiting[0]
	copy(s.waiting[:], s.waiting[1:])
	s.n--
	s.waiting[s.n] = replacedNote{}
	if b.fault == "what replaced it is looked up in the slot" && s.slots[r.slot] != 0 {
		r.by = s.slots[r.slot]
	}
	s.marks[(r.old-1)%replacedRing] = false
	old, by := *s.frame(r.old), *s.frame(r.by)
	s.live += int8(by.size) - int8(old.size)
	if old.key != by.key {
		s.taken++
	}
	if b.fault == "a store is journaled when what it replaced is settled" {
		s.journal[r.slot] = 1 + r.by
	}
}

// settle is settleReplacedLocked.
func (b *replacedModel) settle(s *replacedState) {
	for s.n > 0 {
		b.settleFirst(s)
	}
}

// replace is replaceLocked.
func (b *replacedModel) replace(s *replacedState, r replacedNote) {
	if s.n == replacedMost || b.fault == "the oldest that waits is written over" && s.n == 1 {
		if b.fault == "the oldest that waits is written over" {
			copy(s.waiting[:], s.waiting[1:])
			s.n--
		} else {
			b.settleFirst(s)
		}
	}
	s.waiting[s.n] = r
	s.n++
}

// retire is retireLocked (held.go).
func (b *replacedModel) retire(s *replacedState, pos uint8, who string) {
	s.lapped = s.lapped || s.n > 0
	if b.fault != who+" takes a number away before what waits is settled" {
		b.settle(s)
	}
	s.numbers[pos%replacedRing] = 0
}

// bury is buryLocked (shard.go).
func (b *replacedModel) bury(s *replacedState, w uint8) {
	if b.fault == "who ends an entry forgets what waits" {
		s.n, s.waiting = 0, [replacedMost]replacedNote{}
	}
	s.marks[(w-1)%replacedRing] = false
	b.account(s, -1, -int8(s.frame(w).size))
}

// candidates are the slots of both keys.
func (s *replacedState) candidates() [2]int {
	if s.grown {
		return [2]int{2, 1}
	}
	return [2]int{0, 1}
}

// find is findLocked (set.go): it compares keys.
func (s *replacedState) find(key uint8) (slot int, ok bool) {
	for _, slot := range s.candidates() {
		if w := s.slots[slot]; w != 0 && s.frame(w).key == key {
			return slot, true
		}
	}
	return 0, false
}

// tagged is taggedLocked: the only word, if there is one alone.
func (s *replacedState) tagged() (slot int, ok bool) {
	c := s.candidates()
	switch one, two := s.slots[c[0]] != 0, s.slots[c[1]] != 0; {
	case one && !two:
		return c[0], true
	case two && !one:
		return c[1], true
	}
	return 0, false
}

// empty is roomLocked (index.go).
func (s *replacedState) empty() (slot int, ok bool) {
	for _, slot := range s.candidates() {
		if s.slots[slot] == 0 {
			return slot, true
		}
	}
	return 0, false
}

// room reports whether a segment can be opened at tail (queue.go: openSegmentLocked).
func (s *replacedState) room() bool {
	return s.tail < replacedPositions && s.tail-s.head < replacedRing && s.numbers[s.tail%replacedRing] == 0
}

// reserve is reserveLocked (queue.go), and the copy of the record.
func (s *replacedState) reserve(r replacedRecord) (w uint8) {
	i := s.tail % replacedRing
	s.numbers[i], s.marks[i], s.frames[i], s.records[s.tail] = s.tail+1, true, r, r
	s.tail++
	return s.tail
}

// canSet is false where Set would have to make room first.
func (s *replacedState) canSet(r replacedRecord, plain bool) bool {
	_, tagged := s.tagged()
	_, found := s.find(r.key)
	_, empty := s.empty()
	return s.room() && (plain && tagged || found || empty)
}

// set is setLocked (set.go): plain, or under a guard, which compares keys.
func (b *replacedModel) set(s *replacedState, r replacedRecord, plain bool) {
	slot, tagged := s.tagged()
	tagged = tagged && plain
	found := tagged
	if !tagged {
		slot, found = s.find(r.key)
	}
	w := s.reserve(r)
	if !found {
		slot, _ = s.empty()
	}
	old, key := s.slots[slot], r.key
	b.put(s, uint8(slot), w)
	switch {
	case tagged:
		r := replacedNote{old: old, by: w}
		if b.fault != "" { // as it is, nobody asks where
			r.slot = uint8(slot)
		}
		b.replace(s, r)
		if was := s.records[old-1].key; was != key {
			s.foreign++
			if s.has[was-1] == old {
				s.has[was-1] = 0
			}
		}
	case found:
		b.account(s, 1, int8(r.size))
		b.bury(s, old)
	default:
		b.account(s, 1, int8(r.size))
	}
	s.has[key-1] = w
}

// remove is removeLocking (set.go).
func (b *replacedModel) remove(s *replacedState, key uint8) {
	slot, _ := s.find(key)
	w := s.slots[slot]
	b.put(s, uint8(slot), 0)
	b.bury(s, w)
	s.has[key-1] = 0
}

// pass moves head past its record (evict.go: passHeadLocked): what has no mark is dead,
// what has one is looked up; then its segment ends.
func (b *replacedModel) pass(s *replacedState, keep bool) {
	w := s.head + 1
	slot, ok := s.slotAt(w)
	if ok && s.marks[s.head%replacedRing] {
		key := s.frame(w).key
		if keep { // moveOnLocked
			moved := s.reserve(*s.frame(w))
			b.put(s, uint8(slot), moved)
			s.has[key-1] = moved
		} else { // passLocked: head says it, not the journal
			s.slots[slot] = 0
			b.bury(s, w)
			s.has[key-1] = 0
		}
	}
	s.head++
	b.retire(s, s.head-1, "the cleaner")
}

// slotAt is slotOfLocked (evict.go).
func (s *replacedState) slotAt(w uint8) (slot int, ok bool) {
	for slot, have := range s.slots {
		if have == w {
			return slot, true
		}
	}
	return 0, false
}

// grow is splitLocked (index.go).
func (b *replacedModel) grow(s *replacedState) {
	s.grown = true
	if w := s.slots[0]; w != 0 {
		b.put(s, 2, w)
		b.put(s, 0, 0)
		if b.fault == "a store is journaled when what it replaced is settled" {
			s.journal[2] = 1 + w
		}
	}
}

// sweep is a piece of sweepCleared (clear.go): one slot.
func (b *replacedModel) sweep(s *replacedState, slot int) {
	if w := s.slots[slot]; w != 0 && w <= s.heads {
		s.slots[slot] = 0
		b.account(s, -1, -int8(s.frame(w).size))
	}
}

// drop is dropSegmentsLocked (clear.go).
func (b *replacedModel) drop(s *replacedState) {
	for i, number := range s.numbers {
		if number != 0 && number <= s.heads {
			b.retire(s, uint8(i), "Clear")
		}
	}
}

type replacedStep = explore.Step[replacedState]

func (b *replacedModel) change(does string, can func(s *replacedState) bool, do func(s *replacedState)) replacedStep {
	return replacedStep{Does: does, If: func(s *replacedState) bool { return s.ops > 0 && can(s) },
		Do: func(s *replacedState) string { s.ops--; do(s); return "" }}
}

func (b *replacedModel) changes() (steps []replacedStep) {
	for _, set := range []struct {
		does  string
		r     replacedRecord
		plain bool
	}{
		{"Set a", replacedRecord{1, 1}, true}, {"Set a, longer", replacedRecord{1, 2}, true},
		{"Set b", replacedRecord{2, 1}, true}, {"Set b under a guard", replacedRecord{2, 2}, false},
	} {
		steps = append(steps, b.change(set.does, func(s *replacedState) bool { return s.canSet(set.r, set.plain) },
			func(s *replacedState) { b.set(s, set.r, set.plain) }))
	}
	for key, does := range []string{"Delete a", "Delete b"} {
		steps = append(steps, b.change(does, func(s *replacedState) bool { _, ok := s.find(uint8(key) + 1); return ok },
			func(s *replacedState) { b.remove(s, uint8(key)+1) }))
	}
	some := func(s *replacedState) bool { return s.head < s.tail }
	return append(steps,
		b.change("evict the oldest", some, func(s *replacedState) { b.pass(s, false) }),
		b.change("move the oldest on", func(s *replacedState) bool { return some(s) && s.room() }, func(s *replacedState) { b.pass(s, true) }),
		b.change("grow", func(s *replacedState) bool { return !s.grown && s.slots[2] == 0 }, b.grow),
		b.change("Clear: head to tail", func(s *replacedState) bool { return some(s) && s.clearing == 0 }, func(s *replacedState) {
			s.head, s.heads, s.has, s.clearing = s.tail, s.tail, [2]uint8{}, 1
		}))
}

// clears is the rest of a Clear.
func (b *replacedModel) clears() (steps []replacedStep) {
	for slot := range replacedSlots {
		steps = append(steps, replacedStep{Does: "Clear: sweep a slot", If: func(s *replacedState) bool { return int(s.clearing) == slot+1 },
			Do: func(s *replacedState) string { b.sweep(s, slot); s.clearing++; return "" }})
	}
	return append(steps, replacedStep{Does: "Clear: give the segments back", If: func(s *replacedState) bool { return s.clearing == replacedSlots+1 },
		Do: func(s *replacedState) string { b.drop(s); s.clearing, s.heads = 0, 0; return "" }})
}

// note is noteCutLocked (cut.go). No cut falls into a Clear.
func (b *replacedModel) note(does string, do func(s *replacedState)) replacedStep {
	return replacedStep{Does: does, If: func(s *replacedState) bool { return s.clearing == 0 }, Do: func(s *replacedState) string {
		s.waited = s.waited || s.n > 0
		if b.fault != "a cut does not settle" {
			b.settle(s)
		}
		s.cuts++
		do(s)
		return ""
	}}
}

// dumper begins an image, copies it while slots change, and takes its own cut.
func (b *replacedModel) dumper() (steps []replacedStep) {
	steps = append(steps, b.note("a cut divides the journals", func(s *replacedState) {
		s.journal = [replacedSlots]uint8{}
		if s.imageTo = 2; s.grown {
			s.imageTo = 3
		}
	}))
	for slot := range replacedSlots {
		steps = append(steps, replacedStep{Does: "copy an index block", Do: func(s *replacedState) string {
			if slot < int(s.imageTo) {
				s.image[slot] = s.slots[slot]
			}
			return ""
		}})
	}
	return append(steps, b.note("the generation's own cut", b.recover))
}

// recover is what the next process makes of the image, the journal and the cut.
func (b *replacedModel) recover(s *replacedState) {
	var slots [replacedSlots]uint8
	for slot := range slots {
		if slots[slot] = s.image[slot]; s.journal[slot] != 0 {
			slots[slot] = s.journal[slot] - 1
		}
		if w := slots[slot]; w <= s.head || w > s.tail {
			slots[slot] = 0
		}
	}
	var has [2]uint8
	var live, entries int8
	for _, slot := range s.candidates() {
		if w := slots[slot]; w != 0 {
			r := s.records[w-1]
			if has[r.key-1] != 0 {
				s.wrong = "a key is recovered twice"
			}
			has[r.key-1] = w
			live, entries = live+int8(r.size), entries+1
		}
	}
	switch {
	case s.wrong != "":
	case has != s.has:
		s.wrong = "what is recovered is not what was there at the cut"
	case live != s.live || entries != s.entries:
		s.wrong = "the cut's gauges are not those of what it has"
	}
}

// check holds the shard to what is true.
func (s *replacedState) check() string {
	var live, entries int8
	waiting := s.taken
	for _, w := range s.slots {
		if w == 0 {
			continue
		}
		r := s.records[w-1]
		live, entries = live+int8(r.size), entries+1
		switch i := (w - 1) % replacedRing; {
		case s.numbers[i] != w:
			return "a word has outlived its record" // I13
		case *s.frame(w) != r:
			return "a record is another's"
		case !s.marks[i] && w > s.head:
			return "a record that is live has no mark"
		}
	}
	for _, r := range s.waiting[:s.n] {
		old, by := s.records[r.old-1], s.records[r.by-1]
		if live += int8(old.size) - int8(by.size); old.key != by.key {
			waiting++
		}
	}
	switch {
	case s.wrong != "":
		return s.wrong
	case entries != s.entries || live != s.live:
		return "the gauges are off by more than what waits"
	case waiting != s.foreign:
		return "an entry was forgotten and is not counted"
	}
	for key := range uint8(2) {
		w := uint8(0)
		if slot, ok := s.find(key + 1); ok && s.slots[slot] > s.head {
			w = s.slots[slot]
		}
		if w != s.has[key] {
			return "memory has lost an entry, or has an older one"
		}
	}
	return ""
}

func (b *replacedModel) build() *explore.Model[replacedState] {
	m := &explore.Model[replacedState]{Check: func(s *replacedState) string { return s.check() }}
	b.set(&m.Start, replacedRecord{1, 1}, true)
	switch m.Start.ops = 3; {
	case *largeModels:
		m.Start.ops = 5
	case b.fault != "":
		m.Start.ops = 4
	}
	m.Actors = []explore.Actor[replacedState]{{Name: "dumper", At: func(s *replacedState) *uint8 { return &s.at[0] }, Steps: b.dumper()}}
	m.Free = append(b.changes(), b.clears()...)
	m.Witnesses = []explore.Witness[replacedState]{
		{Name: "a cut that finds something waiting", Seen: func(s *replacedState) bool { return s.waited }},
		{Name: "a segment that ends under what waits", Seen: func(s *replacedState) bool { return s.lapped }},
		{Name: "an entry that is forgotten for another", Seen: func(s *replacedState) bool { return s.taken > 0 }},
		{Name: "a dead word that is taken during Clear", Seen: func(s *replacedState) bool {
			return s.clearing > 0 && s.n > 0 && s.waiting[s.n-1].old <= s.heads && s.waiting[s.n-1].by > s.heads
		}},
		{Name: "a chain of two that wait", Seen: func(s *replacedState) bool { return s.n == 2 && s.waiting[0].by == s.waiting[1].old }},
		{Name: "a cut of a grown index", Seen: func(s *replacedState) bool { return s.cuts == 2 && s.imageTo == 2 && s.grown && s.entries > 0 }},
	}
	return m
}

func TestModelOfReplaced(t *testing.T) {
	checkProtocol(t, func(fault string) *explore.Model[replacedState] { return (&replacedModel{fault}).build() },
		"the cleaner takes a number away before what waits is settled",
		"Clear takes a number away before what waits is settled",
		"a cut does not settle",
		"the oldest that waits is written over",
		"what replaced it is looked up in the slot",
		"who ends an entry forgets what waits",
		"the last entry ends before what waits is settled",
		"a store is journaled when what it replaced is settled")
}
