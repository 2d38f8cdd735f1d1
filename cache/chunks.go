package cache

import (
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Chunks are the memory of journals: one range off Go's heap, cut into pieces of
// 64 KiB. A journal holds the chunk that it fills, and every part of it that a cut
// took holds it as well; when nobody does it is free, and who is next writes it.
// What is free and was not needed for a while goes back to the kernel.
type chunks struct {
	arena *arena
	count int

	mu    sync.Mutex
	ready []uint32 // free and in memory; the last goes first
	cold  []uint32 // free and given back
	fresh int      // chunks from here on were never used and lie on no stack
	idle  int      // the fewest that were ready at once since trim last looked
	taken int      // since warmUp last looked

	ticks uint // of tick alone
}

const (
	trimTicks   = 200 // between two looks at what nobody needs: a second
	chunkStride = 64 << 10
	holdersAt   = chunkStride - 4 // where a chunk has the count of its holders, behind its entries
)

var _ [holdersAt - journalChunk]byte

// newChunks makes room for n bytes of journals.
func newChunks(n int) (*chunks, error) {
	n = (n + chunkStride - 1) / chunkStride * chunkStride
	a, err := newArena(n, !hugePages) // written and read from end to end: small pages do
	if err != nil {
		return nil, err
	}
	return &chunks{arena: a, count: n / chunkStride}, nil
}

func (k *chunks) holders(i uint32) *atomic.Int32 {
	return (*atomic.Int32)(unsafe.Add(k.arena.base, int(i)*chunkStride+holdersAt))
}

// take returns a chunk that the caller holds, nil if all are in use.
func (k *chunks) take() *[journalChunk]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var i uint32
	switch {
	case len(k.ready) > 0:
		i, k.ready = k.ready[len(k.ready)-1], k.ready[:len(k.ready)-1]
		k.idle = min(k.idle, len(k.ready))
	case !k.popCold(&i):
		return nil
	}
	k.taken++
	k.holders(i).Store(1)
	return (*[journalChunk]byte)(k.arena.bytes(int(i)*chunkStride, journalChunk))
}

// popCold takes a free chunk that is not in memory.
func (k *chunks) popCold(i *uint32) bool {
	switch n := len(k.cold); {
	case n > 0:
		*i, k.cold = k.cold[n-1], k.cold[:n-1]
	case k.fresh < k.count:
		*i = uint32(k.fresh)
		k.fresh++
	default:
		return false
	}
	return true
}

// hold adds a holder of the chunk that part, which somebody holds, lies in.
func (k *chunks) hold(part []byte) {
	if i, ok := k.of(part); ok {
		k.holders(i).Add(1)
	}
}

// drop takes a holder away. Memory that is no chunk is the collector's.
func (k *chunks) drop(part []byte) {
	i, ok := k.of(part)
	if !ok || k.holders(i).Add(-1) != 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = append(k.ready, i)
}

func (k *chunks) of(part []byte) (i uint32, ok bool) {
	off := uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(k.arena.base)
	return uint32(off / chunkStride), off < uintptr(k.arena.size)
}

// tick is called every tickEvery.
func (k *chunks) tick() {
	k.warmUp()
	if k.ticks++; k.ticks%trimTicks == 0 {
		k.trim(false)
	}
}

// warmUp brings chunks into memory for the stores of the next moment, twice as many
// as the last one took, and one at least.
func (k *chunks) warmUp() {
	k.mu.Lock()
	want := 2*k.taken + 1
	k.taken = 0
	k.mu.Unlock()
	for range want {
		if !k.warmOne(want) {
			return
		}
	}
}

func (k *chunks) warmOne(want int) bool {
	var i uint32
	k.mu.Lock()
	ok := len(k.ready) < want && k.popCold(&i)
	k.mu.Unlock()
	if !ok {
		return false
	}
	k.arena.populate(int(i)*chunkStride, chunkStride)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = append(k.ready, i)
	return true
}

// trim gives back what nobody needed since it was last called; all that is free if
// nothing more is expected.
func (k *chunks) trim(all bool) {
	k.mu.Lock()
	n := max(min(k.idle, len(k.ready))-1, 0) // one is for the next moment
	if all {
		n = len(k.ready)
	}
	surplus := slices.Clone(k.ready[:n]) // what was not used for longest
	k.ready = slices.Delete(k.ready, 0, n)
	k.idle = len(k.ready)
	k.mu.Unlock()
	if len(surplus) == 0 {
		return
	}
	slices.Sort(surplus)
	for from := 0; from < len(surplus); {
		to := from + 1
		for to < len(surplus) && surplus[to] == surplus[to-1]+1 {
			to++
		}
		k.arena.giveBack(int(surplus[from])*chunkStride, (to-from)*chunkStride)
		from = to
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cold = append(k.cold, surplus...)
}
