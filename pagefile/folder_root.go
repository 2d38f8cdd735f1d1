//go:build !linux && !darwin

package pagefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// openIn opens a file of a folder. A root follows links as long as they stay within it,
// so what is no file is refused before.
func openIn(d *folder, path string, flag int, perm os.FileMode) (*os.File, error) {
	name := filepath.Base(path)
	info, err := d.root.Lstat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, named("open", path, err)
	}
	f, err := d.root.OpenFile(name, flag, perm)
	return f, named("open", path, err)
}
