package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A memoryGroup is a control group with a limit of memory, of either version.
type memoryGroup struct {
	dir   string
	limit string // name of its file
	usage string
}

func newMemoryGroup(limit int64) (*memoryGroup, error) {
	g := &memoryGroup{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"}
	if _, err := os.Stat(filepath.Join(g.dir, g.limit)); err != nil {
		g = &memoryGroup{"/sys/fs/cgroup", "memory.max", "memory.current"}
	}
	g.dir = filepath.Join(g.dir, fmt.Sprint("ember-lab-", os.Getpid(), "-", limit>>20))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(g.dir, g.limit), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		g.remove()
		return nil, err
	}
	return g, nil
}

func (g *memoryGroup) remove() { _ = os.Remove(g.dir) }

func (g *memoryGroup) procs() string { return filepath.Join(g.dir, "cgroup.procs") }

func (g *memoryGroup) used() int64 {
	b, _ := os.ReadFile(filepath.Join(g.dir, g.usage))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// group runs a cache where memory is short: of the page cache first, which the
// kernel takes back, then of the frames, which costs the process but not its cache.
func group(ctx context.Context, o *options, w io.Writer) error {
	dir, err := os.MkdirTemp(o.Dir, "group")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	x := &groupRun{ctx: ctx, w: w, dir: dir, limit: 320 << 20, fit: 160 << 20, served: time.Duration(o.count(1, 60)) * time.Second}
	if o.Quick {
		x.limit, x.fit = 240<<20, 80<<20 // a machine that runs other tests as well is late with links and the collector
	}
	g, err := newMemoryGroup(x.limit)
	if err != nil {
		fmt.Fprintf(w, "  skipped: no control group for memory: %v\n", err)
		return nil
	}
	defer g.remove()
	x.group = g
	if err := x.fits(); err != nil {
		return fmt.Errorf("a cache that fits: %w", err)
	}
	if o.Quick {
		return nil // when the kernel kills is not to be had in a moment
	}
	if err := x.tooLarge(); err != nil {
		return fmt.Errorf("a cache that does not fit: %w", err)
	}
	return nil
}

type groupRun struct {
	ctx    context.Context
	w      io.Writer
	dir    string
	limit  int64
	fit    int64 // MaxBytes of a cache that fits
	served time.Duration
	group  *memoryGroup
}

func (x *groupRun) start(name string, maxBytes int64, had uint64) (*child[fillNote], int, error) {
	p := fillPlan{Dir: filepath.Join(x.dir, name), MaxBytes: maxBytes, Size: 4000, Round: had + 1, Had: had, Group: x.group.procs()}
	p.Keys = int(maxBytes / 5 * 4 / int64(p.Size+64))
	c, err := startChild[fillNote](x.ctx, "fill", p)
	return c, p.Keys, err
}

// fits serves for a while under a limit that the files do not fit into.
func (x *groupRun) fits() error {
	c, keys, err := x.start("fits", x.fit, 0)
	if err != nil {
		return err
	}
	defer c.kill()
	var most, anon, files int64
	for end := time.Now().Add(x.served); time.Now().Before(end); {
		n, err := c.within(time.Minute, func(n *fillNote) bool { return n.Kind != "warned" || n.Fits != 0 })
		switch {
		case err != nil:
			return err
		case n.Kind == "warned":
			return fmt.Errorf("it fits, and the log says %q", n.Warned)
		case n.Wrong > 0 || unhealthy(n.Health) || n.Kind == "filled" && n.Found < keys*98/100:
			return fmt.Errorf("of %d keys: %+v", keys, n)
		}
		most, anon, files = max(most, x.group.used()), max(anon, n.Vitals.Anon), max(files, n.Vitals.Disk)
	}
	c.say("close")
	_, err = c.within(time.Minute, func(n *fillNote) bool { return n.Kind == "ended" })
	fmt.Fprintf(x.w, "  limit %d, of which %d were used; anonymous %d, files of %d bytes: served to the end\n", x.limit, most, anon, files)
	if err == nil && most > x.limit {
		err = errors.New("the limit does not hold")
	}
	return err
}

// tooLarge opens a cache that the limit is too little for: the log says so. The
// kernel kills it once it is full, and what it had is there for one that fits.
func (x *groupRun) tooLarge() error {
	c, _, err := x.start("large", x.limit*8/5, 0)
	if err != nil {
		return err
	}
	warned, err := c.within(time.Minute, func(n *fillNote) bool { return n.Kind == "warned" })
	if err != nil {
		return err
	}
	fmt.Fprintf(x.w, "  the log: %s; MaxBytes %d fits\n", warned.Warned, warned.Fits)
	for range c.told { // until the kernel ends it
	}
	if !c.killed() {
		return fmt.Errorf("not killed by the kernel: %w\n%s", c.ended, tail(c.err.String()))
	}
	unix.Sync() // what is not on the disk yet is charged to the group, and version 1 kills rather than wait for it
	c, keys, err := x.start("large", warned.Fits, 1)
	if err != nil {
		return err
	}
	defer c.kill()
	n, err := c.within(time.Minute, func(n *fillNote) bool { return n.Kind == "opened" })
	if err != nil {
		return err
	}
	fmt.Fprintf(x.w, "  killed by the kernel; the next, with that MaxBytes: %s, mapped in %v, %d entries of it\n", n.Outcome, n.Mapped, n.Found)
	if n.Outcome == "cold" || n.Found < keys/10 || n.Wrong > 0 {
		return fmt.Errorf("of %d keys: %+v", keys, n)
	}
	if n, err = c.within(2*time.Minute, func(n *fillNote) bool { return n.Kind == "filled" }); err == nil && n.Wrong > 0 {
		err = fmt.Errorf("%+v", n)
	}
	if err != nil {
		return err
	}
	c.say("close")
	_, err = c.within(time.Minute, func(n *fillNote) bool { return n.Kind == "ended" })
	return err
}

// unhealthy is for all but a ring that is full: where the disk is slow that is what is
// promised.
func unhealthy(health string) bool {
	return health != "" && !strings.HasPrefix(health, "weak generations paused")
}
