package power

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/embercache/ember/internal/draw"
)

// Config says what Run does.
type Config struct {
	States  int    // to visit, at least
	Control int    // to visit of a cache that does not sync
	Seed    int64  // of everything that is drawn
	Dir     string // for files; empty: the system's for temporary ones
}

const perWorld = 24 // states of it, at most

// ErrSkip is wrapped by what Run returns where nothing can be mounted.
var ErrSkip = errors.New("cannot run here")

// Run visits states, and writes what it has seen to w. It returns an error if one of
// them breaks the law, or if none of the control's does.
func Run(ctx context.Context, c Config, w io.Writer) error {
	if err := able(); err != nil {
		return fmt.Errorf("%w: %w", ErrSkip, err)
	}
	dir, err := os.MkdirTemp(c.Dir, "power")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c.Dir = dir
	return c.isolated(ctx, w)
}

// able says what is missing.
func able() error {
	if os.Getuid() != 0 {
		return errors.New("only root may mount a file system")
	}
	for _, device := range []string{"/dev/fuse", "/dev/loop-control"} {
		if f, err := os.OpenFile(device, os.O_RDWR, 0); err != nil {
			return err
		} else {
			f.Close()
		}
	}
	for _, k := range kinds {
		if _, err := exec.LookPath(k.make[0]); err != nil {
			return err
		}
	}
	return nil
}

// isolated runs in a mount namespace that ends with its processes.
func (c *Config) isolated(ctx context.Context, w io.Writer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := command(ctx, "lab", c)
	if err != nil {
		return err
	}
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = w, &text
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	if err := cmd.Run(); errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: %w", ErrSkip, err)
	} else if err != nil {
		return errors.New(cmp.Or(strings.TrimSpace(text.String()), err.Error()))
	}
	return nil
}

// failures are what broke the law, or kept a state from being judged.
type failures struct {
	w io.Writer // is told of each

	mu   sync.Mutex
	list []string
}

func (f *failures) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, text)
	fmt.Fprintln(f.w, "  "+text)
}

func (f *failures) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}

func (f *failures) enough() bool { return len(f.all()) >= 20 }

// A lab is what all tours share.
type lab struct {
	c     *Config
	s     *server
	bases []*image // by kind
	broke failures
	keep  string
}

func (c *Config) run(w io.Writer) (err error) {
	b := &lab{c: c, keep: filepath.Dir(c.Dir), broke: failures{w: w}}
	for _, k := range kinds {
		m, err := k.format(c.Dir)
		if err != nil {
			return err
		}
		b.bases = append(b.bases, m)
	}
	dir := filepath.Join(c.Dir, "disks")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if b.s, err = serve(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.s.stop()) }()
	return errors.Join(b.visit(w), b.control(w))
}

// visit is what is to hold.
func (b *lab) visit(w io.Writer) error {
	tallies := make([]*tally, len(kinds))
	for i, k := range kinds {
		tallies[i] = newTally(k.name)
	}
	visited := func() (n int) {
		for _, t := range tallies {
			n += t.visited()
		}
		return n
	}
	each := min(perWorld, max(b.c.States/len(kinds), 1))
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 2)
	for worker := range errs {
		all.Go(func() {
			for errs[worker] == nil {
				i := int(next.Add(1) - 1)
				if i >= len(kinds) && visited() >= b.c.States {
					return
				}
				o := &tour{s: b.s, t: tallies[i%len(kinds)], keep: b.keep, broke: &b.broke}
				errs[worker] = o.world(b.world(i, i%len(kinds)), each)
			}
		})
	}
	all.Wait()
	wrong, lost := 0, 0
	for _, t := range tallies {
		t.print(w)
		wrong, lost = wrong+t.wrong, lost+t.lost
	}
	fmt.Fprintf(w, "  %d states on real file systems, wrong %d, lost %d\n", visited(), wrong, lost)
	if n := len(b.broke.list); n > 0 {
		errs = append(errs, fmt.Errorf("%d worlds or states broke the law", n))
	}
	return errors.Join(errs...)
}

func (b *lab) world(i, kind int) *world {
	seed := int64(draw.Mix(uint64(b.c.Seed) + uint64(i)))
	return newWorld(kinds[kind], fmt.Sprintf("world %d on %s", i, kinds[kind].name), b.bases[kind], seed, i/len(kinds))
}

// control has a cache that does not sync, which is to lose what it acknowledged: else
// nothing would be seen if the others did.
func (b *lab) control(w io.Writer) error {
	t := newTally("control, without sync")
	broke := failures{w: w}
	for i := 0; t.states < b.c.Control && !broke.enough(); i++ {
		v := b.world(1<<20+i, i%len(kinds))
		v.nosync, v.lossy, v.h.lossy = true, true, true
		o := &tour{s: b.s, t: t, keep: b.keep, broke: &broke, lost: true}
		if err := o.world(v, min(perWorld, b.c.Control)); err != nil {
			return err
		}
	}
	t.print(w)
	switch {
	case len(broke.list) > 0 || t.wrong > 0:
		return fmt.Errorf("without sync %d worlds or states broke more than it may", len(broke.list))
	case t.lost == 0:
		return errors.New("a cache that does not sync has lost nothing: nothing could be seen here")
	}
	return nil
}
