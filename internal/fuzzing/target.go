package fuzzing

import (
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"testing"
)

// A Target is what takes bytes that it must not trust.
type Target struct {
	// Name is that of its fuzz test, FuzzRecord.
	Name string
	// Seeds are where mutations begin, besides those in testdata/fuzz/Name.
	Seeds []Input
	// Modes is how many there are, 0 to Modes-1.
	Modes byte
	// Most is how many bytes an input has, 0: 64 KiB. Longer ones are not checked.
	Most int
	// Memory bounds what a check allocates for an input of n bytes; nil: a MiB and
	// 64 times n.
	Memory func(n int) int64
	// Slow is set where a crash may come from another goroutine, which no test can
	// catch: each input lies in a file while it is checked.
	Slow bool
	// Check fails t if the bytes do harm, and reports whether they were taken for
	// what they say they are. It may change them, and does not keep them.
	Check func(t testing.TB, b []byte, mode byte) (taken bool)
}

// An Input is what a target is given.
type Input struct {
	Bytes []byte
	Mode  byte
}

// Inputs gives each of the bytes every mode.
func Inputs(modes byte, list ...[]byte) (in []Input) {
	for _, b := range list {
		for mode := range modes {
			in = append(in, Input{b, mode})
		}
	}
	return in
}

func (g *Target) most() int {
	if g.Most == 0 {
		return 64 << 10
	}
	return g.Most
}

func (g *Target) memory(n int) int64 {
	if g.Memory != nil {
		return g.Memory(n)
	}
	return 1<<20 + 64*int64(n)
}

// Fuzz is the body of the fuzz test.
func (g *Target) Fuzz(f *testing.F) {
	for _, in := range g.Seeds {
		f.Add(in.Bytes, in.Mode)
	}
	f.Fuzz(func(t *testing.T, b []byte, mode byte) {
		if len(b) <= g.most() {
			g.check(t, append([]byte(nil), b...), mode%g.Modes, Allocated())
		}
	})
}

// check checks one input and what it cost; before is what was allocated until now.
func (g *Target) check(t testing.TB, b []byte, mode byte, before uint64) (taken bool, after uint64) {
	n := len(b)
	taken = g.Check(t, b, mode)
	after = Allocated()
	if used, most := int64(after-before), g.memory(n); used > most {
		t.Errorf("%d bytes of input: %d bytes allocated, the most is %d", n, used, most)
	}
	return taken, after
}

// Run checks the seeds, the corpus, and n inputs that are made of them. The same
// corpus, n and seed give the same inputs. If none of them is taken nothing was tried.
func (g *Target) Run(t *testing.T, n int, seed int64) {
	defer debug.SetGCPercent(debug.SetGCPercent(800)) // most is short-lived
	corpus, err := Corpus(filepath.Join("testdata", "fuzz", g.Name))
	if err != nil {
		t.Fatal(err)
	}
	corpus = append(corpus, g.Seeds...)
	r := newRunner(t, g, len(corpus)+n)
	for _, in := range corpus {
		if len(in.Bytes) > g.most() {
			r.wanted--
			continue
		}
		r.run(append(r.buf[:0], in.Bytes...), in.Mode)
	}
	m := mutator{rng: rand.New(rand.NewPCG(uint64(seed), 0)), corpus: corpus, modes: g.Modes, most: g.most()}
	for range n {
		r.run(m.next(r.buf[:0]))
	}
	if r.taken == 0 {
		t.Errorf("%s: none of %d inputs was taken", g.Name, r.done)
	}
	r.say()
	r.trace.drop()
}
