package power

import (
	"math/rand"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// push has the kernel write dirty pages of a cache's files to the disk, as it does of
// its own accord at any time: some of them, in no order and without a flush, or, which
// is seldom, everything.
func push(dir string, rng *rand.Rand) {
	files, _ := filepath.Glob(filepath.Join(dir, "*-*"))
	if len(files) == 0 {
		return
	}
	f, err := os.Open(files[rng.Intn(len(files))])
	if err != nil {
		return // it is gone
	}
	defer f.Close()
	if rng.Intn(40) == 0 {
		_ = unix.Syncfs(int(f.Fd()))
		return
	}
	off, n := int64(0), int64(0) // all of it
	if info, err := f.Stat(); err == nil && info.Size() > 0 && rng.Intn(2) == 0 {
		off, n = rng.Int63n(info.Size()), 1<<(12+rng.Intn(12))
	}
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
