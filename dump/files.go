package dump

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/embercache/ember/pagefile"
)

// A fileKey names a numbered file of ours.
type fileKey struct {
	kind pagefile.FileKind
	id   uint64
}

// files is what the dumper knows of the directory's numbered files. Names that
// are not ours are never touched.
type files struct {
	cfg      *Config
	known    map[fileKey]bool // may exist
	sizes    Sizes            // for Stats; those that grow are added when asked for
	rings    map[string]bool  // names of record rings that an earlier process made
	astray   []string         // weak rings from before WeakDir was another folder
	listed   bool
	obsolete []string // of Config
}

func (f *files) dir(kind pagefile.FileKind) string {
	if kind == pagefile.KindWeak {
		return f.cfg.WeakDir
	}
	return f.cfg.Dir
}

func (f *files) path(key fileKey) string {
	return filepath.Join(f.dir(key.kind), pagefile.FileName(key.kind, key.id))
}

// maxNumber bounds what a name can make us count on from, as in the loader: no
// directory gets that far, and numbers must not end.
const maxNumber = 1 << 61

// list reads the directories once. It returns the highest id: a file of an
// attempt that left no record counts too, since its number is used. // I12
func (f *files) list() (highest uint64, err error) {
	for _, weak := range []bool{false, true} {
		dir := f.cfg.Dir
		if weak {
			dir = f.cfg.WeakDir
		}
		names, err := f.cfg.FS.ReadDir(dir)
		if err != nil && weak {
			break // without links there are durable generations all the same
		}
		if err != nil {
			return 0, fmt.Errorf("list %s: %w", dir, err)
		}
		for _, name := range names {
			if !weak && (name == pagefile.RecordsName || name == pagefile.MirrorName) {
				f.rings[name] = true
			}
			kind, id, ok := pagefile.ParseName(name)
			if ok && !weak && kind == pagefile.KindWeak && f.cfg.WeakDir != dir {
				f.astray = append(f.astray, filepath.Join(dir, name))
			}
			if ok && weak == (kind == pagefile.KindWeak) {
				f.known[fileKey{kind, id}] = true
				if id < maxNumber {
					highest = max(highest, id)
				}
			}
		}
	}
	f.listed = true
	return highest, nil
}

// openRing opens a ring of records. One that this process was about to make is
// removed if that failed: where its directory could not be synced, a sync that
// succeeds later proves nothing about the name. // I8
func (f *files) openRing(name string) (*pagefile.Ring, error) {
	ring, err := pagefile.OpenRing(f.cfg.FS, f.cfg.Dir, name)
	if err != nil && !f.rings[name] {
		f.cfg.FS.Remove(filepath.Join(f.cfg.Dir, name))
	}
	return ring, err
}

// create makes a file of size bytes, with its header, and syncs both it and its
// directory, before anything can name it. // I2
func (f *files) create(key fileKey, size int64) (pagefile.File, error) {
	file, err := f.createEmpty(key)
	if err != nil {
		return nil, err
	}
	if err := f.complete(file, key, size); err != nil {
		file.Close()
		f.remove(key)
		return nil, fmt.Errorf("create %s: %w", pagefile.FileName(key.kind, key.id), err)
	}
	f.sizes[key] = max(size, pagefile.FileHeaderBlock)
	return file, nil
}

// createEmpty makes a file; its name is not durable yet.
func (f *files) createEmpty(key fileKey) (pagefile.File, error) {
	file, err := f.cfg.FS.OpenFile(f.path(key), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", pagefile.FileName(key.kind, key.id), err)
	}
	f.known[key] = true
	return file, nil
}

func (f *files) complete(file pagefile.File, key fileKey, size int64) error {
	h := pagefile.FileHeader{Kind: key.kind, ID: key.id, Geometry: f.cfg.Geometry}
	if err := file.Allocate(0, max(size, pagefile.FileHeaderBlock)); err != nil {
		return err
	}
	if err := pagefile.WriteFileHeader(file, h); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return f.cfg.FS.SyncDir(f.dir(key.kind))
}

// open opens a file that exists to write, and returns its length.
func (f *files) open(key fileKey) (pagefile.File, int64, error) {
	file, err := f.cfg.FS.OpenFile(f.path(key), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.check(file, key)
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, size, nil
}

func (f *files) check(file pagefile.File, key fileKey) (size int64, err error) {
	h, err := pagefile.ReadFileHeader(file, key.kind, key.id)
	if err != nil {
		return 0, err
	}
	if h.Geometry != f.cfg.Geometry {
		return 0, fmt.Errorf("%w: %s is of another directory", pagefile.ErrCorrupt, file.Name())
	}
	return file.Size()
}

// remove removes a file. One that cannot be removed stays known and is tried
// again with the next generation.
func (f *files) remove(key fileKey) {
	err := f.cfg.FS.Remove(f.path(key))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		delete(f.known, key)
		delete(f.sizes, key)
	}
}

// retire removes every file that is not in keep. A weak ring in a folder of its
// own may belong to another cache, which its header tells.
func (f *files) retire(keep map[fileKey]bool) {
	for _, path := range f.astray {
		f.cfg.FS.Remove(path)
	}
	f.astray = nil
	for key := range f.known {
		if keep[key] {
			continue
		}
		if key.kind == pagefile.KindWeak && f.cfg.WeakDir != f.cfg.Dir && !f.ours(key) {
			delete(f.known, key)
			delete(f.sizes, key)
			continue
		}
		f.remove(key)
	}
}

// removeObsolete removes what has no use any more. What cannot be removed, or may
// be back after a power cut, is tried again.
func (f *files) removeObsolete() error {
	if len(f.obsolete) == 0 {
		return nil
	}
	for _, path := range f.obsolete {
		err := f.cfg.FS.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = f.removeAnew(path)
		}
		if err != nil {
			return fmt.Errorf("remove %s, with which the next Open starts cold: %w", path, err)
		}
	}
	if err := f.cfg.FS.SyncDir(f.cfg.Dir); err != nil {
		return fmt.Errorf("remove %s: %w", f.obsolete[0], err)
	}
	f.obsolete = nil
	return nil
}

// removeAnew makes a file and removes it: one that is gone was removed before a
// sync of the directory that failed, and another proves nothing about that. // I8
func (f *files) removeAnew(path string) error {
	file, err := f.cfg.FS.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	file.Close()
	return f.cfg.FS.Remove(path)
}

// ours reports whether a weak ring is of this directory. One whose header cannot
// be read may be anybody's.
func (f *files) ours(key fileKey) bool {
	file, err := f.cfg.FS.OpenFile(f.path(key), os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	h, err := pagefile.ReadFileHeader(file, key.kind, key.id)
	return err == nil && h.Geometry.DirID == f.cfg.Geometry.DirID
}

// needs adds the files that a record names.
func needs(keep map[fileKey]bool, r *pagefile.Record) {
	if r == nil {
		return
	}
	keep[fileKey{pagefile.KindPages, r.PageFile}] = true
	keep[fileKey{pagefile.KindImage, r.Image}] = true
	keep[fileKey{pagefile.KindWeak, r.Weak.File}] = true
	for _, e := range r.Blobs {
		keep[fileKey{pagefile.KindBlobs, e.File}] = true
	}
}
