package pagefile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestReserveSetsSpaceAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := createFile(t, path)
	const n = 1 << 20
	err := Reserve(f, 4096, n)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("the file system of temporary files cannot reserve space")
	}
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 4096+n || st.Blocks*512 < n {
		t.Errorf("%d bytes long, %d reserved; want %d", st.Size, st.Blocks*512, n)
	}
	if n := cachedPages(t, path, st.Size); n > 1 {
		t.Errorf("%d pages were written", n)
	}
}

// TestReserveTakesNoMemory: on a tmpfs space is memory.
func TestReserveTakesNoMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ember-reserve")
	var fs unix.Statfs_t
	if err != nil || unix.Statfs(dir, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs at /dev/shm")
	}
	defer os.RemoveAll(dir)
	f := createFile(t, filepath.Join(dir, "a"))
	if err := Reserve(f, 0, 1<<20); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Reserve on a tmpfs: %v", err)
	}
	if size, err := f.Size(); err != nil || size != 0 {
		t.Errorf("size %d, %v", size, err)
	}
}

func TestForgetDropsWhatIsSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := createFile(t, path)
	const block = 256 << 10
	for off := int64(0); off < 4*block; off += block {
		if _, err := f.WriteAt(make([]byte, block), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	before := cachedPages(t, path, 4*block)
	Forget(f, block, 2*block)
	if after := cachedPages(t, path, 4*block); before == 4*block/PageSize && after > before/2 {
		t.Errorf("%d of %d pages are cached, half of them to be forgotten", after, before)
	}
}

// cachedPages counts the pages of a file that the page cache holds.
func cachedPages(t *testing.T, path string, size int64) (n int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	pages := make([]byte, (size+PageSize-1)/PageSize)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

// TestPushIsNoSync: it may be called for what is not there, and tells where it
// cannot do anything.
func TestPushIsNoSync(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a"))
	if _, err := f.WriteAt(make([]byte, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 4096, 1 << 30} {
		if err := Push(f, off, 1<<20); err != nil {
			t.Errorf("at %d: %v", off, err)
		}
	}
	f.Close()
	if err := Push(f, 0, 1<<20); err == nil {
		t.Error("of a closed file: no error")
	}
}
