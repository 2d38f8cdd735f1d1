package loader

import (
	"slices"
	"testing"

	"github.com/embercache/ember/pagefile"
)

func beginsAnew(t *testing.T, _ *writer, res *Result, _ *snapshot) {
	if !res.Anew || res.LastGeneration != 0 || res.LastOpens != 0 || len(res.Retained) != 0 || res.Chain != (pagefile.WeakPos{}) {
		t.Errorf("anew %v after generation %d, %d opens, %d generations are retained, and the chain is at %+v",
			res.Anew, res.LastGeneration, res.LastOpens, len(res.Retained), res.Chain)
	}
}

// Whatever number is at its end, the state is not gone on from; one that is at the
// limit is, so that what is written beyond it can be told.
func TestNumbersThatEnd(t *testing.T) {
	for name, c := range map[string]struct {
		spend func(w *writer, n uint64)
		most  uint64
		anew  bool
	}{
		"generations": {func(w *writer, n uint64) { w.generation = n - 1; w.generate(true) }, mostGeneration, true},
		"opens":       {func(w *writer, n uint64) { w.opens = n; w.generate(true) }, mostOpens, true},
		"opens of a link": {func(w *writer, n uint64) {
			w.opens = n
			w.busy(5)
			w.link(false)
		}, mostOpens, true},
		"positions": {func(w *writer, n uint64) {
			w.shards[1].heads[0], w.shards[1].tails[0] = n-1, n
			w.generate(true)
		}, mostPosition, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := sample(t)
			c.spend(w, c.most)
			if res := mustLoad(t, w); res.Record == nil || res.Anew {
				t.Errorf("at the limit: record %v, anew %v, findings %v", res.Record, res.Anew, res.Findings)
			}
			w, snap := sample(t)
			c.spend(w, c.most+1)
			res := mustLoad(t, w)
			if res.Record != nil || !slices.Contains(labels(res), NumbersSpent) || res.Anew != c.anew {
				t.Errorf("beyond: record %v, anew %v, findings %v", res.Record, res.Anew, res.Findings)
			}
			if c.anew {
				beginsAnew(t, w, res, snap)
			}
		})
	}
}
