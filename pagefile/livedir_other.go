//go:build !linux

package pagefile

import (
	"errors"
	"time"
)

// A LiveDir is what only Linux has: a folder in memory that outlives a process.
type LiveDir struct{}

// OpenLiveDir fails.
func OpenLiveDir(string, time.Duration) (*LiveDir, error) {
	return nil, errors.New("live logs need a tmpfs, which Linux alone has")
}

// Read fails.
func (*LiveDir) Read(string) ([]byte, error) { return nil, errors.ErrUnsupported }

// Make fails.
func (*LiveDir) Make(string, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

// Remove does nothing.
func (*LiveDir) Remove(string) {}

// Close does nothing.
func (*LiveDir) Close() {}

// Release does nothing.
func (*LiveDir) Release() {}
