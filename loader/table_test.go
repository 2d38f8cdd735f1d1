package loader

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A tableTest shows one case of the table: damage does it to a sample directory
// and returns the state that is there to recover, nil for the sample's; check
// says what Load has made of it.
type tableTest struct {
	damage func(t *testing.T, w *writer) *snapshot
	option func(*Options)
	also   []string // other cases that are met
	check  func(t *testing.T, w *writer, res *Result, snap *snapshot)
}

func TestTable(t *testing.T) {
	for _, c := range Table {
		t.Run(c.Label, func(t *testing.T) {
			tt, ok := tableTests[c.Label]
			if !ok {
				t.Fatal("the case has no test")
			}
			w, snap := sample(t)
			if changed := tt.damage(t, w); changed != nil {
				snap = changed
			}
			if tt.option == nil {
				tt.option = func(*Options) {}
			}
			res := mustLoad(t, w, tt.option)
			want := append(tt.also, c.Label)
			for _, f := range res.Findings {
				if !slices.Contains(want, f.Case) {
					t.Errorf("finding %v, want only %q", f, want)
				}
			}
			if !slices.Contains(labels(res), c.Label) {
				t.Fatalf("got findings %v", res.Findings)
			}
			checkCost(t, c, res)
			tt.check(t, w, res, snap)
		})
	}
	for label := range tableTests {
		if _, i := lookup(label); i == len(Table) {
			t.Errorf("test %q is of no case", label)
		}
	}
}

// checkCost holds the table's columns against the Result.
func checkCost(t *testing.T, c Case, res *Result) {
	if c.Condition == "" || c.Decision == "" || c.Why == "" {
		t.Error("the case says too little")
	}
	var reason *ReasonError
	if got := errors.As(res.Reason, &reason); got != (c.Cost > CostNothing) {
		t.Errorf("got reason %v for a case that costs %d", res.Reason, c.Cost)
	}
	if cold := res.Record == nil; cold != (c.Cost == CostAll || c.Label == NewDirectory) {
		t.Errorf("cold: %v", cold)
	}
	if c.NeedFull && !res.NeedFull {
		t.Error("the next generation may be light, want full")
	}
	if (c.Cost == CostTime) != res.MayBeStale {
		t.Errorf("may be stale: %v", res.MayBeStale)
	}
}

func cold(t *testing.T, w *writer, res *Result, _ *snapshot) {
	if res.LastGeneration != w.generation || res.LastOpens != w.opens {
		t.Errorf("got generation %d, opens %d, want %d, %d", res.LastGeneration, res.LastOpens, w.generation, w.opens)
	}
}

func same(t *testing.T, _ *writer, res *Result, snap *snapshot) { exactly(t, res, snap) }

// less allows for lost words, or pages, or both, and wants some of them.
func less(words, pages bool) func(*testing.T, *writer, *Result, *snapshot) {
	return func(t *testing.T, _ *writer, res *Result, snap *snapshot) {
		lost := compare(t, res, snap)
		if (lost.words > 0) != words || (lost.pages > 0) != pages {
			t.Errorf("lost %+v", lost)
		}
	}
}

// emptied wants one shard, or all with -1, to have lost a section, and something
// to have come back nevertheless.
func emptied(shard int) func(*testing.T, *writer, *Result, *snapshot) {
	return func(t *testing.T, w *writer, res *Result, snap *snapshot) {
		if lost := compare(t, res, snap); lost.words == 0 {
			t.Errorf("lost %+v", lost)
		}
		for i, s := range res.Shards {
			hit := shard < 0 || i == shard
			if (s.Lost > 0) != hit || (s.ImageBuckets == 0) != hit {
				t.Errorf("shard %d: %d sections lost, %d buckets", i, s.Lost, s.ImageBuckets)
			}
			if len(index(t, res, i)) == 0 {
				t.Errorf("shard %d: the journals after the loss were dropped", i)
			}
		}
	}
}

