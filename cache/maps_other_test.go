//go:build !linux

package cache

import "testing"

// wantUnmapped cannot tell here.
func wantUnmapped(testing.TB, string) {}
