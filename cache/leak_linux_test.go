package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// descriptors are the open files whose path begins with prefix.
func descriptors(t testing.TB, prefix string) map[int]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	list := make(map[int]string)
	for _, e := range entries {
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && strings.HasPrefix(path, prefix) {
			var fd int
			_, _ = fmt.Sscan(e.Name(), &fd)
			list[fd] = path
		}
	}
	return list
}

// TestFilesAreClosedOnExec: every descriptor into the directory, the lock's too.
func TestFilesAreClosedOnExec(t *testing.T) {
	for _, positional := range []bool{false, true} {
		o := testOptions(4 << 20)
		o.Recovery.Positional = positional
		dir := warmDir(t, o, 500)
		c := open(t, dir, o)
		fill(t, c, 600)
		mustFlush(t, c)
		fds := descriptors(t, dir+"/")
		if len(fds) < 6 { // lock, lease, rings, pages, blobs at least
			t.Errorf("%d files are open: %v", len(fds), fds)
		}
		for fd, name := range fds {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s is not closed on exec: flags %d, %v", filepath.Base(name), flags, err)
			}
		}
		if n := len(mapped(t, dir)); (n > 0) == positional {
			t.Errorf("positional %v: %d mappings", positional, n)
		}
		mustClose(t, c)
	}
}

// TestNothingLeaks opens and closes fifty times: no descriptor, no mapping of a
// file and no memory stays behind.
func TestNothingLeaks(t *testing.T) {
	if racing {
		t.Skip("memory lies in Go slices")
	}
	o := testOptions(8 << 20)
	dir := warmDir(t, o, 1000)
	cycle := func(i int) {
		t.Helper()
		o := *o
		o.Recovery.Positional = i%5 == 4
		c, err := Open(t.Context(), dir, &o)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			mustSet(t, c, testKey(i), testValue(i, 100))
		}
		if i%3 == 0 {
			wantFilledKeys(t, c)
		}
		mustClose(t, c)
		if fds := descriptors(t, dir+"/"); len(fds) > 0 {
			t.Fatalf("cycle %d: files are open: %v", i, fds)
		}
		if lines := mapped(t, dir); len(lines) > 0 {
			t.Fatalf("cycle %d: files are mapped: %v", i, lines)
		}
		if i%7 == 0 { // a directory that cannot be had leaves nothing either
			if _, err := Open(t.Context(), dir+"/LOCK", &o); err == nil {
				t.Error("Open of a file succeeded")
			}
		}
	}
	cycle(0)
	before := reserved(t)
	for i := range 50 {
		cycle(i)
	}
	// One cache has 8 MiB of frames and an index of several; a few may linger.
	soon(t, "the memory of closed caches is unmapped", func() bool {
		runtime.GC()
		return reserved(t) < before+20<<20
	})
	if fds := descriptors(t, ""); len(fds) > 60 {
		t.Errorf("%d descriptors are open: %v", len(fds), fds)
	}
}

func wantFilledKeys(t *testing.T, c *Cache) {
	t.Helper()
	for i := 100; i < 1000; i++ {
		wantValue(t, c, testKey(i), testValue(i, 100+i%300))
	}
}

// reserved is the address space that arenas take: Go's heap names its mappings
// or lies elsewhere, arenas are anonymous and not reserved. So is what the C library
// sets aside for each thread, but that cannot be read or written until it is used.
func reserved(t *testing.T) (bytes int64) {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	var size int64
	usable := false
	for _, line := range strings.Split(string(smaps), "\n") {
		switch {
		case strings.Contains(line, " rw-p ") || strings.Contains(line, " ---p "):
			usable = strings.Contains(line, " rw-p ")
		case strings.HasPrefix(line, "Size:"):
			_, _ = fmt.Sscanf(line, "Size: %d kB", &size)
		case strings.HasPrefix(line, "VmFlags:") && strings.Contains(line, " nr ") && usable:
			bytes += size << 10
		}
	}
	return bytes
}
