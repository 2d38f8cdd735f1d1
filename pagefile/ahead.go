package pagefile

import "errors"

// A Reserver is a File on a file system that sets space aside without writing
// it.
type Reserver interface {
	// Reserve is Allocate, but fails where that would take writing, or memory,
	// as on a tmpfs: with errors.ErrUnsupported.
	Reserve(off, n int64) error
}

// A Forgetter is a File whose pages the kernel keeps in memory until it is told
// that nobody will read them.
type Forgetter interface {
	// Forget drops what is cached of n bytes at off, but for what is not on the
	// disk yet.
	Forget(off, n int64)
}

// A Teller is an FS that can tell where files are memory.
type Teller interface {
	// InMemory reports whether what files in dir take is memory, which the kernel
	// does not get back as long as they are there: a tmpfs.
	InMemory(dir string) bool
}

// InMemory reports whether files in dir are known to take memory.
func InMemory(fsys FS, dir string) bool {
	t, ok := fsys.(Teller)
	return ok && t.InMemory(dir)
}

// Reserve reserves space for n bytes of f at off where that costs nothing.
func Reserve(f File, off, n int64) error {
	if r, ok := f.(Reserver); ok {
		return r.Reserve(off, n)
	}
	return errors.ErrUnsupported
}

// Forget says that n bytes of f at off will not be read soon.
func Forget(f File, off, n int64) {
	if r, ok := f.(Forgetter); ok {
		r.Forget(off, n)
	}
}
