package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table cannot rot: each mutation's text is in its file, once, and each has a name
// of its own.
func TestMutationsApply(t *testing.T) {
	root := repositoryOf(t)
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

func repositoryOf(t *testing.T) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// published is where docs/MUTATIONS.md has which list.
var published = []struct {
	title string
	list  []mutation
}{
	{"The bytes of every file", pagefileMutations},
	{"Recovery", loaderMutations},
	{"A generation", dumpMutations},
	{"Pages and places", homeMutations},
	{"The shards", cacheMutations},
	{"Reads without a lock, gauges, large values of a former shape", readMutations},
	{"The live log", liveMutations},
}

// TestMutationsArePublished: the page has a heading for each list, with how many it
// has, and a row for each of its mutations, in order, that names one of its tests.
func TestMutationsArePublished(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repositoryOf(t), "docs", "MUTATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var of []mutation // of each line of want; none: a heading
	for _, p := range published {
		want, of = append(want, fmt.Sprintf("**%s** (%d)", p.title, len(p.list))), append(of, mutation{})
		for _, m := range p.list {
			want, of = append(want, fmt.Sprintf("| %s | %s |", m.name, m.promise)), append(of, m)
		}
	}
	if len(of)-len(published) != len(mutations()) {
		t.Errorf("the page is to have %d mutations, there are %d", len(of)-len(published), len(mutations()))
	}
	i := 0
	for _, line := range publishedLines(string(b)) {
		if i == len(want) || !strings.HasPrefix(line, want[i]) {
			t.Fatalf("docs/MUTATIONS.md, entry %d:\ngot  %s\nwant %s", i, line, append(want, "its end")[i])
		}
		if m := of[i]; m.tests != "" {
			test := strings.Trim(strings.TrimPrefix(line, want[i]), " |`")
			if !regexp.MustCompile(m.tests).MatchString(test) {
				t.Errorf("%s: the page says that %s fails, the list has %s", m.name, test, m.tests)
			}
		}
		i++
	}
	if i < len(want) {
		t.Errorf("docs/MUTATIONS.md ends before %s", want[i])
	}
}

// publishedLines are the page's headings and rows.
func publishedLines(page string) (lines []string) {
	for _, line := range strings.Split(page, "\n") {
		head := strings.HasPrefix(line, "| taken out |") || strings.HasPrefix(line, "| --- |")
		if strings.HasPrefix(line, "**") || strings.HasPrefix(line, "|") && !head {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestMutationsNameTestsThatExist: a test that was renamed would fail no more.
func TestMutationsNameTestsThatExist(t *testing.T) {
	root := repositoryOf(t)
	functions := make(map[string]string) // of the tests of a package
	for _, m := range mutations() {
		if functions[m.pkg] == "" {
			files, err := filepath.Glob(filepath.Join(root, m.pkg, "*_test.go"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no tests in %s: %v", m.pkg, err)
			}
			for _, name := range files {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				functions[m.pkg] += string(b)
			}
		}
		for _, test := range strings.Split(strings.Trim(m.tests, "^()$"), "|") {
			if !strings.Contains(functions[m.pkg], "\nfunc "+test+"(t *testing.T) {") {
				t.Errorf("%s: no test of %s is called %s", m.name, m.pkg, test)
			}
		}
	}
}
