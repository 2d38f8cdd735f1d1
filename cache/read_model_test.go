package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// Reads without a lock against a writer who evicts an entry, recycles its frame and
// segment, and stores the entry again: a Get and a View, on memory that is as weak as
// a processor's. On amd64 a store waits in a buffer, in order, unless it is an XCHG.
// On arm64 plain stores become seen in any order, a storing release (STLR) after all
// before it, and an acquiring load (LDAR) waits for the releases before it; a plain
// load is satisfied at any time until a fence.

// Where the model's words lie.
const (
	atSlot   = iota // the key's slot
	atNumber        // of the ring's entry
	atFrame
	atKey1   // the record of the first word: its key
	atValue1 // and its value
	atKey2   // the record of the second word
	atValue2
	atPins
	readWords
)

// Words, and what records hold.
const (
	word1, word2 = 1, 2

	keyIt, keyOther    = 1, 2
	valueOld, valueNew = 1, 2
	valueForged        = 3 // what another's value has where a record lay
)

type readState struct {
	at     [3]uint8
	memory [readWords]uint8
	buffer [6]bufferedStore
	stores uint8
	reader [2]readerState // Get, View
}

type bufferedStore struct {
	at, value uint8
	release   bool
}

type readerState struct {
	active               bool
	legal                uint8 // bits of the words that the slot has held since it began
	word, number, frame  uint8
	key, value           uint8
	keyWaits, valueWaits bool // plain loads that are not satisfied yet
	pinned               bool // fn sees the value
	held                 [2]uint8
	outcome              outcome
	done                 bool
}

func (r *readerState) place() (key, value uint8) {
	if r.word == word2 {
		return atKey2, atValue2
	}
	return atKey1, atValue1
}

// set makes a store seen. Who reads may answer from any word that it meets.
func (s *readState) set(at, value uint8) {
	s.memory[at] = value
	if at == atSlot {
		for i := range s.reader {
			if s.reader[i].active {
				s.reader[i].legal |= 1 << value
			}
		}
	}
}

func (s *readState) drain(i uint8) {
	b := s.buffer[i]
	copy(s.buffer[i:], s.buffer[i+1:])
	s.buffer[len(s.buffer)-1] = bufferedStore{}
	s.stores--
	s.set(b.at, b.value)
}

type readStep = explore.Step[readState]

type readModel struct {
	fault string
	arm   bool
}

// mayDrain says whether the buffer's store i may become seen.
func (b *readModel) mayDrain(s *readState, i uint8) bool {
	if i >= s.stores || i > 0 && (!b.arm || s.buffer[i].release) {
		return false
	}
	for _, before := range s.buffer[:i] {
		if before.at == s.buffer[i].at {
			return false
		}
	}
	return true
}

func (b *readModel) store(does string, at, value uint8, release bool) readStep {
	return readStep{Does: "writer: " + does, Do: func(s *readState) string {
		s.buffer[s.stores] = bufferedStore{at, value, release}
		s.stores++
		return ""
	}, If: func(s *readState) bool { return int(s.stores) < len(s.buffer) }}
}

func (b *readModel) plain(does string, at, value uint8) readStep {
	return b.store(does, at, value, false)
}

// publish is a MOV on amd64, an STLR on arm64 (publish_amd64.s, publish_other.go).
func (b *readModel) publish(does string, at, value uint8) readStep {
	return b.store(does, at, value, true)
}

// atomic is an XCHG on amd64, an STLR on arm64.
func (b *readModel) atomic(does string, at, value uint8) readStep {
	if b.arm || b.fault == "the number is taken away without waiting" && value == 0 {
		return b.publish(does, at, value)
	}
	return readStep{Does: "writer: " + does, If: func(s *readState) bool { return s.stores == 0 },
		Do: func(s *readState) string { s.set(at, value); return "" }}
}

// load waits for the releases before it, on arm64.
func (b *readModel) load(does string, until func(s *readState) bool) readStep {
	return readStep{Does: "writer: " + does, Do: func(*readState) string { return "" }, If: func(s *readState) bool {
		for _, w := range s.buffer[:s.stores] {
			if b.arm && w.release {
				return false
			}
		}
		return until == nil || until(s)
	}}
}

