//go:build !linux

package cache

import "testing"

func tmpfs(t testing.TB) string {
	t.Helper()
	t.Skip("only Linux has a tmpfs")
	return ""
}
