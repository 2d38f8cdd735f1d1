package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A machine is what the figures depend on.
type machine struct {
	When           time.Time
	CPU            string
	Cores          int
	Memory         string
	Kernel         string
	HugePages      string // setting of transparent huge pages
	FileSystem     string // of the caches' files
	Go, OS, Commit string
	Modules        []string // the caches measured, with their versions
}

// modules are the caches' and those that could stand in for them.
var modules = []string{
	"github.com/VictoriaMetrics/fastcache", "github.com/coocood/freecache", "github.com/allegro/bigcache/v3",
	"github.com/dgraph-io/ristretto/v2", "github.com/maypok86/otter/v2", "github.com/Yiling-J/theine-go",
	"go.etcd.io/bbolt", "github.com/cockroachdb/pebble/v2", "github.com/dgraph-io/badger/v4",
}

func newMachine(dir string) *machine {
	m := &machine{
		When:       time.Now().UTC().Truncate(time.Second),
		CPU:        cmp.Or(lineOf("/proc/cpuinfo", "model name"), runtime.GOARCH),
		Cores:      runtime.NumCPU(),
		Memory:     lineOf("/proc/meminfo", "MemTotal"),
		Kernel:     fileText("/proc/sys/kernel/osrelease"),
		HugePages:  fileText("/sys/kernel/mm/transparent_hugepage/enabled"),
		FileSystem: fileSystem(cmp.Or(dir, os.TempDir())),
		Go:         runtime.Version(),
		OS:         runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return m
	}
	for _, d := range info.Deps {
		if slices.Contains(modules, d.Path) {
			m.Modules = append(m.Modules, d.Path+" "+d.Version)
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" && s.Value == "true" {
			m.Commit = strings.TrimSpace(m.Commit + " " + strings.Replace(s.Value, "true", "and changes", 1))
		}
	}
	return m
}

// lineOf is the value of the first line "key: value" of a file, or empty.
func lineOf(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func fileText(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (m *machine) write(w io.Writer) {
	for _, line := range [][2]string{
		{"Measured", m.When.Format("2006-01-02 15:04 UTC")},
		{"Processor", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)},
		{"Memory", m.Memory},
		{"System", strings.TrimSpace(m.OS + " " + m.Kernel)},
		{"Huge pages", m.HugePages},
		{"Files on", m.FileSystem},
		{"Go", m.Go},
		{"Ember", m.Commit},
		{"Peers", strings.Join(m.Modules, ", ")},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "- %s: %s\n", line[0], line[1])
		}
	}
}
