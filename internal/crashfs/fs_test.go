package crashfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// must stops the test at an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, s *FS, name string) pagefile.File {
	t.Helper()
	f, err := s.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	return f
}

func write(t *testing.T, f pagefile.File, off int64, text string) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), off)
	must(t, err)
}

// wantFile checks a file's bytes; "-" is a missing file.
func wantFile(t *testing.T, s *FS, name, want string) {
	t.Helper()
	b, err := s.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte("-")
	}
	if got := string(b); got != want {
		t.Errorf("%s holds %.60q (%d bytes), want %.60q (%d)", name, got, len(got), want, len(want))
	}
}

func TestFileAgainstOS(t *testing.T) {
	const seed = 1
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	real, err := pagefile.OS().OpenFile(t.TempDir()+"/f", os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer real.Close()
	sim := open(t, New(), "/f")
	for range 600 {
		off, n := rng.Int64N(40_000), rng.IntN(10_000)+1
		switch rng.IntN(4) {
		case 0:
			must(t, real.Allocate(off, int64(n)))
			must(t, sim.Allocate(off, int64(n)))
		case 1:
			want, got := make([]byte, n), make([]byte, n)
			wantN, wantErr := real.ReadAt(want, off)
			gotN, gotErr := sim.ReadAt(got, off)
			if gotN != wantN || gotErr != wantErr || !bytes.Equal(got, want) {
				t.Fatalf("ReadAt(%d, %d) = %d, %v, want %d, %v", n, off, gotN, gotErr, wantN, wantErr)
			}
		default:
			b := bytes.Repeat([]byte{byte(rng.Uint32())}, n)
			_, err := real.WriteAt(b, off)
			must(t, err)
			_, err = sim.WriteAt(b, off)
			must(t, err)
		}
		want, _ := real.Size()
		if got, err := sim.Size(); got != want || err != nil {
			t.Fatalf("Size = %d, %v, want %d", got, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	s := New()
	must(t, s.MkdirAll("/a/b", 0o700))
	open(t, s, "/a/x")
	open(t, s, "/a/b/y")
	if got, err := s.ReadDir("/a"); err != nil || strings.Join(got, " ") != "b x" {
		t.Errorf("ReadDir = %q, %v", got, err)
	}
	if got := strings.Join(s.List(), " "); got != "/a/b/y /a/x" {
		t.Errorf("List = %s", got)
	}
	for _, c := range []struct {
		name string
		flag int
		want error
	}{
		{"/a/none", os.O_RDWR, fs.ErrNotExist},
		{"/none/x", os.O_RDWR | os.O_CREATE, fs.ErrNotExist},
		{"/a/x", os.O_RDWR | os.O_CREATE | os.O_EXCL, fs.ErrExist},
		{"/a/x", os.O_RDWR | os.O_TRUNC, errors.ErrUnsupported},
		{"/a/b", os.O_RDONLY, syscall.EISDIR},
	} {
		if _, err := s.OpenFile(c.name, c.flag, 0); !errors.Is(err, c.want) {
			t.Errorf("open %s with %#x: %v, want %v", c.name, c.flag, err, c.want)
		}
	}
	if _, err := s.ReadDir("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir of nothing: %v", err)
	}
	if err := s.SyncDir("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of nothing: %v", err)
	}
	if err := s.Remove("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing: %v", err)
	}
	if err := s.MkdirAll("/a/x/y", 0o700); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("MkdirAll below a file: %v", err)
	}
}

