// Package deploy restarts the service under load and shows what its clients see:
// once with Ember as the cache, once with a Go map, and twice with a new version
// of the service whose cached type has one more field.
package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/embercache/ember/examples/webservice/load"
	"github.com/embercache/ember/examples/webservice/shop"
)

// Options say what is run. URL is left to Run.
type Options struct {
	Load    load.Options
	Out     string // folder of the results; "": none
	Kill    bool   // SIGKILL in place of SIGTERM
	Warm    time.Duration
	Before  time.Duration
	After   time.Duration
	Latency time.Duration // of a query, added
	Conns   int
}

// overlap is how long the new process runs before the old one is told to go.
const overlap = time.Second

// Validate says what no deploys can be compared with.
func (o *Options) Validate() error {
	if o.Before < time.Second || o.After < time.Second || o.Warm < 0 || o.Latency < 0 || o.Conns < 1 {
		return errors.New("-before and -after are a second at least, -warm and -db-latency not negative, -db-conns 1 at least")
	}
	return o.Load.Validate()
}

// A series is one deploy: what runs before and after it.
type series struct {
	name     string
	old, new []string // flags of the server
	warm     bool     // is to be warm after it
}

var allSeries = []series{
	{"Ember", []string{"-cache=ember"}, []string{"-cache=ember"}, true},
	{"Go map", []string{"-cache=map"}, []string{"-cache=map"}, false},
	{"Ember, new field, Migrate", []string{"-cache=ember"}, []string{"-cache=ember", "-v2"}, true},
	{"Ember, new field, no Migrate", []string{"-cache=ember"}, []string{"-cache=ember", "-v2", "-migrate=false"}, false},
}

// An outcome is what one series gave.
type outcome struct {
	series
	seconds  []load.Second // from Options.Before before the restart
	all      load.Second   // of these, and of the time that warmed the cache
	gone     time.Duration // from the signal to the end of the old process
	ready    time.Duration // from the signal to /readyz of the new one
	recovery string        // what that said
}

// Run deploys once for each series and writes deploy.md, deploy.png and
// deploy.svg. What it says meanwhile and the tables go to w. It fails if an answer
// was outdated or Ember was not warm.
func Run(ctx context.Context, w io.Writer, o Options) (err error) {
	dir, err := os.MkdirTemp("", "ember-webservice-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, err := build(ctx, dir)
	if err != nil {
		return err
	}
	seeded := filepath.Join(dir, "shop.db")
	if err := shop.Seed(seeded, o.Load.Products); err != nil {
		return err
	}
	about := describe(ctx, &o)
	fmt.Fprint(w, about)
	var outcomes []outcome
	for i, s := range allSeries {
		fmt.Fprintf(w, "deploying: %s\n", s.name)
		d := &deployment{o: o, series: s, binary: binary, dir: filepath.Join(dir, strconv.Itoa(i))}
		if err := os.Mkdir(d.dir, 0o700); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(d.dir, "shop.db"), seeded); err != nil {
			return err
		}
		out, err := d.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		outcomes = append(outcomes, *out)
	}
	var report strings.Builder
	writeReport(&report, &o, about, outcomes)
	fmt.Fprint(w, "\n", strings.TrimPrefix(report.String(), about))
	if o.Out != "" {
		if err := writeFiles(&o, report.String(), outcomes); err != nil {
			return err
		}
		fmt.Fprintf(w, "\nwritten to %s: deploy.md, deploy.png, deploy.svg\n", o.Out)
	}
	return verdict(&o, outcomes)
}

func writeFiles(o *Options, report string, outcomes []outcome) error {
	if err := os.WriteFile(filepath.Join(o.Out, "deploy.md"), []byte(report), 0o644); err != nil {
		return err
	}
	for _, name := range []string{"deploy.png", "deploy.svg"} {
		if err := writeChart(filepath.Join(o.Out, name), o, outcomes); err != nil {
			return err
		}
	}
	return nil
}

// mayLose is how much lower Ember's hit ratio may be in the second that begins
// with the restart: what is asked for differs from second to second.
const mayLose = 0.1

// verdict is an error if an answer was outdated, or Ember was not warm.
func verdict(o *Options, outcomes []outcome) (err error) {
	for i := range outcomes {
		out := &outcomes[i]
		if out.all.Outdated > 0 {
			err = errors.Join(err, fmt.Errorf("%s: %d answers were outdated", out.name, out.all.Outdated))
		}
		before, after := out.split(o)
		if got := after[0].HitRatio(); out.warm && !(got >= ratio(before)-mayLose) {
			err = errors.Join(err, fmt.Errorf("%s: a hit ratio of %s right after the restart, %s before it", out.name, percent(got), percent(ratio(before))))
		}
	}
	return err
}

// A deployment runs one series.
type deployment struct {
	o Options
	series
	binary, dir, addr string
}

func (d *deployment) start(ctx context.Context, flags []string) (*Process, error) {
	command := append([]string{d.binary, "serve", "-addr", d.addr, "-db", filepath.Join(d.dir, "shop.db"),
		"-db-latency", d.o.Latency.String(), "-db-conns", strconv.Itoa(d.o.Conns)}, flags...)
	return Start(ctx, filepath.Join(d.dir, "log"), command...)
}

func (d *deployment) run(ctx context.Context) (*outcome, error) {
	ctx, cancel := context.WithCancel(ctx) // ends what still runs after an error
	defer cancel()
	var err error
	if d.addr, err = FreeAddr(); err != nil {
		return nil, err
	}
	old, err := d.start(ctx, d.old)
	if err != nil {
		return nil, err
	}
	d.o.Load.URL = "http://" + d.addr
	if _, err := old.WaitReady(ctx, d.o.Load.URL); err != nil {
		return nil, err
	}
	l := load.New(d.o.Load)
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		l.Run(loading)
	}()
	if err := pause(ctx, d.o.Warm+d.o.Before); err != nil {
		return nil, err
	}
	out, at, next, err := d.restart(ctx, old)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, d.o.After-time.Since(at)); err != nil {
		return nil, err
	}
	stopLoad()
	<-loaded
	samples := l.Samples()
	out.seconds = load.Sum(samples, at.Add(-d.o.Before), time.Second, int((d.o.Before+d.o.After)/time.Second))
	out.all = load.Sum(samples, at.Add(-time.Hour), 2*time.Hour, 1)[0]
	return out, next.Stop()
}

// restart replaces the old process by a new one, at the time that it returns.
// After SIGTERM the new one is running already and waits for what the old one
// holds, as in a rolling update; after SIGKILL it is started then, as after a
// crash.
func (d *deployment) restart(ctx context.Context, old *Process) (out *outcome, at time.Time, next *Process, err error) {
	out = &outcome{series: d.series}
	if !d.o.Kill {
		if next, err = d.start(ctx, d.new); err != nil {
			return nil, at, nil, err
		}
		if err := pause(ctx, overlap); err != nil {
			return nil, at, nil, err
		}
	}
	at = time.Now()
	if d.o.Kill {
		_ = old.Signal(syscall.SIGKILL)
		_ = old.Wait() // an error: it was killed
		out.gone = time.Since(at)
		if next, err = d.start(ctx, d.new); err != nil {
			return nil, at, nil, err
		}
	} else {
		if err := old.Stop(); err != nil {
			return nil, at, nil, fmt.Errorf("the old server did not end well: %w; it said:\n%s", err, old.said())
		}
		out.gone = time.Since(at)
	}
	out.recovery, err = next.WaitReady(ctx, d.o.Load.URL)
	out.ready = time.Since(at)
	return out, at, next, err
}

// FreeAddr returns an address on which nobody listens.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
