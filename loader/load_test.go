package loader

import (
	"reflect"
	"slices"
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
