package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramKeepsQuantilesToAFewPercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h histogram
	times := make([]time.Duration, 100_000)
	for i := range times {
		times[i] = time.Duration(1) << (r.IntN(36)) // up to a minute
		times[i] += time.Duration(r.Int64N(int64(times[i])))
		h.add(times[i])
	}
	slices.Sort(times)
	for _, share := range []float64{0, 0.01, 0.5, 0.9, 0.999, 1} {
		want := times[min(int(share*float64(len(times))), len(times)-1)]
		if got := h.quantile(share); got < want || float64(got) > float64(want)*1.02+1 {
			t.Errorf("quantile %v: got %v, want %v", share, got, want)
		}
	}
	const limit = 2 * time.Millisecond
	var want uint64
	for _, d := range times {
		if d > limit+limit/50 {
			want++
		}
	}
	if got := h.over(limit); got < want || float64(got) > float64(want)*1.05 {
		t.Errorf("over %v: got %d, want %d", limit, got, want)
	}
}

func TestDrawsHaveEveryEntrysKey(t *testing.T) {
	const n = 1 << 8
	for _, zipf := range []bool{false, true} {
		seen := map[string]int{}
		d := newDraws(n, zipf)
		for i := range d.len() {
			seen[string(d.key(i))]++
		}
		own := make([]byte, keySize)
		for i := range uint64(n) {
			putKey(own, i)
			delete(seen, string(own))
		}
		if len(seen) > 0 {
			t.Errorf("zipf=%v: %d draws are of no entry", zipf, len(seen))
		}
	}
}

// liar returns another key's value now and then.
type liar struct{ peer }

func (l liar) get(dst, key []byte) ([]byte, bool) {
	other := make([]byte, keySize)
	putKey(other, 7)
	return l.peer.get(dst, other)
}

func TestAWrongValueFailsALoad(t *testing.T) {
	s := shape{value: 64, entries: 1 << 8}
	p, err := newFastcache(sizing{shape: s})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fill(p, s)
	l := load{p: p, size: s.value, d: newDraws(s.entries, false), workers: 1, length: time.Millisecond, step: getStep}
	if _, err := l.run(); err != nil {
		t.Error(err)
	}
	l.p = liar{p}
	if _, err := l.run(); err == nil {
		t.Error("got no error from a cache that returns another key's value")
	}
}

// slow takes a millisecond for its hundredth Set.
type slow struct {
	peer
	n int
}

func (s *slow) set(key, value []byte) bool {
	if s.n++; s.n == 100 {
		for began := time.Now(); time.Since(began) < time.Millisecond; {
		}
	}
	return s.peer.set(key, value)
}

func TestOneSlowOperationDelaysThoseAfterIt(t *testing.T) {
	s := shape{value: 64, entries: 1 << 8}
	p, err := newFastcache(sizing{shape: s})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fill(p, s)
	l := openLoop{p: &slow{peer: p}, d: newDraws(s.entries, false), size: s.value, rate: 100_000, length: 10 * time.Millisecond}
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	// 100 operations were due while that one ran, half of them Gets.
	if got := l.gets.over(500 * time.Microsecond); got < 20 {
		t.Errorf("got %d Gets over 500 µs, want about 25", got)
	}
}

func TestAClaimFindsWhatIsOlder(t *testing.T) {
	s := shape{value: 64, entries: 1 << 8}
	p, err := newFastcache(sizing{shape: s})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fill(p, s)
	book := &ledger{from: time.Now()}
	w := (&load{p: p, size: s.value, d: newDraws(s.entries, false)}).worker(0)
	book.step(w)
	if n := book.before(time.Since(book.from)); n != stepOps {
		t.Errorf("got %d Sets, want %d", n, stepOps)
	}
	for _, more := range []int{0, 1} {
		c := claim{Sets: stepOps + more}
		if old, missing, err := c.check(p, s); old != more || missing != 0 || err != nil {
			t.Errorf("%d Sets that were not done: got %d, %d, %v", more, old, missing, err)
		}
	}
}

// TestOutdatedIsAnError: what was not set last does not count as there.
func TestOutdatedIsAnError(t *testing.T) {
	const entries = 1 << 14 // of which two are stored
	s := shape{value: 64, entries: entries}
	p, err := newEmberMemory(sizing{s, ""})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := storeRange(p, s, 0, 2); err != nil {
		t.Fatal(err)
	}
	e := p.(*ember)
	if lost, err := e.compare(s, []uint32{0, 0, 0}); lost != 1 || err != nil {
		t.Errorf("%d lost, %v, want 1 and no error", lost, err)
	}
	if _, err := e.compare(s, []uint32{0, 1, 0}); err == nil {
		t.Error("an outdated value is no error")
	}
}
