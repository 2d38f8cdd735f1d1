package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// dropPageCache makes the kernel forget the files below dir, and says how.
func dropPageCache(dir string) (how string, err error) {
	files := 0
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		return dropFile(p)
	})
	if err != nil {
		return "", fmt.Errorf("drop page cache: %w", err)
	}
	how = fmt.Sprintf("posix_fadvise on %d files", files)
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
		return how + " only; they may have kept some: " + err.Error(), nil
	}
	return how + " and /proc/sys/vm/drop_caches", nil
}

// dropFile writes the file's dirty pages, which would stay, and then advises.
func dropFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}