func TestHandles(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	write(t, f, 0, "text")
	readOnly, err := s.OpenFile("/f", os.O_RDONLY, 0)
	must(t, err)
	if _, err := readOnly.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("write through a read-only handle: %v", err)
	}
	t.Run("a removed file lives as long as its handles", func(t *testing.T) {
		must(t, s.Remove("/f"))
		write(t, f, 4, "!")
		got := make([]byte, 5)
		if _, err := readOnly.ReadAt(got, 0); err != nil || string(got) != "text!" {
			t.Errorf("read %q, %v", got, err)
		}
		if got := s.Used(); got != pageSize {
			t.Errorf("Used = %d with a handle open, want a page", got)
		}
		if got := strings.Join(s.OpenHandles(), " "); got != "/f /f" {
			t.Errorf("OpenHandles = %s", got)
		}
		must(t, f.Close())
		must(t, readOnly.Close())
		if got := s.Used(); got != 0 {
			t.Errorf("Used = %d after the last Close, want 0", got)
		}
	})
	t.Run("a closed handle refuses", func(t *testing.T) {
		_, writeErr := f.WriteAt([]byte("x"), 0)
		_, readErr := f.ReadAt(make([]byte, 1), 0)
		_, sizeErr := f.Size()
		_, mapErr := f.Map(1)
		for _, err := range []error{f.Close(), writeErr, readErr, sizeErr, mapErr, f.Allocate(0, 1)} {
			if !errors.Is(err, os.ErrClosed) {
				t.Errorf("%v, want os.ErrClosed", err)
			}
		}
	})
}

