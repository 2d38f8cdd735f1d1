package pagefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Sentinel errors, met when a directory is opened. Test with errors.Is.
var (
	// ErrLocked: another process, or this one, has the directory open. The
	// detail is in *LockError.
	ErrLocked = errors.New("directory in use")
	// ErrVersion: written by a newer build, in a format this one does not know.
	// Such a file is not ours to touch.
	ErrVersion = errors.New("newer format version")
)

// Sentinel errors, met when files are read.
var (
	// ErrCorrupt: bytes that fail verification. The detail for pages is in
	// *CorruptionError.
	ErrCorrupt = errors.New("corrupt page")
	// ErrFault: a mapped page could not be read. The detail is in *FaultError.
	ErrFault = errors.New("fault in mapped file")
	// ErrNoMmap: the platform or the file system cannot map files.
	ErrNoMmap = errors.New("mapping unsupported")
)

// Sentinel errors, met when files are written.
var (
	// ErrNoSpace: the device is full or a quota is exceeded.
	ErrNoSpace = errors.New("no space on device")
)

// A CorruptionError locates a page that failed verification. It wraps ErrCorrupt.
type CorruptionError struct {
	Path       string // page file
	Shard      int
	Page       uint32
	Generation uint64
	Want, Got  uint64 // checksums
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%v: %s page %d (shard %d, generation %d): checksum %016x, want %016x",
		ErrCorrupt, e.Path, e.Page, e.Shard, e.Generation, e.Got, e.Want)
}

func (e *CorruptionError) Unwrap() error { return ErrCorrupt }

// A LockError names the holder of the directory lock. It wraps ErrLocked.
type LockError struct {
	Dir   string
	PID   int       // 0 if unknown (another host or PID namespace)
	Host  string    // "" if unknown
	Since time.Time // zero if unknown

	folder bool // it is not the file LOCK that is locked, but Dir itself
}

func (e *LockError) Error() string {
	text := fmt.Sprintf("lock %s: %v", e.Dir, ErrLocked)
	switch {
	case e.PID != 0 && e.PID == os.Getpid():
		text += " by this process"
	case e.PID != 0:
		text += fmt.Sprintf(" by process %d", e.PID)
	}
	if e.Host != "" {
		text += " on " + e.Host
	}
	if !e.Since.IsZero() {
		text += " since " + e.Since.Format(time.RFC3339)
	}
	if e.PID == 0 {
		text += e.unknown()
	}
	return text + ": close it there, or use another directory"
}

// unknown says what is locked by whoever left no name that means anything here, and how
// to find out.
func (e *LockError) unknown() string {
	what := filepath.Join(e.Dir, "LOCK")
	if e.folder {
		what = "the folder " + e.Dir + " itself"
	}
	return fmt.Sprintf(", by a lock (flock) on %s that lsof, fuser and /proc/locks tell of", what)
}

func (e *LockError) Unwrap() error { return ErrLocked }

// A FaultError says which bytes of a mapped file could not be read: the file is
// shorter than it was, or its disk failed. It wraps ErrFault. A reader treats
// the bytes as lost.
type FaultError struct {
	Path string
	Off  int64 // first byte asked for
	Len  int
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("read %s at %d, %d bytes: %v", e.Path, e.Off, e.Len, ErrFault)
}

func (e *FaultError) Unwrap() error { return ErrFault }

// A spaceError is a full disk: it is both ErrNoSpace and the system's error.
type spaceError struct {
	op   string // "allocate 64 MiB of /x/pages-0"
	need int64  // bytes asked for; 0: unknown
	err  error
}

// NoSpace wraps err, a full disk or an exceeded quota, met in op ("write
// /x/pages-0"), so that it is ErrNoSpace and says what to do. It is for
// implementations of FS. need is how many bytes op asked for, 0 if unknown.
func NoSpace(op string, need int64, err error) error { return &spaceError{op, need, err} }

// Needed is how many bytes were asked for that there was no space for; 0 if that
// is unknown, or err is something else.
func Needed(err error) int64 {
	var full *spaceError
	if errors.As(err, &full) {
		return full.need
	}
	return 0
}

func (e *spaceError) Error() string {
	advice := "free some or lower MaxBytes"
	if isQuota(e.err) {
		advice = "raise the quota or lower MaxBytes"
	}
	return fmt.Sprintf("%s: %v: %s", e.op, ErrNoSpace, advice)
}

func (e *spaceError) Unwrap() []error { return []error{ErrNoSpace, e.err} }