var tableTests = map[string]tableTest{
	NewDirectory: {
		damage: func(t *testing.T, w *writer) *snapshot {
			for _, name := range w.disk().List() {
				w.must(w.disk().Erase(name))
			}
			w.generation, w.opens = 0, 0
			return nil
		},
		check: cold,
	},
	NoGeneration: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.eachRing(func(name string) { w.must(w.disk().Plant(name, make([]byte, pagefile.RingSize))) })
			return nil
		},
		check: cold,
	},
	RecordsMissing: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.eachRing(func(name string) { w.must(w.disk().Erase(name)) })
			return nil
		},
		check: cold,
	},
	RecordsDamaged: {
		damage: func(t *testing.T, w *writer) *snapshot {
			for g := range w.generation {
				w.flipRecords(g + 1)
			}
			return nil
		},
		check: cold,
	},
	NewerFormat: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.newer(1, w.generation)
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			if !res.Foreign || !errors.Is(res.Reason, pagefile.ErrVersion) {
				t.Errorf("foreign: %v, reason %v", res.Foreign, res.Reason)
			}
		},
	},
	NumbersSpent: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.opens = mostOpens + 1
			w.generate(false)
			return nil
		},
		check: beginsAnew,
	},
	SchemaChanged: {
		damage: nothing,
		option: func(o *Options) { o.Schema = "s2" },
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			cold(t, w, res, snap)
			if got, want := res.Reason.Error(), `schema-changed: schema mismatch: the directory has "s1", Options.Schema is "s2"`; got != want {
				t.Errorf("got reason %q, want %q", got, want)
			}
			if len(res.Retained) != 3 {
				t.Errorf("got %d retained generations, want 3", len(res.Retained))
			}
		},
	},
	GenerationMissing: {
		damage: nothing,
		option: func(o *Options) { o.Generation = 1 },
		check:  cold,
	},
	ResetWanted: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Plant(path.Join(w.dir, ResetName), nil))
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			cold(t, w, res, snap)
			if !res.Reset || len(res.Retained) != 3 {
				t.Errorf("reset %v, %d generations retained", res.Reset, len(res.Retained))
			}
			// Who asks for a generation by number does not ask for that.
			exactly(t, mustLoad(t, w, func(o *Options) { o.Generation = w.generation }), snap)
		},
	},
	UncleanEnd: {
		also: []string{ChainApplied},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.clean = true
			w.busy(10)
			w.generate(false)
			snap := w.snapshot()
			want := mustLoad(t, w, func(o *Options) { o.Clean = true })
			exactly(t, want, snap)
			w.clean = false
			w.busy(10)
			w.link(false)
			return nil
		},
		option: func(o *Options) { o.Clean = true },
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			cold(t, w, res, snap)
			w.generate(false)
			if res = mustLoad(t, w, func(o *Options) { o.Clean = true }); res.Record != nil || len(res.Retained) != 3 {
				t.Errorf("record %v, %d retained", res.Record, len(res.Retained))
			}
		},
	},
	TooOld: {
		damage: nothing,
		option: func(o *Options) { o.MaxAge, o.Now = time.Hour, time.Unix(0, writerWall).Add(time.Hour+time.Second) },
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			cold(t, w, res, snap)
			for age, old := range map[time.Duration]bool{
				time.Hour: false, 0: false, -time.Minute: false, -time.Minute - 1: true, 1000 * time.Hour: true, -1000 * time.Hour: true,
			} {
				res := mustLoad(t, w, func(o *Options) { o.MaxAge, o.Now = time.Hour, time.Unix(0, writerWall).Add(age) })
				if (res.Record == nil) != old {
					t.Errorf("age %v: record %v, reason %v", age, res.Record, res.Reason)
				}
			}
		},
	},
	Unleased: {
		damage: nothing, // nobody has made a lease file
		option: func(o *Options) { o.Share = true },
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap)
		},
	},
	RecordTorn: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Overwrite(w.ring(0), slotOf(w.generation+1), []byte("half a record")))
			return nil
		},
		check: same,
	},
	MirrorMissing: {
		also: []string{RecordTorn},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Flip(w.ring(0), slotOf(w.generation)+99, 1))
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap)
			if !res.MirrorMissing || res.Reason != nil {
				t.Errorf("mirror missing: %v, reason %v", res.MirrorMissing, res.Reason)
			}
		},
	},
	NewestLost: {
		also: []string{RecordTorn, ChainApplied},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.busy(20)
			w.opens++ // known from the blob alone
			w.generate(false)
			w.flipRecords(w.generation)
			return w.snapshot()
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap) // the chain has it all
			cold(t, w, res, snap)
			if res.Record.Generation != w.generation-1 {
				t.Errorf("got generation %d, want %d", res.Record.Generation, w.generation-1)
			}
		},
	},
	RecordsDisagree: {
		damage: func(t *testing.T, w *writer) *snapshot {
			r := *w.record
			r.Lineage = 9
			w.must(w.rings[1].Write(&r))
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap)
			if res.Record.Lineage != 1 || !res.MirrorMissing {
				t.Errorf("lineage %d, mirror missing: %v", res.Record.Lineage, res.MirrorMissing)
			}
		},
	},
	RetainedLost: {
		also: []string{RecordTorn},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.flipRecords(w.generation - 1)
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap)
			if len(res.Retained) != 2 {
				t.Errorf("got %d retained generations, want 2", len(res.Retained))
			}
		},
	},

	Unmapped: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.disk().SetNoMmap(true)
			return nil
		},
		check: same,
	},
	PagesLost: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Erase(w.path(pagefile.KindPages, pagesID)))
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			less(false, true)(t, w, res, snap)
			if !res.PagesLost || !errors.Is(res.Reason, fs.ErrNotExist) {
				t.Errorf("pages lost: %v, reason %v", res.PagesLost, res.Reason)
			}
			for _, seg := range res.Shards[0].Segments {
				if seg.Place != pagefile.NoPlace || seg.Sums != nil || seg.ImageEntry >= 0 {
					t.Errorf("segment %x has place %d", seg.Number, seg.Place)
				}
			}
		},
	},
	PagesDamaged: {
		damage: flip(pagefile.KindPages, pagesID, 20),
		check:  same,
	},
	PagesShort: {
		damage: func(t *testing.T, w *writer) *snapshot {
			size := w.geo.PlaceOffset(w.places/2) + 5000
			w.must(w.disk().TruncateFile(w.path(pagefile.KindPages, pagesID), size))
			return nil
		},
		check: less(false, true),
	},
	ImageLost: {
		also: []string{SegmentUnknown},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Erase(w.path(pagefile.KindImage, 2)))
			return nil
		},
		check: imageGone,
	},
	ImageShort: {
		damage: func(t *testing.T, w *writer) *snapshot {
			name := w.path(pagefile.KindImage, 2)
			b, err := w.disk().ReadFile(name)
			w.must(err)
			w.must(w.disk().TruncateFile(name, int64(len(b)-pagefile.PageSize)))
			return nil
		},
		check: less(false, true),
	},
	ImageShard:    {damage: flip(pagefile.KindImage, 2, shardTable), also: []string{SegmentUnknown}, check: imageGone},
	ImageSegments: {damage: flip(pagefile.KindImage, 2, shardTable+pagefile.PageSize), also: []string{SegmentUnknown}, check: less(false, true)},

	BlobLost:    {damage: flipBlob(1, 33), also: []string{SegmentUnknown}, check: emptied(-1)},
	SectionLost: {damage: flipBlob(1, blobMeta+9), also: []string{SegmentUnknown}, check: emptied(0)},
	SectionNonsense: {
		also: []string{SegmentUnknown},
		damage: tweaked(3, func(s *pagefile.Section) {
			s.State.Tails[0] += 1 << 20
		}),
		check: emptied(3),
	},
	SectionBytes: {
		damage: func(t *testing.T, w *writer) *snapshot {
			h, _, err := pagefile.ReadBlobHeader(w.blobFile, int64(w.record.Blobs[2].Offset), w.blobEnd)
			w.must(err)
			data := uint32(blobMeta)
			for _, s := range h.Sections {
				data += s.MetaLen
			}
			return flipBlob(2, int64(data))(t, w)
		},
		check: less(false, true),
	},
	SegmentUnknown: {
		damage: tweaked(0, func(s *pagefile.Section) {
			s.Pages = append(s.Pages, pagefile.PageRun{Number: 0xbad, Sums: []uint64{1}})
			s.Pieces = append(s.Pieces, pagefile.Piece{Number: 0xbad, Bytes: []byte("x")})
		}),
		check: same,
	},
	SegmentTwice: {
		damage: tweaked(0, func(s *pagefile.Section) {
			seg := s.Segments[0]
			seg.Number = 0xbad
			s.Segments = append(s.Segments, seg)
		}),
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			seen := map[[2]uint64]int{}
			for _, seg := range res.Shards[0].Segments {
				seen[[2]uint64{uint64(seg.Queue), seg.Seq}]++
			}
			for at, n := range seen {
				if n > 1 {
					t.Errorf("%d segments at %v", n, at)
				}
			}
		},
	},
	PlaceNonsense: {
		damage: tweaked(1, func(s *pagefile.Section) {
			s.Segments[0].Place = 1 << 20
		}),
		check: less(false, true),
	},
	BeyondLap: {
		damage: func(t *testing.T, w *writer) *snapshot {
			s := w.shards[2]
			for s.open[0].Seq >= s.heads[0]/w.geo.UnitsPerSegment() {
				w.evict(2, 0)
			}
			s.open[0] = nil
			s.heads[0], s.tails[0] = pagefile.Lap, pagefile.Lap+8
			w.generate(false)
			return w.snapshot()
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			s := &res.Shards[2]
			if s.Lost == 0 || s.ImageBuckets != 0 || len(s.Journals)+len(s.Segments) > 0 || s.State.Heads != s.State.Tails {
				t.Errorf("the shard is not empty: %+v", s.State)
			}
			if s.State.Tails != w.shards[2].tails {
				t.Errorf("tails %v, want %v", s.State.Tails, w.shards[2].tails)
			}
			compare(t, res, snap)
		},
	},

	ChainApplied: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.busy(9)
			w.link(false)
			return w.snapshot()
		},
		check: same,
	},
	ChainTorn: {
		also: []string{ChainApplied},
		damage: func(t *testing.T, w *writer) *snapshot {
			return brokenLink(w, func() { w.must(w.disk().Flip(w.path(pagefile.KindWeak, weakID), int64(w.pos.Offset)-100, 1)) })
		},
		check: chainCut,
	},
	ChainNonsense: {
		also: []string{ChainApplied},
		damage: func(t *testing.T, w *writer) *snapshot {
			w.tweak = func(s *pagefile.Section) {
				if w.clock == brokenClock && s.Shard == 3 {
					s.State.Tails[0], s.State.Heads[0] = 0, 0
				}
			}
			return brokenLink(w, func() { w.tweak = nil })
		},
		check: chainCut,
	},
	ChainMissing: {
		damage: func(t *testing.T, w *writer) *snapshot {
			w.must(w.disk().Erase(w.path(pagefile.KindWeak, weakID)))
			return nil
		},
		check: func(t *testing.T, w *writer, res *Result, snap *snapshot) {
			exactly(t, res, snap)
			if res.Chain.File != 0 {
				t.Errorf("chain goes on at %v", res.Chain)
			}
		},
	},
	LiveApplied: liveCase(nil),
	LiveEnded:   liveCase(func(m *liveModel) { m.l.Break(m.seq) }, LiveApplied),
}

