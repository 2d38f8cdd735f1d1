package main

import (
	"math"
	"slices"
)

// A spread is the median of some values and where they end.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	return spread{median(values), slices.Min(values), slices.Max(values)}
}

// median of an even number of values is the mean of the two in the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// values are what a contestant got of a figure, by round.
func (r *result) values(v *variant, who, figure string) map[int]float64 {
	got := map[int]float64{}
	for i := range r.samples {
		s := &r.samples[i]
		if x, ok := s.Figures[figure]; ok && s.Variant == v.name && s.Contestant == who {
			got[s.Round] = x
		}
	}
	return got
}

// listed returns the values of a map, by key.
func listed(by map[int]float64) []float64 {
	list := make([]float64, 0, len(by))
	for _, round := range roundsOf(by) {
		list = append(list, by[round])
	}
	return list
}

func roundsOf(by map[int]float64) []int {
	var list []int
	for round := range by {
		list = append(list, round)
	}
	slices.Sort(list)
	return list
}

// paired applies f to what two measured in the same rounds.
func paired(a, b map[int]float64, f func(a, b float64) float64) (list []float64) {
	for _, round := range roundsOf(a) {
		if other, ok := b[round]; ok {
			list = append(list, f(a[round], other))
		}
	}
	return list
}

func quotient(a, b float64) float64 { return a / b }
func minus(a, b float64) float64    { return a - b }
