package cache

import (
	"flag"
	"testing"

	"github.com/embercache/ember/internal/explore"
)

// The protocols that carry the promise are modelled beside the code, in files named
// *_model_test.go: small enough that every order of their steps is visited. A model
// has a step for each thing that the code does at once, in the code's order, and says
// where the code does it. It has its own faults too, orders that a simpler design
// would have: each must lead to a counterexample, or the model could not see one.

var largeModels = flag.Bool("models.large", false, "visit the larger of the models of protocols")

// modelStates bounds a model: some 200 bytes each.
const modelStates = 20_000_000

// checkProtocol visits all states of a model as the code is, and with each fault.
func checkProtocol[S comparable](t *testing.T, build func(fault string) *explore.Model[S], faults ...string) {
	t.Helper()
	if racing && !*largeModels {
		t.Skip("a model has no memory of its own to race on")
	}
	t.Run("as it is", func(t *testing.T) {
		r := build("").Explore(modelStates)
		t.Logf("%d states, %d steps", r.States, r.Steps)
		if r.Wrong != "" || r.Cut || len(r.Unseen) > 0 {
			t.Errorf("%v\nnever seen: %v; more than %d states: %v", r, r.Unseen, modelStates, r.Cut)
		}
	})
	for _, fault := range faults {
		t.Run(fault, func(t *testing.T) {
			r := build(fault).Explore(modelStates)
			if r.Wrong == "" {
				t.Fatalf("no counterexample in %d states", r.States)
			}
			t.Log(r)
		})
	}
}
