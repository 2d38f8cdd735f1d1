package pagefile

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountLines is the kind of file that mountTypeIn reads.
const mountLines = `24 1 254:0 / / rw,noatime shared:1 - ext4 /dev/vda rw
80 24 0:51 / /mnt/far rw shared:33 master:2 - fuse.sshfs me@far:/ rw
81 24 0:52 / /mnt/odd rw -
`

func TestMountType(t *testing.T) {
	for dev, want := range map[string]string{"254:0": "ext4", "0:51": "fuse.sshfs", "0:52": "", "9:9": ""} {
		if got := mountTypeIn(bufio.NewScanner(strings.NewReader(mountLines)), dev); got != want {
			t.Errorf("type of mount %s = %q, want %q", dev, got, want)
		}
	}
	d, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if got := mountType(d); got == "" {
		t.Log("the mount of the temporary directory is not in mountinfo")
	}
}

func TestAllocationReservesBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	f := createFile(t, path)
	const n = 1 << 20
	if err := f.Allocate(0, n); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	if got := st.Blocks * 512; got < n {
		t.Errorf("%d bytes are reserved, want %d: the file is sparse", got, n)
	}
}

func TestFailedAllocationLeavesTheSize(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a"))
	if err := f.Allocate(0, 4096); err != nil {
		t.Fatal(err)
	}
	// Bigger than any file may be: an error whatever the disk, after chunks that
	// fit, or at the first.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = reserveChunk + 8192
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	err := f.Allocate(4096, 4*reserveChunk)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EFBIG) {
		t.Fatalf("Allocate past the limit: %v, want EFBIG", err)
	}
	if size, err := f.Size(); size != 4096 || err != nil {
		t.Errorf("Size = %d, %v after a failed allocation, want 4096", size, err)
	}
}

func TestOpenRefusesLinksAndFifos(t *testing.T) {
	dir := t.TempDir()
	createFile(t, filepath.Join(dir, "target"))
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OS().OpenFile(link, os.O_RDWR, 0); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("open of a link: %v, want ELOOP", err)
	}
	if _, err := OS().Lock(link); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("lock of a link: %v, want ELOOP", err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := OS().OpenFile(fifo, os.O_RDONLY, 0)
		opened <- err
	}()
	select {
	case err := <-opened:
		if err == nil {
			t.Error("a fifo was opened")
		}
	case <-time.After(time.Minute):
		t.Error("the open of a fifo hangs")
	}
}

func TestFilesAreClosedOnExec(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a")).(*osFile)
	err := control(f.f, func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 {
			t.Error("a child would inherit the file")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(f.Name())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
}

func TestInterruptedCallsAreRepeated(t *testing.T) {
	f := createFile(t, filepath.Join(t.TempDir(), "a")).(*osFile)
	calls := 0
	err := control(f.f, func(int) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return unix.EIO
	})
	if calls != 3 || err != unix.EIO {
		t.Errorf("%d calls, %v, want 3 and EIO", calls, err)
	}
}
