package crashfs

import (
	"io"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/embercache/ember/pagefile"
)

// A file is one handle of an inode.
type file struct {
	fs       *FS
	in       *inode
	name     string
	writable bool
	closed   atomic.Bool
}

func (f *file) Name() string { return f.name }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check(Op{Kind: OpRead, Path: f.name, Off: off, Len: int64(len(p))}); err != nil {
		return 0, pathError("read", f.name, err)
	}
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	return readUpTo(&f.in.content, p, off, f.in.size)
}

// readUpTo reads what lies before limit.
func readUpTo(c *content, p []byte, off, limit int64) (int, error) {
	if off >= limit {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := min(int64(len(p)), limit-off)
	c.read(p[:n], off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.writeCheck(); err != nil {
		return 0, pathError("write", f.name, err)
	}
	if len(p) == 0 {
		return 0, nil
	}
	op := Op{Kind: OpWrite, Path: f.name, Off: off, Len: int64(len(p)), Data: slices.Clone(p), ino: f.in.id}
	failed := f.check(op)
	if failed != nil {
		op = op.cut(shortOf(failed))
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if fits := f.fs.fitsLocked(f.in, op); fits < op.Len {
		op, failed = op.cut(fits), syscall.ENOSPC
	}
	if op.Len > 0 {
		f.in.write(op.Data, op.Off)
		f.fs.appendLocked(op)
	}
	if failed != nil {
		return int(op.Len), roomError("write", f.name, int64(len(p)), failed)
	}
	return int(op.Len), nil
}

// WriteVAt is one write of the log, which hooks and crashes may tear at any byte,
// also within a part.
func (f *file) WriteVAt(parts [][]byte, off int64) (int, error) {
	return f.WriteAt(slices.Concat(parts...), off)
}

// cut is the first n bytes of a write.
func (op Op) cut(n int64) Op {
	op.Len = min(max(n, 0), op.Len)
	op.Data = op.Data[:op.Len:op.Len]
	return op
}

func (f *file) Size() (int64, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if f.closed.Load() {
		return 0, pathError("stat", f.name, os.ErrClosed)
	}
	return f.in.size, nil
}

func (f *file) Allocate(off, n int64) error {
	if err := f.writeCheck(); err != nil {
		return pathError("allocate", f.name, err)
	}
	if off < 0 || n <= 0 || off+n < off {
		return pathError("allocate", f.name, syscall.EINVAL)
	}
	op := Op{Kind: OpAllocate, Path: f.name, Off: off, Len: n, ino: f.in.id}
	if err := f.check(op); err != nil {
		return roomError("allocate", f.name, n, err)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.fitsLocked(f.in, op) < n {
		return roomError("allocate", f.name, n, syscall.ENOSPC)
	}
	f.in.allocate(off, n)
	f.fs.appendLocked(op)
	return nil
}

// Sync covers what had returned when it began, however long it takes.
func (f *file) Sync() error {
	covers := f.fs.Ops()
	failed := f.check(Op{Kind: OpSync, Path: f.name})
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if failed == nil {
		f.fs.appendLocked(Op{Kind: OpSync, Path: f.name, ino: f.in.id, covers: covers})
		return nil
	}
	f.loseLocked(covers)
	return pathError("sync", f.name, failed)
}

// Push brings nothing to the disk that would not be there without it, by chance. One
// that fails has lost as much as a Sync that does.
func (f *file) Push(off, n int64) error {
	covers := f.fs.Ops()
	failed := f.check(Op{Kind: OpPush, Path: f.name, Off: off, Len: n})
	if failed == nil {
		return nil
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.loseLocked(covers)
	return pathError("push", f.name, failed)
}

// loseLocked gives up what was written before an operation that failed to sync it.
func (f *file) loseLocked(covers int) {
	f.fs.appendLocked(Op{Kind: OpSyncFailed, Path: f.name, ino: f.in.id, covers: covers, loss: f.fs.loss})
	if f.fs.loss == LossAtOnce {
		f.fs.reloadLocked(f.in)
	}
}

func (f *file) Map(length int64) (pagefile.Mapping, error) {
	if length <= 0 {
		return nil, pathError("map", f.name, syscall.EINVAL)
	}
	if err := f.check(Op{Kind: OpMap, Path: f.name, Len: length}); err != nil {
		return nil, pathError("map", f.name, err)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.noMmap {
		return nil, pathError("map", f.name, pagefile.ErrNoMmap)
	}
	m := &mapping{file{fs: f.fs, in: f.in, name: f.name}, length}
	f.in.opens++
	f.fs.handles[&m.file] = true
	return m, nil
}

func (f *file) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	delete(f.fs.handles, f)
	f.in.locks = slices.DeleteFunc(f.in.locks, func(l rangeLock) bool { return l.owner == f })
	if f.in.opens--; f.in.opens == 0 {
		f.fs.live.sweep()
	}
	return nil
}

// check asks the hooks, unless the handle is closed. What began before Close
// ends as in the kernel: it is carried out.
func (f *file) check(op Op) error {
	if f.closed.Load() {
		return os.ErrClosed
	}
	if op.Off < 0 {
		return syscall.EINVAL
	}
	return f.fs.check(op)
}

func (f *file) writeCheck() error {
	if !f.writable {
		return syscall.EBADF
	}
	return nil
}

// A mapping reads the bytes that the file has now, within the length that was
// mapped.
type mapping struct {
	file
	length int64
}

func (m *mapping) ReadAt(p []byte, off int64) (int, error) {
	fault := &pagefile.FaultError{Path: m.name, Off: off, Len: len(p)}
	if m.closed.Load() || off < 0 {
		return 0, pathError("read", m.name, os.ErrClosed)
	}
	if m.check(Op{Kind: OpRead, Path: m.name, Off: off, Len: int64(len(p)), Mapped: true}) != nil {
		return 0, fault
	}
	m.fs.mu.RLock()
	defer m.fs.mu.RUnlock()
	// The page at the file's end reads as zeroes to its own end.
	readable := int64(pagesFor(m.in.size)) * pageSize
	if end := min(off+int64(len(p)), m.length); end > readable && off < m.length {
		return 0, fault
	}
	return readUpTo(&m.in.content, p, off, m.length)
}

// OpenHandles names the files and mappings that are not closed, sorted.
func (s *FS) OpenHandles() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := []string{}
	for f := range s.handles {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}
