package pagefile

import (
	"os"

	"golang.org/x/sys/unix"
)

// ofdSetLock is F_OFD_SETLK, which the system's headers keep private and SQLite
// has long used.
const ofdSetLock = 90

const directFlag = 0

// reserve extends the file by contiguous blocks if there are, else by any.
func reserve(f *os.File, off, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	more := off + n - info.Size()
	if more <= 0 {
		return nil
	}
	err = control(f, func(fd int) error {
		store := unix.Fstore_t{Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: more}
		return unix.FcntlFstore(uintptr(fd), unix.F_PREALLOCATE, &store)
	})
	if err != nil {
		return err
	}
	return f.Truncate(off + n)
}

// datasync empties the drive's own cache too, which fsync does not do here. File
// systems without the call have fsync only.
func datasync(f *os.File) error {
	err := control(f, func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
		return err
	})
	if err == nil || (err != unix.ENOTSUP && err != unix.ENOTTY && err != unix.EINVAL) {
		return err
	}
	return control(f, unix.Fsync)
}

func bootID() string {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

// pidNamespace is "": there is one for the machine.
func pidNamespace() string { return "" }

func network(d *folder) (string, bool) {
	st, err := statfs(d)
	if err != nil || st.Flags&unix.MNT_LOCAL != 0 {
		return "", false
	}
	return unix.ByteSliceToString(st.Fstypename[:]), true
}
