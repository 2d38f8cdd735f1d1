package cache

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A hierarchy is a tree of control groups that may bound memory.
type hierarchy struct {
	controller  string // as in /proc/self/cgroup; empty: version 2
	mount, file string
}

// hierarchies are where systemd, container runtimes and the hybrid of both
// versions mount them.
var hierarchies = []hierarchy{
	{"", "sys/fs/cgroup", "memory.max"},
	{"", "sys/fs/cgroup/unified", "memory.max"},
	{"memory", "sys/fs/cgroup/memory", "memory.limit_in_bytes"},
}

// memoryLimit is how many bytes of memory this process may take, and the file that
// says so: the least of the limits of its control groups, of those above them, and
// of what the machine has. 0: nothing says so, as on any system but Linux. root is
// the machine's "/". What is missing or makes no sense is no limit.
func memoryLimit(root fs.FS) (limit int64, by string) {
	least := func(n int64, file string) {
		if n > 0 && (limit == 0 || n < limit) {
			limit, by = n, "/"+file
		}
	}
	least(memTotal(root), "proc/meminfo")
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // number, controllers, path
		if len(part) != 3 {
			continue
		}
		for _, h := range hierarchies {
			if slices.Contains(strings.Split(part[1], ","), h.controller) {
				h.walk(root, part[2], least)
			}
		}
	}
	return limit, by
}

// walk reads the limits of a group and of all above it, which hold as well. Where
// a container sees its own part of the tree but is told its path in all of it, the
// lower groups are missing, and the limit is the mount's own.
func (h hierarchy) walk(root fs.FS, group string, least func(n int64, file string)) {
	for dir := path.Join(h.mount, path.Clean("/"+group)); ; dir = path.Dir(dir) {
		file := path.Join(dir, h.file)
		text, _ := fs.ReadFile(root, file)
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil { // else "max", or more than any machine has
			least(n, file)
		}
		if dir == h.mount {
			return
		}
	}
}

// memTotal is what the machine has, 0 if it does not say.
func memTotal(root fs.FS) (n int64) {
	text, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &n); err == nil {
			return n << 10
		}
	}
	return 0
}

// machine is where o finds out about it.
func (o *Options) machine() fs.FS {
	if o.hooks.machine != nil {
		return o.hooks.machine
	}
	return os.DirFS("/")
}
