package crashfs

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// What a disk does by itself, and what a test wants to see. All of it passes by
// the hooks. Damage is never lost in a Crash.

// Flip changes the bits of mask in the byte at off.
func (s *FS) Flip(name string, off int64, mask byte) error {
	return s.damage(name, func(in *inode, name string) error {
		if off < 0 || off >= in.size {
			return fmt.Errorf("flip %s at %d: the file has %d bytes", name, off, in.size)
		}
		var b [1]byte
		in.read(b[:], off)
		b[0] ^= mask
		s.overwriteLocked(in, name, b[:], off)
		return nil
	})
}

// SwapPages exchanges two 4 KiB pages, as misdirected writes do.
func (s *FS) SwapPages(name string, a, b int64) error {
	return s.damage(name, func(in *inode, name string) error {
		if min(a, b) < 0 || (max(a, b)+1)*pageSize > in.size {
			return fmt.Errorf("swap pages %d and %d of %s: the file has %d bytes", a, b, name, in.size)
		}
		first, second := make([]byte, pageSize), make([]byte, pageSize)
		in.read(first, a*pageSize)
		in.read(second, b*pageSize)
		s.overwriteLocked(in, name, second, a*pageSize)
		s.overwriteLocked(in, name, first, b*pageSize)
		return nil
	})
}

// Overwrite puts bytes into a file, extending it if need be.
func (s *FS) Overwrite(name string, off int64, data []byte) error {
	return s.damage(name, func(in *inode, name string) error {
		s.overwriteLocked(in, name, slices.Clone(data), off)
		return nil
	})
}

// TruncateFile sets a file's size.
func (s *FS) TruncateFile(name string, size int64) error {
	return s.damage(name, func(in *inode, name string) error {
		s.resizeLocked(in, name, size)
		return nil
	})
}

// Plant makes a file with these bytes, or gives them to the one that is there.
func (s *FS) Plant(name string, data []byte) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.live.find(name)
	if in == nil {
		if !s.live.dirs[path.Dir(name)] {
			return &fs.PathError{Op: "plant", Path: name, Err: fs.ErrNotExist}
		}
		in = s.createLocked(name, true)
	}
	s.resizeLocked(in, name, 0)
	s.overwriteLocked(in, name, slices.Clone(data), 0)
	return nil
}

// Erase makes a file disappear.
func (s *FS) Erase(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removeLocked(clean(name), true)
}

// ReadFile returns a file's bytes as reads see them.
func (s *FS) ReadFile(name string) ([]byte, error) {
	name = clean(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	in := s.live.find(name)
	if in == nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	b := make([]byte, in.size)
	in.read(b, 0)
	return b, nil
}

// List returns the paths of all files, sorted.
func (s *FS) List() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.live.names))
	for name := range s.live.names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *FS) damage(name string, do func(in *inode, name string) error) error {
	name = clean(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.live.find(name)
	if in == nil {
		return &fs.PathError{Op: "damage", Path: name, Err: fs.ErrNotExist}
	}
	return do(in, name)
}

// overwriteLocked keeps data.
func (s *FS) overwriteLocked(in *inode, name string, data []byte, off int64) {
	in.write(data, off)
	s.appendLocked(Op{Kind: OpDamage, Path: name, Off: off, Len: int64(len(data)), Data: data, ino: in.id})
}

func (s *FS) resizeLocked(in *inode, name string, size int64) {
	in.resize(size)
	s.appendLocked(Op{Kind: OpDamageSize, Path: name, Len: size, ino: in.id})
}
