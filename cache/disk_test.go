//go:build linux

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/embercache/ember/pagefile"
)

// Laws of full, read-only and vanished disks, on real file systems.

const (
	diskSize = 40 << 20
	diskKeys = 60
)

// onDisks runs a law on a small file system of each kind that can be made here.
func onDisks(t *testing.T, law func(t *testing.T, dir string)) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	t.Run("tmpfs", func(t *testing.T) {
		dir := t.TempDir()
		mount(t, "ember", dir, "tmpfs", fmt.Sprintf("size=%d", diskSize))
		law(t, dir)
	})
	t.Run("ext4", func(t *testing.T) {
		law(t, newExt4(t, "").dir)
	})
}

// An ext4 is a small file system on a file.
type ext4 struct{ image, device, dir string }

func newExt4(t *testing.T, options string) ext4 {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may mount a file system")
	}
	e := ext4{image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	if err := os.WriteFile(e.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(e.image, diskSize); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", "-m", "0", e.image)
	e.device = tool(t, "losetup", "-f", "--show", e.image)
	t.Cleanup(func() { tool(t, "losetup", "-d", e.device) })
	mount(t, e.device, e.dir, "ext4", options)
	return e
}

// tool runs a program of the system's.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Skipf("%s does not work here: %v: %s", name, err, out)
	}
	return strings.TrimSpace(string(out))
}

func mount(t *testing.T, device, dir, kind, data string) {
	t.Helper()
	if err := unix.Mount(device, dir, kind, 0, data); err != nil {
		t.Skipf("mounting %s does not work here: %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			t.Errorf("unmount: %v", err) // EINVAL: it is not mounted any more
		}
	})
}

// fillDisk takes all space of a disk; free gives it back.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	end := int64(0)
	for n := int64(diskSize); n >= 512; {
		switch err := unix.Fallocate(int(f.Fd()), 0, end, n); {
		case err == nil:
			end += n
		case errors.Is(err, unix.ENOSPC):
			n /= 2
		case !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// diskOptions are those of a cache that writes all the time.
func diskOptions() *Options {
	o := testOptions(4 << 20)
	o.Shards = 1
	o.Durability.Interval, o.Durability.Weak = 20*time.Millisecond, 2*time.Millisecond
	return o
}

// A diskLoad writes the same keys round by round.
type diskLoad struct {
	t       *testing.T
	c       *Cache
	round   int
	mayMiss bool // keys
}

func diskValue(i, round int) []byte { return testValue(i+diskKeys*round, 1000+i*40) }

// serve is a round: what was set is got, whatever the disk does.
func (d *diskLoad) serve() {
	d.t.Helper()
	d.round++
	for i := range diskKeys {
		mustSet(d.t, d.c, testKey(i), diskValue(i, d.round))
		wantValue(d.t, d.c, testKey(i), diskValue(i, d.round))
	}
}

// full serves until Health says that the disk is full.
func (d *diskLoad) full() {
	d.t.Helper()
	soon(d.t, "Health is ErrNoSpace", func() bool { d.serve(); return errors.Is(d.c.Health(), ErrNoSpace) })
}

// wantRounds wants all keys of a cache, each as it was in one of the rounds from
// least on.
func (d *diskLoad) wantRounds(c *Cache, least int) {
	d.t.Helper()
	for i := range diskKeys {
		v, ok := c.Get(testKey(i))
		if !ok && d.mayMiss {
			continue
		}
		found := false
		for round := d.round; ok && round >= least && !found; round-- {
			found = string(v) == string(diskValue(i, round))
		}
		if !found {
			d.t.Fatalf("key %d: found %v, and it is of no round from %d to %d; report %+v", i, ok, least, d.round, c.Recovery())
		}
	}
}

func TestFullDiskPausesWritingAndNothingElse(t *testing.T) {
	onDisks(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "cache")
		d := &diskLoad{t: t, c: open(t, dir, diskOptions())}
		d.serve()
		mustFlush(t, d.c)
		good := d.round
		free := fillDisk(t, disk)
		d.full()
		if _, err := d.c.Flush(context.Background()); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Flush returned %v on a full disk", err)
		}
		before := heapInUse()
		rounds := fewer(500)
		for range rounds {
			d.serve()
		}
		if more := heapInUse() - before; more > 8<<20 {
			t.Errorf("%d writes on a full disk took %d bytes of heap", rounds*diskKeys, more)
		}
		if n := d.c.Len(); n != diskKeys {
			t.Errorf("%d entries, not %d", n, diskKeys)
		}
		// No generation replaces another meanwhile, so a copy is what a kill leaves.
		copied := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := d.c.Health(); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("Health is %v on a full disk", err)
		}
		// One that succeeded before may lack what memory could not hold for it.
		d.mayMiss = d.c.Stats().LeftOut > 0
		d.wantRounds(open(t, copied, diskOptions()), good)
		d.mayMiss = false
		free()
		soon(t, "Health is nil", func() bool { return d.c.Health() == nil })
		d.serve()
		mustClose(t, d.c)
		c := open(t, dir, diskOptions())
		if r := c.Recovery(); r.Outcome != OutcomeWarm {
			t.Errorf("report %+v", r)
		}
		d.wantRounds(c, d.round)
	})
}

