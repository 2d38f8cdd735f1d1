package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A mutation takes one test of a promise, one sync or one order out of the engine:
// some test has to fail then, or nothing would notice if a change did the same.
type mutation struct {
	name    string
	promise string // that it guards
	file    string
	old     string // occurs once in file
	new     string
	pkg     string // "./dump"
	tests   string // pattern of the names of those that are to fail
}

var mutateExperiment = experiment{
	name:  "mutate",
	title: "each sync, each ordering and each checksum test taken out in turn: some test fails",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		list := mutations()
		list = list[:min(o.count(1, len(list)), len(list))]
		if o.Only != "" {
			list = slices.DeleteFunc(mutations(), func(m mutation) bool { return !strings.Contains(m.name, o.Only) })
		}
		return mutate(ctx, o, list, w)
	},
}

// mutations are all there are.
func mutations() []mutation {
	return slices.Concat(pagefileMutations, loaderMutations, dumpMutations, homeMutations, cacheMutations, readMutations, liveMutations)
}

// mutate applies each mutation to a copy of the repository and runs its tests. The
// same tests have to pass without it, or their failure would show nothing.
func mutate(ctx context.Context, o *options, list []mutation, w io.Writer) error {
	root, err := repository()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.Dir, "ember-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(root, dir); err != nil {
		return err
	}
	if err := passUnchanged(ctx, dir, list); err != nil {
		return err
	}
	var survived []string
	for _, m := range list {
		began := time.Now()
		killers, err := m.kill(ctx, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		by := strings.Join(killers, " ")
		if len(killers) == 0 {
			by = "SURVIVED " + m.pkg + " " + m.tests
			survived = append(survived, m.name)
		}
		fmt.Fprintf(w, "  %-34s %4.0f s  %s\n", m.name, time.Since(began).Seconds(), by)
	}
	fmt.Fprintf(w, "  %d of %d mutations were seen\n", len(list)-len(survived), len(list))
	if len(survived) > 0 {
		return fmt.Errorf("no test fails without: %s", strings.Join(survived, ", "))
	}
	return nil
}

// copyModule copies the core's module as it is in the working tree, without the
// modules within it.
func copyModule(root, dir string) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if d.IsDir() {
			_, own := os.Stat(filepath.Join(path, "go.mod"))
			if own == nil || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return os.Mkdir(filepath.Join(dir, path[len(root):]), 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path[len(root):]), b, 0o644)
	})
}

// passUnchanged runs all tests of the list once, by package.
func passUnchanged(ctx context.Context, dir string, list []mutation) error {
	patterns := make(map[string][]string)
	var packages []string
	for _, m := range list {
		if patterns[m.pkg] == nil {
			packages = append(packages, m.pkg)
		}
		if !slices.Contains(patterns[m.pkg], m.tests) {
			patterns[m.pkg] = append(patterns[m.pkg], m.tests)
		}
	}
	for _, pkg := range packages {
		failed, out, err := runTests(ctx, dir, pkg, strings.Join(patterns[pkg], "|"))
		if err == nil && len(failed) > 0 {
			err = fmt.Errorf("fails unchanged: %s\n%s", strings.Join(failed, " "), out)
		}
		if err != nil {
			return fmt.Errorf("go test %s: %w", pkg, err)
		}
	}
	return nil
}

// kill returns the tests that fail with the mutation. The copy is what it was
// afterwards.
func (m *mutation) kill(ctx context.Context, dir string) (killers []string, err error) {
	path := filepath.Join(dir, m.file)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	changed, err := m.apply(string(b))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		return nil, err
	}
	killers, _, err = runTests(ctx, dir, m.pkg, m.tests)
	return killers, errors.Join(err, os.WriteFile(path, b, 0o644))
}

// apply refuses a mutation that the source has outgrown.
func (m *mutation) apply(source string) (string, error) {
	if n := strings.Count(source, m.old); n != 1 {
		return "", fmt.Errorf("%s has the text of %q %d times, want once", m.file, m.name, n)
	}
	return strings.Replace(source, m.old, m.new, 1), nil
}

// runTests returns the tests that failed. What does not build has run none and is an
// error; one that hung, or ended the process, failed.
func runTests(ctx context.Context, dir, pkg, tests string) (failed []string, out string, err error) {
	args := []string{"test", pkg, "-run", tests, "-short", "-failfast", "-count", "1", "-vet", "off", "-timeout", "100s"}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	out = string(b)
	var exit *exec.ExitError
	switch {
	case err == nil && strings.Contains(out, "no tests to run"):
		return nil, out, fmt.Errorf("no test is called %s", tests)
	case err == nil:
		return nil, out, nil
	case !errors.As(err, &exit) || ctx.Err() != nil:
		return nil, out, err
	case strings.Contains(out, "[build failed]"), strings.Contains(out, "[setup failed]"):
		return nil, out, fmt.Errorf("does not build:\n%s", out)
	}
	return failedIn(out), out, nil
}

// failedIn finds the names of tests that failed in what go test said.
func failedIn(out string) (failed []string) {
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), "--- FAIL: ")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		if !slices.Contains(failed, name) {
			failed = append(failed, name)
		}
	}
	if len(failed) == 0 {
		failed = append(failed, "the process ended")
	}
	return failed
}
