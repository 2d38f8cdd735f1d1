package pagefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// leaseFile is the file whose bytes stand for generations. It stays empty:
// locked bytes need not exist.
const leaseFile = "LEASE"

// leaseBytes is how many generations have a byte of their own; those further
// apart share one, which keeps a place longer than needed and harms nothing.
const leaseBytes = 1 << 62

// A reader may meet the dumper's question, an exclusive lock that it drops at
// once. It asks again this often, this far apart.
const (
	leaseTries = 200
	leasePause = time.Millisecond
)

// A Lease keeps the places of a generation from being reused (I11), between
// goroutines and between processes. A reader holds a shared lock on the
// generation's byte; the dumper asks by trying the exclusive one. The kernel
// drops a dead reader's lock. Safe for concurrent use.
type Lease struct {
	file File

	mu   sync.Mutex
	held map[int64]int // readers of this Lease by byte; the file's lock is held while > 0
}

// OpenLeaseReader opens a lease file that exists, for a reader that changes nothing
// in the directory: it can hold, but not ask. The error of one that does not exist
// wraps fs.ErrNotExist.
func OpenLeaseReader(fsys FS, dir string) (*Lease, error) {
	file, err := fsys.OpenFile(filepath.Join(dir, leaseFile), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open lease: %w", err)
	}
	return &Lease{file: file, held: make(map[int64]int)}, nil
}

// OpenLease opens the lease file of a directory. A reader without permission to
// write there can hold, but not ask.
func OpenLease(fsys FS, dir string) (*Lease, error) {
	path := filepath.Join(dir, leaseFile)
	file, err := fsys.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil && (errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err)) {
		refused := err
		if file, err = fsys.OpenFile(path, os.O_RDONLY, 0); err != nil {
			err = fmt.Errorf("%w: %w", refused, err) // it is missing because it may not be made
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open lease: %w", err)
	}
	return &Lease{file: file, held: make(map[int64]int)}, nil
}

// Hold keeps the places of a generation until release, which may be called
// again. The generation may have been retired before Hold returned: a caller
// checks afterwards that a record still retains it.
func (l *Lease) Hold(generation uint64) (release func(), err error) {
	at := int64(generation % leaseBytes)
	for range leaseTries {
		ok, err := l.tryHold(at)
		if err != nil {
			return nil, fmt.Errorf("hold generation %d: %w", generation, err)
		}
		if ok {
			return sync.OnceFunc(func() { l.drop(at) }), nil
		}
		time.Sleep(leasePause)
	}
	return nil, fmt.Errorf("hold generation %d: %w", generation, ErrLocked)
}

func (l *Lease) tryHold(at int64) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[at] == 0 {
		if ok, err := l.file.LockRange(at, 1, false); !ok || err != nil {
			return false, err
		}
	}
	l.held[at]++
	return true, nil
}

// drop ends one hold. An unlock that fails keeps a place from reuse until the
// process ends, no worse.
func (l *Lease) drop(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[at]--
	if l.held[at] == 0 {
		delete(l.held, at)
		l.file.UnlockRange(at, 1)
	}
}

// Held reports whether anybody holds a generation: this Lease, another of this
// process, or another process. After an error, take it as held.
func (l *Lease) Held(generation uint64) (bool, error) {
	at := int64(generation % leaseBytes)
	l.mu.Lock()
	defer l.mu.Unlock()
	// Asking would turn our own shared lock into an exclusive one, and drop it.
	if l.held[at] > 0 {
		return true, nil
	}
	free, err := l.file.LockRange(at, 1, true)
	if err != nil {
		return true, fmt.Errorf("ask for generation %d: %w", generation, err)
	}
	if !free {
		return true, nil
	}
	if err := l.file.UnlockRange(at, 1); err != nil {
		return true, fmt.Errorf("ask for generation %d: %w", generation, err)
	}
	return false, nil
}

// HeldBefore lists the generations before one that others hold, ascending. It asks
// for half of a range, then for half of that: a process that takes the directory
// over does not know which numbers to ask for. Readers of this Lease do not count.
func (l *Lease) HeldBefore(generation uint64) (list []uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) > 0 {
		return nil, fmt.Errorf("ask for generations before %d: this lease holds some", generation)
	}
	err = l.search(0, int64(min(generation, leaseBytes)), func(at int64) { list = append(list, uint64(at)) })
	if err != nil {
		return nil, fmt.Errorf("ask for generations before %d: %w", generation, err)
	}
	return list, nil
}

func (l *Lease) search(from, to int64, found func(int64)) error {
	if from >= to {
		return nil
	}
	free, err := l.file.LockRange(from, to-from, true)
	switch {
	case err != nil:
		return err
	case free:
		return l.file.UnlockRange(from, to-from)
	case to-from == 1:
		found(from)
		return nil
	}
	middle := from + (to-from)/2
	if err := l.search(from, middle, found); err != nil {
		return err
	}
	return l.search(middle, to, found)
}

// Close drops all holds of this Lease.
func (l *Lease) Close() error { return l.file.Close() }
