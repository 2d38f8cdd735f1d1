package pagefile

import (
	"io"
	"os"
)

// An FS is all that Ember asks of an operating system: the seam between the
// file format and the disk. [OS] is the real one; internal/crashfs has one in
// memory that loses power on request. An FS is safe for concurrent use.
//
// There is no rename and no truncation: a file is created, written in place or
// at its end, and removed.
type FS interface {
	// Enter has paths in dir lead to the directory that dir names now, whatever becomes
	// of the name: it may be moved, removed, or another may take its name. Who comes
	// after the Close of the last that has entered gets an error, until dir is entered
	// anew. In a directory that was removed nothing can be made.
	Enter(dir string) (leave io.Closer, err error)
	// OpenFile opens a regular file. flag is os.O_RDONLY or os.O_RDWR, with
	// os.O_CREATE and os.O_EXCL where wanted; close-on-exec is added, and a
	// symbolic link as the last element is refused: whoever can plant one must
	// not choose what is written. A name that was created lasts a power cut only
	// after SyncDir.
	OpenFile(path string, flag int, perm os.FileMode) (File, error)
	// OpenDirect opens a regular file for reads that come from the disk and not
	// from the page cache, where the system can. Offset, length and address of a
	// read are multiples of PageSize; see [AlignedPages]. A read may fail where
	// one through OpenFile does not.
	OpenDirect(path string) (File, error)
	// Remove removes a file. Handles and mappings of it stay usable. After a
	// power cut the file may be back, unless SyncDir returned.
	Remove(path string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(dir string) ([]string, error)
	// MkdirAll makes a directory and those above it, and syncs the parent of
	// each that it made.
	MkdirAll(dir string, perm os.FileMode) error
	// SyncDir makes the names in dir durable as they are now.
	SyncDir(dir string) error
	// Lock takes the exclusive lock on the file path, made if it is missing, or
	// returns a *LockError at once. It holds against other processes and against
	// a second Lock in this one, until Close or the end of the process.
	Lock(path string) (io.Closer, error)
	// BootID names this run of the machine's kernel, "" if unknown. What was
	// written without sync under another one may be gone.
	BootID() string
	// Network reports whether dir lies on a network file system, and its name:
	// "nfs", "smb", "9p". Locks and mappings are weaker there.
	Network(dir string) (name string, ok bool)
	// Free is how many bytes this process may still take where dir lies; false if
	// nobody can tell.
	Free(dir string) (bytes int64, ok bool)
}

// A File is an open file. Reads and writes are positional, so that goroutines
// share one File without a position to fight over. Errors name operation and
// path; a full disk or an exceeded quota satisfies errors.Is(err, ErrNoSpace).
type File interface {
	// ReadAt is short only together with an error, io.EOF at the end.
	io.ReaderAt
	// WriteAt writes all of p or returns an error, with the count of bytes from
	// the start that reached the page cache.
	io.WriterAt
	// WriteVAt is WriteAt of parts, one after the other, with no more calls of the
	// system than it takes. Nobody may change them meanwhile. The slices in parts
	// are undefined afterwards, the bytes are not touched.
	WriteVAt(parts [][]byte, off int64) (n int, err error)
	// Close closes the handle and drops its range locks. It does not sync.
	io.Closer

	// Name is the path that was opened.
	Name() string
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Allocate reserves blocks for n bytes at off and extends the file to
	// off+n at least, so that later writes there need no space. New bytes read
	// as zero, existing ones stay. After an error the size is what it was.
	Allocate(off, n int64) error
	// Sync makes every write and allocation that returned before the call
	// durable. After an error nothing written since the last good Sync may be
	// trusted, not even after a later Sync that succeeds (I8).
	Sync() error
	// Map maps the first length bytes for reading. It returns ErrNoMmap where
	// files cannot be mapped; the File itself then serves as the reader.
	Map(length int64) (Mapping, error)
	// LockRange locks n bytes at off, shared or exclusive, without waiting;
	// false means that another handle holds them. The lock belongs to this
	// handle: a second LockRange of it replaces the first, but on Windows, where
	// it must be unlocked before. The bytes need not exist. An exclusive lock
	// needs a handle that may write.
	LockRange(off, n int64, exclusive bool) (bool, error)
	// UnlockRange drops this handle's locks on n bytes at off.
	UnlockRange(off, n int64) error
}

// A Mapping is a file mapped for reading. ReadAt copies out under a guard: where
// the pages cannot be read, because the file was truncated or its disk failed,
// it returns a *FaultError and the process lives. Close does not wait for
// readers; the last of them unmaps.
//
// What ReadAt returns may change until it is copied, so verify the copy (I3).
type Mapping interface {
	io.ReaderAt
	io.Closer
}
