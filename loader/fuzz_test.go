package loader

import (
	"context"
	"flag"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/pagefile"
)

var (
	executionsFlag  = flag.Int("executions", 2000, "inputs made for each decoder")
	directoriesFlag = flag.Int("directories", 60, "damaged directories that are loaded")
	seedFlag        = flag.Int64("seed", 1, "of the damage")
)

func FuzzChoose(f *testing.F)  { chooseTarget(f).Fuzz(f) }
func FuzzRecover(f *testing.F) { recoverTarget(f).Fuzz(f) }

// TestDecodersTakeAnything is the two parts of Load for a moment, with -executions for
// long: what is chosen among records, and what is made of the one that was.
func TestDecodersTakeAnything(t *testing.T) {
	for _, target := range []func(testing.TB) *fuzzing.Target{chooseTarget, recoverTarget} {
		g := target(t)
		t.Run(g.Name, func(t *testing.T) {
			t.Logf("seed %d (set with -seed)", *seedFlag)
			g.Run(t, *executionsFlag, *seedFlag)
		})
	}
}

// A spoiler damages files: each six bytes of its script name a file, an offset
// and what to do there.
func spoil(w *writer, script []byte) {
	names := w.disk().List()
	for ; len(script) >= 6; script = script[6:] {
		name := names[int(script[0])%len(names)]
		b, err := w.disk().ReadFile(name)
		w.must(err)
		if len(b) == 0 {
			continue
		}
		// Both ends of files are hit more often than the zeroes between.
		off := (int(script[1])<<16 | int(script[2])<<8 | int(script[3])) % len(b)
		switch script[4] % 8 {
		case 0:
			w.must(w.disk().TruncateFile(name, int64(off)))
		case 1:
			w.must(w.disk().Overwrite(name, int64(off), make([]byte, int(script[5])*16)))
		case 2:
			from := int(script[5]) * pagefile.PageSize % len(b)
			w.must(w.disk().Overwrite(name, int64(off&^4095), b[from:min(from+pagefile.PageSize, len(b))]))
		case 3:
			w.must(w.disk().Flip(name, int64(off%min(len(b), 20<<10)), script[5]|1))
		default:
			w.must(w.disk().Flip(name, int64(off), script[5]|1))
		}
	}
}

