package crashfs

import (
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/embercache/ember/pagefile"
)

// Lock holds within this FS value; a state made by Crash, Kill or Clone has no
// locks, as its process is another one.
func (s *FS) Lock(name string) (io.Closer, error) {
	name = clean(name)
	f, err := s.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.check(Op{Kind: OpLock, Path: name}); err != nil {
		f.Close()
		return nil, pathError("lock", name, err)
	}
	s.mu.Lock()
	taken := s.locks[name]
	s.locks[name] = true
	s.mu.Unlock()
	if taken {
		f.Close()
		return nil, &pagefile.LockError{Dir: path.Dir(name), PID: os.Getpid(), Since: time.Now()}
	}
	return &heldLock{fs: s, name: name, file: f}, nil
}

// Enter has nothing to do but to look: no directory here is ever moved or removed.
func (s *FS) Enter(dir string) (io.Closer, error) {
	dir = clean(dir)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.live.dirs[dir] {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	return stay{}, nil
}

type stay struct{}

func (stay) Close() error { return nil }

type heldLock struct {
	once sync.Once
	fs   *FS
	name string
	file pagefile.File
}

func (l *heldLock) Close() error {
	l.once.Do(func() {
		l.file.Close()
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.name)
	})
	return nil
}

// A rangeLock is a lock that one handle has on the bytes off to end.
type rangeLock struct {
	owner     *file
	off, end  int64
	exclusive bool
}

func (l rangeLock) overlaps(off, end int64) bool { return l.off < end && off < l.end }

func (f *file) LockRange(off, n int64, exclusive bool) (bool, error) {
	if off < 0 || n <= 0 || off+n < off {
		return false, pathError("lock", f.name, syscall.EINVAL)
	}
	if exclusive && !f.writable {
		return false, pathError("lock", f.name, syscall.EBADF)
	}
	if err := f.check(Op{Kind: OpLock, Path: f.name, Off: off, Len: n}); err != nil {
		return false, pathError("lock", f.name, err)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for _, l := range f.in.locks {
		if l.owner != f && l.overlaps(off, off+n) && (l.exclusive || exclusive) {
			return false, nil
		}
	}
	f.unlockLocked(off, off+n)
	f.in.locks = append(f.in.locks, rangeLock{f, off, off + n, exclusive})
	return true, nil
}

func (f *file) UnlockRange(off, n int64) error {
	if f.closed.Load() {
		return pathError("unlock", f.name, os.ErrClosed)
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.unlockLocked(off, off+n)
	return nil
}

// unlockLocked takes a range out of this handle's locks; one may become two.
func (f *file) unlockLocked(off, end int64) {
	var left []rangeLock
	for _, l := range f.in.locks {
		if l.owner != f || !l.overlaps(off, end) {
			left = append(left, l)
			continue
		}
		if l.off < off {
			left = append(left, rangeLock{f, l.off, off, l.exclusive})
		}
		if l.end > end {
			left = append(left, rangeLock{f, end, l.end, l.exclusive})
		}
	}
	f.in.locks = left
}
