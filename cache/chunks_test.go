package cache

import (
	"encoding/binary"
	"math/rand"
	"testing"
)

func testChunks(t testing.TB, count int) *chunks {
	t.Helper()
	k, err := newChunks(count * chunkStride)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.arena.release)
	return k
}

// inUse is how many chunks somebody holds.
func (k *chunks) inUse() int { return k.fresh - len(k.ready) - len(k.cold) }

// A taken part of a journal, and the number of its first store.
type takenPart struct {
	bytes []byte
	first uint64
}

func (p *takenPart) check(t *testing.T) {
	t.Helper()
	for i := 0; i < len(p.bytes); i += journalEntry {
		if got, want := binary.LittleEndian.Uint64(p.bytes[i+4:]), p.first+uint64(i/journalEntry); got != want {
			t.Fatalf("a part that is held has store %d in place of %d", got, want)
		}
	}
}

// TestWhatACutTookStays: a part is what it was until it is dropped, whatever becomes
// of those beside it; then its memory serves again, or goes back.
func TestWhatACutTookStays(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	k := testChunks(t, 20)
	journals := make([]journal, 3)
	for i := range journals {
		journals[i] = journal{chunks: k, limit: 30_000}
	}
	var held []takenPart
	stored, lost := uint64(1), 0
	for step := range 3000 {
		j := &journals[rng.Intn(len(journals))]
		first := stored
		for range rng.Intn(4) * rng.Intn(4000) {
			j.append(0, word(stored))
			stored++
		}
		parts, gone, _ := j.cut()
		if gone {
			lost++
		}
		for _, part := range parts {
			held = append(held, takenPart{part, first})
			first += uint64(len(part) / journalEntry)
		}
		for len(held) > 0 && rng.Intn(10) < 2+step/100%2*6 { // little or much is dropped
			i := rng.Intn(len(held))
			held[i].check(t)
			k.drop(held[i].bytes)
			held[i] = held[len(held)-1]
			held = held[:len(held)-1]
		}
		if rng.Intn(10) == 0 {
			k.warmUp()
			k.trim(rng.Intn(3) == 0)
		}
	}
	t.Logf("%d stores, %d times lost, %d chunks in use at last", stored, lost, k.inUse())
	if lost == 0 || stored < 1_000_000 {
		t.Error("chunks never ran out, or little was stored")
	}
	for _, p := range held {
		p.check(t)
		k.drop(p.bytes)
	}
	for i := range journals {
		journals[i].drop()
	}
	if n := k.inUse(); n != 0 {
		t.Errorf("%d chunks are in use, and nobody holds one", n)
	}
	k.trim(true)
	if len(k.ready) != 0 || len(k.cold) != k.fresh {
		t.Errorf("%d of %d chunks were kept, %d given back", len(k.ready), k.fresh, len(k.cold))
	}
}

// TestChunksThatNobodyNeedsGoBack: what was taken at a peak stays for as long as it
// takes to see that it is not needed again.
func TestChunksThatNobodyNeedsGoBack(t *testing.T) {
	k := testChunks(t, 50)
	use := func(n int) {
		parts := make([][]byte, n)
		for i := range parts {
			parts[i] = k.take()[:]
		}
		for _, p := range parts {
			k.drop(p)
		}
	}
	use(40)
	k.trim(false)
	if got := len(k.ready); got != 40 {
		t.Fatalf("right after the peak %d chunks are in memory, want 40", got)
	}
	use(10)
	k.trim(false)
	if got := len(k.ready); got != 11 {
		t.Errorf("after a while that needed 10 there are %d, want 11", got)
	}
	use(10)
	if got := len(k.ready); got != 11 {
		t.Errorf("the next that needs 10 has %d, want 11", got)
	}
}
