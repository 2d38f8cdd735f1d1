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

// A Pusher is a File whose writes the kernel gathers, for a Sync to bring to the disk
// all at once.
type Pusher interface {
	// Push begins to bring n bytes at off to the disk. It does not make them
	// durable, and waits for a disk only where too much is on its way there. After
	// an error nothing written since the last good Sync may be trusted (I8).
	Push(off, n int64) error
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

// Push begins to bring n bytes of f at off to the disk.
func Push(f File, off, n int64) error {
	if p, ok := f.(Pusher); ok {
		return p.Push(off, n)
	}
	return nil
}
