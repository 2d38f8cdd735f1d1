package loader

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// sample writes a directory with four generations, the last three on one image,
// and returns the state at the last.
func sample(t testing.TB) (*writer, *snapshot) {
	w := newWriter(t, crashfs.New(), "/c", smallGeometry())
	w.busy(150)
	w.generate(true)
	w.busy(150)
	w.generate(true)
	for range 2 {
		w.busy(100)
		w.evict(0, 0)
		for number, seg := range w.shards[1].segments {
			if seg.Queue == pagefile.QueueLarge {
				w.kill(1, number)
				break
			}
		}
		w.generate(false)
	}
	return w, w.snapshot()
}

func TestLoadDurable(t *testing.T) {
	w, snap := sample(t)
	res := mustLoad(t, w)
	exactly(t, res, snap)
	if res.Reason != nil || len(res.Findings) > 0 {
		t.Errorf("got reason %v and findings %v, want none", res.Reason, res.Findings)
	}
	if res.LastGeneration != 4 || res.LastOpens != 1 || res.Clock != w.clock || res.Weak != 0 {
		t.Errorf("got generation %d, opens %d, clock %d, %d links", res.LastGeneration, res.LastOpens, res.Clock, res.Weak)
	}
	if res.Chain != w.record.Weak {
		t.Errorf("got chain %v, want %v", res.Chain, w.record.Weak)
	}
	if got := len(res.Retained); got != 3 {
		t.Errorf("got %d retained generations, want 3", got)
	}
	for i, s := range res.Shards {
		if s.Durable != w.record.Shards[i] || s.State != s.Durable || s.Chained != len(s.Journals) {
			t.Errorf("shard %d: durable %v, state %v, want %v", i, s.Durable, s.State, w.record.Shards[i])
		}
	}
}

func TestLoadChain(t *testing.T) {
	w, _ := sample(t)
	number := w.large(2, 5000&^15)
	w.link(false)
	old := w.shards[2].sorted()
	old = old[len(old)-2:]
	w.kill(2, old[0].Number)
	w.kill(2, number)
	w.opens = 2 // a second process went on with the chain
	for range 5 {
		w.busy(30)
		w.evict(1, 1)
		w.link(false)
	}
	res := mustLoad(t, w)
	exactly(t, res, w.snapshot())
	if res.Weak != 6 || res.Chain != w.pos || res.Clock != w.clock || res.LastOpens != 2 {
		t.Errorf("got %d links, chain %v, clock %d, opens %d", res.Weak, res.Chain, res.Clock, res.LastOpens)
	}
	if got, want := res.Shards[2].Died, []uint64{old[0].Number}; !slices.Equal(got, want) {
		t.Errorf("died: got %x, want %x", got, want)
	}
	if res.Reason != nil || !slices.Equal(labels(res), []string{ChainApplied}) {
		t.Errorf("got reason %v and findings %v", res.Reason, res.Findings)
	}
	for i, s := range res.Shards {
		if s.Durable != w.record.Shards[i] || s.Chained == len(s.Journals) {
			t.Errorf("shard %d: durable %v, %d of %d journals before the chain", i, s.Durable, s.Chained, len(s.Journals))
		}
	}
}

func TestLoadChainAcrossTheEnd(t *testing.T) {
	w := newWriter(t, crashfs.New(), "/c", smallGeometry())
	w.ringSize = 128 << 10
	for lap := range 12 {
		w.busy(20)
		w.generate(lap == 0)
		w.busy(20)
		w.link(false)
		w.busy(5)
		w.link(false)
		res := mustLoad(t, w)
		exactly(t, res, w.snapshot())
		if res.Weak != 2 || res.Chain != w.pos {
			t.Errorf("lap %d: got %d links up to %v, want 2 up to %v", lap, res.Weak, res.Chain, w.pos)
		}
	}
	if !slices.Contains(w.links[1:], pagefile.FileHeaderBlock) {
		t.Error("the ring never began again")
	}
}

