package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// A verdict is a goal beside what was measured.
type verdict struct {
	goal    *goal
	got     spread
	against string // the contestant that counted
	met     bool
}

// verdicts judges the goals of a variant. Those whose figures were not measured
// are left out.
func (r *result) verdicts(v *variant) (list []verdict) {
	for i := range v.goals {
		if d, ok := r.judge(v, &v.goals[i]); ok {
			list = append(list, d)
		}
	}
	return list
}

func (r *result) judge(v *variant, g *goal) (verdict, bool) {
	own := r.values(v, g.of, g.figure)
	d := verdict{goal: g, got: spreadOf(listed(own))}
	if len(g.against) > 0 {
		d.against = r.best(v, g)
		d.got = g.compare(own, r.values(v, d.against, g.theirs()))
	}
	d.met = d.got.median <= g.limit
	if g.atLeast {
		d.met = d.got.median >= g.limit
	}
	return d, !math.IsNaN(d.got.median)
}

func (g *goal) theirs() string {
	if g.figure2 != "" {
		return g.figure2
	}
	return g.figure
}

// compare holds the figures of two contestants together.
func (g *goal) compare(own, theirs map[int]float64) spread {
	switch g.how {
	case difference:
		return spreadOf(paired(own, theirs, minus))
	case ofMedians:
		return spreadOf([]float64{median(listed(own)) - median(listed(theirs))})
	case ofSums:
		return spreadOf([]float64{sum(own) / math.Max(sum(theirs), 1)})
	default:
		return spreadOf(paired(own, theirs, quotient))
	}
}

func sum(by map[int]float64) (total float64) {
	for _, x := range by {
		total += x
	}
	return total
}

// best is the one of g.against that has the best median.
func (r *result) best(v *variant, g *goal) string {
	value := func(who string) float64 { return median(listed(r.values(v, who, g.theirs()))) }
	had := slices.DeleteFunc(slices.Clone(g.against), func(who string) bool { return math.IsNaN(value(who)) })
	if len(had) == 0 {
		return g.against[0]
	}
	better := func(a, b string) int {
		if (value(a) < value(b)) != g.atLeast {
			return -1
		}
		return 1
	}
	return slices.MinFunc(had, better)
}

// String says what the goal asks for.
func (g *goal) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s", g.figure, g.of)
	if len(g.against) > 0 {
		word := [...]string{ratio: "over", difference: "minus", ofMedians: "(median) minus", ofSums: "(sum) over"}[g.how]
		who := strings.Join(g.against, " or ")
		if len(g.against) > 1 {
			who = "the best of " + strings.Join(g.against, ", ")
		}
		fmt.Fprintf(&b, " %s that of %s", word, who)
		if g.figure2 != "" {
			fmt.Fprintf(&b, ": %s", g.figure2)
		}
	}
	return b.String()
}

// bound is the goal's limit in words.
func (g *goal) bound() string {
	if g.atLeast {
		return "at least " + number(g.limit)
	}
	return "at most " + number(g.limit)
}
