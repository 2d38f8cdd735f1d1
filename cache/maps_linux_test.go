package cache

import (
	"os"
	"strings"
	"testing"
)

// mapped are the lines of /proc/self/maps that name something under dir.
func mapped(t testing.TB, dir string) (lines []string) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for _, line := range strings.Split(string(maps), "\n") {
		if strings.Contains(line, dir+"/") {
			lines = append(lines, line)
		}
	}
	return lines
}

func wantUnmapped(t testing.TB, dir string) {
	t.Helper()
	if lines := mapped(t, dir); len(lines) > 0 {
		t.Errorf("files are mapped:\n%s", strings.Join(lines, "\n"))
	}
}
