package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
)

// childCommand is the first argument of a process that measures; the second is
// its job.
const childCommand = "child"

// A job is what one process is to measure.
type job struct {
	Options                  options
	Row, Variant, Contestant string
	Round                    int
	Step                     string // of a job that takes several processes; the first has none
	Dir                      string // empty at the first step, removed after the job; see variant.lasting
	Dies                     bool   // it ends with SIGKILL, once its figures are told
}

// child does the job that the parent gave as an argument, and writes the figures
// to w.
func child(arg string, w io.Writer) error {
	var j job
	if err := json.Unmarshal([]byte(arg), &j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	r := findRow(rows(&j.Options), j.Row)
	if r == nil {
		return fmt.Errorf("no row %q", j.Row)
	}
	v := r.variant(j.Variant)
	if v == nil {
		return fmt.Errorf("row %s has no variant %q", j.Row, j.Variant)
	}
	got, err := v.run(&j)
	if err != nil {
		return err
	}
	for name, value := range got {
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return fmt.Errorf("figure %q is %v", name, value)
		}
	}
	if err := json.NewEncoder(w).Encode(got); err != nil || !j.Dies {
		return err
	}
	return kill()
}

// kill ends this process as kill -9 would.
func kill() error {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err == nil {
		select {} // until it has come
	}
	return err
}

// measure does a job in a fresh process, within a directory of its own unless it
// has one.
func measure(ctx context.Context, j job) (got figures, err error) {
	if j.Dir != "" {
		return j.exec(ctx)
	}
	if j.Dir, err = os.MkdirTemp(j.Options.Dir, "ember-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(j.Dir)) }()
	return j.exec(ctx)
}

// again does another step of the job, in the same directory and in a fresh
// process, which dies at its end or does not.
func (j *job) again(ctx context.Context, step string, dies bool) (figures, error) {
	next := *j
	next.Step, next.Dies = step, dies
	return next.exec(ctx)
}

// exec does the job, or one Step of it, in a fresh process.
func (j *job) exec(ctx context.Context) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, j.Options.Limit)
	defer cancel()
	cmd, err := j.command(ctx)
	if err != nil {
		return nil, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var got figures
	if err = cmd.Run(); j.Dies && ctx.Err() == nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == -1 {
		err = nil // killed, as it should be: what it told counts
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &got)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, %s, %s %s: %w\n%s", j.Row, j.Variant, j.Contestant, j.Step, errors.Join(err, ctx.Err()), tail(stderr.String()))
	}
	return got, nil
}

// command is the process that does the job, begun through Options.With; what it
// begins itself is not.
func (j *job) command(ctx context.Context) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	inner := *j
	inner.Options.With = ""
	arg, err := json.Marshal(&inner)
	if err != nil {
		return nil, err
	}
	args := append(strings.Fields(j.Options.With), exe, childCommand, string(arg))
	return exec.CommandContext(ctx, args[0], args[1:]...), nil
}

// tail is the end of what a process said.
func tail(s string) string {
	const most = 4096
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-most):]
}
