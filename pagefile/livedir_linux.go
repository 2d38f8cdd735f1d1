package pagefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A LiveDir is the folder, on a tmpfs, in which a live log lies. It holds one file,
// locked: two processes with copies of one directory must not share a log.
type LiveDir struct {
	dir      string
	folder   *folder
	patience time.Duration
	f        *os.File
	mem      []byte // mapped for writing
}

// OpenLiveDir makes the folder if it is missing. It refuses one that is not memory, or
// of another user. For so long as patience Read and Make try again while another
// process has the file: who has the directory's lock waits for one that is dying, of
// which the kernel keeps this lock a little longer than that.
func OpenLiveDir(dir string, patience time.Duration) (*LiveDir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	if err = onTmpfs(d); err == nil {
		err = d.trusted()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return &LiveDir{dir: dir, folder: d, patience: patience}, nil
}

func onTmpfs(d *folder) error {
	st, err := statfs(d)
	if err != nil {
		return fmt.Errorf("statfs %s: %w", d.path, err)
	}
	if uint32(st.Type) != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is not on a tmpfs", d.path)
	}
	return nil
}

// Read returns a copy of a file. The error is fs.ErrNotExist for one that is gone,
// ErrCorrupt for one that is no log; both may be made anew.
func (d *LiveDir) Read(name string) ([]byte, error) {
	if err := d.open(name, os.O_RDWR); err != nil {
		return nil, err
	}
	peek := make([]byte, LiveHeader)
	if _, err := d.f.ReadAt(peek, 0); err != nil || LiveSession(peek) == 0 || !d.hasSize(LiveLength(peek)) {
		return nil, fmt.Errorf("%w: %s is no live log, or not a whole one", ErrCorrupt, d.f.Name())
	}
	b := make([]byte, LiveLength(peek))
	if _, err := d.f.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read live log: %w", err)
	}
	return b, nil
}

// open opens and locks a file that is ours alone.
func (d *LiveDir) open(name string, flag int) error {
	d.close()
	until := time.Now().Add(d.patience)
	for {
		err := d.tryOpen(name, flag)
		if !errors.Is(err, errLiveInUse) || !time.Now().Before(until) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

var errLiveInUse = errors.New("in use")

func (d *LiveDir) tryOpen(name string, flag int) error {
	f, err := openRegular(d.folder, filepath.Join(d.dir, name), flag, 0o600)
	if err != nil {
		return err
	}
	ok, err := lockFile(f)
	if err == nil && !ok {
		err = fmt.Errorf("live log %s is %w", f.Name(), errLiveInUse)
	}
	if err == nil {
		err = oursAlone(f)
	}
	if err != nil {
		f.Close()
		return err
	}
	d.f = f
	return nil
}

// oursAlone refuses a file that others may read or write, by this name or by another,
// and one that whoever had it removed before it was locked.
func oursAlone(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if ok && sys.Nlink == 0 {
		return fmt.Errorf("live log %s was removed while it was %w", f.Name(), errLiveInUse)
	}
	if !ok || sys.Nlink != 1 || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("live log %s is not ours alone", f.Name())
	}
	return nil
}

// Make returns memory of the file, made anew or as it is if it has that size, all of
// it allocated, so that a store can never fail for want of memory, and all of it
// mapped, so that none has to wait for the kernel. What Read gave is still there.
func (d *LiveDir) Make(name string, size int64) ([]byte, error) {
	if d.f == nil {
		if err := d.open(name, os.O_RDWR); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err // somebody has it, perhaps
		}
	}
	if d.f == nil || !d.hasSize(size) {
		d.Remove(name)
		if err := d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
			return nil, err
		}
	}
	if err := reserve(d.f, 0, size); err != nil {
		d.Remove(name)
		return nil, fmt.Errorf("the tmpfs has no room for %d bytes: %w", size, err)
	}
	if !d.hasSize(size) {
		return nil, fmt.Errorf("live log %s has another size", d.f.Name())
	}
	p, err := unix.MmapPtr(int(d.f.Fd()), 0, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("map live log: %w", err)
	}
	d.mem = unsafe.Slice((*byte)(p), size)
	return d.mem, nil
}

func (d *LiveDir) hasSize(size int64) bool {
	st, err := d.f.Stat()
	return err == nil && st.Size() == size
}

// Remove removes a file.
func (d *LiveDir) Remove(name string) {
	_ = d.folder.remove(name)
	d.close()
}

func (d *LiveDir) close() {
	if d.f != nil {
		unlockFile(d.f)
		d.f.Close()
		d.f = nil
	}
}

// Close gives the file up. Its memory stays mapped, as zeroes of the process alone:
// whoever is late may still store there.
func (d *LiveDir) Close() {
	if d.mem != nil {
		_, _ = unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(d.mem)), uintptr(len(d.mem)),
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_FIXED|unix.MAP_NORESERVE)
	}
	d.close()
	_ = d.folder.close()
}

// Release unmaps what Make gave, when nobody can reach it.
func (d *LiveDir) Release() {
	if d.mem != nil {
		_ = unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(d.mem)), uintptr(len(d.mem)))
		d.mem = nil
	}
}
