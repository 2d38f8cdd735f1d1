package dirty

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTakeReturnsRuns(t *testing.T) {
	var s Set
	s.Add(7, 0b1011)
	s.Add(3, 1<<63)
	s.Add(7, 0b0110)
	s.Add(5, ^uint64(0))
	if got, want := s.Len(), 4+1+64; got != want {
		t.Errorf("got %d pages, want %d", got, want)
	}
	got := s.Take()
	want := []Run{{7, 0, 4}, {3, 63, 1}, {5, 0, 64}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Len() != 0 || s.Take() != nil {
		t.Error("a taken set is not empty")
	}
}

func TestGiveBackGoesFirst(t *testing.T) {
	var s Set
	s.Add(1, 0b11)
	taken := s.Take()
	s.Add(2, 0b1)
	s.Add(1, 0b110)
	s.GiveBack(taken)
	got := s.Take()
	want := []Run{{1, 0, 3}, {2, 0, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDrop(t *testing.T) {
	var s Set
	s.Add(1, 0b11)
	s.Add(2, 0b1)
	s.Drop(1)
	s.Drop(9)
	if got, want := s.Len(), 1; got != want {
		t.Errorf("got %d pages, want %d", got, want)
	}
	s.Add(1, 0b100)
	got := s.Take()
	want := []Run{{2, 0, 1}, {1, 2, 1}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct {
		first, count int
		want         uint64
	}{{0, 0, 0}, {0, 1, 1}, {63, 1, 1 << 63}, {0, 64, ^uint64(0)}, {2, 3, 0b11100}} {
		if got := Mask(c.first, c.count); got != c.want {
			t.Errorf("Mask(%d, %d): got %b, want %b", c.first, c.count, got, c.want)
		}
	}
}

// A Set does what a plain map of pages does, whatever the order of calls.
func TestSetIsAMap(t *testing.T) {
	for seed := range uint64(50) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var s Set
			want := map[[2]uint64]bool{}
			for range 200 {
				step(rng, &s, want)
				if s.Len() != len(want) {
					t.Fatalf("got %d pages, want %d", s.Len(), len(want))
				}
			}
			checkPages(t, s.Take(), want)
		})
	}
}

func step(rng *rand.Rand, s *Set, want map[[2]uint64]bool) {
	number := 1 + rng.Uint64N(6)
	switch rng.IntN(6) {
	case 0:
		s.Drop(number)
		for page := range uint64(64) {
			delete(want, [2]uint64{number, page})
		}
	case 1:
		runs := s.Take()
		s.Add(number, 1)
		want[[2]uint64{number, 0}] = true
		s.GiveBack(runs)
	default:
		mask := rng.Uint64() & rng.Uint64()
		s.Add(number, mask)
		for page := range uint64(64) {
			if mask>>page&1 != 0 {
				want[[2]uint64{number, page}] = true
			}
		}
	}
}

func checkPages(t *testing.T, runs []Run, want map[[2]uint64]bool) {
	t.Helper()
	got := 0
	for _, r := range runs {
		for page := r.First; page < r.First+r.Count; page++ {
			if !want[[2]uint64{r.Number, uint64(page)}] {
				t.Errorf("page %d of segment %d was never added", page, r.Number)
			}
			got++
		}
	}
	if got != len(want) {
		t.Errorf("got %d pages, want %d", got, len(want))
	}
}

func BenchmarkTake(b *testing.B) {
	b.ReportAllocs()
	var s Set
	for range b.N {
		for n := range uint64(400) {
			s.Add(n, ^uint64(0))
		}
		s.Take()
	}
}
