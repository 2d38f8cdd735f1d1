package loader

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A liveModel writes what a writer does to a live log, as a cache would: a group for
// each thing that is done, from the cut of the newest link on.
type liveModel struct {
	w     *writer
	b     []byte
	l     *pagefile.Live
	ws    []*pagefile.LiveWriter
	slots atomic.Uint64
	seq   uint64
	disk  *crashfs.FS // of the last link that is in the ring

	logged      map[uint64]int // bytes of each segment, -1: sealed
	stores, die []int          // of those since the last link, by shard
}

func newLiveModel(w *writer) *liveModel {
	m := &liveModel{w: w, b: make([]byte, pagefile.LiveSize(len(w.shards), 1<<20)), seq: 4, logged: map[uint64]int{},
		stores: make([]int, len(w.shards)), die: make([]int, len(w.shards))}
	m.l = pagefile.NewLive(m.b, len(w.shards), 1, w.geo.DirID)
	for i := range w.shards {
		m.ws = append(m.ws, m.l.Writer(i))
	}
	m.begin()
	m.linked(w.link)
	return m
}

// begin has all shards go on from the next cut.
func (m *liveModel) begin() {
	m.seq++
	m.l.Reset(m.seq)
	for i, lw := range m.ws {
		lw.Cut(m.seq)
		s := m.w.shards[i]
		m.stores[i], m.die[i] = 0, 0
		for number, seg := range s.segments {
			m.logged[number] = seg.used
			if seg.Fill != pagefile.OpenFill {
				m.logged[number] = -1
			}
		}
	}
}

// linked writes the link of the cut that has just begun. Before, the log knows of it.
func (m *liveModel) linked(link func(anchor bool)) {
	m.disk = m.w.disk().Clone()
	link(false)
	m.l.SetBase(m.seq, m.w.pos)
	m.disk = m.w.disk().Clone()
}

// note makes a group of what a shard did since the last one.
func (m *liveModel) note(shard int, tag uint64) {
	s, lw := m.w.shards[shard], m.ws[shard]
	for _, seg := range s.sorted() {
		m.noteSegment(lw, seg)
	}
	for j := s.linkJournal[pagefile.JournalEntrySize*m.stores[shard]:]; len(j) > 0; j = j[pagefile.JournalEntrySize:] {
		lw.Store(binary.LittleEndian.Uint32(j), binary.LittleEndian.Uint64(j[4:]))
	}
	for _, number := range s.linkDied[m.die[shard]:] {
		lw.Died(number)
	}
	m.stores[shard], m.die[shard] = len(s.linkJournal)/pagefile.JournalEntrySize, len(s.linkDied)
	state := s.state(m.w.geo)
	m.commit(shard, &state, tag)
}

func (m *liveModel) commit(shard int, state *pagefile.ShardState, tag uint64) {
	if p, v := m.ws[shard].Commit(state, tag); p != nil {
		atomic.StoreUint64(p, v)
	}
}

func (m *liveModel) noteSegment(lw *pagefile.LiveWriter, seg *modelSegment) {
	have := m.logged[seg.Number]
	switch {
	case have < 0:
		return
	case seg.Queue == pagefile.QueueLarge:
		off, sum, _ := m.l.Keep(m.seq, seg.data[:seg.used])
		lw.Born(seg.Number, seg.Fill, off, sum)
		m.logged[seg.Number] = -1
		return
	case have < seg.used:
		lw.Record(seg.Queue, seg.Number, seg.Seq, have, seg.data[have:seg.used])
		m.logged[seg.Number] = seg.used
	}
	if seg.Fill != pagefile.OpenFill {
		lw.Seal(seg.Queue, seg.Number, seg.Seq, seg.Fill)
		m.logged[seg.Number] = -1
	}
}

// act does one thing on one shard.
func (m *liveModel) act() {
	w := m.w
	shard, q := w.rng.IntN(len(w.shards)), uint8(w.rng.IntN(2))
	s := w.shards[shard]
	switch w.rng.IntN(12) {
	case 0:
		w.remove(shard)
	case 1:
		w.large(shard, 4096+16*w.rng.IntN(512))
	case 2:
		for _, number := range slices.Sorted(maps.Keys(s.segments)) {
			if s.segments[number].Queue == pagefile.QueueLarge {
				w.kill(shard, number)
				break
			}
		}
	case 3:
		if seg := s.open[q]; seg != nil && seg.Seq > s.heads[q]/w.geo.UnitsPerSegment() {
			w.evict(shard, q)
		}
	default:
		w.store(shard, q, 64+w.rng.IntN(3000))
	}
	m.note(shard, 0)
}

