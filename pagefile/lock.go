package pagefile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The text in a lock file says who holds it, for people and for LockError. It
// has no part in the locking, which is the kernel's and ends with the holder.
//
//	pid 4711
//	host web-1
//	ns pid:[4026531836]
//	since 2026-01-02T15:04:05Z

const (
	lockTextMax = 1024 // what is read of it
	lockTries   = 16   // how often the file may be replaced under us
)

func (osFS) Lock(path string) (io.Closer, error) {
	if err := trustedDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for range lockTries {
		f, err := openRegular(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		ok, err := lockFile(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !ok {
			holder := readHolder(f, filepath.Dir(path))
			f.Close()
			return nil, holder
		}
		// Somebody may have removed the name between open and lock; a lock on
		// a file without a name would exclude nobody.
		if !isAt(f, path) {
			f.Close()
			continue
		}
		// And somebody may remove it while it is held, taking it for a leftover:
		// the folder itself is locked too, where that can be.
		folder, free := lockFolder(filepath.Dir(path))
		if !free {
			f.Close()
			return nil, &LockError{Dir: filepath.Dir(path)}
		}
		writeHolder(f)
		return &heldLock{f: f, folder: folder}, nil
	}
	return nil, fmt.Errorf("lock %s: the file is being replaced", path)
}

// A heldLock is a lock that is held until Close.
type heldLock struct {
	once   sync.Once
	f      *os.File
	folder *os.File // nil: cannot be locked
}

// Close unlocks before it closes: a child that is just being forked has the
// descriptor too, and would keep the lock for that moment.
func (l *heldLock) Close() (err error) {
	l.once.Do(func() {
		if l.folder != nil {
			unlockFile(l.folder)
			l.folder.Close()
		}
		l.f.Truncate(0)
		err = unlockFile(l.f)
		if closeErr := l.f.Close(); err == nil {
			err = closeErr
		}
	})
	return err
}

// isAt reports whether f is the file that path names now.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, named)
}

// writeHolder writes who we are. Its errors are of no account: on a full disk
// the lock holds all the same, and the old text is gone.
func writeHolder(f *os.File) {
	if err := f.Truncate(0); err != nil {
		return
	}
	host, _ := os.Hostname()
	f.WriteAt(holderText(os.Getpid(), host, pidNamespace(), time.Now()), 0)
}

func holderText(pid int, host, namespace string, since time.Time) []byte {
	return fmt.Appendf(nil, "pid %d\nhost %s\nns %s\nsince %s\n",
		pid, host, namespace, since.UTC().Format(time.RFC3339Nano))
}

// readHolder says who holds the lock, as far as the text tells.
func readHolder(f *os.File, dir string) *LockError {
	text := make([]byte, lockTextMax)
	n, _ := f.ReadAt(text, 0)
	host, _ := os.Hostname()
	return parseHolder(text[:n], dir, host, pidNamespace())
}

// parseHolder reads a holder's text. A process id counts only on the host and in
// the namespace where it means something.
func parseHolder(text []byte, dir, host, namespace string) *LockError {
	holder := &LockError{Dir: dir}
	pid, theirs := 0, ""
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "pid":
			pid, _ = strconv.Atoi(value)
		case "host":
			holder.Host = printable(value)
		case "ns":
			theirs = value
		case "since":
			holder.Since, _ = time.Parse(time.RFC3339Nano, value)
		}
	}
	if pid > 0 && holder.Host == host && theirs == namespace {
		holder.PID = pid
	}
	return holder
}

// printable drops what could forge a line in a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
