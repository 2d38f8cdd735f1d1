package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/embercache/ember/internal/lab/power"
)

func init() { power.Child() } // it runs this executable again, tests' too

var powerExperiment = experiment{
	name:  "power",
	title: "power cuts between the flushes of ext4 and xfs",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		c := power.Config{States: o.count(24, 6000), Control: 60, Seed: o.Seed, Dir: o.Dir}
		if o.Quick {
			c.Control = 6
		}
		err := power.Run(ctx, c, w)
		if errors.Is(err, power.ErrSkip) && os.Getenv("EMBER_CI") == "" {
			fmt.Fprintf(w, "  skipped: %v\n", err)
			return nil
		}
		return err
	},
}
