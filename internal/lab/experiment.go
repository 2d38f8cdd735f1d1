package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// An experiment tries to break one promise.
type experiment struct {
	name  string
	title string
	run   func(ctx context.Context, o *options, w io.Writer) error
}

// experiments are all there are, in the order in which all runs them.
var experiments = []experiment{
	crashExperiment,
	killExperiment,
	linearExperiment,
	modelsExperiment,
	powerExperiment,
	fuzzExperiment,
	guidedExperiment,
	endureExperiment,
	countsExperiment,
	bigExperiment,
	groupExperiment,
	faultsExperiment,
	damageExperiment,
	mutateExperiment,
}

func list(w io.Writer) {
	for _, e := range experiments {
		fmt.Fprintf(w, "%-10s %s\n", e.name, e.title)
	}
}

// choose returns the experiments of these names; "all" means every one.
func choose(names []string) (chosen []experiment, err error) {
	for _, name := range names {
		known := func(e experiment) bool { return e.name == name }
		if name != "all" && !slices.ContainsFunc(experiments, known) {
			return nil, fmt.Errorf("no experiment %q; go run . list", name)
		}
	}
	for _, e := range experiments {
		if slices.Contains(names, "all") || slices.Contains(names, e.name) {
			chosen = append(chosen, e)
		}
	}
	return chosen, nil
}
