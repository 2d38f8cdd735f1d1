package hitratio

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

// slow policies are lists, the newest first, searched from end to end.

func slowLRU(accesses []uint32, room int) (hits int) {
	var list []uint32
	for _, key := range accesses {
		if i := slices.Index(list, key); i >= 0 {
			hits++
			list = slices.Delete(list, i, i+1)
		}
		list = slices.Insert(list, 0, key)
		list = list[:min(len(list), room)]
	}
	return hits
}

func slowFIFO(accesses []uint32, room int) (hits int) {
	var list []uint32
	for _, key := range accesses {
		if slices.Contains(list, key) {
			hits++
			continue
		}
		list = slices.Insert(list, 0, key)
		list = list[:min(len(list), room)]
	}
	return hits
}

func slowSIEVE(accesses []uint32, room int) (hits int) {
	var list []uint32
	used := map[uint32]bool{}
	hand := -1 // beyond the oldest
	for _, key := range accesses {
		if slices.Contains(list, key) {
			used[key] = true
			hits++
			continue
		}
		if len(list) == room {
			at := hand
			if at < 0 {
				at = room - 1
			}
			for used[list[at]] {
				used[list[at]] = false
				if at--; at < 0 {
					at = room - 1
				}
			}
			list = slices.Delete(list, at, at+1)
			hand = at - 1
		}
		list = slices.Insert(list, 0, key)
		used[key] = false
		if hand >= 0 {
			hand++
		}
	}
	return hits
}

var seed = flag.Uint64("seed", 1, "of the draws")

func skewed(t *testing.T, keys, n int) Trace {
	t.Logf("-seed %d", *seed)
	return Stream{Alpha: 0.9}.Draw(rand.New(rand.NewPCG(*seed, 0)), keys, n)
}

func TestPoliciesAreWhatTheirPapersSay(t *testing.T) {
	tr := skewed(t, 200, 20_000)
	for _, room := range []int{1, 2, 7, 50, 200} {
		for name, slow := range map[string]func([]uint32, int) int{"lru": slowLRU, "fifo": slowFIFO, "sieve": slowSIEVE} {
			if got, want := Hits(Policies[name](tr, room), tr.Accesses), slow(tr.Accesses, room); got != want {
				t.Errorf("%s with room for %d: %d hits, want %d", name, room, got, want)
			}
		}
	}
}

func TestNothingBeatsTheIdeal(t *testing.T) {
	tr := skewed(t, 2000, 50_000)
	for _, room := range []int{20, 200, 1000} {
		best := Hits(newIdeal(tr.Keys, room, tr.Accesses), tr.Accesses)
		for name, newPolicy := range Policies {
			if got := Hits(newPolicy(tr, room), tr.Accesses); got > best {
				t.Errorf("%s with room for %d: %d hits, the ideal has %d", name, room, got, best)
			}
		}
	}
}

func TestARCKeepsItsBounds(t *testing.T) {
	const keys, room = 500, 40
	p := newARC(keys, room)
	r := rand.New(rand.NewPCG(*seed, 0))
	for range 20_000 {
		p.Access(uint32(r.IntN(1 + r.IntN(keys))))
		n := p.r.n
		if n[arcT1]+n[arcT2] > room || n[arcT1]+n[arcB1] > room || n[arcT1]+n[arcT2]+n[arcB1]+n[arcB2] > 2*room {
			t.Fatalf("lists of %v with room for %d", n, room)
		}
	}
}
