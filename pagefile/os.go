package pagefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// OS returns the file system of the machine. Each has its own directories that were
// entered.
func OS() FS { return &osFS{} }

// osFS is what all systems share. What differs is in os_linux.go, os_darwin.go
// and os_windows.go: openIn, reserve, datasync, syncDir, lockBytes, unlockBytes,
// lockFile, lockFolder, unlockFile, mapBytes, unmapBytes, bootID, network, free.
type osFS struct{ folders entered }

// flagsAllowed are the flags of FS.OpenFile. Truncating is not among them: a
// page that loses its bytes under a mapping is what everything here avoids.
const flagsAllowed = os.O_RDONLY | os.O_RDWR | os.O_CREATE | os.O_EXCL

// zeroChunk is what one write of zeroes carries where Allocate has to write.
const zeroChunk = 1 << 20

func (s *osFS) Enter(dir string) (io.Closer, error) { return s.folders.enter(dir) }

func (s *osFS) OpenFile(path string, flag int, perm os.FileMode) (File, error) {
	if flag&^flagsAllowed != 0 {
		return nil, fmt.Errorf("open %s: flag %#x: %w", path, flag&^flagsAllowed, errors.ErrUnsupported)
	}
	return s.open(path, flag, perm)
}

func (s *osFS) OpenDirect(path string) (File, error) {
	if f, err := s.open(path, os.O_RDONLY|directFlag, 0); err == nil {
		return f, nil
	}
	return s.OpenFile(path, os.O_RDONLY, 0)
}

func (s *osFS) open(path string, flag int, perm os.FileMode) (File, error) {
	d, done, err := s.folders.in(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer done()
	f, err := openRegular(d, path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// openRegular opens a regular file that nobody else owns, and nothing else: a fifo or
// a device put under one of our names must neither hang an open nor be written to. Of
// path the last element counts.
func openRegular(d *folder, path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := d.open(path, flag, perm)
	if err != nil {
		return nil, wrapSpace("open "+path, 0, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %s: not a regular file", path)
	}
	if err == nil {
		if err = trusted(path, info); err != nil {
			err = fmt.Errorf("open: %w", err)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *osFS) Remove(path string) error {
	d, done, err := s.folders.in(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer done()
	return d.remove(path)
}

func (s *osFS) ReadDir(dir string) ([]string, error) {
	d, done, err := s.folders.in(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return d.names()
}

func (s *osFS) MkdirAll(dir string, perm os.FileMode) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := s.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	// Somebody else may just have made it, but not synced it yet.
	if err := os.Mkdir(dir, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return wrapSpace("mkdir "+dir, 0, err)
	}
	d, err := openFolder(parent)
	if err != nil {
		return err
	}
	defer d.close()
	return syncError(parent, syncDir(d))
}

func (s *osFS) SyncDir(dir string) error {
	d, done, err := s.folders.in(dir)
	if err == nil {
		defer done()
		err = syncDir(d)
	}
	return syncError(dir, err)
}

func syncError(what string, err error) error {
	if err == nil {
		return nil
	}
	return wrapSpace("sync "+what, 0, fmt.Errorf("sync %s: %w", what, err))
}

func (*osFS) BootID() string { return bootID() }

func (s *osFS) Network(dir string) (name string, ok bool) {
	d, done, err := s.folders.in(dir)
	if err != nil {
		return "", false
	}
	defer done()
	return network(d)
}

func (s *osFS) Free(dir string) (bytes int64, ok bool) {
	d, done, err := s.folders.in(dir)
	if err != nil {
		return 0, false
	}
	defer done()
	return free(d)
}

// An osFile is a File of the machine. os.File completes short writes, retries
// interrupted calls, and keeps the descriptor from being reused under a call.
type osFile struct{ f *os.File }

func (f *osFile) Name() string { return f.f.Name() }

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, wrapSpace("write "+f.Name(), int64(len(p)), err)
}

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Allocate(off, n int64) error {
	if off < 0 || n <= 0 || off+n < off {
		return fmt.Errorf("allocate %s: bad range %d+%d", f.Name(), off, n)
	}
	old, err := f.Size()
	if err != nil {
		return err
	}
	err = reserve(f.f, off, n)
	if errors.Is(err, errors.ErrUnsupported) {
		err = writeZeroes(f.f, old, off, off+n)
	}
	if err == nil {
		return nil
	}
	f.giveBack(old)
	op := fmt.Sprintf("allocate %s of %s", sizeText(n), f.Name())
	return wrapSpace(op, n, fmt.Errorf("%s: %w", op, err))
}

// giveBack ends the file where it ended: on a full disk what was reserved is
// wanted elsewhere.
func (f *osFile) giveBack(old int64) {
	if size, err := f.Size(); err == nil && size > old {
		f.f.Truncate(old)
	}
}

func (f *osFile) Sync() error {
	return syncError(f.Name(), datasync(f.f))
}

func (f *osFile) LockRange(off, n int64, exclusive bool) (bool, error) {
	if off < 0 || n <= 0 || off+n < off {
		return false, fmt.Errorf("lock %s: bad range %d+%d", f.Name(), off, n)
	}
	ok, err := lockBytes(f.f, off, n, exclusive)
	if err != nil {
		return false, fmt.Errorf("lock %s at %d: %w", f.Name(), off, err)
	}
	return ok, nil
}

func (f *osFile) UnlockRange(off, n int64) error {
	if err := unlockBytes(f.f, off, n); err != nil {
		return fmt.Errorf("unlock %s at %d: %w", f.Name(), off, err)
	}
	return nil
}

func (f *osFile) Close() error { return f.f.Close() }

// writeZeroes extends f, of that size, with zeroes from off to end. Bytes before
// the old end are left alone, since they may hold data.
func writeZeroes(f *os.File, size, off, end int64) error {
	off = max(off, size)
	zeroes := make([]byte, max(0, min(end-off, zeroChunk)))
	for off < end {
		n, err := f.WriteAt(zeroes[:min(end-off, zeroChunk)], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// wrapSpace makes a full disk an ErrNoSpace that says what to do.
func wrapSpace(op string, need int64, err error) error {
	if err == nil || !isSpace(err) {
		return err
	}
	return NoSpace(op, need, err)
}

// sizeText is n bytes for people.
func sizeText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
