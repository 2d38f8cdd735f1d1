package hitratio

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// A Stream is a synthetic trace: accesses to keys whose frequency falls with their
// rank to the power of -alpha, and between them, if scan is not 0, scans of keys
// that come once: as long as that, after as many others.
type Stream struct {
	Alpha float64
	Scan  int
}

// Name tells streams apart.
func (s Stream) Name() string {
	if s.Scan > 0 {
		return fmt.Sprintf("zipf-%v-scans", s.Alpha)
	}
	return fmt.Sprintf("zipf-%v", s.Alpha)
}

// Draw makes a trace of n accesses to that many keys, and those of the scans.
func (s Stream) Draw(rng *rand.Rand, keys, n int) Trace {
	sums, sum := make([]float64, keys), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s.Alpha)
		sums[i] = sum
	}
	tr := Trace{Name: s.Name(), Keys: keys, Accesses: make([]uint32, 0, n), Solo: true}
	rank := rng.Perm(keys)
	for i := range n {
		if s.Scan > 0 && i/s.Scan%2 == 1 {
			tr.Accesses = append(tr.Accesses, uint32(tr.Keys))
			tr.Keys++
			continue
		}
		r := sort.SearchFloat64s(sums, rng.Float64()*sum)
		tr.Accesses = append(tr.Accesses, uint32(rank[min(r, keys-1)]))
	}
	return tr
}
