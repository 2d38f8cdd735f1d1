package pagefile

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

func (f *osFile) Reserve(off, n int64) error {
	var st unix.Statfs_t
	if err := control(f.f, func(fd int) error { return unix.Fstatfs(fd, &st) }); err != nil {
		return fmt.Errorf("reserve %s: %w", f.Name(), err)
	}
	if isMemory(&st) {
		return fmt.Errorf("reserve %s: %w", f.Name(), errors.ErrUnsupported)
	}
	old, err := f.Size()
	if err != nil {
		return err
	}
	if err = reserve(f.f, off, n); err == nil {
		return nil
	}
	f.giveBack(old)
	return fmt.Errorf("reserve %s of %s: %w", sizeText(n), f.Name(), err)
}

func (f *osFile) Forget(off, n int64) {
	_ = control(f.f, func(fd int) error { return unix.Fadvise(fd, off, n, unix.FADV_DONTNEED) })
}

// Push repeats what a signal interrupts. Any other error counts, ENOMEM and EAGAIN too:
// ext4 keeps the pages to be written then, but FUSE, before Linux 6.17, has taken them
// for written when it finds no memory, and a Sync would not be told.
func (f *osFile) Push(off, n int64) error {
	err := control(f.f, func(fd int) error { return unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE) })
	switch {
	case err == nil, errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL):
		return nil // sandboxes have no such call
	}
	return wrapSpace("push "+f.Name(), n, &fs.PathError{Op: "push", Path: f.Name(), Err: err})
}

func (s *osFS) InMemory(dir string) bool {
	d, done, err := s.folders.in(dir)
	if err != nil {
		return false
	}
	defer done()
	st, err := statfs(d)
	return err == nil && isMemory(&st)
}

func isMemory(st *unix.Statfs_t) bool {
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}
