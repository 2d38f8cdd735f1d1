package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// What a crash gives back: an image that is copied while slots change, the journals
// since it was begun, heads and tails of the cut; then a second process that reads the
// image's blocks when it needs them, changes something, writes a light generation and
// crashes too. A lap has three positions, a segment one record, an index block one
// slot; there are two keys. Key a may lie in slots 0 and 1, key b in slot 1, and in
// slot 2 once the index has grown. // I10, I13

const (
	modelLap       = 3
	modelPositions = 9
	modelSlots     = 3
)

// A modelJournal is what journals make of the slots: of the stores to one slot the
// last counts. 0: none, else 1 + word.
type modelJournal [modelSlots]uint8

// A memoryState is a process.
type memoryState struct {
	slots      [modelSlots]uint8 // words: 0, or 1 + position modulo the lap
	head, tail uint8
	buckets    uint8
	journal    modelJournal // since the last cut that took it
	truth      [2]uint8     // by key: 1 + position of what it must have, 0 nothing
	clearing   bool         // between passAll and the end of the sweep
	pending    bool         // fault: head is to move
}

type recoverState struct {
	at       [1]uint8
	now      memoryState
	keys     [modelPositions]uint8 // by position: the record's key + 1
	ops      uint8
	image    [modelSlots]uint8
	imageTo  uint8 // slots that the image holds
	begun    uint8 // head when it was begun
	sections [2]modelJournal
	cut      cutOnFile
	lazy     bool // the second process runs
	opened   cutOnFile
	marked   [modelSlots]bool
	loaded   [modelSlots]bool
	damage   uint8
	full     bool // the next generation is
}

type cutOnFile struct {
	head, tail, buckets uint8
	truth               [2]uint8
	ok                  bool
}

// What the second process cannot read.
const (
	damageNone    = iota
	damageBlock                              // + slot: an index block, once
	damageRecord  = damageBlock + modelSlots // + position modulo the lap: a segment, once
	damageSection = damageRecord + modelLap  // the first journal section
	damages       = damageSection + 1
)

func modelWord(pos uint8) uint8 { return 1 + pos%modelLap }

// beyond is how far the position of a word lies beyond head.
func beyond(w, head uint8) uint8 { return (w + 9*modelLap - 1 - head) % modelLap }

// position is positionLocked (shard.go).
func (m *memoryState) position(w uint8) uint8 { return m.head + beyond(w, m.head) }

// isWithin is word.within (word.go).
func isWithin(w, head, tail uint8) bool { return beyond(w, head) < tail-head }

// put is putLocked (index.go).
func (m *memoryState) put(slot int, w uint8) { m.slots[slot], m.journal[slot] = w, 1+w }

// candidates are the slots of a key.
func (m *memoryState) candidates(key int) [2]int {
	switch {
	case key == 0:
		return [2]int{0, 1}
	case m.buckets == modelSlots:
		return [2]int{2, 2}
	}
	return [2]int{1, 1}
}

// find is findLocked (set.go). Words that Clear has passed are not swept yet.
func (s *recoverState) find(key int) (slot int, ok bool) {
	for _, slot := range s.now.candidates(key) {
		w := s.now.slots[slot]
		if w == 0 {
			continue
		}
		pos := s.now.position(w)
		if s.now.clearing && !isWithin(w, s.now.head, s.now.tail) {
			pos = s.now.head - modelLap + beyond(w, s.now.head) // dead: its segment is still there
		}
		if pos < modelPositions && s.keys[pos] == uint8(key+1) {
			return slot, true
		}
	}
	return 0, false
}

func (s *recoverState) unreadable(w uint8) bool {
	return s.lazy && w != 0 && s.damage == damageRecord+(w-1) && isWithin(w, s.opened.head, s.opened.tail) && s.now.position(w) < s.opened.tail
}

// absent reports that an operation of a key would have to load something first.
func (s *recoverState) absent(key int) bool {
	for _, slot := range s.now.candidates(key) {
		if s.lazy && (slot < int(s.imageTo) && !s.loaded[slot] || s.unreadable(s.now.slots[slot])) {
			return true
		}
	}
	return false
}

