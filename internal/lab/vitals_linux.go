package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"syscall"
)

// vitals are what a process has of the machine.
type vitals struct {
	Anon, File  int64 // resident, bytes
	Heap        int64 // of Go, live and dead objects, bytes
	Descriptors int
	Mappings    int
	Goroutines  int
	Disk        int64 // of the cache's directory, bytes allocated
}

func readVitals(dir string) (v vitals) {
	v.Anon, v.File = residentOf("self")
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	v.Heap = int64(sample[0].Value.Uint64())
	if list, err := os.ReadDir("/proc/self/fd"); err == nil {
		v.Descriptors = len(list) - 1 // that of the list
	}
	if b, err := os.ReadFile("/proc/self/maps"); err == nil {
		v.Mappings = strings.Count(string(b), "\n")
	}
	v.Goroutines = runtime.NumGoroutine()
	v.Disk = allocated(dir)
	return v
}

// residentOf is what a process has in memory, in bytes.
func residentOf(pid string) (anon, file int64) {
	f, err := os.Open(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if _, err := fmt.Sscanf(lines.Text(), "RssAnon: %d kB", &kib); err == nil {
			anon = kib << 10
		}
		if _, err := fmt.Sscanf(lines.Text(), "RssFile: %d kB", &kib); err == nil {
			file = kib << 10
		}
	}
	return anon, file
}

// allocated is what the files of a directory take of the disk, in bytes.
func allocated(dir string) (sum int64) {
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += s.Blocks * 512
			}
		}
	}
	return sum
}

// A vital is one of them, with what it may grow by.
type vital struct {
	name  string
	of    func(v *vitals) int64
	share float64 // of what it was
	plus  int64
}

var vitalSigns = []vital{
	{"anonymous memory", func(v *vitals) int64 { return v.Anon }, 0.10, 8 << 20},
	{"Go's heap", func(v *vitals) int64 { return v.Heap }, 0.25, 8 << 20},
	{"descriptors", func(v *vitals) int64 { return int64(v.Descriptors) }, 0, 2},
	{"mappings", func(v *vitals) int64 { return int64(v.Mappings) }, 0.05, 8},
	{"goroutines", func(v *vitals) int64 { return int64(v.Goroutines) }, 0, 4},
	{"disk", func(v *vitals) int64 { return v.Disk }, 0.10, 8 << 20},
}

// flat compares the medians of a first part of the samples with those of the last
// quarter, and says what has grown. Too few samples show nothing.
func flat(all []vitals, say func(format string, args ...any)) (err error) {
	const least = 16
	if len(all) < least {
		say("%d samples are too few to tell whether anything grows", len(all))
		return nil
	}
	n := len(all)
	early, late := all[n/8:n*3/8], all[n*3/4:]
	for _, s := range vitalSigns {
		was, is := medianOf(early, s.of), medianOf(late, s.of)
		say("%-16s %12d early, %12d late", s.name, was, is)
		if is > was+int64(float64(was)*s.share)+s.plus {
			err = errors.Join(err, fmt.Errorf("%s has grown from %d to %d", s.name, was, is))
		}
	}
	return err
}

func medianOf(all []vitals, of func(v *vitals) int64) int64 {
	values := make([]int64, len(all))
	for i := range all {
		values[i] = of(&all[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}
