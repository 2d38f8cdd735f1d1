package demo

import (
	"log/slog"
	"os"
)

// Warnings returns a logger that writes what is a warning or worse to standard
// error, and leaves the rest to the example's own report.
func Warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
