package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/embercache/ember/cache"
)

const (
	tuningSet      = "Set ns"
	tuningSetLate  = "Set p99.9 µs"
	tuningGet      = "Get ns"
	tuningGetLate  = "Get p99.9 µs"
	tuningFull     = "Set ns, full speed"
	tuningWritten  = "written"
	tuningWeak     = "weak ring"
	tuningFast     = "written, full speed"
	tuningLag      = "lag ms"
	tuningRecovery = "Open after kill ms"
	tuningLost     = "left out"

	tuningPace  = 100_000 // Sets a second
	tuningBytes = 256 << 20
)

// tuningRow is what the options trade.
func tuningRow() row {
	r := row{
		name:  "tuning",
		title: "what each option trades",
		about: "256 MiB, 262,144 entries of 24+256 B, uniform keys. 100,000 Sets a second by one goroutine, Gets by another as fast as " +
			"it can; then Sets alone at full speed; then 100,000 Sets a second again until SIGKILL, and Open in a fresh process up to the first hit. " +
			"Times are means and p99.9 of calls. written: bytes into page files, blobs and images over keys and values set; weak ring: the same into " +
			"the ring. lag: from the oldest write of a durable generation to durable, the mean. In the variant interval DirtyBytes is MaxBytes. left out: 1 where such a file system cannot be had (xfs " +
			"takes root, mkfs.xfs and a loop device).",
		figures: []string{tuningSet, tuningSetLate, tuningGet, tuningGetLate, tuningFull, tuningWritten, tuningWeak, tuningFast, tuningLag, tuningRecovery, tuningLost},
		chart:   []string{tuningSet, tuningGet, tuningFull}, unit: "ns", rounds: 3,
	}
	r.variants = []variant{
		tuningVariant("interval", "1s", []string{"100ms", "1s", "10s", "off"}, func(o *cache.Options, who string) {
			o.Durability.Interval = durationOf(who)
			o.Durability.DirtyBytes = tuningBytes // else at this pace it comes before the longer ones
		}),
		tuningVariant("weak", "5ms", []string{"off", "5ms", "50ms"}, func(o *cache.Options, who string) {
			o.Durability.Weak = durationOf(who)
		}),
		tuningVariant("segment", "256KiB", []string{"256KiB", "64KiB", "16KiB"}, func(o *cache.Options, who string) {
			o.Shards = map[string]int{"256KiB": 8, "64KiB": 64, "16KiB": 256}[who]
		}),
		tuningVariant("storage", "dir", []string{"dir", "xfs", "tmpfs", "ring-on-tmpfs"}, func(*cache.Options, string) {}),
	}
	return r
}

func tuningVariant(name, reference string, settings []string, set func(o *cache.Options, who string)) variant {
	return variant{name: name, contestants: settings, reference: reference, run: func(j *job) (figures, error) {
		o := &cache.Options{MaxBytes: tuningBytes, Shards: 8, Logger: slog.New(slog.DiscardHandler)}
		set(o, j.Contestant)
		switch j.Step {
		case "load":
			return tuningLoad(j, o)
		case "open":
			return tuningOpen(j, o)
		}
		return tuningJob(j)
	}}
}

// durationOf is that of an option; "off" is negative.
func durationOf(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return -1
	}
	return d
}

// tuningJob has one process load and be killed, and another open.
func tuningJob(j *job) (got figures, err error) {
	place, leave, err := storage(j)
	if err != nil {
		return figures{tuningLost: 1}, nil // the table says so
	}
	defer func() { err = errors.Join(err, leave()) }()
	next := *j
	next.Dir, next.Step = place, "load"
	cmd, err := next.command(context.Background())
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output() // it ends itself by SIGKILL
	if json.Unmarshal(out, &got) != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	next.Step = "open"
	opened, err := next.exec(context.Background())
	if err == nil {
		got[tuningRecovery] = opened[tuningRecovery]
	}
	return got, err
}

// storage makes the place for a job's files: leave removes it.
func storage(j *job) (place string, leave func() error, err error) {
	switch j.Contestant {
	case "xfs":
		return xfsOnLoop(j.Dir)
	case "tmpfs":
		place, err = os.MkdirTemp("/dev/shm", "ember-bench-")
		return place, func() error { return os.RemoveAll(place) }, err
	case "ring-on-tmpfs":
		ring, err := os.MkdirTemp("/dev/shm", "ember-bench-")
		if err == nil {
			err = os.Symlink(ring, filepath.Join(j.Dir, "ring"))
		}
		return j.Dir, func() error { return os.RemoveAll(ring) }, err
	}
	return j.Dir, func() error { return nil }, nil
}

// xfsOnLoop makes an xfs in a sparse file and mounts it.
func xfsOnLoop(dir string) (place string, leave func() error, err error) {
	image, place := filepath.Join(dir, "xfs.image"), filepath.Join(dir, "xfs")
	f, err := os.Create(image)
	if err != nil {
		return "", nil, err
	}
	err = errors.Join(f.Truncate(3<<30), f.Close(), os.Mkdir(place, 0o700))
	for _, args := range [][]string{{"mkfs.xfs", "-q", image}, {"mount", "-t", "xfs", "-o", "loop", image, place}} {
		if err == nil {
			err = exec.Command(args[0], args[1:]...).Run()
		}
	}
	return place, func() error { return exec.Command("umount", place).Run() }, err
}

// tuningOpen opens what the killed process left.
func tuningOpen(j *job, o *cache.Options) (figures, error) {
	began := time.Now()
	t, err := openTuned(j, o)
	if err != nil {
		return nil, err
	}
	for i := 0; ; i++ {
		if i == t.s.entries {
			return nil, fmt.Errorf("nothing is there: %v", t.p.c.Recovery().Reason)
		}
		putKey(t.key, uint64(i))
		if value, ok := t.p.get(nil, t.key); ok {
			got := figures{tuningRecovery: float64(time.Since(began)) / 1e6}
			if !owns(t.key, value, t.s.value) {
				err = errors.New("a value of another key, or damaged")
			}
			return got, errors.Join(err, t.p.close())
		}
	}
}
