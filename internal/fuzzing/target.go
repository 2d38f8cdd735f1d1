package fuzzing

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
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
	// Check fails t if the bytes do harm. It may change them, and does not keep them.
	Check func(t testing.TB, b []byte, mode byte)
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
func (g *Target) check(t testing.TB, b []byte, mode byte, before uint64) (after uint64) {
	n := len(b)
	g.Check(t, b, mode)
	after = Allocated()
	if used, most := int64(after-before), g.memory(n); used > most {
		t.Errorf("%d bytes of input: %d bytes allocated, the most is %d", n, used, most)
	}
	return after
}

// Run checks the seeds, the corpus, and n inputs that are made of them. The same
// corpus, n and seed give the same inputs.
func (g *Target) Run(t *testing.T, n int, seed int64) {
	corpus, err := Corpus(filepath.Join("testdata", "fuzz", g.Name))
	if err != nil {
		t.Fatal(err)
	}
	corpus = append(corpus, g.Seeds...)
	r := runner{g: g, t: t, trace: filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d.input", g.Name, os.Getpid()))}
	began := time.Now()
	r.before = Allocated()
	for _, in := range corpus {
		if len(in.Bytes) <= g.most() {
			r.run(append(r.buf[:0], in.Bytes...), in.Mode)
		}
	}
	m := mutator{rng: rand.New(rand.NewPCG(uint64(seed), 0)), corpus: corpus, modes: g.Modes, most: g.most()}
	for range n {
		r.run(m.next(r.buf[:0]))
	}
	if g.Slow {
		os.Remove(r.trace)
	}
	t.Logf("%s: %d executions from %d inputs in %.1f s", g.Name, n+len(corpus), len(corpus), time.Since(began).Seconds())
}

// A runner checks one input after the other.
type runner struct {
	g      *Target
	t      *testing.T
	before uint64
	buf    []byte // of the input
	shown  []byte // the input before the check changed it
	trace  string
}

func (r *runner) run(b []byte, mode byte) {
	r.buf, r.shown = b, append(r.shown[:0], b...)
	if r.g.Slow {
		if err := os.WriteFile(r.trace, encode(Input{r.shown, mode}), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	defer func() {
		p := recover()
		if p == nil && !r.t.Failed() {
			return
		}
		r.t.Logf("to check it again, put this into testdata/fuzz/%s:\n%s", r.g.Name, encode(Input{r.shown, mode}))
		if p != nil {
			panic(p)
		}
		r.t.FailNow()
	}()
	r.before = r.g.check(r.t, b, mode%r.g.Modes, r.before)
}
