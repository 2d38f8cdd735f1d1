package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// writeReport writes everything as markdown.
func writeReport(w io.Writer, m *machine, results []*result) {
	fmt.Fprintf(w, "# Ember beside its peers\n\n")
	m.write(w)
	fmt.Fprintf(w, "\nEach cell has the median over the rounds, the spread, and the median ratio to the reference in the same rounds.\n")
	for _, r := range results {
		r.write(w)
	}
}

// write writes one row.
func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "\n## %s: %s\n\n%s\n", r.row.name, r.row.title, r.row.about)
	if r.err != nil {
		fmt.Fprintf(w, "\n**Failed**: %s\n", strings.ReplaceAll(r.err.Error(), "\n", "\n> "))
	}
	for i := range r.row.variants {
		v := &r.row.variants[i]
		if r.has(v) {
			r.writeVariant(w, v)
		}
	}
	r.writeGoals(w)
	fmt.Fprintf(w, "\nTook %s.\n", r.took.Round(time.Second))
}

func (r *result) has(v *variant) bool {
	for i := range r.samples {
		if r.samples[i].Variant == v.name {
			return true
		}
	}
	return false
}

func (r *result) writeVariant(w io.Writer, v *variant) {
	shown := r.shown(v)
	fmt.Fprintf(w, "\n### %s\n\n| |", v.name)
	for _, f := range shown {
		fmt.Fprintf(w, " %s |", f)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" --- |", len(shown)))
	for _, who := range v.contestants {
		name := who
		if who == v.reference {
			name += " (reference)"
		}
		line := ""
		for _, f := range shown {
			line += " " + r.cell(v, who, f) + " |"
		}
		if strings.Trim(line, " |-") != "" {
			fmt.Fprintf(w, "| %s |%s\n", name, line)
		}
	}
}

// shown are the row's figures that somebody has in this variant.
func (r *result) shown(v *variant) []string {
	return slices.DeleteFunc(slices.Clone(r.row.figures), func(f string) bool {
		return !slices.ContainsFunc(v.contestants, func(who string) bool { return len(r.values(v, who, f)) > 0 })
	})
}

// cell shows one figure of one contestant.
func (r *result) cell(v *variant, who, figure string) string {
	own := r.values(v, who, figure)
	s := spreadOf(listed(own))
	if math.IsNaN(s.median) {
		return "-"
	}
	text := number(s.median)
	if s.low != s.high {
		text += fmt.Sprintf(" (%s to %s)", number(s.low), number(s.high))
	}
	if v.reference != "" && who != v.reference {
		q := median(paired(own, r.values(v, v.reference, figure), quotient))
		if !math.IsNaN(q) && !math.IsInf(q, 0) {
			text += " ×" + number(q)
		}
	}
	return text
}

func (r *result) writeGoals(w io.Writer) {
	began := false
	for i := range r.row.variants {
		v := &r.row.variants[i]
		for _, d := range r.verdicts(v) {
			if !began {
				fmt.Fprintf(w, "\n| variant | goal | limit | measured | |\n| --- | --- | --- | --- | --- |\n")
				began = true
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", v.name, d.goal, d.goal.bound(), d.measured(), d.word())
		}
	}
}

func (d *verdict) measured() string {
	text := number(d.got.median)
	if d.got.low != d.got.high {
		text += fmt.Sprintf(" (%s to %s)", number(d.got.low), number(d.got.high))
	}
	if len(d.goal.against) > 1 {
		text += ", against " + d.against
	}
	return text
}

func (d *verdict) word() string {
	if d.met {
		return "met"
	}
	return "**missed**"
}

// number shows three digits, and all of those before the point.
func number(x float64) string {
	a := math.Abs(x)
	switch {
	case math.IsNaN(x):
		return "-"
	case a >= 100 || x == math.Trunc(x):
		return grouped(math.Round(x))
	case a >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a >= 0.1:
		return strconv.FormatFloat(x, 'f', 2, 64)
	}
	return strconv.FormatFloat(x, 'g', 2, 64)
}

// grouped separates the thousands.
func grouped(x float64) string {
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
