package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
)

// A record is what the file of samples holds.
type record struct {
	Machine *machine
	Options options
	Rows    []recordRow
}

// recordRow is one row with all its samples.
type recordRow struct {
	Name, Title string
	Failed      string `json:",omitempty"`
	Goals       []recordGoal
	Samples     []sample
}

// recordGoal is a goal and what came out.
type recordGoal struct {
	Variant, Goal, Limit string
	Median, Low, High    float64
	Met                  bool
}

func recordOf(m *machine, o *options, results []*result) *record {
	rec := &record{Machine: m, Options: *o}
	for _, r := range results {
		row := recordRow{Name: r.row.name, Title: r.row.title, Samples: r.samples}
		if r.err != nil {
			row.Failed = r.err.Error()
		}
		for i := range r.row.variants {
			v := &r.row.variants[i]
			for _, d := range r.verdicts(v) {
				row.Goals = append(row.Goals, recordGoal{v.name, d.goal.String(), d.goal.bound(), finite(d.got.median), finite(d.got.low), finite(d.got.high), d.met})
			}
		}
		rec.Rows = append(rec.Rows, row)
	}
	return rec
}

// finite is x, or the largest number where JSON has none: a ratio to zero.
func finite(x float64) float64 { return max(min(x, math.MaxFloat64), -math.MaxFloat64) }

// save writes table, samples and charts of all rows so far into o.Out.
func save(m *machine, o *options, results []*result) error {
	text, err := os.Create(filepath.Join(o.Out, "bench.md"))
	if err != nil {
		return err
	}
	writeReport(text, m, results)
	samples, err := json.MarshalIndent(recordOf(m, o, results), "", "\t")
	err = errors.Join(err, text.Close())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Out, "bench.json"), append(samples, '\n'), 0o644); err != nil {
		return err
	}
	return writeCharts(o.Out, results[len(results)-1])
}