func (m *liveModel) acts(n int) {
	for range n {
		m.act()
	}
}

// log has Load find what the process left that is killed now.
func (m *liveModel) log(o *Options) {
	b := bytes.Clone(m.b)
	o.Live = func(pagefile.Geometry) ([]byte, error) { return b, nil }
}

// load opens what a process leaves that is killed now.
func (m *liveModel) load(t testing.TB, disk *crashfs.FS) *Result {
	t.Helper()
	c := *m.w
	c.fs = disk
	return mustLoad(t, &c, m.log)
}

// exactly wants all that was done.
func (m *liveModel) exactly(t testing.TB, what string) *Result {
	t.Helper()
	res := m.load(t, m.disk.Clone())
	exactly(t, res, m.w.snapshot())
	if t.Failed() {
		t.Fatalf("killed %s: findings %v", what, res.Findings)
	}
	return res
}

// TestLiveLogHasWhatCameAfterTheNewestLink, whenever the process is killed: between
// two links; while some shards have gone on from a cut and others have not; before its
// link is in the ring, and whether or not the log knows of it yet.
func TestLiveLogHasWhatCameAfterTheNewestLink(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	for range 3 {
		for range 6 {
			m.acts(1 + w.rng.IntN(8))
			res := m.exactly(t, "between two links")
			if !slices.Equal(labels(res), []string{LiveApplied}) && !slices.Equal(labels(res), []string{ChainApplied, LiveApplied}) || res.Reason != nil {
				t.Fatalf("findings %v, reason %v", res.Findings, res.Reason)
			}
		}
		old := m.disk
		m.begin()
		m.exactly(t, "after a cut")
		m.linked(func(bool) {
			w.link(false)
			link := m.w.disk().Clone()
			m.exactly(t, "before the link is in the ring")
			for range 3 {
				m.acts(5)
				m.exactly(t, "with two halves")
			}
			m.l.SetBase(m.seq, w.pos)
			m.exactly(t, "before a link that the log knows of is in the ring")
			m.disk = link
			m.exactly(t, "right after a link")
			m.disk = old
		})
		m.exactly(t, "after a link")
	}
}

// TestLiveHalfBegunBySomeShards: those that the cut has not come to have all they did
// in the half before.
func TestLiveHalfBegunBySomeShards(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	m.acts(40)
	m.seq++
	m.l.Reset(m.seq)
	for i, lw := range m.ws {
		w.store(i, 0, 800) // before the cut comes to it
		m.note(i, 0)
		lw.Cut(m.seq)
		w.store(0, 0, 700) // after it
		m.note(0, 0)
		m.exactly(t, "while the cut goes round")
	}
}

// TestLiveLogIsALink: what the log had, written to the ring as one link, gives the same
// state, whether or not the log is there.
func TestLiveLogIsALink(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	m.acts(60)
	m.begin()
	m.acts(60)
	res := m.exactly(t, "with two halves")
	if len(res.Live) == 0 || res.Chain != w.pos {
		t.Fatalf("%d sections after %+v, want some after %+v", len(res.Live), res.Chain, w.pos)
	}
	want := w.snapshot()
	var b pagefile.BlobBuilder
	b.Reset(pagefile.BlobHeader{Kind: pagefile.BlobWeak, Number: w.pos.Number + 1, Lineage: w.lineage, Opens: 2, Prev: w.pos.Hash, Clock: w.clock})
	for k := range res.Live {
		w.must(b.Add(&res.Live[k]))
	}
	w.putLink(&b)
	for _, option := range []func(*Options){m.log, func(*Options) {}} {
		again := mustLoad(t, w, option)
		exactly(t, again, want)
		if len(again.Live) != 0 || again.Reason != nil || slices.Contains(labels(again), LiveEnded) {
			t.Errorf("%d sections, findings %v", len(again.Live), again.Findings)
		}
	}
}

// A liveRefusal is a log of two halves that is not applied, or half.
type liveRefusal struct {
	name   string
	change func(t *testing.T, m *liveModel)
	option func(m *liveModel, o *Options)
	parts  int      // that apply
	found  []string // beside ChainApplied
}

