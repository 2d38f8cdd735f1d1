package power

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const loopMajor = 7

// attach makes a block device of a file, which lasts as long as fd or a mount has it.
// The driver reads and writes past the page cache of the file.
func attach(file string) (fd int, device string, err error) {
	back, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open %s: %w", file, err)
	}
	defer unix.Close(back)
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open /dev/loop-control: %w", err)
	}
	defer unix.Close(control)
	config := unix.LoopConfig{Fd: uint32(back), Size: sectorSize}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	for range 1000 { // others may take the one that is free
		n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, "", fmt.Errorf("find a loop device: %w", err)
		}
		device = fmt.Sprintf("/dev/loop%d", n)
		if fd, err = openDevice(device, n); err != nil {
			return -1, "", err
		}
		if err = unix.IoctlLoopConfigure(fd, &config); err == nil {
			return fd, device, direct(fd, device)
		}
		unix.Close(fd)
		if !errors.Is(err, unix.EBUSY) {
			return -1, "", fmt.Errorf("configure %s: %w", device, err)
		}
		time.Sleep(time.Millisecond)
	}
	return -1, "", fmt.Errorf("configure %s: %w", device, unix.EBUSY)
}

func openDevice(device string, n int) (int, error) {
	err := unix.Mknod(device, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(n))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, fmt.Errorf("make %s: %w", device, err)
	}
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", device, err)
	}
	return fd, nil
}

// direct is an error if the driver writes through the page cache.
func direct(fd int, device string) error {
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err != nil || info.Flags&unix.LO_FLAGS_DIRECT_IO == 0 {
		unix.Close(fd)
		return fmt.Errorf("%s has no direct I/O: flags %#x, %v", device, info.Flags, err)
	}
	return nil
}

// mountDisk mounts a disk's file system on dir until unmount.
func (s *server) mountDisk(d *disk, k *kind, dir string) (unmount func() error, err error) {
	path, remove := s.add(d)
	fd, device, err := attach(path)
	if err != nil {
		remove()
		return nil, err
	}
	err = unix.Mount(device, dir, k.fs, unix.MS_NOATIME, k.options)
	unix.Close(fd) // the mount has it now, or nobody
	if err != nil {
		remove()
		return nil, &mountError{k, err}
	}
	return func() error {
		defer remove()
		return unmountDir(dir)
	}, nil
}

// A mountError says that a file system does not take what a power cut left of it.
type mountError struct {
	k   *kind
	err error
}

func (e *mountError) Error() string { return fmt.Sprintf("mount %s: %v", e.k.name, e.err) }
func (e *mountError) Unwrap() error { return e.err }

func unmountDir(dir string) (err error) {
	for range 200 {
		if err = unix.Unmount(dir, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		runtime.Gosched()
		time.Sleep(10 * time.Millisecond) // who used it is ending
	}
	if err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}
