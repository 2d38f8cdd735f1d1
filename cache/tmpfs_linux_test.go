package cache

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tmpfs is a folder on a real tmpfs: of /dev/shm, or of one that is mounted for the
// test.
func tmpfs(t testing.TB) string {
	t.Helper()
	const shared = "/dev/shm"
	var st unix.Statfs_t
	if unix.Statfs(shared, &st) == nil && uint32(st.Type) == unix.TMPFS_MAGIC && st.Bavail*uint64(st.Bsize) > 64<<20 {
		if dir, err := os.MkdirTemp(shared, "ember-test-"); err == nil {
			t.Cleanup(func() { os.RemoveAll(dir) })
			return dir
		}
	}
	dir := filepath.Join(t.TempDir(), "tmpfs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=700"); err != nil {
		t.Skipf("%s is no tmpfs, and none can be mounted: %v", shared, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}
