//go:build !linux

package main

import (
	"context"
	"fmt"
	"io"
)

// What these count only Linux tells of a process.

func endure(_ context.Context, _ *options, w io.Writer) error { return skipped(w) }
func big(_ context.Context, _ *options, w io.Writer) error    { return skipped(w) }
func group(_ context.Context, _ *options, w io.Writer) error  { return skipped(w) }
func counts(_ context.Context, _ *options, w io.Writer) error { return skipped(w) }

func skipped(w io.Writer) error {
	fmt.Fprintln(w, "  skipped: it needs /proc")
	return nil
}
