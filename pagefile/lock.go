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

func (s *osFS) Lock(path string) (io.Closer, error) {
	d, done, err := s.folders.in(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	lock, err := lockIn(d, path)
	if err != nil {
		done()
		return nil, err
	}
	lock.done = done
	return lock, nil
}

func lockIn(d *folder, path string) (*heldLock, error) {
	if err := d.trusted(); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for range lockTries {
		f, err := openRegular(d, path, os.O_RDWR|os.O_CREATE, 0o600)
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
		if !d.has(f, path) {
			f.Close()
			continue
		}
		// And somebody may remove it while it is held, taking it for a leftover:
		// the folder itself is locked too, where that can be.
		locked, free := lockFolder(d)
		if !free {
			f.Close()
			return nil, &LockError{Dir: filepath.Dir(path), folder: true}
		}
		writeHolder(f)
		return &heldLock{f: f, folder: d, locked: locked}, nil
	}
	return nil, fmt.Errorf("lock %s: the file is being replaced", path)
}

// A heldLock is a lock that is held until Close.
type heldLock struct {
	once   sync.Once
	f      *os.File
	folder *folder
	locked bool         // the folder is
	done   func() error // of the folder
}

// Close unlocks before it closes: a child that is just being forked has the
// descriptor too, and would keep the lock for that moment.
func (l *heldLock) Close() (err error) {
	l.once.Do(func() {
		if l.locked {
			unlockFile(l.folder.self)
		}
		l.f.Truncate(0)
		err = unlockFile(l.f)
		if closeErr := l.f.Close(); err == nil {
			err = closeErr
		}
		l.done()
	})
	return err
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