func (s *recoverState) anyAbsent() bool { return s.absent(0) || s.absent(1) }

type recoverModel struct{ fault string }

// set is setLocked (set.go).
func (b *recoverModel) set(s *recoverState, key int) {
	pos := s.now.tail
	slot, ok := s.find(key)
	if !ok {
		for _, c := range s.now.candidates(key) {
			if s.now.slots[c] == 0 {
				slot, ok = c, true
				break
			}
		}
	}
	if !ok {
		return
	}
	s.keys[pos] = uint8(key + 1)
	s.now.tail++
	s.now.put(slot, modelWord(pos))
	s.now.truth[key] = pos + 1
}

// slotAt finds the slot of the record at head.
func (s *recoverState) slotAt(pos uint8) (slot int, ok bool) {
	for slot, w := range s.now.slots {
		if w != 0 && w == modelWord(pos) {
			return slot, true
		}
	}
	return 0, false
}

// evict is cleanRecordLocked (evict.go): the slot and head, at once.
func (b *recoverModel) evict(s *recoverState) {
	if slot, ok := s.slotAt(s.now.head); ok {
		s.now.slots[slot] = 0 // storeLocked: head says it, not the journal
		s.now.truth[s.keys[s.now.head]-1] = 0
	}
	if b.fault == "head moves when the segment is done" {
		s.now.pending = true
		return
	}
	s.now.head++
}

// moveOn is moveOnLocked (policy.go).
func (b *recoverModel) moveOn(s *recoverState, slot int) {
	key := int(s.keys[s.now.head]) - 1
	s.keys[s.now.tail] = uint8(key + 1)
	s.now.put(slot, modelWord(s.now.tail))
	s.now.truth[key] = s.now.tail + 1
	s.now.tail++
	s.now.head++
}

// move is moveSlotLocked and splitLocked (index.go).
func (b *recoverModel) move(s *recoverState, from, to int) {
	s.now.put(to, s.now.slots[from])
	if b.fault == "the old slot of an entry that moves is not journaled" {
		s.now.slots[from] = 0
		return
	}
	s.now.put(from, 0)
}

type recoverStep = explore.Step[recoverState]

// free is a change that a caller, the cleaner or the index makes; most of them.
func (b *recoverModel) free(does string, can func(s *recoverState) bool, do func(s *recoverState)) recoverStep {
	return recoverStep{Does: does, Do: func(s *recoverState) string { s.ops--; do(s); return "" },
		If: func(s *recoverState) bool { return s.ops > 0 && s.now.buckets > 0 && can(s) }}
}

func room(s *recoverState) bool {
	return s.now.tail < modelPositions && s.now.tail-s.now.head < modelLap-1 && !s.now.pending
}