// writer evicts the entry, opens another segment in its frame and ring's entry, and
// stores the entry again.
func (b *readModel) writer() []readStep {
	clearing := b.publish("clear the slot (policy.go: passLocked)", atSlot, 0)
	take := b.atomic("take the number away (segment.go: retire)", atNumber, 0)
	look := b.load("load the number (segment.go: retire)", nil)
	pins := b.load("see no pins, free the frame (frames.go: give)", func(s *readState) bool { return s.memory[atPins] == 0 })
	other := []readStep{
		b.plain("copy another's record over the key (queue.go: writeLocked)", atKey1, keyIt), // its value has a forged record
		b.plain("copy another's record over the value (queue.go: writeLocked)", atValue1, valueForged),
	}
	number := uint8(2)
	if b.fault == "a number repeats" {
		number = 1
	}
	open := []readStep{
		b.atomic("note the frame (segment.go: open)", atFrame, 1),
		b.atomic("give the segment a number (segment.go: open)", atNumber, number),
	}
	record := []readStep{
		b.plain("copy the key again (queue.go: writeLocked)", atKey2, keyIt),
		b.plain("copy the new value (queue.go: writeLocked)", atValue2, valueNew),
		b.publish("publish the slot (index.go: putLocked)", atSlot, word2),
	}
	switch b.fault {
	case "the slot is published before the record":
		record[0], record[1], record[2] = record[2], record[0], record[1]
	case "the frame is written before its number is gone":
		return join([]readStep{clearing}, other, []readStep{take, look, pins}, open, record)
	case "the slot is cleared after the number is gone":
		return join([]readStep{take, look, pins}, open, other, []readStep{clearing}, record)
	case "who recycles does not load the number":
		return join([]readStep{clearing, take}, open[:1], other, open[1:], record)
	case "pins are looked at before the number is gone":
		return join([]readStep{clearing, pins, take, look}, open, other, record)
	}
	return join([]readStep{clearing, take, look, pins}, open, other, record)
}

func join(lists ...[]readStep) (all []readStep) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func end(r *readerState, o outcome) string {
	r.outcome, r.done = o, true
	return explore.End
}

// search is what both readers begin with: get.go: find, read; quick.go: quick.
func (b *readModel) search(i int) []readStep {
	r := func(s *readState) *readerState { return &s.reader[i] }
	return []readStep{
		{Label: "again", Does: "load the slot", Do: func(s *readState) string {
			*r(s) = readerState{active: true, legal: r(s).legal | 1<<s.memory[atSlot], word: s.memory[atSlot]}
			if r(s).word == 0 {
				return end(r(s), miss)
			}
			return ""
		}},
		{Does: "load the number", Do: func(s *readState) string { r(s).number = s.memory[atNumber]; return "" }},
		{Does: "load the slot again", Do: func(s *readState) string {
			switch {
			case s.memory[atSlot] != r(s).word && b.fault != "the slot is not read again":
				return "again"
			case r(s).number == 0:
				return end(r(s), miss) // emptied by Clear
			}
			return ""
		}},
		{Does: "load the frame", Do: func(s *readState) string { r(s).frame = s.memory[atFrame]; return "" }},
	}
}

// copies are the plain loads of key and value.
func (b *readModel) copies(i int) []readStep {
	r := func(s *readState) *readerState { return &s.reader[i] }
	return []readStep{
		{Does: "compare the key", Do: func(s *readState) string {
			at, _ := r(s).place()
			r(s).key, r(s).keyWaits = s.memory[at], b.arm
			return ""
		}},
		{Does: "copy the value", Do: func(s *readState) string {
			_, at := r(s).place()
			r(s).value, r(s).valueWaits = s.memory[at], b.arm
			return ""
		}},
	}
}

// satisfied lets a waiting plain load see memory as it is now.
func (b *readModel) satisfied(i int) []readStep {
	r := func(s *readState) *readerState { return &s.reader[i] }
	name := [2]string{"Get", "View"}[i]
	return []readStep{
		{Does: name + ": the load of the key is satisfied", If: func(s *readState) bool { return r(s).keyWaits }, Do: func(s *readState) string {
			at, _ := r(s).place()
			r(s).key, r(s).keyWaits = s.memory[at], false
			return ""
		}},
		{Does: name + ": the load of the value is satisfied", If: func(s *readState) bool { return r(s).valueWaits }, Do: func(s *readState) string {
			_, at := r(s).place()
			r(s).value, r(s).valueWaits = s.memory[at], false
			return ""
		}},
	}
}

func (b *readModel) holds(i int) []readStep {
	r := func(s *readState) *readerState { return &s.reader[i] }
	fence := readStep{Does: "fence (get.go: holds)", Do: func(*readState) string { return "" }, If: func(s *readState) bool {
		return b.fault == "no fence before the last check" || !r(s).keyWaits && !r(s).valueWaits
	}}
	check := readStep{Does: "load number and frame again (get.go: holds)", Do: func(s *readState) string {
		if b.fault != "the number is not read again" && (s.memory[atNumber] != r(s).number || s.memory[atFrame] != r(s).frame) {
			if r(s).pinned {
				s.memory[atPins]-- // defer in view.go: viewPinned
			}
			return "again"
		}
		return ""
	}}
	return []readStep{fence, check}
}

// answer judges by what was copied.
func (b *readModel) answer(i int) readStep {
	r := func(s *readState) *readerState { return &s.reader[i] }
	return readStep{Does: "answer", If: func(s *readState) bool { return !r(s).keyWaits && !r(s).valueWaits }, Do: func(s *readState) string {
		if r(s).pinned {
			s.memory[atPins]--
			r(s).pinned = false
		}
		if r(s).key != keyIt {
			return end(r(s), miss)
		}
		return end(r(s), hit)
	}}
}