// Where things lie in the sample: an image of 4 shards of 2 index blocks each,
// blobs of 4 sections.
const (
	shardTable  = (1 + 4*2) * pagefile.PageSize
	blobMeta    = 256
	brokenClock = 77
)

func nothing(*testing.T, *writer) *snapshot { return nil }

func flip(kind pagefile.FileKind, id uint64, off int64) func(*testing.T, *writer) *snapshot {
	return func(t *testing.T, w *writer) *snapshot {
		w.must(w.disk().Flip(w.path(kind, id), off, 0x10))
		return nil
	}
}

func flipBlob(i int, off int64) func(*testing.T, *writer) *snapshot {
	return func(t *testing.T, w *writer) *snapshot {
		e := w.record.Blobs[i]
		return flip(pagefile.KindBlobs, e.File, int64(e.Offset)+off)(t, w)
	}
}

// tweaked writes two more generations, the first with a section changed.
func tweaked(shard int, change func(*pagefile.Section)) func(*testing.T, *writer) *snapshot {
	return func(t *testing.T, w *writer) *snapshot {
		for range 20 {
			w.store(shard, 0, 1500)
		}
		w.link(false) // so that the next link has nothing to change
		done := false
		w.tweak = func(s *pagefile.Section) {
			if !done && s.Shard == shard && len(s.Segments) > 0 {
				done = true
				change(s)
			}
		}
		w.generate(false)
		w.tweak = nil
		w.busy(40)
		w.generate(false)
		return w.snapshot()
	}
}