func TestLoadEveryLengthOfChain(t *testing.T) {
	w, snap := sample(t)
	for n := range 8 {
		res := mustLoad(t, w)
		exactly(t, res, snap)
		if res.Weak != n {
			t.Errorf("got %d links, want %d", res.Weak, n)
		}
		w.busy(200) // long enough for several windows
		w.link(false)
		snap = w.snapshot()
	}
}

func TestLoadTwiceIsTheSame(t *testing.T) {
	for label, tt := range tableTests {
		t.Run(label, func(t *testing.T) {
			w, _ := sample(t)
			w.busy(30)
			w.link(false)
			tt.damage(t, w)
			one := mustLoad(t, w)
			two := mustLoad(t, w, func(o *Options) { o.Workers, o.Positional = 1, true })
			one.Took, two.Took = Took{}, Took{}
			if one.Digest() != two.Digest() {
				t.Error("the digests differ")
			}
			if !reflect.DeepEqual(one.Shards, two.Shards) {
				t.Error("the shards differ")
			}
			findings := func(r *Result) []Finding {
				return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Case == Unmapped })
			}
			if got, want := len(findings(one)), len(findings(two)); got != want {
				t.Errorf("got %d findings, then %d: %v %v", got, want, one.Findings, two.Findings)
			}
		})
	}
}

func TestLoadModifiesNothing(t *testing.T) {
	for label, tt := range tableTests {
		t.Run(label, func(t *testing.T) {
			w, _ := sample(t)
			w.busy(30)
			w.link(false)
			tt.damage(t, w)
			w.fs = w.disk().Clone()
			ops := w.disk().Ops()
			res := mustLoad(t, w)
			res.Close()
			if log := w.disk().Log(); len(log) != ops {
				t.Errorf("Load changed something: %v", log[ops:])
			}
			if open := w.disk().OpenHandles(); len(open) > 0 {
				t.Errorf("still open: %v", open)
			}
		})
	}
}

func TestLoadDurableOnly(t *testing.T) {
	w, snap := sample(t)
	w.busy(30)
	w.link(false)
	res := mustLoad(t, w, func(o *Options) { o.Durable = true })
	exactly(t, res, snap)
	if res.Weak != 0 || res.Chain.File != 0 || res.Clock != w.record.Clock {
		t.Errorf("got %d links, chain %v, clock %d", res.Weak, res.Chain, res.Clock)
	}
	for i, s := range res.Shards {
		if s.State != w.record.Shards[i] {
			t.Errorf("shard %d: state %v, want %v", i, s.State, w.record.Shards[i])
		}
	}
}

// A writer that had to leave out what was evicted while it wrote moves the
// record's heads further than those of the link that comes next.
func TestLoadHeadsOnlyGrow(t *testing.T) {
	w, _ := sample(t)
	w.evict(3, 0)
	w.generate(false)
	w.tweak = func(s *pagefile.Section) {
		if s.Shard == 3 {
			s.State.Heads[0] = 0
		}
	}
	w.busy(30)
	w.link(false)
	res := mustLoad(t, w)
	exactly(t, res, w.snapshot())
	if res.Weak != 1 {
		t.Errorf("got %d links, want 1", res.Weak)
	}
}

func TestLoadAnOlderGeneration(t *testing.T) {
	w, _ := sample(t)
	w.busy(50)
	w.generate(false)
	snap, generation := w.snapshot(), w.generation
	w.busy(50)
	w.generate(true)
	w.busy(9)
	w.link(false)
	res := mustLoad(t, w, func(o *Options) { o.Generation = generation })
	exactly(t, res, snap)
	if res.Record.Generation != generation || res.Weak != 0 || res.Chain.File != 0 {
		t.Errorf("got generation %d with %d links, want %d without a chain", res.Record.Generation, res.Weak, generation)
	}
	if res.LastGeneration != w.generation {
		t.Errorf("got last generation %d, want %d", res.LastGeneration, w.generation)
	}
}