func TestDiskFullAtFirstStart(t *testing.T) {
	onDisks(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "cache")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		free := fillDisk(t, disk)
		d := &diskLoad{t: t, c: open(t, dir, diskOptions())}
		d.full()
		if _, err := d.c.Flush(context.Background()); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Flush returned %v on a full disk", err)
		}
		if err := d.c.Close(); !errors.Is(err, ErrNoSpace) {
			t.Errorf("Close returned %v on a full disk", err)
		}
		d.c = open(t, dir, diskOptions())
		if r := d.c.Recovery(); r.Outcome != OutcomeCold || d.c.Len() != 0 {
			t.Errorf("%d entries, report %+v, and nothing was ever written", d.c.Len(), r)
		}
		d.full()
		free()
		soon(t, "Health is nil", func() bool { return d.c.Health() == nil })
		mustClose(t, d.c)
		d.wantRounds(open(t, dir, diskOptions()), d.round)
	})
}

func TestReadOnlyDisk(t *testing.T) {
	onDisks(t, func(t *testing.T, disk string) {
		dir := filepath.Join(disk, "cache")
		d := &diskLoad{t: t, c: open(t, dir, diskOptions())}
		d.serve()
		mustClose(t, d.c)
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Skipf("mounting read-only does not work here: %v", err)
		}
		for _, at := range []string{dir, filepath.Join(disk, "new")} {
			c, err := Open(context.Background(), at, diskOptions())
			if err == nil {
				t.Fatalf("Open of %s succeeded; Health %v, Close %v", at, c.Health(), c.Close())
			}
			if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), at) {
				t.Errorf("Open of %s: %v, want its name and EROFS", at, err)
			}
		}
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		c := open(t, dir, diskOptions())
		if r := c.Recovery(); r.Outcome != OutcomeWarm {
			t.Errorf("report %+v", r)
		}
		d.wantRounds(c, d.round)
	})
}

// TestDirectoryTakenAway: serving goes on, from the first moment after Open on,
// and the next Open begins anew.
func TestDirectoryTakenAway(t *testing.T) {
	unmount := func(disk, _ string) error { return unix.Unmount(disk, unix.MNT_DETACH) }
	remove := func(_, dir string) error { return removeAll(dir) }
	for _, away := range []struct {
		name string
		busy bool // the files have been written to
		do   func(disk, dir string) error
	}{
		{"unmounted before anything was written", false, unmount},
		{"unmounted", true, unmount},
		{"removed before anything was written", false, remove},
		{"removed", true, remove},
	} {
		t.Run(away.name, func(t *testing.T) {
			onDisks(t, func(t *testing.T, disk string) {
				dir := filepath.Join(disk, "cache")
				d := &diskLoad{t: t, c: open(t, dir, diskOptions())}
				d.serve()
				mustClose(t, d.c)
				d.c = open(t, dir, diskOptions())
				if away.busy {
					d.serve()
					mustFlush(t, d.c)
				}
				if err := away.do(disk, dir); err != nil {
					t.Fatal(err)
				}
				d.wantRounds(d.c, d.round)
				for range fewer(100) {
					d.serve()
				}
				_, flushed := d.c.Flush(context.Background())
				health := d.c.Health()
				d.serve()
				t.Logf("Flush: %v; Health: %v; Close: %v", flushed, health, d.c.Close())
				c := open(t, dir, diskOptions())
				if c.Len() != 0 || c.Recovery().Outcome != OutcomeCold {
					t.Errorf("%d entries, report %+v, in an empty directory", c.Len(), c.Recovery())
				}
				mustSet(t, c, testKey(1), diskValue(1, 1))
				mustClose(t, c)
				wantValue(t, open(t, dir, diskOptions()), testKey(1), diskValue(1, 1))
			})
		})
	}
}