// brokenLink writes a link, then one that breaks, then another, and returns the
// state at the first.
func brokenLink(w *writer, broken func()) *snapshot {
	w.busy(20)
	w.link(false)
	snap := w.snapshot()
	w.busy(40)
	w.clock = brokenClock
	w.link(false)
	broken()
	w.busy(20)
	w.link(false)
	return snap
}

func chainCut(t *testing.T, w *writer, res *Result, snap *snapshot) {
	exactly(t, res, snap)
	if res.Weak != 1 || res.Chain.Number != w.pos.Number-2 {
		t.Errorf("got %d links up to %d, want 1 up to %d", res.Weak, res.Chain.Number, w.pos.Number-2)
	}
}

func imageGone(t *testing.T, w *writer, res *Result, snap *snapshot) {
	less(true, true)(t, w, res, snap)
	for i, s := range res.Shards {
		if s.ImageBuckets != 0 || s.Lost != 0 || len(index(t, res, i)) == 0 {
			t.Errorf("shard %d: %d buckets, %d sections lost", i, s.ImageBuckets, s.Lost)
		}
	}
}

func (w *writer) ring(i int) string {
	return path.Join(w.dir, []string{pagefile.RecordsName, pagefile.MirrorName}[i])
}

func (w *writer) eachRing(do func(name string)) {
	do(w.ring(0))
	do(w.ring(1))
}

