//go:build !linux && !darwin && !windows

package pagefile

import (
	"errors"
	"os"
)

// Elsewhere the package compiles, so that programs with a cache in memory do,
// and refuses to lock a directory.

const (
	openFlags  = 0
	directFlag = 0
)

func reserve(*os.File, int64, int64) error                 { return errors.ErrUnsupported }
func datasync(f *os.File) error                            { return f.Sync() }
func syncDir(*folder) error                                { return errors.ErrUnsupported }
func lockBytes(*os.File, int64, int64, bool) (bool, error) { return false, errors.ErrUnsupported }
func unlockBytes(*os.File, int64, int64) error             { return errors.ErrUnsupported }
func lockFile(*os.File) (bool, error)                      { return false, errors.ErrUnsupported }
func lockFolder(*folder) (locked, free bool)               { return false, true }
func unlockFile(*os.File) error                            { return errors.ErrUnsupported }
func mapBytes(*os.File, int) ([]byte, error)               { return nil, errors.ErrUnsupported }
func unmapBytes([]byte) error                              { return nil }
func bootID() string                                       { return "" }
func pidNamespace() string                                 { return "" }
func network(*folder) (string, bool)                       { return "", false }
func free(*folder) (int64, bool)                           { return 0, false }
func isQuota(error) bool                                   { return false }
func isSpace(error) bool                                   { return false }
func isReadOnlyFS(error) bool                              { return false }