func TestLoadWeakDir(t *testing.T) {
	w, _ := sample(t)
	w.busy(9)
	w.link(false)
	name := pagefile.FileName(pagefile.KindWeak, weakID)
	b, err := w.disk().ReadFile(path.Join(w.dir, name))
	w.must(err)
	w.must(w.fs.MkdirAll("/shm", 0o700))
	w.must(w.disk().Plant("/shm/"+name, b))
	w.must(w.disk().Erase(path.Join(w.dir, name)))
	res := mustLoad(t, w, func(o *Options) { o.WeakDir = "/shm" })
	exactly(t, res, w.snapshot())
}

func TestLoadImageReset(t *testing.T) {
	w, _ := sample(t)
	w.tweak = func(s *pagefile.Section) { s.ImageReset = s.Shard == 1 }
	w.busy(60)
	w.generate(false)
	res := mustLoad(t, w)
	compare(t, res, w.snapshot())
	for i, s := range res.Shards {
		if (s.ImageBuckets == 0) != (i == 1) || s.Lost != 0 || s.Chained != len(s.Journals) {
			t.Errorf("shard %d: %d buckets, %d sections lost, %d of %d journals", i, s.ImageBuckets, s.Lost, s.Chained, len(s.Journals))
		}
	}
}

func TestLoadMemory(t *testing.T) {
	for label, memory := range map[string]func(int) []byte{
		"enough":     func(n int) []byte { return make([]byte, n+5) },
		"not enough": func(n int) []byte { return make([]byte, n-1) },
		"none":       func(int) []byte { return nil },
	} {
		t.Run(label, func(t *testing.T) {
			w, _ := sample(t)
			w.busy(200)
			w.link(false)
			res := mustLoad(t, w, func(o *Options) { o.Memory = memory })
			exactly(t, res, w.snapshot())
		})
	}
}

