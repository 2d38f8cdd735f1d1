package pagefile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"unsafe"
)

// Map maps the file. Whatever refuses the mapping, the file itself still reads:
// every refusal is ErrNoMmap.
func (f *osFile) Map(length int64) (Mapping, error) {
	if length <= 0 {
		return nil, fmt.Errorf("map %s: bad length %d", f.Name(), length)
	}
	if length > math.MaxInt {
		return nil, fmt.Errorf("map %s: %d bytes: %w", f.Name(), length, ErrNoMmap)
	}
	data, err := mapBytes(f.f, int(length))
	if err != nil {
		return nil, fmt.Errorf("map %s: %w: %w", f.Name(), ErrNoMmap, err)
	}
	m := &mapping{name: f.Name(), data: data}
	m.refs.Store(1)
	return m, nil
}

// A mapping is mapped memory and a count of who may touch it: one for the owner
// until Close, one for each ReadAt. Whoever takes it to zero unmaps. So neither a
// reader whose disk hangs can hold up Close, nor Close pull pages from a reader.
type mapping struct {
	name   string
	data   []byte // not to be touched outside read
	refs   atomic.Int64
	closed atomic.Bool
}

func (m *mapping) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: negative offset %d", m.name, off)
	}
	if !m.acquire() {
		return 0, fmt.Errorf("read %s: %w", m.name, os.ErrClosed)
	}
	defer m.release()
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	src := m.data[off:]
	if len(src) >= len(p) {
		return guardedCopy(p, src, m.name, off)
	}
	n, err := guardedCopy(p[:len(src)], src, m.name, off)
	if err == nil {
		err = io.EOF
	}
	return n, err
}

func (m *mapping) Close() error {
	if m.closed.Swap(true) {
		return fmt.Errorf("close mapping of %s: %w", m.name, os.ErrClosed)
	}
	return m.release()
}

// acquire fails once the count has been zero: the memory is gone then.
func (m *mapping) acquire() bool {
	for !m.closed.Load() {
		n := m.refs.Load()
		if n == 0 {
			return false
		}
		if m.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

func (m *mapping) release() error {
	if m.refs.Add(-1) > 0 {
		return nil
	}
	return unmapBytes(m.data)
}

// guardedCopy copies len(dst) bytes of mapped memory. The kernel answers a read
// of a page that is past the file's end, or that its disk does not give, with a
// signal; the runtime turns it into a panic that can be told from all others by
// its address.
func guardedCopy(dst, src []byte, name string, off int64) (n int, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if !faultIn(r, src[:len(dst)]) {
			panic(r)
		}
		n, err = 0, &FaultError{Path: name, Off: off, Len: len(dst)}
	}()
	return copy(dst, src), nil
}

// faultIn reports whether r, recovered, is a fault at an address in mem.
func faultIn(r any, mem []byte) bool {
	failed, ok := r.(runtime.Error)
	if !ok {
		return false
	}
	var fault interface{ Addr() uintptr }
	if !errors.As(failed, &fault) {
		return false
	}
	// Some processors give only the page's address.
	first := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	page := first &^ uintptr(os.Getpagesize()-1)
	return fault.Addr() >= page && fault.Addr() < first+uintptr(len(mem))
}
