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
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		exit(child(os.Args[2], os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// command runs the rows that args name.
func command(ctx context.Context, args []string, w, progress io.Writer) error {
	o, names, err := parse(args, progress)
	if err != nil {
		return err
	}
	all := rows(&o)
	if len(names) == 0 || slices.Contains(names, "list") {
		list(w, all)
		return nil
	}
	chosen, err := choose(all, names)
	if err != nil {
		return err
	}
	m := newMachine(o.Dir)
	var results []*result
	var failed error
	for _, r := range chosen {
		res := measureRow(ctx, &o, r, progress)
		results = append(results, res)
		failed = errors.Join(failed, res.err)
		if o.Out != "" {
			if err := save(m, &o, results); err != nil {
				return errors.Join(failed, err)
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if o.Out == "" {
		writeReport(w, m, results)
	}
	return failed
}

func list(w io.Writer, all []row) {
	for i := range all {
		fmt.Fprintf(w, "%-10s %s\n", all[i].name, all[i].title)
	}
}

// choose returns the rows of these names; "all" means every row.
func choose(all []row, names []string) (chosen []*row, err error) {
	for i := range all {
		if slices.Contains(names, "all") || slices.Contains(names, all[i].name) {
			chosen = append(chosen, &all[i])
		}
	}
	for _, name := range names {
		if name != "all" && findRow(all, name) == nil {
			return nil, fmt.Errorf("no row %q; go run . list", name)
		}
	}
	return chosen, nil
}