func (b *readModel) get() []readStep {
	return join(b.search(0), b.copies(0), b.holds(0), []readStep{b.answer(0)})
}

// view is view.go: viewPinned.
func (b *readModel) view() []readStep {
	r := func(s *readState) *readerState { return &s.reader[1] }
	pin := readStep{Does: "pin the frame (view.go: viewPinned)", Do: func(s *readState) string {
		s.memory[atPins]++
		r(s).pinned = true
		return ""
	}}
	look := readStep{Does: "fn looks at the value", Do: func(s *readState) string {
		key, value := r(s).place()
		r(s).key, r(s).value = s.memory[key], s.memory[value]
		r(s).held = [2]uint8{r(s).key, r(s).value}
		return ""
	}}
	still := readStep{Does: "fn looks once more", Do: func(s *readState) string {
		key, value := r(s).place()
		if r(s).held != [2]uint8{s.memory[key], s.memory[value]} {
			r(s).value = valueForged
		}
		return ""
	}}
	begin := join(b.search(1), []readStep{pin}, b.holds(1))
	if b.fault == "View checks the number, then pins" {
		begin = join(b.search(1), b.holds(1), []readStep{pin})
	}
	return join(begin, []readStep{look, still, b.answer(1)})
}

// checkRead: a hit is a value that the key had while the read ran, whole; a miss
// says that it had none at some moment.
func checkRead(s *readState) string {
	for i := range s.reader {
		r := &s.reader[i]
		name := [2]string{"Get", "View"}[i]
		switch {
		case !r.done:
		case r.outcome == miss && r.legal&1 == 0:
			return name + " misses a key that is there"
		case r.outcome == hit && r.value == valueForged:
			return name + " has bytes of another's value"
		case r.outcome == hit && r.value != valueOld && r.value != valueNew:
			return name + " has bytes that nobody stored"
		case r.outcome == hit && r.legal&(1<<r.value) == 0:
			return name + " has a value of another time"
		}
	}
	return ""
}

func (b *readModel) build() *explore.Model[readState] {
	m := &explore.Model[readState]{Check: checkRead}
	m.Start.memory = [readWords]uint8{atSlot: word1, atNumber: 1, atFrame: 1, atKey1: keyIt, atValue1: valueOld}
	actors := [][]readStep{b.writer(), b.get(), b.view()}
	if b.fault == "who recycles does not load the number" {
		actors = actors[:2] // nor its pins
	}
	for i, steps := range actors {
		m.Actors = append(m.Actors, explore.Actor[readState]{Name: [3]string{"", "Get", "View"}[i],
			At: func(s *readState) *uint8 { return &s.at[i] }, Steps: steps})
	}
	for i := range uint8(len(m.Start.buffer)) {
		m.Free = append(m.Free, readStep{Does: "a store becomes seen",
			If: func(s *readState) bool { return b.mayDrain(s, i) }, Do: func(s *readState) string { s.drain(i); return "" }})
	}
	if b.arm {
		m.Free = append(m.Free, append(b.satisfied(0), b.satisfied(1)...)...)
	}
	seen := func(reader int, o outcome, value uint8) func(s *readState) bool {
		return func(s *readState) bool {
			r := &s.reader[reader]
			return r.done && r.outcome == o && (o == miss || r.value == value)
		}
	}
	m.Witnesses = []explore.Witness[readState]{
		{Name: "Get has the old value", Seen: seen(0, hit, valueOld)}, {Name: "Get has the new value", Seen: seen(0, hit, valueNew)},
		{Name: "View has the old value", Seen: seen(1, hit, valueOld)}, {Name: "View has the new value", Seen: seen(1, hit, valueNew)},
		{Name: "Get misses", Seen: seen(0, miss, 0)},
		{Name: "a value torn before its check", Seen: func(s *readState) bool { return s.reader[0].value == valueForged }},
	}
	return m
}

func TestModelOfReads(t *testing.T) {
	both := []string{
		"the slot is not read again",
		"the number is not read again",
		"the slot is published before the record",
		"the frame is written before its number is gone",
		"the slot is cleared after the number is gone",
		"a number repeats",
		"pins are looked at before the number is gone",
		"View checks the number, then pins",
	}
	build := func(arm bool) func(string) *explore.Model[readState] {
		return func(fault string) *explore.Model[readState] { return (&readModel{fault, arm}).build() }
	}
	t.Run("amd64", func(t *testing.T) {
		checkProtocol(t, build(false), append(both, "the number is taken away without waiting")...)
	})
	t.Run("arm64", func(t *testing.T) {
		checkProtocol(t, build(true), append(both, "no fence before the last check", "who recycles does not load the number")...)
	})
}