func TestMapping(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	write(t, f, 0, strings.Repeat("a", 3*pageSize))
	m, err := f.Map(4 * pageSize)
	must(t, err)
	defer m.Close()
	read := func(off int64, n int) (string, error) {
		b := make([]byte, n)
		n, err := m.ReadAt(b, off)
		return string(b[:n]), err
	}
	t.Run("reads see what is written now", func(t *testing.T) {
		write(t, f, pageSize, "b")
		if got, err := read(pageSize-1, 3); got != "aba" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
	t.Run("what the file lacks is a fault, what the mapping lacks the end", func(t *testing.T) {
		if _, err := read(3*pageSize-1, 2); !errors.Is(err, pagefile.ErrFault) {
			t.Errorf("read past the file: %v", err)
		}
		if _, err := read(4*pageSize, 1); err != io.EOF {
			t.Errorf("read past the mapping: %v", err)
		}
	})
	t.Run("a read over the end of both is short", func(t *testing.T) {
		whole, err := f.Map(3 * pageSize)
		must(t, err)
		defer whole.Close()
		if n, err := whole.ReadAt(make([]byte, 10), 3*pageSize-4); n != 4 || err != io.EOF {
			t.Errorf("ReadAt = %d, %v, want 4 and the end", n, err)
		}
	})
	t.Run("truncation takes whole pages away", func(t *testing.T) {
		must(t, s.TruncateFile("/f", pageSize+1))
		if got, err := read(pageSize, 2); got != "b\x00" || err != nil {
			t.Errorf("read %q, %v in the page of the end", got, err)
		}
		if _, err := read(2*pageSize, 1); !errors.Is(err, pagefile.ErrFault) {
			t.Errorf("read past that page: %v", err)
		}
	})
	t.Run("a file system may refuse to map", func(t *testing.T) {
		s.SetNoMmap(true)
		if _, err := f.Map(pageSize); !errors.Is(err, pagefile.ErrNoMmap) {
			t.Errorf("Map: %v", err)
		}
	})
}

func TestLocks(t *testing.T) {
	s := New()
	lock, err := s.Lock("/LOCK")
	must(t, err)
	var locked *pagefile.LockError
	if _, err := s.Lock("/LOCK"); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("second lock: %v, want a LockError of this process", err)
	}
	if other, err := s.Clone().Lock("/LOCK"); err != nil {
		t.Errorf("lock in a clone: %v", err)
	} else {
		other.Close()
	}
	must(t, lock.Close())
	must(t, lock.Close())
	if again, err := s.Lock("/LOCK"); err != nil {
		t.Errorf("lock after release: %v", err)
	} else {
		again.Close()
	}
	if got := s.OpenHandles(); len(got) != 0 {
		t.Errorf("handles left: %q", got)
	}
}

func TestRangeLocks(t *testing.T) {
	s := New()
	a, b := open(t, s, "/f"), open(t, s, "/f")
	want := func(f pagefile.File, off, n int64, exclusive, want bool) {
		t.Helper()
		if got, err := f.LockRange(off, n, exclusive); got != want || err != nil {
			t.Errorf("LockRange(%d, %d, %v) = %v, %v, want %v", off, n, exclusive, got, err, want)
		}
	}
	want(a, 0, 10, true, true)
	want(b, 9, 1, false, false)
	want(b, 10, 1, true, true)
	want(a, 0, 10, false, true) // own lock, replaced
	want(b, 0, 1, false, true)
	want(b, 0, 1, true, false)
	must(t, a.UnlockRange(3, 4)) // leaves 0..2 and 7..9
	want(b, 3, 4, true, true)
	want(b, 2, 1, true, false)
	want(b, 7, 1, true, false)
	must(t, a.Close())
	want(b, 0, 10, true, true)
}

// Whoever writes the first record of a ring need not think of the ring's name.
func TestRingIsDurableOnceItIsOpen(t *testing.T) {
	s := New()
	ring, err := pagefile.OpenRing(s, "/", pagefile.RecordsName)
	must(t, err)
	must(t, ring.Close())
	lost := s.Crash(s.Ops(), Cut{Fate: FateLost})
	if b, err := lost.ReadFile("/" + pagefile.RecordsName); err != nil || len(b) != pagefile.RingSize {
		t.Errorf("a power cut leaves %d bytes of a ring, %v, want %d", len(b), err, pagefile.RingSize)
	}
}

func TestLease(t *testing.T) {
	s := New()
	dumper, err := pagefile.OpenLease(s, "/")
	must(t, err)
	reader, err := pagefile.OpenLease(s, "/")
	must(t, err)
	release, err := reader.Hold(5)
	must(t, err)
	if held, err := dumper.Held(5); !held || err != nil {
		t.Errorf("Held = %v, %v, want held", held, err)
	}
	release()
	if held, err := dumper.Held(5); held || err != nil {
		t.Errorf("Held after release = %v, %v", held, err)
	}
}

func TestDamage(t *testing.T) {
	s := New()
	must(t, s.Plant("/f", append(bytes.Repeat([]byte{'a'}, pageSize), bytes.Repeat([]byte{'b'}, pageSize)...)))
	must(t, s.Flip("/f", 1, 3))
	must(t, s.SwapPages("/f", 0, 1))
	must(t, s.Overwrite("/f", 2*pageSize, []byte("tail")))
	must(t, s.Plant("/gone", []byte("x")))
	must(t, s.Erase("/gone"))
	want := strings.Repeat("b", pageSize) + "ab" + strings.Repeat("a", pageSize-2) + "tail"
	wantFile(t, s, "/f", want)
	t.Run("damage survives every crash", func(t *testing.T) {
		lost := s.Crash(s.Ops(), Cut{Fate: FateLost})
		wantFile(t, lost, "/f", want)
		wantFile(t, lost, "/gone", "-")
		wantFile(t, s.Kill(1), "/f", "")
	})
	for _, err := range []error{
		s.Flip("/f", 2*pageSize+4, 1), s.SwapPages("/f", 1, 2), s.Flip("/none", 0, 1),
		s.Erase("/none"), s.Plant("/none/f", nil),
	} {
		if err == nil {
			t.Error("damage to what is not there was accepted")
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := New()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			f, err := s.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			for j := range 50 {
				f.WriteAt(bytes.Repeat([]byte{byte(i)}, 5000), int64(j)*100)
				f.ReadAt(make([]byte, 5000), int64(j))
				f.Sync()
				s.Crash(s.Ops(), Cut{Seed: uint64(j)})
				s.Clone().Used()
			}
		})
	}
	all.Wait()
}
