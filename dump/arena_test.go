package dump

import "testing"

// TestArenaOfLinks: short links share one arena, whatever comes in between, and a
// long one's goes back.
func TestArenaOfLinks(t *testing.T) {
	taken, given := 0, 0
	ch := &chain{memory: func(n int) ([]byte, func()) { taken++; return make([]byte, n), func() { given++ } }}
	link := func(n int) *byte {
		ch.arena = ch.takeArena(n)
		at := &ch.arena[:1][0]
		if got := cap(ch.arena) - len(ch.arena); got < n {
			t.Fatalf("room for %d bytes, want %d", got, n)
		}
		ch.arena = ch.arena[:n]
		ch.leaveRoom()
		return at
	}
	first := link(arenaKept*3/4 + 1)
	for _, n := range []int{1, arenaKept + 1, arenaKept, 8 * arenaKept, arenaKept / 2} {
		if at := link(n); n <= arenaKept && at != first {
			t.Errorf("a link of %d bytes has an arena of its own", n)
		}
	}
	if taken != 2 || given != 2 {
		t.Errorf("%d arenas of long links were taken, %d given back, want 2", taken, given)
	}
}