func slotOf(generation uint64) int64 {
	return int64(pagefile.RingSlot(generation)) * pagefile.MaxRecord
}

func (w *writer) flipRecords(generation uint64) {
	w.eachRing(func(name string) { w.must(w.disk().Flip(name, slotOf(generation)+300, 4)) })
}

// newer makes a record one of the next format version.
func (w *writer) newer(ring int, generation uint64) {
	b, err := w.disk().ReadFile(w.ring(ring))
	w.must(err)
	b = b[slotOf(generation):]
	binary.LittleEndian.PutUint16(b[8:], pagefile.Version+1)
	sum := binary.LittleEndian.Uint32(b[12:]) - 8
	binary.LittleEndian.PutUint64(b[sum:], w.checksum(b[:sum]))
	w.must(w.disk().Overwrite(w.ring(ring), slotOf(generation), b[:pagefile.MaxRecord]))
}

// checksum is the format's, taken from where a blob shows it.
func (w *writer) checksum(b []byte) uint64 {
	disk := crashfs.New()
	f, err := disk.OpenFile("/x", os.O_RDWR|os.O_CREATE, 0o600)
	w.must(err)
	var blob pagefile.BlobBuilder
	blob.Reset(pagefile.BlobHeader{Kind: pagefile.BlobDurable})
	w.must(blob.Add(&pagefile.Section{State: w.shards[0].state(w.geo), Pieces: []pagefile.Piece{{Number: 1, Bytes: b}}}))
	_, n, err := blob.WriteTo(f, 0)
	w.must(err)
	h, _, err := pagefile.ReadBlobHeader(f, 0, n)
	w.must(err)
	return h.Sections[0].DataSum
}
