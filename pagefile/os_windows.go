package pagefile

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openFlags: handles are not inherited, and a link as the last element is opened
// as itself, which openRegular then refuses.
const openFlags = windows.O_FILE_FLAG_OPEN_REPARSE_POINT

const directFlag = 0

// lockOffset is the byte that stands for the whole file: locks are mandatory
// here, and the holder's text must stay readable.
const lockOffset = 1 << 62

// control calls fn on f's handle, which stays open meanwhile.
func control(f *os.File, fn func(h windows.Handle) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) { callErr = fn(windows.Handle(fd)) })
	if err != nil {
		return err
	}
	return callErr
}

// reserve moves the end of the file, which takes clusters on NTFS and ReFS.
func reserve(f *os.File, off, n int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= off+n {
		return err
	}
	return f.Truncate(off + n)
}

func datasync(f *os.File) error { return f.Sync() }

// syncDir does nothing: directories cannot be flushed here, and the file system's
// journal keeps the order of their changes.
func syncDir(*folder) error { return nil }

func lockBytes(f *os.File, off, n int64, exclusive bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := control(f, func(h windows.Handle) error {
		return windows.LockFileEx(h, flags, 0, uint32(n), uint32(n>>32), overlapped(off))
	})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func unlockBytes(f *os.File, off, n int64) error {
	return control(f, func(h windows.Handle) error {
		return windows.UnlockFileEx(h, 0, uint32(n), uint32(n>>32), overlapped(off))
	})
}

func overlapped(off int64) *windows.Overlapped {
	return &windows.Overlapped{Offset: uint32(off), OffsetHigh: uint32(off >> 32)}
}

func lockFile(f *os.File) (bool, error) { return lockBytes(f, lockOffset, 1, true) }
func unlockFile(f *os.File) error       { return unlockBytes(f, lockOffset, 1) }

// lockFolder has nothing to do: a file that is open cannot be replaced here.
func lockFolder(*folder) (locked, free bool) { return false, true }

func mapBytes(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmapBytes([]byte) error                { return nil }

// bootID is "": weak generations are then looked for after every start.
func bootID() string { return "" }

func pidNamespace() string { return "" }

func network(d *folder) (string, bool) {
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(d.path) + `\`)
	if err != nil {
		return "", false
	}
	return "smb", windows.GetDriveType(root) == windows.DRIVE_REMOTE
}

func free(d *folder) (int64, bool) {
	path, err := windows.UTF16PtrFromString(d.path)
	if err != nil {
		return 0, false
	}
	var bytes uint64
	if err := windows.GetDiskFreeSpaceEx(path, &bytes, nil, nil); err != nil {
		return 0, false
	}
	return int64(min(bytes, 1<<63-1)), true
}

// isQuota reports an exceeded quota, isSpace that or a full device.
func isQuota(err error) bool { return errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) }
func isSpace(err error) bool {
	return isQuota(err) || errors.Is(err, windows.ERROR_DISK_FULL) ||
		errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// isReadOnlyFS reports that the volume takes no writes from anybody.
func isReadOnlyFS(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }
