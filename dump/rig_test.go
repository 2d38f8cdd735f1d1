package dump

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

var (
	firstSeed = flag.Uint64("seed", 0, "first seed of tests that run with several")
	moreSeeds = flag.Uint64("seeds", 0, "how many seeds instead of the usual number")
)

// eachSeed runs a test with n seeds, which -seed and -seeds change.
func eachSeed(t *testing.T, n uint64, test func(t *testing.T, seed uint64)) {
	if *moreSeeds > 0 {
		n = *moreSeeds
	}
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { test(t, seed) })
	}
}

// A rig is a fake cache, its dumper and the disk under it, driven step by step.
type rig struct {
	t    *testing.T
	fs   *crashfs.FS
	f    *fakeCache
	d    *Dumper
	cfg  Config
	seed uint64
}

func fakeConfig(fsys *crashfs.FS, f *fakeCache) Config {
	return Config{FS: fsys, Dir: fakeDir, Geometry: f.geo, Schema: "fake",
		Frames: len(f.shards) * (2*f.limit + 80), WeakBytes: 1 << 20, Keep: 2}
}

// newRig begins with an empty directory.
func newRig(t *testing.T, seed uint64, tweak func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, fs: crashfs.New(), f: newFake(seed, 2, 6), seed: seed}
	if err := r.fs.MkdirAll(fakeDir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.cfg = fakeConfig(r.fs, r.f)
	if tweak != nil {
		tweak(&r.cfg)
	}
	r.d = New(r.cfg, r.f, Start{Opens: 1})
	return r
}

func (r *rig) flush() uint64 {
	r.t.Helper()
	g, err := r.d.Flush(context.Background())
	if err != nil {
		r.t.Fatalf("flush: %v", err)
	}
	return g
}

func (r *rig) flushFails() error {
	r.t.Helper()
	g, err := r.d.Flush(context.Background())
	if err == nil {
		r.t.Fatalf("flush: got generation %d, want an error", g)
	}
	return err
}

// recover replays a file system and compares it with the cut it is of.
func (r *rig) recover(fsys *crashfs.FS, weak bool) *replayed {
	r.t.Helper()
	got, err := r.f.recover(fsys, weak)
	if err != nil {
		r.t.Fatalf("seed %d: %v", r.seed, err)
	}
	return got
}

func (f *fakeCache) recover(fsys *crashfs.FS, weak bool) (*replayed, error) {
	got, err := replay(fsys, weak)
	if err != nil || got.record == nil {
		return got, err
	}
	return got, f.check(got)
}

// verify checks the directory as it is now: what a power cut leaves at least,
// with all generations that are retained, and what a kill leaves.
func (r *rig) verify() *replayed {
	r.t.Helper()
	if n := len(r.f.held); n > 0 {
		r.t.Errorf("%d cuts are held though nothing is being written", n)
	}
	cut := r.fs.Crash(r.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost})
	r.verifyRetained(cut, r.recover(cut, false))
	return r.recover(r.fs.Kill(r.fs.Ops()), true)
}

// verifyRetained checks that older generations lost nothing.
func (r *rig) verifyRetained(fsys *crashfs.FS, newest *replayed) {
	r.t.Helper()
	for _, rec := range newest.retained {
		older, err := replayOlder(fsys, rec)
		if err == nil {
			err = r.f.check(older)
		}
		if err != nil {
			r.t.Fatalf("seed %d: retained by %d: %v", r.seed, newest.record.Generation, err)
		}
	}
}

// reopen goes on with another process on what fsys holds.
func (r *rig) reopen(fsys *crashfs.FS) *replayed {
	r.t.Helper()
	got := r.recover(fsys, true)
	r.fs, r.cfg.FS = fsys, fsys
	start := Start{Opens: 2, LastOpens: 1}
	if got.record != nil {
		start = got.start()
		r.f.revive(got)
	} else {
		r.f.forget()
	}
	waits := fsys.Inject(func(op crashfs.Op) error {
		r.t.Errorf("New waits for a disk: %v", op)
		return nil
	})
	r.d = New(r.cfg, r.f, start)
	waits()
	return got
}

// start is what a loader hands to the dumper.
func (r *replayed) start() Start {
	s := Start{
		Record:         r.record,
		Retained:       r.retained,
		MirrorMissing:  !r.mirror,
		LastGeneration: r.last,
		LastOpens:      r.record.Opens,
		Opens:          r.record.Opens + 1,
		Image:          r.image,
		Chain:          r.chain,
	}
	for i, sh := range r.shards {
		out := StartShard{Durable: r.record.Shards[i], State: sh.state, Journals: sh.chained, Died: sh.died}
		var segments []StartSegment
		for _, row := range sh.live(r.record.Geometry.UnitsPerSegment()) {
			segments = append(segments,
				StartSegment{Segment: row.Segment, ImageEntry: row.entry, Sums: row.blobs, Dirty: r.dirty(row)})
		}
		out.Segments = slices.Values(segments)
		s.Shards = append(s.Shards, out)
	}
	return s
}

// live is the rows within head and tail, ascending by queue and seq.
func (s *replayedShard) live(units uint64) (rows []*replayedRow) {
	for _, row := range s.rows {
		if row.Queue == pagefile.QueueLarge || row.Seq >= s.state.Heads[row.Queue]/units {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b *replayedRow) int {
		if a.Queue != b.Queue {
			return int(a.Queue) - int(b.Queue)
		}
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return rows
}

// forget makes the fake that of a process that found nothing.
func (f *fakeCache) forget() {
	clean := newFake(0, len(f.shards), f.limit)
	f.shards = clean.shards
	f.last = (f.last>>32 + 1) << 32
}

// revive makes the fake what was recovered. Open segments are sealed.
func (f *fakeCache) revive(r *replayed) {
	cut := f.cuts[r.clock]
	f.forget()
	for i, s := range r.shards {
		fs := f.shards[i]
		fs.buckets = s.state.Buckets
		fs.slots = make([]fakeSlot, 8*s.state.Buckets)
		for slot := range fs.slots {
			if slot < len(s.words) {
				fs.slots[slot].word = s.words[slot]
			}
			if slot < len(cut.slots[i]) {
				fs.slots[slot].version = cut.slots[i][slot].version
			}
		}
		f.reviveSegments(r, s, fs)
	}
}

func (f *fakeCache) reviveSegments(r *replayed, s *replayedShard, fs *fakeShard) {
	for q := range fs.queues {
		fs.queues[q].head, fs.queues[q].tail = s.state.Heads[q], s.state.Tails[q]
	}
	for _, row := range s.live(f.units()) {
		seg := &fakeSegment{number: row.Number, seq: row.Seq, fill: row.Fill, bytes: make([]byte, f.geo.SegmentSize)}
		for page := range row.sums {
			if b, err := r.page(row, page, page*pagefile.PageSize, page*pagefile.PageSize); err == nil {
				copy(seg.bytes[page*pagefile.PageSize:], b)
			}
		}
		if row.Queue == pagefile.QueueLarge {
			fs.large[row.Number] = seg
			continue
		}
		fs.queues[row.Queue].segments = append(fs.queues[row.Queue].segments, seg)
	}
	for q := range fs.queues {
		f.seal(&fs.queues[q])
	}
}

// files lists the numbered files of a kind.
func (r *rig) files(kind pagefile.FileKind) (ids []uint64) {
	names, err := r.fs.ReadDir(fakeDir)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		if k, id, ok := pagefile.ParseName(name); ok && k == kind {
			ids = append(ids, id)
		}
	}
	return ids
}