var liveRefusals = []liveRefusal{
	{name: "it is gone", option: func(_ *liveModel, o *Options) {
		o.Live = func(pagefile.Geometry) ([]byte, error) { return nil, fs.ErrNotExist }
	}, found: []string{LiveEnded}},
	{name: "nobody looks for one", option: func(_ *liveModel, o *Options) { o.Live = nil }},
	{name: "nothing leads to it", change: func(_ *testing.T, m *liveModel) { m.l.End() }},
	{name: "it goes on from another link", change: func(_ *testing.T, m *liveModel) {
		m.l.SetBase(m.seq-1, pagefile.WeakPos{Hash: m.w.pos.Hash + 1, Number: m.w.pos.Number})
	}},
	{name: "it goes on from a link of another number", change: func(_ *testing.T, m *liveModel) {
		m.l.SetBase(m.seq-1, pagefile.WeakPos{Hash: m.w.pos.Hash, Number: m.w.pos.Number + 1})
	}},
	{name: "of another directory", change: func(_ *testing.T, m *liveModel) {
		pagefile.NewLive(m.b, len(m.ws), 1, m.w.geo.DirID+1).SetBase(m.seq-1, m.w.pos)
	}, found: []string{LiveEnded}},
	{name: "of another number of shards", change: func(_ *testing.T, m *liveModel) {
		pagefile.NewLive(m.b, len(m.ws)-1, 1, m.w.geo.DirID).SetBase(m.seq-1, m.w.pos)
	}, found: []string{LiveEnded}},
	{name: "of another length", change: func(_ *testing.T, m *liveModel) { m.b = m.b[:len(m.b)-4096] }, found: []string{LiveEnded}},
	{name: "of another version", change: func(_ *testing.T, m *liveModel) { m.b[4]++ }, found: []string{LiveEnded}},
	{name: "no shard began", change: func(_ *testing.T, m *liveModel) {
		pagefile.NewLive(m.b, len(m.ws), 1, m.w.geo.DirID).SetBase(m.seq-1, m.w.pos)
	}, found: []string{LiveEnded}},
	{name: "the first half did not fit", change: func(_ *testing.T, m *liveModel) { m.l.Break(m.seq - 1) }, found: []string{LiveEnded}},
	{name: "the second half did not fit", change: func(_ *testing.T, m *liveModel) { m.l.Break(m.seq) }, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a shard gave the second half up", change: func(_ *testing.T, m *liveModel) {
		m.ws[2].Break()
		m.note(2, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "the first half is being written over", change: func(_ *testing.T, m *liveModel) {
		m.l.Reset(m.seq + 1)
		m.ws[1].Cut(m.seq + 1)
	}, found: []string{LiveEnded}},
	{name: "a tail before those of the link", change: func(_ *testing.T, m *liveModel) {
		m.state(0, func(s *pagefile.ShardState) { s.Heads, s.Tails = [2]uint64{}, [2]uint64{} })
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a tail a lap beyond its image", change: func(_ *testing.T, m *liveModel) {
		m.state(0, func(s *pagefile.ShardState) { s.Tails[0] += pagefile.Lap; s.Heads[0] = s.Tails[0] })
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "more buckets than the geometry has", change: func(_ *testing.T, m *liveModel) {
		m.state(0, func(s *pagefile.ShardState) { s.Buckets = pagefile.MaxBuckets })
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a record beyond its segment", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Record(0, 77, 5, m.w.geo.SegmentSize, make([]byte, 16))
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a record of nothing", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Record(0, 77, 5, 0, nil)
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a segment without a number", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Record(0, 0, 5, 0, make([]byte, 16))
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a seal beyond the segment", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Seal(0, 77, 5, uint32(m.w.geo.UnitsPerSegment())+1)
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a segment longer than the geometry's", change: func(_ *testing.T, m *liveModel) {
		off, sum, _ := m.l.Keep(m.seq, make([]byte, 2*m.w.geo.SegmentSize))
		m.ws[0].Born(77, 2*uint32(m.w.geo.UnitsPerSegment()), off, sum)
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "a seq of 2^62", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Seal(0, 77, 1<<62, 5)
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "the end of a segment without a number", change: func(_ *testing.T, m *liveModel) {
		m.ws[0].Died(0)
		m.note(0, 0)
	}, parts: 1, found: []string{LiveApplied, LiveEnded}},
	{name: "only durable generations count", option: func(m *liveModel, o *Options) { o.Durable = true }},
	{name: "the ring is gone", change: func(_ *testing.T, m *liveModel) {
		m.w.must(m.w.disk().Erase(m.w.path(pagefile.KindWeak, weakID)))
	}, found: []string{ChainMissing}},
}

// state commits a group with another state than the shard has.
func (m *liveModel) state(shard int, change func(*pagefile.ShardState)) {
	s := m.w.shards[shard].state(m.w.geo)
	change(&s)
	m.commit(shard, &s, 0)
}

// TestLiveLogsThatDoNotApply: a log that is not of the newest state, or not whole, adds
// nothing, or its first half alone; and Load says so, if it may be missed.
func TestLiveLogsThatDoNotApply(t *testing.T) {
	for _, c := range liveRefusals {
		t.Run(c.name, func(t *testing.T) {
			w, _ := sample(t)
			m := newLiveModel(w)
			ends := []*snapshot{w.snapshot()}
			for range 2 {
				m.acts(40)
				ends = append(ends, w.snapshot())
				if len(ends) == 2 {
					m.begin()
				}
			}
			exactly(t, m.load(t, w.disk()), ends[2])
			if c.change != nil {
				c.change(t, m)
			}
			res := mustLoad(t, w, m.log, func(o *Options) {
				if c.option != nil {
					c.option(m, o)
				}
			})
			if found := slices.DeleteFunc(labels(res), func(s string) bool { return s == ChainApplied }); !slices.Equal(found, c.found) {
				t.Errorf("findings %v, want %v", res.Findings, c.found)
			}
			if res.Chain.File != 0 {
				exactly(t, res, ends[c.parts])
			}
			if (len(res.Live) > 0) != (c.parts > 0) {
				t.Errorf("%d sections, want %d parts", len(res.Live), c.parts)
			}
		})
	}
}

// TestLiveLogOfAnOlderLinkStaysOut: links came after the newest that the log knows of.
func TestLiveLogOfAnOlderLinkStaysOut(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	m.acts(30)
	left := bytes.Clone(m.b)
	for n := range 3 {
		w.busy(10)
		w.link(false)
		res := mustLoad(t, w, func(o *Options) { o.Live = func(pagefile.Geometry) ([]byte, error) { return left, nil } })
		exactly(t, res, w.snapshot())
		if len(res.Live) != 0 || slices.Contains(labels(res), LiveApplied) {
			t.Errorf("%d links later: findings %v", n+1, res.Findings)
		}
	}
}

// TestUnreadRingKeepsTheLogOut: what could not be read may be newer than the log.
func TestUnreadRingKeepsTheLogOut(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	m.acts(30)
	disk := m.disk.Clone()
	defer disk.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: "weak-", Err: syscall.EIO})()
	c := *w
	c.fs = disk
	asked := false
	res := mustLoad(t, &c, func(o *Options) {
		o.Live = func(pagefile.Geometry) ([]byte, error) { asked = true; return nil, fs.ErrNotExist }
	})
	if asked || res.Chain.File != 0 {
		t.Errorf("asked for the log: %t; the chain goes on at %v", asked, res.Chain)
	}
}

// TestLiveFlippedAnywhere: a byte that changes in a log of two halves costs what came
// after the cut of one of them, and nothing comes back that never was.
func TestLiveFlippedAnywhere(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	states := map[uint64]int{mustLoad(t, w).Digest(): 0}
	m.acts(12)
	states[m.load(t, w.disk()).Digest()] = 1
	m.begin()
	m.acts(12)
	m.l.Begin(m.seq, pagefile.IntentBatch, []byte("payload"), &m.slots)
	states[m.load(t, w.disk()).Digest()] = 2
	var seen [3]int
	for _, i := range writtenBytes(m.b, 250) {
		m.b[i] ^= 1 << (i % 8)
		res := m.load(t, w.disk())
		m.b[i] ^= 1 << (i % 8)
		state, ok := states[res.Digest()]
		if !ok || state < 2 && len(res.Unfinished) > 0 || (len(res.Live) > 0) != (state > 0) {
			t.Fatalf("byte %d: state %d, known: %t, %d sections, %d are not finished, findings %v", i, state, ok, len(res.Live), len(res.Unfinished), res.Findings)
		}
		seen[state]++
	}
	if seen[0] == 0 || seen[1] == 0 {
		t.Errorf("states seen: %v", seen)
	}
}

// writtenBytes is n offsets of what is not zero, in order.
func writtenBytes(b []byte, n int) (list []int) {
	for i, c := range b {
		if c != 0 {
			list = append(list, i)
		}
	}
	for i := range n {
		list[i] = list[i*len(list)/n]
	}
	return list[:n]
}

// TestUnfinishedBatch: its bytes, and the last of its steps that any shard has done.
func TestUnfinishedBatch(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	m.acts(20)
	_, id := m.l.Begin(m.seq, pagefile.IntentBatch, []byte("payload"), &m.slots)
	for done := range 5 {
		if done > 0 {
			w.store(done%len(w.shards), 0, 100)
			m.note(done%len(w.shards), pagefile.LiveTag(id, done))
		}
		res := m.exactly(t, "within a batch")
		if len(res.Unfinished) != 1 || res.Unfinished[0].Done != done || string(res.Unfinished[0].Payload) != "payload" {
			t.Errorf("after %d steps: %v", done, res.Unfinished)
		}
	}
	m.state(0, func(*pagefile.ShardState) {})
	m.commit(1, &pagefile.ShardState{Buckets: 64}, math.MaxUint64) // of no batch
	if res := m.load(t, w.disk()); len(res.Unfinished) == 1 && res.Unfinished[0].Done != 4 {
		t.Errorf("the tag of another: %v", res.Unfinished)
	}
}

// TestUnfinishedClearIsFinished in the shards that it had not come to, large values
// too; what was stored after it in the others stays.
func TestUnfinishedClearIsFinished(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	for i := range w.shards {
		w.large(i, 8192)
		m.note(i, 0)
	}
	m.acts(40)
	_, id := m.l.Begin(m.seq, pagefile.IntentClear, nil, &m.slots)
	for done := range len(w.shards) + 1 {
		if done > 0 {
			w.cleared(done - 1)
			m.note(done-1, pagefile.LiveTag(id, 1))
			w.store(done-1, 1, 100)
			m.note(done-1, 0)
		}
		res := m.load(t, m.disk.Clone())
		c := *w
		c.shards = nil
		for i, s := range w.shards {
			k := *s
			k.segments, k.index = maps.Clone(s.segments), maps.Clone(s.index)
			if c.shards = append(c.shards, &k); i >= done {
				c.passed(i)
			}
		}
		exactly(t, res, c.snapshot())
		if t.Failed() || len(res.Unfinished) > 0 {
			t.Fatalf("cleared %d shards: %v, findings %v", done, res.Unfinished, res.Findings)
		}
	}
}

// cleared empties a shard as a cache does, whose open segments are sealed first. Who
// sweeps it has not come to its large values.
func (w *writer) cleared(shard int) {
	s, units := w.shards[shard], w.geo.UnitsPerSegment()
	for q := range s.tails {
		s.tails[q] = (s.tails[q] + units - 1) / units * units
	}
	for _, seg := range s.open {
		seg.used = w.geo.SegmentSize
	}
	w.passed(shard)
}

// passed sets head to tail.
func (w *writer) passed(shard int) {
	s := w.shards[shard]
	s.heads, s.index = s.tails, map[uint32]uint64{}
	maps.DeleteFunc(s.segments, func(_ uint64, seg *modelSegment) bool {
		return seg.Queue == pagefile.QueueLarge || (seg.Seq+1)*w.geo.UnitsPerSegment() <= s.tails[seg.Queue]
	})
}

// liveCase is what TestTable has of the log: change spoils it.
func liveCase(change func(m *liveModel), also ...string) tableTest {
	var m *liveModel
	return tableTest{
		also: append(also, ChainApplied),
		damage: func(t *testing.T, w *writer) *snapshot {
			m = newLiveModel(w)
			m.acts(50)
			snap := w.snapshot()
			m.begin()
			m.acts(50)
			if change == nil {
				return w.snapshot()
			}
			change(m)
			return snap
		},
		option: func(o *Options) { m.log(o) },
		check:  same,
	}
}

// TestLiveRecordsWithAGapStayApart: what was never written between them is not there.
func TestLiveRecordsWithAGapStayApart(t *testing.T) {
	w, _ := sample(t)
	m := newLiveModel(w)
	units := w.geo.UnitsPerSegment()
	seq := w.shards[0].tails[0]/units + 1
	for _, off := range []int{0, 16, 64} {
		m.ws[0].Record(0, 77, seq, off, bytes.Repeat([]byte{byte(off)}, 16))
	}
	m.state(0, func(s *pagefile.ShardState) { s.Tails[0] = seq*units + 5 })
	for _, seg := range m.load(t, w.disk()).Shards[0].Segments {
		if seg.Number != 77 {
			continue
		}
		if p := seg.Pieces; len(p) != 2 || p[0].Offset != 0 || len(p[0].Bytes) != 32 || p[1].Offset != 64 || p[1].Bytes[0] != 64 {
			t.Errorf("got %v", p)
		}
		return
	}
	t.Error("the segment is missing")
}
