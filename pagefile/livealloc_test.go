package pagefile

import (
	"sync"
	"testing"
)

// TestLiveNeverGivesBytesTwice: what alloc gives is nobody else's, also where others
// find no room at the same time.
func TestLiveNeverGivesBytesTwice(t *testing.T) {
	size := LiveSize(1, 1<<16)
	for round := range 3000 {
		l := NewLive(make([]byte, size), 1, 1, 1)
		var got [8][]int64
		var group sync.WaitGroup
		for g := range got {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range 40 {
					n := int64(64)
					if (g+i)%2 == 0 {
						n = 3 * l.half / 64 &^ 63
					}
					if off, ok := l.alloc(2, n); ok {
						got[g] = append(got[g], off, n)
					}
				}
			}()
		}
		group.Wait()
		taken := make(map[int64]bool)
		for _, list := range got {
			for i := 0; i < len(list); i += 2 {
				for at := list[i]; at < list[i]+list[i+1]; at += 64 {
					if taken[at] {
						t.Fatalf("round %d: the bytes at %d were given twice", round, at)
					}
					taken[at] = true
				}
			}
		}
	}
}
