package main

import (
	"io"
	"os"
	"strings"
	"testing"
)

// Every experiment runs, and finds nothing in a moment.
func TestQuick(t *testing.T) {
	for _, e := range experiments {
		t.Run(e.name, func(t *testing.T) {
			var out strings.Builder
			err := command(t.Context(), []string{e.name, "-quick"}, io.MultiWriter(&out, os.Stderr), os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), e.title) {
				t.Errorf("says %q", out.String())
			}
		})
	}
}

func TestUnknownExperiment(t *testing.T) {
	if err := command(t.Context(), []string{"nosuch"}, io.Discard, io.Discard); err == nil {
		t.Error("an experiment that does not exist has run")
	}
}
