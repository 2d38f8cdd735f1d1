package main

import (
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

func skewed(keys, n int) trace { return stream{alpha: 0.9}.draw(keys, n) }

func hitsIn(p player, accesses []uint32) (hits int) {
	for _, key := range accesses {
		if p.access(key) {
			hits++
		}
	}
	return hits
}

func TestReferencesAreTheirPolicies(t *testing.T) {
	tr := skewed(200, 20_000)
	for _, room := range []int{1, 2, 7, 50, 200} {
		for name, slow := range map[string]func([]uint32, int) int{"item-lru": slowLRU, "item-fifo": slowFIFO, "item-sieve": slowSIEVE} {
			if got, want := hitsIn(references[name](tr, room), tr.accesses), slow(tr.accesses, room); got != want {
				t.Errorf("%s with room for %d: %d hits, want %d", name, room, got, want)
			}
		}
	}
}

func TestNothingBeatsTheIdeal(t *testing.T) {
	tr := skewed(2000, 50_000)
	for _, room := range []int{20, 200, 1000} {
		best := hitsIn(newItemIdeal(tr.keys, room, tr.accesses), tr.accesses)
		for name, newPolicy := range references {
			if got := hitsIn(newPolicy(tr, room), tr.accesses); got > best {
				t.Errorf("%s with room for %d: %d hits, the ideal has %d", name, room, got, best)
			}
		}
	}
}

func TestARCKeepsItsBounds(t *testing.T) {
	const keys, room = 500, 40
	p := newItemARC(keys, room)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		p.access(uint32(r.IntN(1 + r.IntN(keys))))
		n := p.r.n
		if n[arcT1]+n[arcT2] > room || n[arcT1]+n[arcB1] > room || n[arcT1]+n[arcT2]+n[arcB1]+n[arcB2] > 2*room {
			t.Fatalf("lists of %v with room for %d", n, room)
		}
	}
}

// TestCachesHaveTheSameRoom stores twice as many entries as there is room for, and
// counts those that are there.
func TestCachesHaveTheSameRoom(t *testing.T) {
	const room = 8192
	for _, who := range append([]string{"ember"}, ratioPeers...) {
		t.Run(who, func(t *testing.T) {
			c, err := newRatioCache(who, room, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for key := range uint32(2 * room) {
				c.access(key)
			}
			got, set := 0, c.set
			c.set = func(_, _ []byte) {}
			for key := range uint32(2 * room) {
				if c.access(key) {
					got++
				}
			}
			c.set = set
			if got < room*9/10 || got > room*21/20 || c.wrong > 0 {
				t.Errorf("%d entries, %d wrong, want about %d", got, c.wrong, room)
			}
			if err := c.close(); err != nil {
				t.Error(err)
			}
		})
	}
}
