package crashfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/embercache/ember/pagefile"
)

var _ pagefile.FS = (*FS)(nil)

// An FS is a disk, the page cache above it, and the process that uses them.
// Make one with New, Crash, Kill or Clone. It is safe for concurrent use.
type FS struct {
	faults faults
	points checkpoints

	mu      sync.RWMutex
	base    *tree // before log[0]; never changes
	log     []Op
	live    *tree // after all of log
	nextIno uint64
	locks   map[string]bool
	handles map[*file]bool
	budget  int64 // bytes that files may take; negative: any
	loss    Loss
	noMmap  bool
	boot    uint64
	bootID  string // "" with customBoot: unknown
	custom  bool   // bootID was set
	network string
}

// A tree is what files there are.
type tree struct {
	dirs   map[string]bool
	names  map[string]uint64
	inodes map[uint64]*inode
}

// An inode is a file with or without a name.
type inode struct {
	content
	id    uint64
	opens int // handles and mappings; without them and a name it is gone
	locks []rangeLock
}

// New returns an empty file system with the directories "/" and ".".
func New() *FS {
	empty := &tree{dirs: map[string]bool{"/": true, ".": true}, names: map[string]uint64{}, inodes: map[uint64]*inode{}}
	return newFS(empty, empty.clone())
}

func newFS(base, live *tree) *FS {
	return &FS{base: base, live: live, nextIno: 1, boot: 1, budget: -1,
		locks: map[string]bool{}, handles: map[*file]bool{}}
}

// clone copies all but who has a file open.
func (t *tree) clone() *tree {
	c := &tree{maps.Clone(t.dirs), maps.Clone(t.names), make(map[uint64]*inode, len(t.inodes))}
	for id, in := range t.inodes {
		c.inodes[id] = &inode{content: in.content.clone(), id: id}
	}
	return c
}

// find returns the file of a name, or nil.
func (t *tree) find(name string) *inode {
	id, ok := t.names[name]
	if !ok {
		return nil
	}
	return t.inodes[id]
}

// sweep drops files without a name that nobody has open.
func (t *tree) sweep() {
	named := make(map[uint64]bool, len(t.names))
	for _, id := range t.names {
		named[id] = true
	}
	maps.DeleteFunc(t.inodes, func(id uint64, in *inode) bool { return !named[id] && in.opens == 0 })
}

// used is the space that files take, in bytes.
func (t *tree) used() (n int64) {
	for _, in := range t.inodes {
		n += int64(in.used) * pageSize
	}
	return n
}

