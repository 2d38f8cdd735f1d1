//go:build !linux

package power

import (
	"context"
	"errors"
	"io"
)

// Config says what Run does.
type Config struct {
	States, Control int
	Seed            int64
	Dir             string
}

// ErrSkip is wrapped by what Run returns where nothing can be mounted.
var ErrSkip = errors.New("cannot run here")

// Child does nothing here.
func Child() {}

// Run needs Linux.
func Run(context.Context, Config, io.Writer) error { return ErrSkip }
