package cache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// readOnly makes dir one that cannot be written to: permissions do not bind root,
// who gets a mount.
func readOnly(t *testing.T, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		return
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("bind mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("remount: %v", err)
	}
}

// TestReadOnlyDirectory: Open of it, or of one to be made in it, says so; what is
// stored there stays, and is warm once it can be written again.
func TestReadOnlyDirectory(t *testing.T) {
	o := testOptions(4 << 20)
	dir := warmDir(t, o, 300)
	before := list(t, dir)
	t.Run("not writable", func(t *testing.T) {
		readOnly(t, dir)
		// The lock file is there already; who cannot write at all may still open it.
		names := []string{filepath.Join(dir, "new"), filepath.Join(dir, "a", "b")}
		if os.Getuid() == 0 {
			names = append(names, dir)
		}
		for _, name := range names {
			c, err := Open(context.Background(), name, o)
			if err == nil {
				c.Close()
				t.Fatalf("Open of %s succeeded", name)
			}
			if !errors.Is(err, unix.EROFS) && !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
				t.Errorf("Open of %s: %v", name, err)
			}
		}
		wantListing(t, list(t, dir), before)
	})
	c := open(t, dir, o)
	if r := c.Recovery(); r.Outcome != OutcomeWarm {
		t.Errorf("report %+v", r)
	}
	wantFilled(t, c, 300)
}

// used is what files under dir really take of the disk.
func used(t testing.TB, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &st) == nil { // else it was retired meanwhile
			n += st.Blocks * 512
		}
	}
	return n
}

// TestFilesDoNotAddUp: while a cache turns over several times, with every kind of
// generation, its files never take more than Footprint says and, for each
// generation that is kept, an image and a blob of the largest kind.
func TestFilesDoNotAddUp(t *testing.T) {
	for name, set := range map[string]func(o *Options){
		"small, as it comes": func(o *Options) { o.MaxBytes = 1 << 20 },
		"all generations full, eight kept": func(o *Options) {
			o.MaxBytes, o.Recovery.Budget, o.Durability.Keep = 2<<20, 1, 8
		},
		"no weak ring, four shards": func(o *Options) { o.MaxBytes, o.Shards, o.Durability.Weak = 4<<20, 4, -1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(0)
			set(o)
			o.Durability.Interval = 1 // as often as it can
			churnWithin(t, o)
		})
	}
}

func churnWithin(t *testing.T, o *Options) {
	_, disk := o.Footprint()
	disk += int64(max(o.Durability.Keep, 2)+1) * (o.MaxBytes*3/8 + 3<<20)
	rng := newRand(t)
	dir := filepath.Join(t.TempDir(), "c")
	c := open(t, dir, o)
	most, evictions := int64(0), uint64(0)
	for written, i := int64(0), 0; written < 6*o.MaxBytes; i++ {
		n := rng.Intn(4000)
		if rng.Intn(50) == 0 {
			n = rng.Intn(100 << 10)
		}
		mustSet(t, c, testKey(rng.Intn(1<<16)), testValue(i, n))
		written += int64(n)
		if i%64 == 0 {
			now := used(t, dir)
			if most = max(most, now); now > disk {
				t.Fatalf("%d bytes on disk, the most is %d", now, disk)
			}
		}
		if i%512 == 511 {
			mustFlush(t, c)
		}
		if i%2048 == 2047 {
			evictions += c.Stats().Evictions
			mustClose(t, c)
			c = open(t, dir, o)
		}
	}
	st := c.Stats()
	if evictions+st.Evictions == 0 {
		t.Errorf("nothing was turned over: %+v", st)
	}
	if most < disk/8 {
		t.Errorf("at most %d bytes on disk, and the most is %d: of no use to anybody", most, disk)
	}
	t.Logf("at most %d bytes on disk, %d %% of the most", most, 100*most/disk)
	mustClose(t, c)
	if now := used(t, dir); now > disk {
		t.Errorf("%d bytes on disk after Close, the most is %d", now, disk)
	}
}
