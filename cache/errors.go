package cache

import (
	"errors"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// Errors that callers of a method meet. Test with errors.Is.
var (
	// ErrNotFound is what View returns on a miss. A load returns it for a key that
	// does not exist; see Freshness.NegativeTTL.
	ErrNotFound = errors.New("cache: not found")
	// ErrClosed is returned by methods called after Close or Shutdown.
	ErrClosed = errors.New("cache: closed")
	// ErrTooLarge is returned for an entry over Options.MaxEntryBytes, or a key
	// over half a segment; see there.
	ErrTooLarge = errors.New("cache: entry too large")
	// ErrKeySize is returned for a key that is empty or over 65,535 bytes.
	ErrKeySize = errors.New("cache: key size")
	// ErrReadOnly is returned for a write to a cache that was opened with
	// Options.ReadOnly or Recovery.Generation, and while Recovery.Validate runs.
	ErrReadOnly = errors.New("cache: read-only")
	// ErrConflict is returned by SetEntry where IfAbsent or IfStamp is not met.
	ErrConflict = errors.New("cache: condition not met")
)

// Errors that arise in the files; the values are those of the packages below.
var (
	// ErrSchema is within the Reason of a cold start over a directory that was
	// written under another Schema, and is returned by Of for a Namespace that is in
	// use in another form.
	ErrSchema = loader.ErrSchema
	// ErrLocked means that another process, or another Cache of this one, holds
	// the directory. The detail is in a *LockError.
	ErrLocked = pagefile.ErrLocked
	// ErrCorrupt means that a page failed verification. The detail is in a
	// *CorruptionError.
	ErrCorrupt = pagefile.ErrCorrupt
	// ErrNoSpace means that the device is full: persistence is paused, serving
	// goes on.
	ErrNoSpace = pagefile.ErrNoSpace
	// ErrNoMmap means that the platform or file system cannot map files. Open
	// then reads them by position.
	ErrNoMmap = pagefile.ErrNoMmap
)

// A LockError names the holder of the directory lock, as far as it is known: Dir,
// PID, Host, Since. It wraps ErrLocked.
type LockError = pagefile.LockError

// A CorruptionError locates a page that failed verification: Path, Shard, Page and
// Generation, and the checksums that it was to have and has, Want and Got, both 0 if
// it is not that. It wraps ErrCorrupt.
type CorruptionError = pagefile.CorruptionError
