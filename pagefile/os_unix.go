//go:build linux || darwin

package pagefile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFlags are added to every open. O_NONBLOCK keeps the open of a fifo from
// waiting for its other end; regular files ignore it.
const openFlags = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK

// control calls a system call on f's descriptor, which stays open meanwhile, and
// again when a signal interrupted it.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		callErr = unix.EINTR
		for callErr == unix.EINTR {
			callErr = call(int(fd))
		}
	})
	if err != nil {
		return err
	}
	return callErr
}

// openIn opens a file of a folder. It is not a root that does: that one follows links
// as long as they stay within it.
func openIn(d *folder, path string, flag int, perm os.FileMode) (*os.File, error) {
	fd := -1
	err := control(d.self, func(dir int) (err error) {
		fd, err = unix.Openat(dir, filepath.Base(path), flag, uint32(perm.Perm()))
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	_ = unix.SetNonblock(fd, false) // else the runtime takes it for something to wait for
	return os.NewFile(uintptr(fd), path), nil
}

func syncDir(d *folder) error { return d.self.Sync() }

// lockBytes takes an open-file-description lock: it belongs to the handle, not to
// the process, so two handles of one process exclude each other too.
func lockBytes(f *os.File, off, n int64, exclusive bool) (bool, error) {
	how := int16(unix.F_RDLCK)
	if exclusive {
		how = unix.F_WRLCK
	}
	return tryLock(setLock(f, off, n, how))
}

func unlockBytes(f *os.File, off, n int64) error { return setLock(f, off, n, unix.F_UNLCK) }

func setLock(f *os.File, off, n int64, how int16) error {
	return control(f, func(fd int) error {
		lock := unix.Flock_t{Type: how, Whence: io.SeekStart, Start: off, Len: n}
		return unix.FcntlFlock(uintptr(fd), ofdSetLock, &lock)
	})
}

// lockFile takes the whole-file lock; it too belongs to the open file.
func lockFile(f *os.File) (bool, error) {
	return tryLock(control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }))
}

// lockFolder takes the same lock on a folder, where that can be: not on NFS. free is
// false if somebody holds it.
func lockFolder(d *folder) (locked, free bool) {
	locked, err := lockFile(d.self)
	return locked, locked || err != nil
}

func unlockFile(f *os.File) error {
	return control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

// tryLock turns the errors that mean "somebody else holds it" into false.
func tryLock(err error) (bool, error) {
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func mapBytes(f *os.File, length int) (data []byte, err error) {
	err = control(f, func(fd int) error {
		data, err = unix.Mmap(fd, 0, length, unix.PROT_READ, unix.MAP_SHARED)
		return err
	})
	return data, err
}

func unmapBytes(data []byte) error { return unix.Munmap(data) }

func statfs(d *folder) (st unix.Statfs_t, err error) {
	err = control(d.self, func(fd int) error { return unix.Fstatfs(fd, &st) })
	return st, err
}

func free(d *folder) (int64, bool) {
	st, err := statfs(d)
	if err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

// isQuota reports an exceeded quota, isSpace that or a full device.
func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }
func isSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }

// isReadOnlyFS reports that the file system takes no writes from anybody.
func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }
