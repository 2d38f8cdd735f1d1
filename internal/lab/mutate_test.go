package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The table cannot rot: each mutation's text is in its file, once, and each has a name
// of its own.
func TestMutationsApply(t *testing.T) {
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, m := range mutations() {
		if seen[m.name] {
			t.Errorf("two mutations are called %q", m.name)
		}
		seen[m.name] = true
		b, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := m.apply(string(b)); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if m.old == m.new || m.promise == "" || m.pkg == "" || m.tests == "" {
			t.Errorf("%s: something is missing", m.name)
		}
	}
	if n := len(seen); n < 60 {
		t.Errorf("%d mutations, there were more", n)
	}
}
