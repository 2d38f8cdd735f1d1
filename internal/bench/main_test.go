package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets this test binary be the process that measures.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		exit(child(os.Args[2], os.Stdout))
	}
	os.Exit(m.Run())
}

// TestEveryRowRuns runs each row with tiny sizes, in processes as the real thing.
func TestEveryRowRuns(t *testing.T) {
	all := rows(&options{Quick: true})
	for i := range all {
		t.Run(all[i].name, func(t *testing.T) {
			out := t.TempDir()
			var progress bytes.Buffer
			args := []string{all[i].name, "-quick", "-out", out, "-dir", t.TempDir()}
			if err := command(t.Context(), args, &progress, &progress); err != nil {
				t.Fatalf("%v\n%s", err, &progress)
			}
			text, err := os.ReadFile(filepath.Join(out, "bench.md"))
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range all[i].variants {
				checkVariant(t, string(text), &v)
			}
			if _, err := os.Stat(filepath.Join(out, "bench.json")); err != nil {
				t.Error(err)
			}
			for _, end := range []string{".svg", ".png"} {
				if _, err := os.Stat(filepath.Join(out, all[i].name+end)); err != nil && len(all[i].chart) > 0 {
					t.Error(err)
				}
			}
		})
	}
}

// checkVariant looks for each contestant's line and each goal's.
func checkVariant(t *testing.T, text string, v *variant) {
	t.Helper()
	_, part, ok := strings.Cut(text, "### "+v.name+"\n")
	if !ok {
		t.Fatalf("the report has no %s", v.name)
	}
	part, _, _ = strings.Cut(part, "###")
	for _, who := range v.contestants {
		if !strings.Contains(part, "\n| "+who+" ") {
			t.Errorf("%s has no line of %s", v.name, who)
		}
	}
	for i := range v.goals {
		if want := "| " + v.name + " | " + v.goals[i].String() + " |"; !strings.Contains(text, want) {
			t.Errorf("the report has no %q", want)
		}
	}
}

func TestGoals(t *testing.T) {
	r := &result{row: &row{}, samples: []sample{
		{Variant: "v", Contestant: "a", Round: 0, Figures: figures{"t": 1, "n": 3}},
		{Variant: "v", Contestant: "b", Round: 0, Figures: figures{"t": 2, "n": 1, "u": 4}},
		{Variant: "v", Contestant: "c", Round: 0, Figures: figures{"t": 8}},
		{Variant: "v", Contestant: "a", Round: 1, Figures: figures{"t": 30, "n": 0}},
		{Variant: "v", Contestant: "b", Round: 1, Figures: figures{"t": 20, "n": 0, "u": 60}},
		{Variant: "v", Contestant: "a", Round: 2, Figures: figures{"t": 5, "n": 0}},
		{Variant: "v", Contestant: "b", Round: 2, Figures: figures{"t": 10, "n": 1, "u": 10}},
	}}
	b := []string{"b"}
	for _, c := range []struct {
		name string
		g    goal
		got  float64
		met  bool
	}{
		{"a ratio is of each round", goal{figure: "t", of: "a", against: b, limit: 0.5}, 0.5, true},
		{"a ratio over the limit is missed", goal{figure: "t", of: "a", against: b, limit: 0.49}, 0.5, false},
		{"another figure may be the measure", goal{figure: "t", of: "a", against: b, figure2: "u", limit: 1}, 0.5, true},
		{"a difference is of each round", goal{figure: "t", of: "a", against: b, how: difference, limit: 0}, -1, true},
		{"medians are taken first", goal{figure: "t", of: "a", against: b, how: ofMedians, limit: 0}, -5, true},
		{"sums are taken first", goal{figure: "n", of: "a", against: b, how: ofSums, limit: 1.2}, 1.5, false},
		{"a figure has a limit of its own", goal{figure: "t", of: "a", limit: 5}, 5, true},
		{"more may be better", goal{figure: "t", of: "a", limit: 6, atLeast: true}, 5, false},
		{"the best of several counts", goal{figure: "t", of: "a", against: []string{"c", "b"}, how: ofMedians, limit: 0}, -3, true},
		{"the best may be the most", goal{figure: "t", of: "a", against: []string{"c", "b"}, how: ofMedians, limit: 0, atLeast: true}, -5, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, ok := r.judge(&variant{name: "v"}, &c.g)
			if !ok || d.got.median != c.got || d.met != c.met {
				t.Errorf("got %v, %v, %v, want %v, %v", ok, d.got.median, d.met, c.got, c.met)
			}
		})
	}
	if _, ok := r.judge(&variant{name: "v"}, &goal{figure: "t", of: "d", limit: 1}); ok {
		t.Error("a goal of what was not measured is judged")
	}
}
