package pagefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A folder is a directory that is open: names are looked up in it and not by its path,
// which may come to lead elsewhere. The working directory changes, somebody moves the
// directory, turns a link on the way to it, or removes it and makes another.
type folder struct {
	path string // as it was, absolute where that can be told
	root *os.Root
	self *os.File // for what needs a handle: its lock, a sync, system calls
}

func openFolder(dir string) (*folder, error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir(): // the open of a fifo would wait for its other end
		return nil, &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	d := &folder{path: dir, root: root, self: self}
	if abs, err := filepath.Abs(dir); err == nil {
		d.path = abs
	}
	return d, nil
}

func (d *folder) open(path string, flag int, perm os.FileMode) (*os.File, error) {
	f, err := openIn(d, path, flag|openFlags, perm)
	if flag&os.O_CREATE != 0 {
		err = d.gone(err)
	}
	return f, err
}

// gone is what is said of a folder in which no file can be made, or none be listed,
// since it does not exist.
func (d *folder) gone(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("the directory %s was removed while it was open: no file can be made there until the cache is closed and opened again: %w", d.path, err)
}

func (d *folder) remove(path string) error {
	return named("remove", path, d.root.Remove(filepath.Base(path)))
}

func (d *folder) names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, d.gone(err)
	}
	slices.Sort(names)
	return names, nil
}

// has reports whether f is the file that path names now.
func (d *folder) has(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := d.root.Lstat(filepath.Base(path))
	return err == nil && os.SameFile(mine, named)
}

// trusted refuses a folder of another user: its owner may put any file of ours in the
// place of another.
func (d *folder) trusted() error {
	info, err := d.self.Stat()
	if err != nil {
		return err
	}
	return trusted(d.path, info)
}

func (d *folder) close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// named is err as the system says it of a whole path.
func named(op, path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return &fs.PathError{Op: op, Path: path, Err: at.Err}
	}
	return err
}

// entered are the folders of an FS that somebody has entered, by their paths.
type entered struct {
	mu sync.Mutex
	at map[string]*tenancy
}

// A tenancy is a folder that is open until as many have left as have entered. It stays
// in its place then: who comes late is to find it closed, and no other directory.
type tenancy struct {
	*folder
	tenants int
}

func (e *entered) enter(dir string) (io.Closer, error) {
	dir = filepath.Clean(dir)
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.at[dir]
	if t == nil || t.tenants == 0 {
		d, err := openFolder(dir)
		if err != nil {
			return nil, err
		}
		if e.at == nil {
			e.at = make(map[string]*tenancy)
		}
		t = &tenancy{folder: d}
		e.at[dir] = t
	}
	t.tenants++
	return leaving(sync.OnceValue(func() error { return e.leave(t) })), nil
}

func (e *entered) leave(t *tenancy) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t.tenants--; t.tenants > 0 {
		return nil
	}
	return t.close()
}

type leaving func() error

func (l leaving) Close() error { return l() }

// in is the folder dir: one that was entered, else one that is opened by its path and
// that done closes.
func (e *entered) in(dir string) (d *folder, done func() error, err error) {
	e.mu.Lock()
	t := e.at[filepath.Clean(dir)]
	e.mu.Unlock()
	if t != nil {
		return t.folder, func() error { return nil }, nil
	}
	if d, err = openFolder(dir); err != nil {
		return nil, nil, err
	}
	return d, d.close, nil
}
