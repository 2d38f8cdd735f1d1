package crashfs

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/pagefile"
)

func TestFaultsOfEachKind(t *testing.T) {
	s := New()
	must(t, s.MkdirAll("/d", 0o700))
	f := open(t, s, "/d/f")
	m, err := f.Map(pageSize)
	must(t, err)
	for _, c := range []struct {
		kind Kind
		do   func() error
	}{
		{OpOpen, func() error { _, err := s.OpenFile("/d/f", os.O_RDWR, 0); return err }},
		{OpCreate, func() error { _, err := s.OpenFile("/d/new", os.O_RDWR|os.O_CREATE, 0); return err }},
		{OpRead, func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err }},
		{OpWrite, func() error { _, err := f.WriteAt([]byte("x"), 0); return err }},
		{OpAllocate, func() error { return f.Allocate(0, 1) }},
		{OpSync, f.Sync},
		{OpPush, func() error { return pagefile.Push(f, 0, 1) }},
		{OpMap, func() error { _, err := f.Map(pageSize); return err }},
		{OpRemove, func() error { return s.Remove("/d/f") }},
		{OpReadDir, func() error { _, err := s.ReadDir("/d"); return err }},
		{OpMkdir, func() error { return s.MkdirAll("/d/e", 0o700) }},
		{OpSyncDir, func() error { return s.SyncDir("/d") }},
		{OpLock, func() error { _, err := s.Lock("/d/LOCK"); return err }},
		{OpLock, func() error { _, err := f.LockRange(0, 1, true); return err }},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			defer s.Fail(Rule{Kind: c.kind, Path: "/d", Err: syscall.EIO})()
			before := s.List()
			if err := c.do(); !errors.Is(err, syscall.EIO) {
				t.Errorf("%v, want EIO", err)
			}
			if c.kind != OpLock && len(s.List()) != len(before) {
				t.Errorf("files were %q and are %q", before, s.List())
			}
		})
	}
	t.Run("a mapped read that fails is a fault", func(t *testing.T) {
		defer s.Fail(Rule{Kind: OpRead, Err: syscall.EIO})()
		if _, err := m.ReadAt(make([]byte, 1), 0); !errors.Is(err, pagefile.ErrFault) {
			t.Errorf("%v, want ErrFault", err)
		}
	})
	t.Run("nothing failed had an effect", func(t *testing.T) {
		if size, err := f.Size(); size != 0 || err != nil {
			t.Errorf("Size = %d, %v", size, err)
		}
	})
}

func TestRule(t *testing.T) {
	hook := Rule{Kind: OpWrite, Path: "pages", Skip: 1, Times: 2, Err: syscall.EIO}.Hook()
	got := ""
	for range 5 {
		for _, op := range []Op{{Kind: OpWrite, Path: "/pages-1"}, {Kind: OpWrite, Path: "/x"}, {Kind: OpSync, Path: "/pages-1"}} {
			if hook(op) != nil {
				got += "!"
			} else {
				got += "."
			}
		}
	}
	if want := "...!..!........"; got != want {
		t.Errorf("hits %s, want %s", got, want)
	}
	start := time.Now()
	Rule{Delay: 5 * time.Millisecond}.Hook()(Op{})
	if took := time.Since(start); took < 5*time.Millisecond {
		t.Errorf("a delay of 5ms took %v", took)
	}
}

func TestShortWrite(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	defer s.Fail(Rule{Kind: OpWrite, Err: syscall.EIO, Short: 3})()
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteAt = %d, %v, want 3 and EIO", n, err)
	}
	wantFile(t, s, "/f", "abc")
	wantFile(t, s.Kill(s.Ops()-1), "/f", "")
	wantFile(t, s.Clone(), "/f", "abc")
}

// A vector is one operation, torn at any byte like a write.
func TestVectorIsOneOperation(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	before := s.Ops()
	parts := func() [][]byte { return [][]byte{[]byte("abc"), nil, []byte("def")} }
	if n, err := f.WriteVAt(parts(), 2); n != 6 || err != nil || s.Ops() != before+1 {
		t.Errorf("WriteVAt = %d, %v, %d operations, want 6 and 1", n, err, s.Ops()-before)
	}
	wantFile(t, s, "/f", "\x00\x00abcdef")
	defer s.Fail(Rule{Kind: OpWrite, Err: syscall.EIO, Short: 4})()
	if n, err := f.WriteVAt(parts(), 0); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("WriteVAt = %d, %v, want 4 and EIO", n, err)
	}
	wantFile(t, s, "/f", "abcdcdef")
}

func TestBudget(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	s.SetBudget(4 * pageSize)
	must(t, f.Allocate(0, 2*pageSize))
	full := func(err error) {
		t.Helper()
		if !errors.Is(err, pagefile.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v, want ErrNoSpace and ENOSPC", err)
		}
	}
	t.Run("an allocation that does not fit changes nothing", func(t *testing.T) {
		full(f.Allocate(pageSize, 4*pageSize))
		if size, _ := f.Size(); size != 2*pageSize {
			t.Errorf("Size = %d", size)
		}
	})
	t.Run("a write fills what is left", func(t *testing.T) {
		n, err := f.WriteAt(make([]byte, 4*pageSize), pageSize+1)
		full(err)
		if want := 3*pageSize - 1; n != want {
			t.Errorf("%d bytes written, want %d", n, want)
		}
		if got := s.Used(); got != 4*pageSize {
			t.Errorf("Used = %d", got)
		}
	})
	t.Run("reserved space takes writes on a full disk", func(t *testing.T) {
		write(t, f, 10, strings.Repeat("x", pageSize))
	})
	t.Run("a removed file gives its space back when it is closed", func(t *testing.T) {
		must(t, s.Remove("/f"))
		g := open(t, s, "/g")
		full(g.Allocate(0, 1))
		must(t, f.Close())
		must(t, g.Allocate(0, 4*pageSize))
	})
	t.Run("the message says what to do", func(t *testing.T) {
		_, err := open(t, s, "/g").WriteAt([]byte("x"), 8*pageSize)
		if err == nil || !strings.Contains(err.Error(), "MaxBytes") {
			t.Errorf("%v", err)
		}
	})
}

func TestHang(t *testing.T) {
	s := New()
	f := open(t, s, "/f")
	hang := s.Hang(OpWrite, "f")
	done := make(chan error)
	go func() {
		_, err := f.WriteAt([]byte("late"), 0)
		done <- err
	}()
	<-hang.Blocked
	wantFile(t, s, "/f", "")
	if err := f.Sync(); err != nil { // others go on
		t.Error(err)
	}
	hang.Release()
	hang.Release()
	must(t, <-done)
	wantFile(t, s, "/f", "late")
	write(t, f, 0, "free")
}

func TestNetworkAndNames(t *testing.T) {
	s := New()
	if _, ok := s.Network("/"); ok {
		t.Error("a new file system is on the network")
	}
	s.SetNetwork("nfs")
	if name, ok := s.Clone().Network("/"); name != "nfs" || !ok {
		t.Errorf("Network = %q, %v", name, ok)
	}
	f := open(t, s, "/f")
	write(t, f, 5, "abc")
	must(t, f.Sync())
	var got []string
	for _, op := range s.Log() {
		got = append(got, op.String())
	}
	if want := "create /f; write /f 5+3; sync /f"; strings.Join(got, "; ") != want {
		t.Errorf("log %q, want %s", got, want)
	}
}
