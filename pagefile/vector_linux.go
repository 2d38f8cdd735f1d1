package pagefile

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// writeVector writes parts at off with one call, which may write less.
func (f *osFile) writeVector(parts [][]byte, off int64) (n int, err error) {
	err = control(f.f, func(fd int) (err error) {
		n, err = unix.Pwritev(fd, parts, off)
		return err
	})
	if err != nil {
		return 0, &fs.PathError{Op: "write", Path: f.Name(), Err: err}
	}
	return n, nil
}
