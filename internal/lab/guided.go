package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// Led by coverage, go test finds inputs that no chance would; each execution costs it
// some hundred times as much. What it finds is kept in Go's cache, and a crasher in
// the package's testdata.
var guidedExperiment = experiment{
	name:  "guided",
	title: "each decoder under go test -fuzz, 100 s or -count executions each",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		chosen, err := chosenDecoders(o)
		if err != nil {
			return err
		}
		if o.Quick && o.Only == "" {
			chosen = chosen[:1]
		}
		for _, d := range chosen {
			if err := d.guided(ctx, o, w); err != nil {
				return err
			}
		}
		return nil
	},
}

func (d *decoder) guided(ctx context.Context, o *options, w io.Writer) error {
	amount := "100s"
	if o.Quick || o.Count > 0 {
		amount = strconv.Itoa(o.count(100, 0)) + "x"
	}
	root, err := repository()
	if err != nil {
		return err
	}
	args := []string{"test", d.pkg, "-run", "^$", "-fuzz", "^" + d.name + "$", "-fuzztime", amount, "-parallel", "2"}
	fmt.Fprintln(w, "  go", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	last := "" // how far it came
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "fuzz: elapsed") {
			last = lines.Text()
			continue
		}
		fmt.Fprintln(w, "  "+lines.Text())
	}
	fmt.Fprintln(w, "  "+last)
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if last == "" {
		return fmt.Errorf("%s: nothing was executed", d.name)
	}
	return nil
}
