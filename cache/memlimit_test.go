package cache

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const gib = 1 << 30

// machineOf is one with so much memory, and no control groups.
func machineOf(bytes int64) machineFiles {
	return machineWith("meminfo", fmt.Sprintf("MemFree: 1 kB\nMemTotal:  %d kB\nMemAvailable: 2 kB\n", bytes>>10))
}

// machineWith has files, in pairs of path and text: below /proc those without a
// slash, below /sys/fs/cgroup the rest.
func machineWith(files ...string) machineFiles {
	m := make(machineFiles)
	for i := 0; i < len(files); i += 2 {
		name := path.Join("sys/fs/cgroup", files[i])
		switch files[i] {
		case "meminfo":
			name = "proc/meminfo"
		case "cgroup":
			name = "proc/self/cgroup"
		}
		m[name] = files[i+1]
	}
	return m
}

// machineFiles are texts by path, which can only be read whole.
type machineFiles map[string]string

func (m machineFiles) ReadFile(name string) ([]byte, error) {
	if text, ok := m[name]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

func (m machineFiles) Open(string) (fs.File, error) { return nil, fs.ErrInvalid }

func TestTheLeastMemoryLimitCounts(t *testing.T) {
	const sixteen = "MemTotal: 16777216 kB\n"
	for _, c := range []struct {
		law   string
		files []string
		want  int64
		by    string
	}{
		{"nothing says anything", nil, 0, ""},
		{"without groups it is the machine's", []string{"meminfo", sixteen}, 16 * gib, "/proc/meminfo"},
		{"version 2: the group's own", []string{"meminfo", sixteen, "cgroup", "0::/a/b\n",
			"memory.max", "max\n", "a/memory.max", "max\n", "a/b/memory.max", "536870912\n"}, gib / 2, "/sys/fs/cgroup/a/b/memory.max"},
		{"version 2: one above it", []string{"meminfo", sixteen, "cgroup", "0::/a/b/c\n",
			"a/memory.max", "268435456\n", "a/b/memory.max", "536870912\n", "a/b/c/memory.max", "max\n"}, gib / 4, "/sys/fs/cgroup/a/memory.max"},
		{"version 2: a container sees its own as the root", []string{"meminfo", sixteen, "cgroup", "0::/\n", "memory.max", "536870912\n"}, gib / 2, "/sys/fs/cgroup/memory.max"},
		{"version 2: a path that is not there leads to the root", []string{"cgroup", "0::/kubepods.slice/pod7.slice\n", "memory.max", "536870912\n"}, gib / 2, "/sys/fs/cgroup/memory.max"},
		{"version 2: a group outside of what is seen", []string{"cgroup", "0::/../../other\n", "memory.max", "536870912\n", "other/memory.max", "4096\n"}, 4096, "/sys/fs/cgroup/other/memory.max"},
		{"max everywhere is no limit", []string{"meminfo", sixteen, "cgroup", "0::/a\n", "memory.max", "max\n", "a/memory.max", "max\n"}, 16 * gib, "/proc/meminfo"},
		{"a limit over the machine's is none", []string{"meminfo", sixteen, "cgroup", "0::/a\n", "a/memory.max", "68719476736\n"}, 16 * gib, "/proc/meminfo"},
		{"version 1", []string{"meminfo", sixteen, "cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/f00\n1:name=systemd:/x\n",
			"memory/docker/f00/memory.limit_in_bytes", "1073741824\n", "memory/x/memory.limit_in_bytes", "1\n"}, gib, "/sys/fs/cgroup/memory/docker/f00/memory.limit_in_bytes"},
		{"version 1: mounted with another controller", []string{"cgroup", "4:cpu,memory:/a\n", "memory/a/memory.limit_in_bytes", "1073741824\n"}, gib, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		{"version 1: no limit is a large one", []string{"meminfo", sixteen, "cgroup", "4:memory:/a\n", "memory/a/memory.limit_in_bytes", "9223372036854771712\n"}, 16 * gib, "/proc/meminfo"},
		{"over 2^63 is no limit", []string{"meminfo", sixteen, "cgroup", "4:memory:/a\n", "memory/a/memory.limit_in_bytes", "18446744073709551615\n"}, 16 * gib, "/proc/meminfo"},
		{"hybrid: version 1 has memory", []string{"cgroup", "4:memory:/a\n0::/a\n",
			"memory/a/memory.limit_in_bytes", "536870912\n", "unified/a/cgroup.procs", "1\n"}, gib / 2, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"},
		{"hybrid: version 2 has memory", []string{"cgroup", "1:name=systemd:/a\n0::/a\n", "unified/a/memory.max", "536870912\n"}, gib / 2, "/sys/fs/cgroup/unified/a/memory.max"},
		{"a name with a colon", []string{"cgroup", "0::/a:b\n", "a:b/memory.max", "536870912\n"}, gib / 2, "/sys/fs/cgroup/a:b/memory.max"},
		{"garbage is no limit", []string{"meminfo", "MemTotal: much\n", "cgroup", "0::\n:\n\n0\nx:y:z\n0::/a\n", "memory.max", "", "a/memory.max", "12 MiB\n"}, 0, ""},
		{"nor is nothing, or less", []string{"meminfo", sixteen, "cgroup", "0::/a\n", "memory.max", "-1\n", "a/memory.max", "0\n"}, 16 * gib, "/proc/meminfo"},
	} {
		t.Run(c.law, func(t *testing.T) {
			if got, by := memoryLimit(machineWith(c.files...)); got != c.want || by != c.by {
				t.Errorf("got %d by %q, want %d by %q", got, by, c.want, c.by)
			}
		})
	}
}

// TestARealControlGroup makes a group, gives it a limit, and asks as a process in
// it would. No process is moved: what is not the kernel's is /proc/self/cgroup.
func TestARealControlGroup(t *testing.T) {
	for _, h := range hierarchies {
		t.Run(h.mount, func(t *testing.T) {
			group := filepath.Join("/", h.mount, fmt.Sprintf("ember-test-%d", os.Getpid()))
			if _, err := os.Stat(filepath.Join("/", h.mount, "cgroup.procs")); err != nil {
				t.Skipf("no hierarchy there: %v", err)
			}
			if err := os.Mkdir(group, 0o700); err != nil {
				t.Skipf("no group can be made here: %v", err)
			}
			t.Cleanup(func() {
				if err := os.Remove(group); err != nil {
					t.Error(err)
				}
			})
			if err := os.WriteFile(filepath.Join(group, h.file), []byte("67108864"), 0); err != nil {
				t.Skipf("the group has no limit: %v", err)
			}
			number := "0"
			if h.controller != "" {
				number = "4"
			}
			told := strings.Join([]string{number, h.controller, "/" + filepath.Base(group) + "/below"}, ":") + "\n"
			root := overlay{machineWith("cgroup", told), os.DirFS("/")}
			if got, by := memoryLimit(root); got != 64<<20 || by != filepath.Join(group, h.file) {
				t.Errorf("got %d by %s, want %d by %s", got, by, 64<<20, filepath.Join(group, h.file))
			}
		})
	}
}

// An overlay has the files of the first that has them.
type overlay [2]fs.FS

func (o overlay) ReadFile(name string) ([]byte, error) {
	if b, err := fs.ReadFile(o[0], name); err == nil {
		return b, nil
	}
	return fs.ReadFile(o[1], name)
}

func (o overlay) Open(string) (fs.File, error) { return nil, fs.ErrInvalid }