// OpenFile opens a file; flags are those that pagefile.FS names.
func (s *FS) OpenFile(name string, flag int, _ os.FileMode) (pagefile.File, error) {
	name = clean(name)
	if flag&^(os.O_RDONLY|os.O_RDWR|os.O_CREATE|os.O_EXCL) != 0 {
		return nil, pathError("open", name, errors.ErrUnsupported)
	}
	if err := s.check(Op{Kind: OpOpen, Path: name}); err != nil {
		return nil, pathError("open", name, err)
	}
	if flag&os.O_CREATE != 0 && !s.exists(name) {
		if err := s.check(Op{Kind: OpCreate, Path: name}); err != nil {
			return nil, pathError("open", name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.openLocked(name, flag)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	in.opens++
	f := &file{fs: s, in: in, name: name, writable: flag&os.O_RDWR != 0}
	s.handles[f] = true
	return f, nil
}

// OpenDirect opens a file for reading; there is no page cache to pass by.
func (s *FS) OpenDirect(name string) (pagefile.File, error) { return s.OpenFile(name, os.O_RDONLY, 0) }

func (s *FS) exists(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live.find(name) != nil
}

func (s *FS) openLocked(name string, flag int) (*inode, error) {
	if s.live.dirs[name] {
		return nil, syscall.EISDIR
	}
	in := s.live.find(name)
	switch {
	case in != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case in != nil:
		return in, nil
	case flag&os.O_CREATE == 0 || !s.live.dirs[path.Dir(name)]:
		return nil, fs.ErrNotExist
	}
	return s.createLocked(name, false), nil
}

func (s *FS) createLocked(name string, certain bool) *inode {
	in := &inode{id: s.nextIno}
	s.nextIno++
	s.live.inodes[in.id] = in
	s.live.names[name] = in.id
	s.appendLocked(Op{Kind: OpCreate, Path: name, ino: in.id, certain: certain})
	return in
}

// Remove takes a name away. The bytes stay while a handle is open.
func (s *FS) Remove(name string) error {
	name = clean(name)
	if err := s.check(Op{Kind: OpRemove, Path: name}); err != nil {
		return pathError("remove", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removeLocked(name, false)
}

func (s *FS) removeLocked(name string, certain bool) error {
	in := s.live.find(name)
	if in == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(s.live.names, name)
	s.appendLocked(Op{Kind: OpRemove, Path: name, ino: in.id, certain: certain})
	s.live.sweep()
	return nil
}

// ReadDir returns the names in a directory, sorted.
func (s *FS) ReadDir(dir string) ([]string, error) {
	dir = clean(dir)
	if err := s.check(Op{Kind: OpReadDir, Path: dir}); err != nil {
		return nil, pathError("readdir", dir, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.live.dirs[dir] {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	names := []string{}
	for name := range s.live.names {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for name := range s.live.dirs {
		if name != dir && path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll makes directories, which no power cut takes away again.
func (s *FS) MkdirAll(dir string, perm os.FileMode) error {
	dir = clean(dir)
	s.mu.RLock()
	there, taken := s.live.dirs[dir], s.live.find(dir) != nil
	s.mu.RUnlock()
	switch {
	case there:
		return nil
	case taken:
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	if err := s.MkdirAll(path.Dir(dir), perm); err != nil {
		return err
	}
	if err := s.check(Op{Kind: OpMkdir, Path: dir}); err != nil {
		return pathError("mkdir", dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live.dirs[dir] {
		s.live.dirs[dir] = true
		s.appendLocked(Op{Kind: OpMkdir, Path: dir})
	}
	return nil
}

// SyncDir settles the names in a directory.
func (s *FS) SyncDir(dir string) error {
	dir = clean(dir)
	covers := s.Ops()
	failed := s.check(Op{Kind: OpSyncDir, Path: dir})
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case failed != nil:
		s.appendLocked(Op{Kind: OpSyncDirFailed, Path: dir, covers: covers, loss: s.loss})
		return pathError("sync", dir, failed)
	case !s.live.dirs[dir]:
		return &fs.PathError{Op: "sync", Path: dir, Err: fs.ErrNotExist}
	}
	s.appendLocked(Op{Kind: OpSyncDir, Path: dir, covers: covers})
	return nil
}

// BootID changes with Crash and stays with Kill.
func (s *FS) BootID() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.custom {
		return s.bootID
	}
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", s.boot)
}

// SetBootID sets what BootID returns until the next Crash; "" is unknown.
func (s *FS) SetBootID(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bootID, s.custom = id, true
}

// Network returns what SetNetwork was given, for every directory.
func (s *FS) Network(string) (string, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.network, s.network != ""
}

// Free is what SetBudget leaves; without a budget nobody can tell.
func (s *FS) Free(string) (int64, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.budget < 0 {
		return 0, false
	}
	return max(s.budget-s.live.used(), 0), true
}

// SetNetwork makes this a network file system of that name; "" a local one.
func (s *FS) SetNetwork(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.network = name
}

// Ops is the number of operations in the log.
func (s *FS) Ops() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.log)
}

// Log returns the operations so far. Neither they nor their bytes may be changed.
func (s *FS) Log() []Op {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.log[:len(s.log):len(s.log)]
}

func (s *FS) appendLocked(op Op) { s.log = append(s.log, op) }

// clean makes one spelling of a path, with slashes on every system.
func clean(name string) string {
	return path.Clean(strings.ReplaceAll(filepath.ToSlash(name), `\`, "/"))
}

// pathError dresses an injected error as the system would.
func pathError(op, name string, err error) error { return roomError(op, name, 0, err) }

// roomError is pathError of what asked for that many bytes.
func roomError(op, name string, need int64, err error) error {
	dressed := &fs.PathError{Op: op, Path: name, Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return pagefile.NoSpace(op+" "+name, need, dressed)
	}
	return dressed
}
