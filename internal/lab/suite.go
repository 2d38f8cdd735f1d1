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
	"strconv"
	"strings"
)

// A suite is tests of a package of the core, with longer settings.
type suite struct {
	pkg   string   // "./cache"
	tests string   // pattern of their names
	flags []string // of the test binary
}

// run runs the suite, and shows what it says of itself. A run that had no test is a
// failure: then it would show nothing.
func (s *suite) run(ctx context.Context, o *options, w io.Writer) error {
	root, err := repository()
	if err != nil {
		return err
	}
	args := append([]string{"test", s.pkg, "-run", s.tests, "-v", "-count", "1", "-timeout", "45m"}, s.flags...)
	args = append(args, "-seed", strconv.FormatInt(o.Seed, 10))
	fmt.Fprintln(w, "  go", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = root, os.Environ()
	if o.Dir != "" {
		cmd.Env = append(cmd.Env, "TMPDIR="+o.Dir)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	ran := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "=== ") {
			fmt.Fprintln(w, "  "+line)
		}
		if strings.HasPrefix(lines.Text(), "--- PASS") {
			ran++
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return fmt.Errorf("go test %s -run %s: %w", s.pkg, s.tests, err)
	}
	if ran == 0 {
		return fmt.Errorf("go test %s -run %s: no test has run", s.pkg, s.tests)
	}
	return nil
}

// repository is the folder of the core's module, which this command is run within.
func repository() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		b, readErr := os.ReadFile(filepath.Join(dir, "go.mod"))
		if readErr == nil && strings.HasPrefix(string(b), "module github.com/embercache/ember\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no repository of Ember around the working directory: run this within internal/lab")
		}
	}
	return "", err
}