// checkSpoiled loads a damaged directory: whatever comes back is of one of the
// states that were acknowledged, and of the newest if a record of it verifies.
func checkSpoiled(t testing.TB, w *writer, states map[[2]uint64]*snapshot) (warm bool) {
	res, err := Load(context.Background(), Options{FS: w.fs, Dir: w.dir, Schema: "s1", Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if res.Record == nil {
		if res.Reason == nil && res.LastGeneration > 0 {
			t.Error("a cold start without a reason")
		}
		return false
	}
	state := states[[2]uint64{res.Record.Generation, uint64(res.Weak)}]
	if state == nil {
		t.Fatalf("generation %d with %d links never was", res.Record.Generation, res.Weak)
	}
	compare(t, res, state)
	if res.Record.Generation != w.generation && !res.MayBeStale && !w.zeroed(w.generation) {
		t.Errorf("opened %d of %d without saying so", res.Record.Generation, w.generation)
	}
	return true
}

// zeroed reports whether both copies of a record look as if they never were.
func (w *writer) zeroed(generation uint64) bool {
	for i := range 2 {
		b, err := w.disk().ReadFile(w.ring(i))
		w.must(err)
		if int64(len(b)) < slotOf(generation)+pagefile.MaxRecord ||
			slices.ContainsFunc(b[slotOf(generation):][:pagefile.MaxRecord], func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	return true
}

// spoiledSample is a directory to damage, with every state that Load may make of
// it: those after each generation that verifies, and after each link.
func spoiledSample(t testing.TB) (*writer, map[[2]uint64]*snapshot) {
	w := newWriter(t, crashfs.New(), "/c", smallGeometry())
	w.ringSize = 256 << 10
	states := map[[2]uint64]*snapshot{}
	var gens []uint64 // for each, links since
	put := func(anyLink bool) {
		for i := range gens {
			if anyLink {
				gens[i]++
			}
			states[[2]uint64{uint64(i + 1), gens[i]}] = w.snapshot()
		}
	}
	step := func(full bool) {
		w.busy(25)
		if w.weak != nil {
			put(true) // the generation's own link
		}
		w.generate(full)
		gens = append(gens, 0)
		put(false)
	}
	step(true)
	step(true)
	step(false)
	step(false)
	for range 2 {
		w.busy(10)
		w.link(false)
		put(true)
	}
	return w, states
}

// The modes of FuzzLoad.
const (
	spoiled = iota // as spoil damages
	patched        // as forge damages
	forged         // and makes checksums right again
	loadModes
)

// loadTarget damages a directory. Where checksums tell, what comes back is one of the
// states that were acknowledged; where they were forged, at least what a cache can
// use, and the same each time.
func loadTarget(tb testing.TB) *fuzzing.Target {
	w, states := spoiledSample(tb)
	disk := w.disk()
	w.weak = nil
	check := func(t testing.TB, script []byte, mode byte) bool {
		c := *w
		c.t, c.fs = t, disk.Clone()
		if mode == spoiled {
			spoil(&c, script)
		} else {
			c.must(forge.Apply(c.disk(), script))
		}
		if mode != forged {
			return checkSpoiled(t, &c, states)
		}
		c.must(forge.Seal(c.disk(), c.dir))
		return checkForged(t, &c)
	}
	rng := rand.New(rand.NewPCG(1, 0))
	script := make([]byte, 60)
	for i := range script {
		script[i] = byte(rng.Uint32())
	}
	seeds := []fuzzing.Input{{}, {Bytes: []byte{0, 0, 64, 9, 4, 1, 1, 0, 64, 9, 4, 1}}, {Bytes: script}}
	scripts, err := forge.Scripts(disk, w.dir)
	w.must(err)
	for _, s := range scripts {
		seeds = append(seeds, fuzzing.Input{Bytes: s, Mode: patched}, fuzzing.Input{Bytes: s, Mode: forged})
	}
	return &fuzzing.Target{Name: "FuzzLoad", Seeds: seeds, Modes: loadModes, Most: 2 << 10, Slow: true,
		Memory: func(int) int64 { return 1 << 30 }, Check: check} // of the harness; checkForged bounds Load
}

// checkForged loads twice: what is there has to be fit for use.
func checkForged(t testing.TB, w *writer) (warm bool) {
	var digests [2]uint64
	for i := range digests {
		before := fuzzing.Allocated()
		res, err := Load(context.Background(), Options{FS: w.fs, Dir: w.dir, Schema: "s1", Workers: 1 + i})
		if err != nil {
			t.Fatal(err)
		}
		if used := fuzzing.Allocated() - before; used > 16<<20 {
			t.Errorf("%d bytes allocated to load", used)
		}
		if warm = res.Record != nil; warm {
			digests[i] = res.Digest()
			for k := range res.Shards {
				checkUsable(t, res.Record.Geometry, &res.Shards[k])
			}
		}
		res.Close()
	}
	if digests[0] != digests[1] {
		t.Errorf("the same files twice: digests %x and %x", digests[0], digests[1])
	}
	return warm
}

func FuzzLoad(f *testing.F) { loadTarget(f).Fuzz(f) }

func TestLoadTakesAnything(t *testing.T) {
	t.Logf("seed %d (set with -seed)", *seedFlag)
	loadTarget(t).Run(t, *directoriesFlag, *seedFlag)
}

// Sealing a directory that is not damaged changes nothing, and what was damaged and
// sealed verifies: else the forgeries would end at the first checksum.
func TestSealIsWhatTheFormatSays(t *testing.T) {
	w, states := spoiledSample(t)
	before := w.disk().Ops()
	w.must(forge.Seal(w.disk(), w.dir))
	if log := w.disk().Log()[before:]; len(log) != 0 {
		t.Fatalf("changed what was right: %v", log)
	}
	scripts, err := forge.Scripts(w.disk(), w.dir)
	w.must(err)
	for _, script := range scripts {
		if len(script) < 72 || script[1] < 64 {
			continue
		}
		w.must(forge.Apply(w.disk(), script))
	}
	w.must(forge.Seal(w.disk(), w.dir))
	checkSpoiled(t, w, states)
	if res := mustLoad(t, w); res.Weak == 0 || res.Reason != nil {
		t.Errorf("%d links, %v", res.Weak, res.Reason)
	}
}

func TestLoadSpoiled(t *testing.T) {
	w, states := spoiledSample(t)
	disk := w.disk()
	rounds := 150
	if testing.Short() {
		rounds = 50
	}
	for seed := range uint64(rounds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 6*(1+rng.IntN(12)))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		w.fs = disk.Clone()
		spoil(w, script)
		checkSpoiled(t, w, states)
		if t.Failed() {
			t.Fatalf("seed %d, script %x", seed, script)
		}
	}
}

// TestLoadFlippedAnywhere flips one bit at a time in every file of a directory.
func TestLoadFlippedAnywhere(t *testing.T) {
	w, states := spoiledSample(t)
	disk := w.disk()
	for _, name := range disk.List() {
		b, err := disk.ReadFile(name)
		w.must(err)
		step := max(7, len(b)/25)
		t.Run(path.Base(name), func(t *testing.T) {
			for off := 0; off < len(b); off += step {
				c := *w
				c.t, c.fs = t, disk.Clone()
				w.must(c.disk().Flip(name, int64(off), 1<<(off%8)))
				checkSpoiled(t, &c, states)
				if t.Failed() {
					t.Fatalf("flipped %s at %d", name, off)
				}
			}
		})
	}
}
