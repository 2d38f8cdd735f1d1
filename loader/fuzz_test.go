package loader

import (
	"context"
	"math/rand/v2"
	"path"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

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
func checkSpoiled(t *testing.T, w *writer, states map[[2]uint64]*snapshot) {
	res, err := Load(context.Background(), Options{FS: w.fs, Dir: w.dir, Schema: "s1", Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if res.Record == nil {
		if res.Reason == nil && res.LastGeneration > 0 {
			t.Error("a cold start without a reason")
		}
		return
	}
	state := states[[2]uint64{res.Record.Generation, uint64(res.Weak)}]
	if state == nil {
		t.Fatalf("generation %d with %d links never was", res.Record.Generation, res.Weak)
	}
	compare(t, res, state)
	if res.Record.Generation != w.generation && !res.MayBeStale && !w.zeroed(w.generation) {
		t.Errorf("opened %d of %d without saying so", res.Record.Generation, w.generation)
	}
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

func FuzzLoad(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 64, 9, 4, 1, 1, 0, 64, 9, 4, 1})
	for _, seed := range []uint64{1, 2, 3, 4} {
		rng := rand.New(rand.NewPCG(seed, 0))
		script := make([]byte, 60)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(script)
	}
	w, states := spoiledSample(f)
	disk := w.disk()
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 120 {
			return
		}
		c := *w
		c.t, c.fs = t, disk.Clone()
		spoil(&c, script)
		checkSpoiled(t, &c, states)
	})
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
