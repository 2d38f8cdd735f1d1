package pagefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
)

// mapFilled maps a new file of n bytes, byte i being i/4096+1.
func mapFilled(t *testing.T, n int) (path string, m Mapping) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pages")
	f := createFile(t, path)
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i/4096 + 1)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	m, err := f.Map(int64(n))
	if errors.Is(err, ErrNoMmap) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, m
}

func TestMappingReads(t *testing.T) {
	_, m := mapFilled(t, 3*4096+10)
	defer m.Close()
	for _, c := range []struct {
		off, len, n int
		err         error
	}{
		{0, 4096, 4096, nil}, {4090, 12, 12, nil}, {3 * 4096, 10, 10, nil},
		{3 * 4096, 11, 10, io.EOF}, {3*4096 + 10, 1, 0, io.EOF}, {1 << 40, 1, 0, io.EOF}, {5, 0, 0, nil},
	} {
		got := make([]byte, c.len)
		n, err := m.ReadAt(got, int64(c.off))
		if n != c.n || err != c.err {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v, want %d, %v", c.len, c.off, n, err, c.n, c.err)
		}
		for i := range n {
			if want := byte((c.off+i)/4096 + 1); got[i] != want {
				t.Fatalf("byte %d is %d, want %d", c.off+i, got[i], want)
			}
		}
	}
	if _, err := m.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset was accepted")
	}
}

func TestMappingOfATruncatedFile(t *testing.T) {
	path, m := mapFilled(t, 4*4096)
	defer m.Close()
	before := make([]byte, 4*4096)
	if _, err := m.ReadAt(before, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	t.Run("lost pages are a FaultError", func(t *testing.T) {
		for _, at := range []struct{ off, len int }{{4096, 4096}, {3*4096 + 17, 1}, {0, 3 * 4096}, {4000, 200}} {
			_, err := m.ReadAt(make([]byte, at.len), int64(at.off))
			var fault *FaultError
			if !errors.As(err, &fault) || !errors.Is(err, ErrFault) {
				t.Fatalf("read of %d bytes at %d: %v, want a FaultError", at.len, at.off, err)
			}
			if fault.Path != path || fault.Off != int64(at.off) || fault.Len != at.len {
				t.Errorf("the error names %+v", *fault)
			}
		}
	})
	t.Run("what is left reads", func(t *testing.T) {
		got := make([]byte, 4096)
		if _, err := m.ReadAt(got, 0); err != nil || !bytes.Equal(got, before[:4096]) {
			t.Errorf("the first page is wrong: %v", err)
		}
	})
	t.Run("the guard ends with the read", func(t *testing.T) {
		old := debug.SetPanicOnFault(false)
		if old {
			t.Error("faults of this goroutine still panic")
		}
	})
}

func TestGuardPassesOtherPanicsOn(t *testing.T) {
	for _, r := range []any{"text", errors.New("error"), fmt.Errorf("wrapped: %w", io.EOF)} {
		if faultIn(r, make([]byte, 10)) {
			t.Errorf("%v passes for a fault", r)
		}
	}
	// A store into a read-only mapping faults too, but not where it reads.
	_, m := mapFilled(t, 4096)
	defer m.Close()
	defer func() {
		if recover() == nil {
			t.Error("a fault at another address was swallowed")
		}
	}()
	guardedCopy(m.(*mapping).data, make([]byte, 4096), "x", 0)
}

func TestMappingClose(t *testing.T) {
	_, m := mapFilled(t, 64*4096)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			b := make([]byte, 64*4096)
			for {
				if _, err := m.ReadAt(b, 0); err != nil {
					if !errors.Is(err, os.ErrClosed) {
						t.Errorf("reader: %v", err)
					}
					return
				}
			}
		})
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
	if err := m.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestMapRefusals(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a"))
	if _, err := f.Map(0); err == nil {
		t.Error("an empty mapping was made")
	}
	f.Close()
	if _, err := f.Map(4096); !errors.Is(err, ErrNoMmap) {
		t.Errorf("map of a closed file: %v, want ErrNoMmap", err)
	}
}
