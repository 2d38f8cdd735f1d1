package main

import (
	"math/bits"
	"time"
)

const (
	fineBits = 6 // each power of two has so many bits of resolution: 1.6 %
	fine     = 1 << fineBits
	cells    = (63 - fineBits) * fine
)

// A histogram counts times from 1 ns up, to 1.6 %, as HdrHistogram does. Adding
// allocates nothing.
type histogram struct {
	counts [cells]uint64
	n      uint64
	most   time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[cellOf(uint64(d))]++
	h.n++
	h.most = max(h.most, d)
}

// cellOf is exact below fine, then keeps the leading fineBits+1 bits.
func cellOf(x uint64) int {
	if x < fine {
		return int(x)
	}
	shift := bits.Len64(x) - fineBits - 1
	return shift*fine + int(x>>shift)
}

// topOf is the most that falls into a cell.
func topOf(cell int) time.Duration {
	if cell < 2*fine {
		return time.Duration(cell)
	}
	shift := cell/fine - 1
	return time.Duration(uint64(cell-shift*fine+1)<<shift - 1)
}

// quantile is what a share of the times did not exceed.
func (h *histogram) quantile(share float64) time.Duration {
	want := uint64(float64(h.n) * share)
	var seen uint64
	for cell, n := range h.counts {
		if seen += n; n > 0 && seen > want {
			return min(topOf(cell), h.most)
		}
	}
	return h.most
}

// over counts the times above d, to the resolution of a cell.
func (h *histogram) over(d time.Duration) (n uint64) {
	for _, c := range h.counts[cellOf(uint64(d))+1:] {
		n += c
	}
	return n
}

// merge adds what another has counted.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.n += o.n
	h.most = max(h.most, o.most)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
