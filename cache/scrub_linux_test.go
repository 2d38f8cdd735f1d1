//go:build linux

package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fiemap is the ioctl that tells where a file's bytes lie on its device.
const fiemap = 0xC020660B

// placeOf returns where on its device the block of a file at off lies, 0 for a hole
// or what is not written yet.
func placeOf(t *testing.T, f *os.File, off int64) int64 {
	t.Helper()
	const unwritten = 0x800
	b := make([]byte, 32+56)
	binary.NativeEndian.PutUint64(b, uint64(off))
	binary.NativeEndian.PutUint64(b[8:], 1)
	binary.NativeEndian.PutUint32(b[24:], 1)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fiemap, uintptr(unsafe.Pointer(&b[0]))); errno != 0 {
		t.Skipf("this file system does not tell where a file lies: %v", errno)
	}
	logical, physical := binary.NativeEndian.Uint64(b[32:]), binary.NativeEndian.Uint64(b[40:])
	if binary.NativeEndian.Uint32(b[20:]) == 0 || binary.NativeEndian.Uint32(b[32+40:])&unwritten != 0 {
		return 0
	}
	return int64(physical) + off - int64(logical)
}

// rot flips a bit of every n-th block of a file that holds anything, on the device
// alone: whoever reads the file gets what the page cache has.
func (e ext4) rot(t *testing.T, name string, n int) (rotten int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	disk, err := os.OpenFile(e.image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for off := 0; off+pageSize <= len(before); off += pageSize {
		if allZero(before[off : off+pageSize]) {
			continue
		}
		at := placeOf(t, f, int64(off))
		if used++; at == 0 || used%n != 0 {
			continue
		}
		if _, err := disk.WriteAt([]byte{before[off+100] ^ 16}, at+100); err != nil {
			t.Fatal(err)
		}
		rotten++
	}
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, before) {
		t.Fatalf("%s: the page cache does not hide what the disk has: %v", name, err)
	}
	return rotten
}

// TestScrubSeesPastThePageCache: a disk loses what it was given while the kernel
// still has a good copy of it. The scrub finds that and has it written elsewhere, so
// a restart of the machine misses nothing; the cache serves all the while.
func TestScrubSeesPastThePageCache(t *testing.T) {
	for _, part := range []string{"pages-", "image-", "blobs-"} {
		t.Run(part, func(t *testing.T) { scrubsReal(t, part) })
	}
}

func scrubsReal(t *testing.T, part string) {
	e := newExt4(t, "")
	dir, o, told := filepath.Join(e.dir, "cache"), diskOptions(), atomic.Int64{}
	o.hooks.scrub = 2 * time.Millisecond
	o.Events = &Events{Corruption: func(c *CorruptionError) {
		if strings.Contains(c.Path, part) {
			told.Add(1)
		}
	}}
	c := open(t, dir, o)
	const n = 1200
	for i := range n {
		mustSet(t, c, testKey(i), diskValue(i, 0)[:1000])
	}
	mustClose(t, c)
	files, err := filepath.Glob(filepath.Join(dir, part+"*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	rotten := 0
	for _, name := range files {
		rotten += e.rot(t, name, 2-oneIf(part != "pages-"))
	}
	if rotten == 0 {
		t.Fatal("no block of the files was found on the disk")
	}
	c = open(t, dir, o)
	if r, err := c.WaitVerified(context.Background()); err != nil || r.Dropped != 0 {
		t.Fatalf("the page cache hides nothing: %v, %+v", err, r)
	}
	mustSet(t, c, testKey(0), diskValue(0, 0)[:1000]) // with the first generation a scrub begins
	if _, err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "the scrub finds it", func() bool {
		st := c.Stats()
		if part == "pages-" {
			return int(st.PagesMended) >= rotten && told.Load() > 0
		}
		// A full generation that came before the scrub mends as well.
		return told.Load() > 0 && (st.PagesMended > 0 || st.FullGenerations > 0)
	})
	mustFlush(t, c)
	mended := c.Stats().PagesMended
	for i := range n {
		wantValue(t, c, testKey(i), diskValue(i, 0)[:1000])
	}
	mustClose(t, c)
	if err := unix.Unmount(e.dir, 0); err != nil {
		t.Fatal(err)
	}
	mount(t, e.device, e.dir, "ext4", "")
	c = open(t, dir, diskOptions())
	for i := range n {
		wantValue(t, c, testKey(i), diskValue(i, 0)[:1000])
	}
	t.Logf("%d blocks rotten, %d mended", rotten, mended)
}
