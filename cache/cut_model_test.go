package cache

import (
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// The cut, with two shards: who writes to both, who reads what another wrote and then
// writes, who computes from what a callback read, a Batch, and who evicts a segment
// that the cut has. // I9

// A cutState has a bit for each record: what became of it, and where.
type cutState struct {
	at    [7]uint8
	epoch uint8
	batch int8 // readers of Cache.batches; -1: the cutter has it
	hold  bool // heldSegments.newest is not 0

	reserved, copied, published, appended, returned uint8

	shards [2]cutShard
	cutter cutterState

	know  [7]uint8 // by actor: records that it has seen or written
	e     [7]uint8 // by actor: the epoch that it loaded
	cause [6]uint8 // by record: what its writer knew when the write began
}

type cutShard struct {
	owner                     int8 // of mu: actor + 1
	epoch                     uint8
	noted                     bool
	cutTail, cutJournal       uint8 // at the cut: records before tail, and those in journals
	evicted, cutEvicted, held bool  // the old record: head has passed it; at the cut; its frame is held
	reused                    bool  // its frame has other bytes
}

type cutterState struct {
	cuts          uint8
	before        uint8 // what had returned when the newest cut was asked for
	tail, journal uint8 // of the cut
	evicted       bool
	pages         uint8 // bytes that the dumper has copied
	old           bool  // it has the bytes of the old record
	taken         [2]bool
	done          bool
}

// The records, and who writes them where.
const (
	recX, recY, recZ, recP, recQ, recW uint8 = 1, 2, 4, 8, 16, 32
)

var cutHome = map[uint8]int{recX: 0, recY: 1, recZ: 0, recP: 1, recQ: 0, recW: 1}

func (s *cutState) shardMask(i int) (mask uint8) {
	for rec, home := range cutHome {
		if home == i {
			mask |= rec
		}
	}
	return mask
}

// noteCut is noteCutLocked (cut.go).
func (s *cutState) noteCut(i int, epoch uint8) {
	sh := &s.shards[i]
	sh.epoch, sh.noted = epoch, true
	sh.cutTail, sh.cutJournal, sh.cutEvicted = s.reserved&s.shardMask(i), s.appended&s.shardMask(i), sh.evicted
}

type cutStep = explore.Step[cutState]

// A cutModel builds the actors' steps, with a fault or without.
type cutModel struct {
	fault string
	m     *explore.Model[cutState]
}

func (b *cutModel) actor(name string, steps ...[]cutStep) {
	i := len(b.m.Actors)
	a := explore.Actor[cutState]{Name: name, At: func(s *cutState) *uint8 { return &s.at[i] }}
	for _, list := range steps {
		a.Steps = append(a.Steps, list...)
	}
	b.m.Actors = append(b.m.Actors, a)
}

func (b *cutModel) lock(actor, shard int) cutStep {
	return cutStep{Does: [2]string{"lock shard 0", "lock shard 1"}[shard] + " (shard.go: lock)",
		If: func(s *cutState) bool { return s.shards[shard].owner == 0 },
		Do: func(s *cutState) string { s.shards[shard].owner = int8(actor + 1); return "" }}
}

func (b *cutModel) unlock(shard int) cutStep {
	return cutStep{Does: "unlock (shard.go: unlock)", Do: func(s *cutState) string { s.shards[shard].owner = 0; return "" }}
}

func (b *cutModel) loadEpoch(actor int) cutStep {
	return cutStep{Does: "load the epoch (shard.go: lock)", Do: func(s *cutState) string { s.e[actor] = s.epoch; return "" }}
}

func (b *cutModel) note(actor, shard int) cutStep {
	return cutStep{Does: "note the shard's cut if the epoch is new (cut.go: noteCutLocked)", Do: func(s *cutState) string {
		if s.e[actor] != s.shards[shard].epoch && b.fault != "tails are taken shard by shard" {
			s.noteCut(shard, s.e[actor])
		}
		return ""
	}}
}

// set is the order of a write: lock (shard.go), then setLocked (set.go).
func (b *cutModel) set(actor int, rec uint8, name string) (steps []cutStep) {
	shard := cutHome[rec]
	begin := cutStep{Does: "call Set " + name, Do: func(s *cutState) string {
		s.cause[recIndex(rec)] = s.know[actor]
		return ""
	}}
	note := []cutStep{b.loadEpoch(actor), b.note(actor, shard)}
	reserve := cutStep{Does: "reserve " + name + " (queue.go: reserveLocked)", Do: func(s *cutState) string { s.reserved |= rec; return "" }}
	write := []cutStep{
		{Does: "copy " + name + " (queue.go: writeLocked)", Do: func(s *cutState) string { s.copied |= rec; return "" }},
		{Does: "publish " + name + "'s slot (index.go: putLocked)", Do: func(s *cutState) string { s.published |= rec; return "" }},
		{Does: "journal " + name + " (journal.go: append)", Do: func(s *cutState) string { s.appended |= rec; return "" }},
	}
	steps = append(steps, begin, b.lock(actor, shard))
	switch b.fault {
	case "the epoch is read after the append":
		steps = append(append(append(steps, reserve), write...), note...)
	case "the cut is noted after the reserve":
		steps = append(append(append(steps, reserve), note...), write...)
	default:
		steps = append(append(append(steps, note...), reserve), write...)
	}
	return append(steps, b.unlock(shard), cutStep{Does: "return from Set " + name, Do: func(s *cutState) string {
		s.know[actor] |= rec
		s.returned |= rec
		return ""
	}})
}

func recIndex(rec uint8) (i int) {
	for ; rec > 1; rec >>= 1 {
		i++
	}
	return i
}

// see waits until a slot is published, as a reader without a lock sees it.
func (b *cutModel) see(actor int, rec uint8, name string) []cutStep {
	return []cutStep{{Does: "Get finds " + name + " (get.go: find)",
		If: func(s *cutState) bool { return s.published&rec != 0 },
		Do: func(s *cutState) string { s.know[actor] |= rec | s.cause[recIndex(rec)]; return "" }}}
}

// compute reads under no lock, then writes: what its callback saw is a cause.
func (b *cutModel) compute(actor int) (steps []cutStep) {
	see, set := b.see(actor, recZ, "z"), b.set(actor, recW, "w")
	if b.fault != "the epoch is read before the callback" {
		return append(see, set...)
	}
	return append(append([]cutStep{b.loadEpoch(actor)}, see...), without(set, "load the epoch")...)
}

func without(steps []cutStep, does string) (rest []cutStep) {
	for _, s := range steps {
		if len(s.Does) < len(does) || s.Does[:len(does)] != does {
			rest = append(rest, s)
		}
	}
	return rest
}

// inBatch holds Cache.batches (batch.go: batch).
func (b *cutModel) inBatch(steps ...[]cutStep) []cutStep {
	list := []cutStep{{Does: "hold the cut off (batch.go: batch)",
		If: func(s *cutState) bool { return s.batch >= 0 || b.fault == "a batch does not hold the cut off" },
		Do: func(s *cutState) string {
			if b.fault != "a batch does not hold the cut off" {
				s.batch++
			}
			return ""
		}}}
	for _, l := range steps {
		list = append(list, l...)
	}
	return append(list, cutStep{Does: "let the cut come (batch.go: batch)", Do: func(s *cutState) string {
		if b.fault != "a batch does not hold the cut off" {
			s.batch--
		}
		return ""
	}})
}

// evict ends the segment of an old record on shard 1 (evict.go: cleanRecordLocked,
// finishLocked; held.go: retireLocked).
func (b *cutModel) evict(actor int) []cutStep {
	sh := func(s *cutState) *cutShard { return &s.shards[1] }
	return []cutStep{b.lock(actor, 1), b.loadEpoch(actor), b.note(actor, 1),
		{Does: "clear the old slot, head past it (evict.go: cleanRecordLocked)", Do: func(s *cutState) string { sh(s).evicted = true; return "" }},
		{Does: "hold the frame if a cut may have it (held.go: keep)", Do: func(s *cutState) string { sh(s).held = s.hold; return "" }},
		b.unlock(1),
		{Does: "another segment takes the frame unless it is held (frames.go: take)", Do: func(s *cutState) string { sh(s).reused = !sh(s).held; return "" }},
	}
}

// cut is Cut (cut.go), then what the dumper copies (dump/generation.go: writePages,
// writeBlob), then Release.
func (b *cutModel) cut(actor int) (steps []cutStep) {
	hold := cutStep{Does: "hold what ends (cut.go: Cut)", Do: func(s *cutState) string { s.hold = true; return "" }}
	advance := []cutStep{
		{Does: "wait for batches (cut.go: Cut)", If: func(s *cutState) bool { return s.batch == 0 }, Do: func(s *cutState) string { s.batch = -1; return "" }},
		{Does: "advance the epoch (cut.go: Cut)", Do: func(s *cutState) string {
			if b.fault != "tails are taken shard by shard" {
				s.epoch++
			}
			return ""
		}},
		{Does: "let batches go on (cut.go: Cut)", Do: func(s *cutState) string { s.batch = 0; return "" }},
	}
	steps = append(steps, cutStep{Label: "cut", Does: "ask for a cut", Do: func(s *cutState) string {
		s.cutter = cutterState{cuts: s.cutter.cuts + 1, before: s.returned}
		return ""
	}})
	if b.fault == "pages are taken before the cut" {
		steps = append(steps, b.copyPages())
	}
	if b.fault == "what ends is held after the epoch" {
		steps = append(append(steps, advance...), hold)
	} else {
		steps = append(append(steps, hold), advance...)
	}
	for shard := range 2 {
		steps = append(steps, b.touch(actor, shard)...)
	}
	if b.fault != "pages are taken before the cut" {
		steps = append(steps, b.copyPages())
	}
	return append(steps, cutStep{Does: "release the cut (held.go: release)", Do: func(s *cutState) string {
		s.cutter.done, s.hold = true, false
		s.shards[1].reused = s.shards[1].reused || s.shards[1].held
		s.shards[1].held = false
		if !*largeModels || s.cutter.cuts == 2 {
			return explore.End
		}
		return "again"
	}}, cutStep{Label: "again", Does: "go on", Do: func(*cutState) string { return "cut" }})
}

// touch ends the cut's part of a shard, which nobody may write to.
func (b *cutModel) touch(actor, shard int) (steps []cutStep) {
	steps = []cutStep{b.lock(actor, shard), b.loadEpoch(actor), b.note(actor, shard)}
	switch b.fault {
	case "idle shards are left out":
		steps = steps[:1]
	case "the cutter takes no lock":
		steps = steps[1:]
	case "tails are taken shard by shard":
		steps[2] = cutStep{Does: "note the shard's cut", Do: func(s *cutState) string { s.noteCut(shard, s.epoch); return "" }}
	}
	steps = append(steps, cutStep{Does: "take what was noted (cut.go: Cut)", Do: func(s *cutState) string {
		sh := &s.shards[shard]
		s.cutter.taken[shard], sh.noted = sh.noted, false
		s.cutter.tail |= sh.cutTail
		s.cutter.journal |= sh.cutJournal
		s.cutter.evicted = s.cutter.evicted || sh.cutEvicted
		sh.cutTail, sh.cutJournal = 0, 0
		return ""
	}})
	if b.fault != "the cutter takes no lock" {
		steps = append(steps, b.unlock(shard))
	}
	return steps
}

func (b *cutModel) copyPages() cutStep {
	return cutStep{Does: "copy the bytes that are to be written (cut.go: Copy)", Do: func(s *cutState) string {
		s.cutter.pages = s.copied
		s.cutter.old = !s.shards[1].reused
		return ""
	}}
}

// checkCut is what must hold of a cut that is on file.
func checkCut(s *cutState) string {
	c := &s.cutter
	if !c.done {
		return ""
	}
	for i := range s.cause {
		if c.journal&(1<<i) != 0 && s.cause[i]&^c.journal != 0 {
			return "an effect is in the cut, its cause is not"
		}
	}
	switch {
	case c.taken != [2]bool{true, true}:
		return "a shard is not in the cut"
	case c.tail != c.journal:
		return "a record and its slot are on two sides of the cut"
	case c.before&^c.journal != 0:
		return "what had returned before the cut is not in it"
	case c.tail&^c.pages != 0:
		return "bytes that the cut has were not copied"
	case !c.evicted && !c.old:
		return "a segment that the cut has was overwritten before it was copied"
	case (c.journal&recP != 0) != (c.journal&recQ != 0):
		return "half of a batch is in the cut"
	}
	return ""
}

func buildCut(fault string) *explore.Model[cutState] {
	b := &cutModel{fault: fault, m: &explore.Model[cutState]{Check: checkCut}}
	b.actor("cutter", b.cut(0))
	b.actor("writer", b.set(1, recX, "x"), b.set(1, recY, "y"))
	b.actor("reader who writes", b.see(2, recY, "y"), b.set(2, recZ, "z"))
	b.actor("computer", b.compute(3))
	if *largeModels || fault == "" || fault == "what ends is held after the epoch" {
		b.actor("cleaner", b.evict(4))
	}
	if *largeModels || fault == "a batch does not hold the cut off" {
		i := len(b.m.Actors)
		b.actor("batch", b.inBatch(b.set(i, recP, "p"), b.set(i, recQ, "q")))
	}
	done := func(want uint8) func(s *cutState) bool {
		return func(s *cutState) bool { return s.cutter.done && s.cutter.journal == want }
	}
	b.m.Witnesses = []explore.Witness[cutState]{
		{Name: "an empty cut", Seen: done(0)}, {Name: "a cut with a cause alone", Seen: done(recX | recY)},
		{Name: "a cut with all", Seen: done(recX | recY | recZ | recW)},
		{Name: "a segment that was held", Seen: func(s *cutState) bool { return s.cutter.old && s.shards[1].held && !s.cutter.evicted }},
	}
	return b.m
}

func TestModelOfTheCut(t *testing.T) {
	checkProtocol(t, buildCut,
		"the epoch is read after the append",
		"the epoch is read before the callback",
		"the cut is noted after the reserve",
		"tails are taken shard by shard",
		"idle shards are left out",
		"the cutter takes no lock",
		"a batch does not hold the cut off",
		"pages are taken before the cut",
		"what ends is held after the epoch")
}
