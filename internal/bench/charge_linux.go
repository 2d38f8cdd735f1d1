package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel charges this process with.

// procField reads a number of a file in /proc, from the line "name: number", and
// whether it is there.
func procField(path, name string) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), name+": %d", &n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("read %s: no %s", path, name)
}

// anonymous is the memory of this process that no file is behind, in bytes, huge
// pages whole. What Go has freed is given back first.
func anonymous() (int64, error) {
	debug.FreeOSMemory()
	n, err := procField("/proc/self/smaps_rollup", "Anonymous")
	return n << 10, err
}

// diskWrites is what this process has made the kernel write or hold for writing,
// in bytes.
func diskWrites() (int64, error) { return procField("/proc/self/io", "write_bytes") }

// onDisk is what the files below dir take, in bytes.
func onDisk(dir string) (n int64, err error) {
	err = filesIn(dir, func(path string) error {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		n += st.Blocks * 512
		return nil
	})
	return n, err
}

// cached is what the page cache holds of the files below dir, in bytes.
func cached(dir string) (n int64, err error) {
	err = filesIn(dir, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		m, err := inCore(f)
		n += m
		return err
	})
	return n, err
}

// dropCached gives up what the page cache holds of the files below dir.
func dropCached(dir string) error {
	return filesIn(dir, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// warmCached reads the files below dir.
func warmCached(dir string) error {
	buf := make([]byte, 1<<20)
	return filesIn(dir, func(path string) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for {
			if _, err := f.Read(buf); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
		}
	})
}

// inCore is how much of a file the page cache holds.
func inCore(f *os.File) (n int64, err error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, err
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(mem)
	page := os.Getpagesize()
	there := make([]byte, (len(mem)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)),
		uintptr(unsafe.Pointer(&there[0]))); errno != 0 {
		return 0, errno
	}
	for _, p := range there {
		n += int64(p&1) * int64(page)
	}
	return n, nil
}
