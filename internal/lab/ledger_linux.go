package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A ledger knows of each key what was stored under it. It lies in a file that is
// mapped, so that it outlives its process. Each key has one writer, whose writes
// have versions 1, 2, 3...; a delete has one as well.
type ledger struct {
	bytes []byte
	lines []ledgerLine
	top   []atomic.Uint64 // by key: the newest version that this life may show
}

// A ledgerLine is one key's.
type ledgerLine struct {
	begun atomic.Uint64 // the newest version; its write may not have returned
	done  atomic.Uint64 // the newest that has returned: none before it may be seen
	acked atomic.Uint64 // the newest that a Flush or a Close has acknowledged
	seen  atomic.Uint64 // the newest that an Open has shown, or acked if that is newer
}

func openLedger(name string, keys int) (*ledger, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := keys * int(unsafe.Sizeof(ledgerLine{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &ledger{b, unsafe.Slice((*ledgerLine)(unsafe.Pointer(&b[0])), keys), make([]atomic.Uint64, keys)}, nil
}

// begin notes that a write of key begins, and returns its version.
func (l *ledger) begin(key int) uint64 {
	v := l.lines[key].begun.Add(1)
	l.top[key].Store(v)
	return v
}

func (l *ledger) end(key int, version uint64) { l.lines[key].done.Store(version) }

// judge holds what was found under key to what may be there. low is what was done
// before it was read.
func (l *ledger) judge(key int, value []byte, low uint64, asked time.Time) error {
	e, err := decodeEntry(value)
	switch {
	case err != nil:
		return fmt.Errorf("key %d: %w", key, err)
	case e.key != key:
		return fmt.Errorf("key %d has a value of key %d", key, e.key)
	case e.version < low:
		return fmt.Errorf("key %d has version %d, version %d is the oldest that it may have", key, e.version, low)
	case e.version > l.top[key].Load():
		return fmt.Errorf("key %d has version %d, version %d is the newest", key, e.version, l.top[key].Load())
	case e.expires != 0 && asked.UnixNano() > e.expires+int64(expirySlack):
		return fmt.Errorf("key %d has expired %v ago", key, asked.Sub(time.Unix(0, e.expires)))
	}
	return nil
}

// expirySlack is how long the clock of a process may stand that was stopped.
const expirySlack = 8 * time.Second

// opened notes what a key holds after Open; value is nil if nothing. least is the
// oldest version that it may have.
func (l *ledger) opened(key int, value []byte, damaged, stale bool, asked time.Time) error {
	line := &l.lines[key]
	begun := line.begun.Load()
	l.top[key].Store(begun)
	if value == nil {
		l.top[key].Store(0)
		line.done.Store(begun)
		line.seen.Store(begun)
		return nil
	}
	least := line.seen.Load()
	if damaged {
		least = line.acked.Load()
	}
	if stale {
		least = 0
		line.acked.Store(0)
	}
	if err := l.judge(key, value, least, asked); err != nil {
		return err
	}
	e, _ := decodeEntry(value)
	l.top[key].Store(e.version)
	line.done.Store(e.version)
	line.seen.Store(e.version)
	return nil
}

// versions is what has returned.
func (l *ledger) versions(dst []uint64) []uint64 {
	for i := range l.lines {
		dst = append(dst, l.lines[i].done.Load())
	}
	return dst
}

// acknowledge notes that these versions are durable.
func (l *ledger) acknowledge(versions []uint64) {
	for i, v := range versions {
		l.lines[i].acked.Store(v)
		l.lines[i].seen.Store(max(v, l.lines[i].seen.Load()))
	}
}

// An entry is what a value says of itself.
type entry struct {
	key     int
	version uint64
	expires int64 // Unix ns; 0: never
}

const entryHeader = 24

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendEntry appends a value of that size, with a checksum at its end.
func appendEntry(dst []byte, e entry, size int) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.key))
	dst = binary.LittleEndian.AppendUint64(dst, e.version)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.expires))
	for z := uint64(e.key)<<40 ^ e.version; len(dst)-at < size-4; z = z*6364136223846793005 + 1442695040888963407 {
		dst = binary.LittleEndian.AppendUint64(dst, z)
	}
	dst = dst[:at+max(size-4, entryHeader)]
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
}

func decodeEntry(b []byte) (e entry, err error) {
	if len(b) < entryHeader+4 {
		return e, fmt.Errorf("a value of %d bytes, which nobody stored", len(b))
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return e, fmt.Errorf("a mixed value: its checksum is wrong")
	}
	return entry{int(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:]))}, nil
}
