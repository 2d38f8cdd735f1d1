//go:build linux && !race && !emberheap

package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of userfaultfd(2), see linux/userfaultfd.h.
const (
	uffdUserModeOnly  = 1
	uffdAPI           = 0xaa
	uffdRegisterMode  = 1 // pages that are missing
	uffdCopyDontWake  = 1
	uffdPageFault     = 0x12
	uffdIoctlAPI      = 0xc018aa3f
	uffdIoctlRegister = 0xc020aa00
	uffdIoctlCopy     = 0xc028aa03
	uffdIoctlWake     = 0x8010aa02
)

// whileTouching runs read, and meanwhile at the moment when read first touches a page:
// the processor does not go on with that instruction before meanwhile has returned. So
// a test puts something in between two loads or stores of code that calls nobody.
func whileTouching(t *testing.T, page []byte, read, meanwhile func()) {
	t.Helper()
	fd, err := userfault(page)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("this system lets nobody wait at a page: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	was := bytes.Clone(page)
	// Who waits at a page cannot be stopped for the collector, and has a processor.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC() // one that was under way has ended
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 2)))
	if err := unix.Madvise(page, unix.MADV_DONTNEED); err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	var returned atomic.Bool
	served := make(chan error, 1)
	go func() {
		defer unix.Close(fd) // whoever still waits goes on
		served <- serveTouch(fd, page, was, meanwhile, &returned)
	}()
	undisturbed(t, read)
	returned.Store(true)
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// userfault registers a page whose first touch is to wait.
func userfault(page []byte) (fd int, err error) {
	r, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	if e != 0 {
		return -1, e
	}
	fd = int(r)
	api := [3]uint64{uffdAPI}
	at := [4]uint64{addressOf(page), uint64(len(page)), uffdRegisterMode}
	if err = uffdIoctl(fd, uffdIoctlAPI, unsafe.Pointer(&api)); err == nil {
		err = uffdIoctl(fd, uffdIoctlRegister, unsafe.Pointer(&at))
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func uffdIoctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

// serveTouch waits for the touch, gives the page back what it had, and wakes who
// waits when meanwhile has returned, or when it fails itself.
func serveTouch(fd int, page, was []byte, meanwhile func(), returned *atomic.Bool) error {
	at := [2]uint64{addressOf(page), uint64(len(page))}
	defer func() { _ = uffdIoctl(fd, uffdIoctlWake, unsafe.Pointer(&at)) }()
	if err := awaitTouch(fd, returned); err != nil {
		return err
	}
	back := [5]uint64{addressOf(page), addressOf(was), uint64(len(page)), uffdCopyDontWake}
	if err := uffdIoctl(fd, uffdIoctlCopy, unsafe.Pointer(&back)); err != nil {
		return err
	}
	meanwhile()
	if returned.Load() {
		return errors.New("who touched the page has not waited")
	}
	return nil
}

// awaitTouch waits for the message that the page was touched. A signal to who touched
// it takes the message back; then it is touched again.
func awaitTouch(fd int, returned *atomic.Bool) error {
	var message [32]byte
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && !returned.Load(); {
		if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20); err != nil || n == 0 {
			continue
		}
		n, err := unix.Read(fd, message[:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
		case err != nil || n != len(message) || message[0] != uffdPageFault:
			return fmt.Errorf("got message %x, %w, want a touch", message[:max(n, 0)], err)
		default:
			return nil
		}
	}
	return errors.New("the page was not touched")
}

// undisturbed runs read on a thread that takes no signal: one ends a wait at a page.
func undisturbed(t *testing.T, read func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, old unix.Sigset_t
	for _, sig := range []unix.Signal{unix.SIGURG, unix.SIGPROF, unix.SIGCHLD, unix.SIGWINCH} {
		block.Val[0] |= 1 << (sig - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &old); err != nil {
		t.Fatal(err)
	}
	read()
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		t.Fatal(err)
	}
}

// pageAt is the page that holds a byte.
func pageAt(p unsafe.Pointer) []byte {
	n := uintptr(os.Getpagesize())
	return unsafe.Slice((*byte)(unsafe.Add(p, -int(uintptr(p)%n))), n)
}
