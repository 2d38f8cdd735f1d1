// Quickstart shows Ember's main job on real input.
//
// A small service answers which symbols a Go file exports and what their
// comments say. Computing an answer means reading and parsing the file, so the
// service caches it. Quickstart lets the service answer for every file of the Go
// installation that it runs on, kills it in the middle of serving, starts it
// again, and says what the kill has cost. Every value is checked after the
// restart; a wrong or a missing one is an error.
//
//	go run ./examples/quickstart
//
// The service is a child process running this same executable, so that the kill
// is a real one: SIGKILL, or what stands for it elsewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// A config is what the flags say.
type config struct {
	root     string // the tree to serve
	dir      string // where the folder of this run is made
	keep     bool
	stop     string // kill or close
	serve    time.Duration
	interval time.Duration
	maxBytes int64
	sample   int
	timeout  time.Duration
}

func main() {
	if demo.IsChild() {
		os.Exit(runService())
	}
	cfg := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.timeout)
	defer cancel()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		stop()
		os.Exit(1)
	}
}

func parseFlags() *config {
	cfg := new(config)
	flag.StringVar(&cfg.root, "root", "", "tree of Go files to serve (default $(go env GOROOT)/src)")
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "where to make the folder of this run")
	flag.BoolVar(&cfg.keep, "keep", false, "leave that folder and say where it is")
	flag.StringVar(&cfg.stop, "stop", "kill", "how the service ends: kill or close")
	flag.DurationVar(&cfg.serve, "serve", 2*time.Second, "serve at least this long before the end")
	flag.DurationVar(&cfg.interval, "interval", time.Second, "Durability.Interval")
	mib := flag.Int64("max", 128, "MaxBytes, in MiB")
	flag.IntVar(&cfg.sample, "sample", 500, "files to parse again after the restart, to compare")
	flag.DurationVar(&cfg.timeout, "timeout", 2*time.Minute, "give up after this long")
	flag.Parse()
	cfg.maxBytes = *mib << 20
	if flag.NArg() > 0 || cfg.stop != "kill" && cfg.stop != "close" {
		flag.Usage()
		os.Exit(2)
	}
	return cfg
}

// run is the whole demonstration.
func run(ctx context.Context, cfg *config) (err error) {
	if cfg.root == "" {
		cfg.root = goSource(ctx)
	}
	first, err := firstFile(cfg.root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(cfg.dir, "ember-quickstart-")
	if err != nil {
		return err
	}
	if cfg.keep {
		defer fmt.Println("left in", dir)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	j := job{Dir: dir, Root: cfg.root, First: first, MaxBytes: cfg.maxBytes, Interval: cfg.interval}
	r := &report{cfg: cfg, progress: demo.NewProgress(os.Stderr)}
	defer r.progress.Clear()
	if err := r.coldRun(ctx, j); err != nil {
		return fmt.Errorf("first run: %w", err)
	}
	if err := r.warmRun(ctx, j); err != nil {
		return fmt.Errorf("second run: %w", err)
	}
	r.progress.Clear()
	r.print(os.Stdout)
	return r.verdict()
}

// coldRun fills an empty cache, reads it once more, and ends in mid-service.
func (r *report) coldRun(ctx context.Context, j job) error {
	r.progress.Show("first run: parsing %s", j.Root)
	s, err := startService(ctx, j, &r.cold)
	if err != nil {
		return err
	}
	defer s.end()
	if r.cold.fill, err = s.pass(passCommand{Digest: true}); err != nil {
		return err
	}
	s.filled = time.Now()
	if r.cold.pass, err = s.pass(passCommand{}); err != nil {
		return err
	}
	if err := s.serve(ctx, r); err != nil {
		return err
	}
	if r.cfg.stop == "close" {
		r.closeTook, err = s.close()
		return err
	}
	return s.kill()
}

// warmRun starts the service again and checks all that it knows.
func (r *report) warmRun(ctx context.Context, j job) error {
	r.progress.Show("second run: checking")
	s, err := startService(ctx, j, &r.warm)
	if err != nil {
		return err
	}
	defer s.end()
	if r.warm.pass, err = s.pass(passCommand{}); err != nil {
		return err
	}
	if r.digest, err = s.pass(passCommand{Digest: true}); err != nil {
		return err
	}
	if r.wrong, err = s.check(r.cfg.sample); err != nil {
		return err
	}
	_, err = s.close()
	return err
}

// goSource returns the source tree of the Go installation.
func goSource(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	goroot := strings.TrimSpace(string(out))
	if err != nil || goroot == "" {
		goroot = build.Default.GOROOT
	}
	return filepath.Join(goroot, "src")
}

// firstFile returns the file that the service is asked for first: one that
// everybody knows, or else the first in the tree.
func firstFile(root string) (string, error) {
	const known = "fmt/print.go"
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(known))); err == nil {
		return known, nil
	}
	files, err := listFiles(root)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("no Go files in %s", root)
	}
	return files[0].name, nil
}