func (b *recoverModel) changes() (steps []recoverStep) {
	for key, name := range []string{"a", "b"} {
		steps = append(steps,
			b.free("Set "+name+" (set.go: setLocked)", func(s *recoverState) bool { return room(s) && !s.absent(key) && !s.now.clearing }, func(s *recoverState) { b.set(s, key) }),
			b.free("Delete "+name+" (set.go: removeLocking)", func(s *recoverState) bool { _, ok := s.find(key); return ok && !s.absent(key) && !s.now.clearing },
				func(s *recoverState) { slot, _ := s.find(key); s.now.put(slot, 0); s.now.truth[key] = 0 }))
	}
	sure := func(s *recoverState) bool {
		return !s.anyAbsent() && !s.now.clearing && s.now.head < s.now.tail && !s.now.pending
	}
	return append(steps,
		b.free("evict the oldest (evict.go: cleanRecordLocked)", sure, b.evict),
		b.free("move the oldest on (policy.go: moveOnLocked)", func(s *recoverState) bool { _, ok := s.slotAt(s.now.head); return sure(s) && ok && room(s) },
			func(s *recoverState) { slot, _ := s.slotAt(s.now.head); b.moveOn(s, slot) }),
		b.free("displace a (index.go: moveSlotLocked)", func(s *recoverState) bool {
			return !s.anyAbsent() && s.now.slots[0] != 0 && s.now.slots[1] == 0
		}, func(s *recoverState) { b.move(s, 0, 1) }),
		b.free("grow (index.go: splitLocked)", func(s *recoverState) bool { return !s.anyAbsent() && s.now.buckets == 2 }, func(s *recoverState) {
			s.now.buckets = modelSlots
			if w := s.now.slots[1]; w != 0 && s.keys[s.now.position(w)] == 2 {
				b.move(s, 1, 2)
			}
		}),
		b.free("Clear: head to tail (clear.go: passAll)", func(s *recoverState) bool { return sure(s) }, func(s *recoverState) {
			s.now.head, s.now.truth, s.now.clearing = s.now.tail, [2]uint8{}, b.fault != "Clear leaves dead words"
		}),
		recoverStep{Does: "Clear: sweep the index (clear.go: sweepCleared)", If: func(s *recoverState) bool { return s.now.clearing },
			Do: func(s *recoverState) string { s.now.slots, s.now.clearing = [modelSlots]uint8{}, false; return "" }},
		recoverStep{Does: "head follows", If: func(s *recoverState) bool { return s.now.pending },
			Do: func(s *recoverState) string { s.now.pending = false; s.now.head++; return "" }})
}

// loads are takeBlock (lazy.go) of each block, and loseLocked of what cannot be read.
func (b *recoverModel) loads() (steps []recoverStep) {
	for slot := range modelSlots {
		steps = append(steps,
			recoverStep{Does: "read an index block (lazy.go: takeBlock)", If: func(s *recoverState) bool { return s.lazy && slot < int(s.imageTo) && !s.loaded[slot] },
				Do: func(s *recoverState) string { b.load(s, slot); return "" }},
			recoverStep{Does: "forget what cannot be read (sweep.go: loseLocked)", If: func(s *recoverState) bool { return s.unreadable(s.now.slots[slot]) },
				Do: func(s *recoverState) string {
					s.now.truth[s.keys[s.now.position(s.now.slots[slot])]-1] = 0
					if s.now.put(slot, 0); b.fault == "what is lost is not journaled" {
						s.now.journal[slot] = 0
					}
					return ""
				}})
	}
	return steps
}

func (b *recoverModel) load(s *recoverState, slot int) {
	s.loaded[slot] = true
	w := s.image[slot]
	if s.marked[slot] && b.fault != "a block that is read late fills marked slots" {
		return
	}
	stands := w != 0 && isWithin(w, s.opened.head, s.opened.tail)
	if s.damage == damageBlock+uint8(slot) {
		if stands {
			if key := s.keys[s.now.position(w)] - 1; s.now.truth[key] == s.now.position(w)+1 {
				s.now.truth[key] = 0
			}
		}
		if s.now.put(slot, 0); b.fault == "an unread block is not journaled" { // emptyBlockLocked
			s.now.journal[slot] = 0
		}
	} else if stands {
		s.now.slots[slot] = w // fillBlockLocked
	}
}

// apply is applyEntries (recover.go).
func (b *recoverModel) apply(s *recoverState, j modelJournal) {
	for slot, e := range j {
		if e == 0 || slot >= int(s.now.buckets) {
			continue
		}
		w := e - 1
		if w != 0 && !isWithin(w, s.opened.head, s.opened.tail) && b.fault != "positions are not tested" {
			w = 0
		}
		s.now.slots[slot], s.marked[slot] = w, true
	}
}

