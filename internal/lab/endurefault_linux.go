package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A smallDisk is an ext4 file system in a file.
type smallDisk struct {
	dir, image, ballast string
	size                int64
}

func newSmallDisk(dir, at string, size int64) (*smallDisk, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	d := &smallDisk{dir: at, image: filepath.Join(dir, "image"), ballast: filepath.Join(at, "ballast"), size: size}
	f, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", d.image}, {"mount", "-o", "loop", d.image, at}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return d, nil
}

func (d *smallDisk) remove() {
	if d != nil {
		if exec.Command("umount", d.dir).Run() != nil {
			_ = exec.Command("umount", "-l", d.dir).Run()
		}
	}
}

// fill takes all that is free.
func (d *smallDisk) fill() error {
	f, err := os.Create(d.ballast)
	if err != nil && errors.Is(err, syscall.ENOSPC) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	end := int64(0)
	for n := d.size; n >= 4096; {
		switch err := syscall.Fallocate(int(f.Fd()), 0, end, n); {
		case err == nil:
			end += n
		case errors.Is(err, syscall.ENOSPC):
			n /= 2
		case !errors.Is(err, syscall.EINTR):
			return err
		}
	}
	return nil
}

func (d *smallDisk) free() error {
	if err := os.Remove(d.ballast); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// damage spoils one file of the directory, whoever has it open.
func (e *endurance) damage() bool {
	list, err := os.ReadDir(e.plan.Dir)
	if err != nil || len(list) == 0 {
		return false
	}
	name := filepath.Join(e.plan.Dir, list[e.rng.IntN(len(list))].Name())
	how := []string{"bits flipped", "a page zeroed", "truncated", "removed"}[e.rng.IntN(4)]
	if err := spoil(e.rng, name, how); err != nil {
		return false // gone, or empty
	}
	e.faults["a file: "+how]++
	return true
}

func spoil(rng *rand.Rand, name, how string) error {
	if how == "removed" {
		return os.Remove(name)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() < 4096 {
		return errors.Join(err, errors.New("nothing to spoil"))
	}
	if how == "truncated" {
		return f.Truncate(rng.Int64N(info.Size()))
	}
	page := rng.Int64N(info.Size()/4096) * 4096
	b := make([]byte, 4096)
	if _, err := f.ReadAt(b, page); err != nil {
		return err
	}
	if how == "a page zeroed" {
		clear(b)
	} else {
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
	}
	_, err = f.WriteAt(b, page)
	return err
}