// A gatedFS has reads of mapped page files wait, and counts those that fault.
type gatedFS struct {
	pagefile.FS
	gate   chan struct{}
	faults atomic.Int64
}

type gatedFile struct {
	pagefile.File
	fs *gatedFS
}

type gatedMapping struct {
	pagefile.Mapping
	fs *gatedFS
}

func (g *gatedFS) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	f, err := g.FS.OpenFile(path, flag, perm)
	if err != nil || !strings.Contains(path, "/pages-") {
		return f, err
	}
	return &gatedFile{f, g}, nil
}

func (f *gatedFile) Map(length int64) (pagefile.Mapping, error) {
	m, err := f.File.Map(length)
	if err != nil {
		return nil, err
	}
	return &gatedMapping{m, f.fs}, nil
}

func (m *gatedMapping) ReadAt(p []byte, off int64) (int, error) {
	<-m.fs.gate
	n, err := m.Mapping.ReadAt(p, off)
	if errors.Is(err, pagefile.ErrFault) {
		m.fs.faults.Add(1)
	}
	return n, err
}

// TestPageFileTruncatedUnderItsMapping cuts the page file short after Open and
// before anything was read from it: what is gone is a miss, and no signal.
func TestPageFileTruncatedUnderItsMapping(t *testing.T) {
	for _, left := range []int64{0, 4096, 1<<20 + 100} {
		t.Run(fmt.Sprintf("to %d bytes", left), func(t *testing.T) { truncateUnderMapping(t, left) })
	}
}

func truncateUnderMapping(t *testing.T, left int64) {
	dir, o := t.TempDir(), diskOptions()
	const n = 1200
	c := open(t, dir, o)
	for i := range n {
		mustSet(t, c, testKey(i), diskValue(i, 0)[:1000])
	}
	mustClose(t, c)
	fs := &gatedFS{FS: pagefile.OS(), gate: make(chan struct{})}
	o.hooks.fs = fs
	o.Durability.Interval = -1 // a generation would give the file its length back
	c = open(t, dir, o)
	files, err := filepath.Glob(filepath.Join(dir, "pages-*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("page files %v, %v", files, err)
	}
	if err := os.Truncate(files[0], left); err != nil {
		t.Fatal(err)
	}
	close(fs.gate)
	found := 0
	for i := range n {
		if v, ok := c.Get(testKey(i)); ok {
			found++
			if string(v) != string(diskValue(i, 0)[:1000]) {
				t.Fatalf("key %d has a wrong value", i)
			}
		}
	}
	r, err := c.WaitVerified(context.Background())
	if err != nil || fs.faults.Load() == 0 || r.Dropped != n-found || r.Dropped == 0 || r.Outcome != OutcomePartial || !errors.Is(r.Reason, pagefile.ErrFault) && !errors.Is(r.Reason, io.EOF) {
		t.Errorf("%d of %d entries, %d faults, %v, report %+v", found, n, fs.faults.Load(), err, r)
	}
	checkInvariants(t, c)
	for i := range n {
		mustSet(t, c, testKey(i), diskValue(i, 1)[:1000])
	}
	mustFlush(t, c)
	mustClose(t, c)
	c = open(t, dir, diskOptions())
	for i := range n {
		wantValue(t, c, testKey(i), diskValue(i, 1)[:1000])
	}
}