func TestLoadFails(t *testing.T) {
	w, _ := sample(t)
	o := Options{FS: w.fs, Dir: "/none"}
	if _, err := Load(context.Background(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that does not exist: got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	o.Dir, o.Schema = w.dir, "s1"
	w.fs = w.disk().Clone()
	o.FS = w.fs
	if _, err := Load(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
	if open := w.disk().OpenHandles(); len(open) > 0 {
		t.Errorf("still open: %v", open)
	}
}

// A file that cannot be read costs what it holds, like one that is damaged.
func TestLoadReadErrors(t *testing.T) {
	base, _ := sample(t)
	base.busy(9)
	base.link(false)
	for _, name := range base.disk().List() {
		for _, kind := range []crashfs.Kind{crashfs.OpOpen, crashfs.OpRead} {
			t.Run(path.Base(name)+" "+kind.String(), func(t *testing.T) {
				w := *base
				disk := base.disk().Clone()
				w.t, w.fs = t, disk
				defer disk.Fail(crashfs.Rule{Kind: kind, Path: name, Err: syscall.EIO})()
				res := mustLoad(t, &w)
				snap := w.snapshot()
				if res.Weak == 0 {
					// The state before the link. What may be read next time has to stay.
					if strings.Contains(name, "weak-") && res.Chain.File != 0 {
						t.Errorf("the chain goes on at %v, over a link that was not read", res.Chain)
					}
					return
				}
				compare(t, res, snap)
			})
		}
	}
}

// Sections whose checksums are right may hold anything else: Load must end, and
// give what a cache can use.
func TestLoadHostileSections(t *testing.T) {
	for seed := range uint64(100) {
		w, _ := sample(t)
		rng := rand.New(rand.NewPCG(seed, 5))
		w.tweak = func(s *pagefile.Section) { hostile(rng, s) }
		w.busy(30)
		w.generate(false)
		w.busy(30)
		w.link(false)
		res := mustLoad(t, w)
		for i := range res.Shards {
			checkUsable(t, w.geo, &res.Shards[i])
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func hostile(rng *rand.Rand, s *pagefile.Section) {
	huge := []uint64{0, 1, 63, 1 << 30, 1<<62 - 1, 1 << 62, 1<<64 - 1}
	pick := func() uint64 { return huge[rng.IntN(len(huge))] }
	for range rng.IntN(4) {
		switch rng.IntN(7) {
		case 0:
			q := rng.IntN(2)
			s.State.Heads[q] = pick()
			s.State.Tails[q] = max(s.State.Heads[q], min(pick(), s.State.Heads[q]+pagefile.Lap))
			if s.State.Tails[q]-s.State.Heads[q] > pagefile.Lap {
				s.State.Tails[q] = s.State.Heads[q]
			}
		case 1:
			for i := range s.Segments {
				s.Segments[i].Seq = pick() % (1 << 62)
				s.Segments[i].Queue = pagefile.QueueMain
			}
		case 2:
			for i := range s.Segments {
				s.Segments[i].Place = uint32(pick())
			}
		case 3:
			for i := range s.Segments {
				s.Segments[i].Fill = uint32(pick() % (pagefile.MaxSegmentSize / 16))
			}
		case 4:
			for i := range s.Pieces {
				s.Pieces[i].Offset = uint32(rng.IntN(pagefile.MaxSegmentSize - len(s.Pieces[i].Bytes)))
			}
			s.Pieces = append(s.Pieces, s.Pieces...)
		case 5:
			for i := range s.Pages {
				s.Pages[i].First = rng.IntN(64 - len(s.Pages[i].Sums))
			}
		case 6:
			for i := range s.Segments {
				if s.Segments[i].Queue != pagefile.QueueLarge {
					s.Segments[i].Number = s.Segments[0].Number
					s.Died = append(s.Died, s.Segments[i].Number)
				}
			}
		}
	}
}

// checkUsable holds what a cache relies on without looking.
func checkUsable(t testing.TB, g pagefile.Geometry, s *Shard) {
	t.Helper()
	for q := range s.State.Heads {
		if s.State.Heads[q] > s.State.Tails[q] || s.State.Tails[q]-s.State.Heads[q] > pagefile.Lap {
			t.Errorf("queue %d from %d to %d", q, s.State.Heads[q], s.State.Tails[q])
		}
	}
	for i := range s.Segments {
		seg := &s.Segments[i]
		if i > 0 {
			before := &s.Segments[i-1]
			if before.Queue > seg.Queue || before.Queue == seg.Queue && before.Seq >= seg.Seq {
				t.Errorf("segment %d/%d after %d/%d", seg.Queue, seg.Seq, before.Queue, before.Seq)
			}
		}
		if seg.Queue != pagefile.QueueLarge {
			units := g.UnitsPerSegment()
			if seg.Seq < s.State.Heads[seg.Queue]/units || seg.Seq > s.State.Tails[seg.Queue]/units {
				t.Errorf("segment %d/%d outside %v %v", seg.Queue, seg.Seq, s.State.Heads, s.State.Tails)
			}
		}
		if seg.Sums != nil && len(seg.Sums) != g.PagesPerSegment() {
			t.Errorf("segment %x: %d checksums", seg.Number, len(seg.Sums))
		}
		end := 0
		for _, p := range seg.Pieces {
			if int(p.Offset) < end || p.Number != seg.Number || len(p.Bytes) == 0 {
				t.Errorf("segment %x: piece %d+%d after %d", seg.Number, p.Offset, len(p.Bytes), end)
			}
			end = int(p.Offset) + len(p.Bytes)
		}
		if end > g.SegmentSize {
			t.Errorf("segment %x: pieces up to %d", seg.Number, end)
		}
	}
	for _, j := range s.Journals {
		if len(j)%pagefile.JournalEntrySize != 0 {
			t.Errorf("journal of %d bytes", len(j))
		}
	}
}
