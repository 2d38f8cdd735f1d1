package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

func main() {
	if isChild() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
		return
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	os.Exit(1)
}

// command runs the experiments that args name. One that fails does not keep the
// others from running.
func command(ctx context.Context, args []string, w, usage io.Writer) error {
	o, names, err := parse(args, usage)
	if err != nil {
		return err
	}
	if len(names) == 0 || slices.Contains(names, "list") {
		list(w)
		return nil
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	var failed error
	for _, e := range chosen {
		began := time.Now()
		fmt.Fprintf(w, "%s: %s (-seed %d)\n", e.name, e.title, o.Seed)
		if err := e.run(ctx, &o, w); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s -seed %d: %w", e.name, o.Seed, err))
		}
		fmt.Fprintf(w, "%s: %.0f s\n", e.name, time.Since(began).Seconds())
		if ctx.Err() != nil {
			return errors.Join(failed, ctx.Err())
		}
	}
	return failed
}