// open is recover (recover.go), over the image and some sections.
func (b *recoverModel) open(s *recoverState, damage uint8, sections ...modelJournal) {
	c := s.cut
	s.now = memoryState{head: c.head, tail: c.tail, buckets: c.buckets, truth: c.truth}
	s.opened, s.lazy, s.damage = c, true, damage
	s.marked, s.loaded, s.full = [modelSlots]bool{}, [modelSlots]bool{}, false
	for i, j := range sections {
		switch {
		case i > 0 || damage != damageSection:
			b.apply(s, j)
		case b.fault != "a damaged journal is left out":
			s.marked, s.full = [modelSlots]bool{true, true, true}, true // the shard is empty; the next is full
			s.now.truth = [2]uint8{}
		}
	}
	if s.full { // entries of later sections count again
		for key := range 2 {
			if slot, ok := s.find(key); ok && s.now.position(s.now.slots[slot])+1 == c.truth[key] {
				s.now.truth[key] = c.truth[key]
			}
		}
	}
}

// dangles reports a word that leads beyond head or tail.
func (s *recoverState) dangles() bool {
	for _, w := range s.now.slots {
		if w != 0 && !isWithin(w, s.now.head, s.now.tail) && !s.now.pending {
			return true
		}
	}
	return false
}

// check compares what lookups give with what must be there.
func (s *recoverState) check() bool {
	for key := range 2 {
		found := uint8(0)
		for _, slot := range s.now.candidates(key) {
			w := s.now.slots[slot]
			if w == 0 || s.unreadable(w) {
				continue
			}
			pos := s.now.position(w)
			if pos < modelPositions && s.keys[pos] == uint8(key+1) {
				if found != 0 && found != pos+1 {
					return false // twice
				}
				found = pos + 1
			}
		}
		if found != s.now.truth[key] && !s.absent(key) {
			return false
		}
	}
	return true
}

// dumper writes a full generation, then a light one; the second process one more.
func (b *recoverModel) dumper() (steps []recoverStep) {
	begin := recoverStep{Does: "a cut divides the journals (dump/generation.go: begin)", If: func(s *recoverState) bool { return !s.now.clearing },
		Do: func(s *recoverState) string {
			s.now.journal, s.begun, s.imageTo = modelJournal{}, s.now.head, s.now.buckets
			return ""
		}}
	var copies []recoverStep
	for slot := range modelSlots {
		copies = append(copies, recoverStep{Does: "copy an index block (cut.go: CopyIndex)", Do: func(s *recoverState) string {
			if slot < int(s.imageTo) {
				s.image[slot] = s.now.slots[slot]
			}
			return ""
		}})
	}
	full := b.takeCut(0, "the generation's own cut (dump/generation.go: takeCut)")
	if b.fault == "the image is copied after the cut" {
		steps = append([]recoverStep{begin, full}, copies...)
	} else {
		steps = append(append([]recoverStep{begin}, copies...), full)
	}
	return append(steps, b.takeCut(1, "a light generation (dump/generation.go: begin)"),
		recoverStep{Does: "crash", Do: func(s *recoverState) string { s.now = memoryState{}; return "" }},
		recoverStep{Label: "open", Does: "open", If: func(*recoverState) bool { return false }},
		recoverStep{Label: "opened", Does: "a generation of the second process, a crash, and a third Open (recover.go: recover)",
			If: func(s *recoverState) bool { return !s.now.clearing && !s.now.pending },
			Do: func(s *recoverState) string {
				if s.full || !b.cutNow(s) { // a full one begins with an image of its own
					s.lazy, s.now = false, memoryState{}
					return explore.End
				}
				b.open(s, damageNone, s.sections[0], s.sections[1], s.now.journal)
				s.ops = 0
				return explore.End
			}})
}

// cutNow notes a cut; false where no generation may be written on that image.
func (b *recoverModel) cutNow(s *recoverState) bool {
	if s.now.tail-s.begun > modelLap {
		return false // dump/base.go: beyondLap
	}
	s.cut = cutOnFile{s.now.head, s.now.tail, s.now.buckets, s.now.truth, true}
	return true
}

func (b *recoverModel) takeCut(section int, does string) recoverStep {
	return recoverStep{Does: does, If: func(s *recoverState) bool { return !s.now.clearing }, Do: func(s *recoverState) string {
		if !b.cutNow(s) {
			s.now = memoryState{}
			s.ops = 0
			return "opened" // with nothing: the model's end
		}
		if s.sections[section] = s.now.journal; b.fault == "journals begin with the cut" && section == 0 {
			s.sections[section] = modelJournal{}
		}
		s.now.journal = modelJournal{}
		return ""
	}}
}

func (b *recoverModel) build() *explore.Model[recoverState] {
	m := &explore.Model[recoverState]{Check: func(s *recoverState) string {
		switch {
		case s.now.clearing || s.now.buckets == 0:
			return ""
		case b.fault != "Clear leaves dead words" && s.dangles():
			return "a word has outlived its record" // I13
		case s.check():
			return ""
		case s.lazy:
			return "what was recovered is not what was there at the cut"
		}
		return "memory has lost an entry, or has an older one"
	}}
	m.Start.now.buckets, m.Start.ops = 2, 3
	m.Start.now.head, m.Start.now.tail = 2, 2
	if b.fault != "" {
		m.Start.ops = 4
	}
	if b.fault == "Clear leaves dead words" {
		m.Start.now.slots[0], m.Start.keys[1] = modelWord(1), 1 // Set a and Clear have run
	}
	if *largeModels {
		m.Start.ops = 5
	}
	m.Actors = []explore.Actor[recoverState]{{Name: "dumper", At: func(s *recoverState) *uint8 { return &s.at[0] }, Steps: b.dumper()}}
	opened := uint8(len(m.Actors[0].Steps) - 1)
	for damage := range uint8(damages) {
		m.Free = append(m.Free, recoverStep{Does: damageNames[damage], If: func(s *recoverState) bool { return s.at[0] == opened-1 },
			Do: func(s *recoverState) string {
				s.at[0] = opened
				b.open(s, damage, s.sections[0], s.sections[1])
				return ""
			}})
	}
	m.Free = append(m.Free, recoverStep{Does: "crash before the light generation", If: func(s *recoverState) bool { return s.at[0] == opened-3 },
		Do: func(s *recoverState) string { s.at[0], s.now = opened-1, memoryState{}; return "" }})
	m.Free = append(m.Free, b.changes()...)
	m.Free = append(m.Free, b.loads()...)
	third := func(s *recoverState) bool { return s.at[0] == opened+1 && s.lazy }
	m.Witnesses = []explore.Witness[recoverState]{
		{Name: "a second recovery with both keys", Seen: func(s *recoverState) bool { return third(s) && s.now.truth[0] != 0 && s.now.truth[1] != 0 }},
		{Name: "a second recovery of a grown index", Seen: func(s *recoverState) bool { return third(s) && s.now.slots[2] != 0 }},
		{Name: "a word a lap on", Seen: func(s *recoverState) bool { return s.lazy && s.now.truth[0] > modelLap }},
		{Name: "a record that cannot be read", Seen: func(s *recoverState) bool { return s.unreadable(s.now.slots[0]) }},
		{Name: "a later section after a damaged one", Seen: func(s *recoverState) bool { return s.full && s.now.truth[1] != 0 }},
	}
	return m
}

var damageNames = [damages]string{
	"open", "open, block 0 fails once", "open, block 1 fails once", "open, block 2 fails once",
	"open, position 0 mod 3 fails once", "open, position 1 mod 3 fails once", "open, position 2 mod 3 fails once",
	"open, the first journal section is damaged",
}

func TestModelOfRecovery(t *testing.T) {
	checkProtocol(t, func(fault string) *explore.Model[recoverState] { return (&recoverModel{fault}).build() },
		"the image is copied after the cut",
		"journals begin with the cut",
		"head moves when the segment is done",
		"the old slot of an entry that moves is not journaled",
		"Clear leaves dead words",
		"positions are not tested",
		"a damaged journal is left out",
		"a block that is read late fills marked slots",
		"an unread block is not journaled",
		"what is lost is not journaled")
}
