//go:build unix

package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The moments at which TestKilledProcess ends a process, and how.

// killStop is how long a process is stopped: longer than the time after which a
// disk is called slow.
const killStop = 1100 * time.Millisecond

// kill lives through one child, at times through two. The moments of a kill are
// spread over as much time as the thing to be met takes.
func (r *killRun) kill(i int) {
	switch i % 20 {
	case 0, 10:
		r.killOpening("first start")
	case 1, 11:
		r.live("first writes", func(c *killProcess) { c.await(c.life.hello); c.killAfter(r.within(20 * time.Millisecond)) })
	case 3, 13:
		r.killOpening("recovery")
	case 4:
		r.live("start", func(c *killProcess) { c.killAfter(r.within(20 * time.Millisecond)) })
	case 5, 15:
		r.live("dump", func(c *killProcess) {
			c.await(c.life.busy)
			c.await(c.life.dumps)
			c.killAfter(r.within(10 * time.Millisecond))
		})
	case 6, 16:
		r.live("Close", func(c *killProcess) {
			c.await(c.life.busy)
			time.Sleep(r.within(60 * time.Millisecond)) // the load is the same all the time
			c.ask("close")
			c.killAfter(r.within(25 * time.Millisecond))
		})
	case 7:
		r.live("prefetch", func(c *killProcess) { c.await(c.life.open); c.killAfter(r.within(r.opening / 2)) })
	case 9:
		r.stop(r.rng.Intn(2) == 0)
	case 12:
		r.reshape()
	case 14:
		r.inherit()
	case 17:
		r.live("panic", func(c *killProcess) { c.await(c.life.busy); c.endBy("panic", r.within(100*time.Millisecond)) })
	case 19:
		r.starve()
	default:
		r.service(i)
	}
}

func (r *killRun) within(d time.Duration) time.Duration { return time.Duration(r.rng.Int63n(int64(d))) }

func (r *killRun) killOpening(name string) {
	r.live(name, func(c *killProcess) { c.await(c.life.hello); c.killAfter(r.within(r.opening)) })
}

func (r *killRun) service(i int) {
	name, d := "service", r.within(150*time.Millisecond)
	switch i % 40 {
	case 8: // a loss over the bound can be seen in this one
		name, d = "long service", killLoss+500*time.Millisecond
	case 18, 28, 38:
		name, d = "first moments of service", r.within(8*time.Millisecond)
	}
	r.live(name, func(c *killProcess) { c.await(c.life.busy); c.killAfter(d) })
}

// endBy waits until the child has ended by what it was asked to do.
func (c *killProcess) endBy(what string, d time.Duration) {
	time.Sleep(d) // the moment to be tested
	c.ask(what)
	select {
	case <-c.life.over:
		c.died = time.Now()
	case <-time.After(time.Minute):
		c.t.Fatalf("the child has survived %q for a minute", what)
	}
}

// stop stops a process for a while. Its directory is its own all the time. Then it
// is killed, or goes on.
func (r *killRun) stop(killed bool) {
	name := "stopped and continued"
	if killed {
		name = "stopped"
	}
	r.live(name, func(c *killProcess) {
		c.await(c.life.busy)
		time.Sleep(r.within(60 * time.Millisecond))
		stopped := time.Now()
		c.signal(syscall.SIGSTOP)
		time.Sleep(killStop)
		r.locked(c.cmd.Process.Pid)
		if killed {
			c.killAfter(0)
			c.died = stopped
			return
		}
		c.life.after.Store(uint64(time.Since(c.life.begin)))
		c.signal(syscall.SIGCONT)
		c.await(c.life.resumed)
		c.killAfter(r.within(60 * time.Millisecond))
	})
}

func (c *killProcess) signal(s syscall.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// locked finds that the directory is in use by that process.
func (r *killRun) locked(pid int) {
	r.t.Helper()
	c, err := Open(context.Background(), r.dir, &Options{MaxBytes: killMaxBytes, Logger: slog.New(slog.DiscardHandler)})
	var locked *LockError
	switch {
	case err == nil:
		_ = c.Close()
		r.t.Fatal("a directory that a stopped process has was opened")
	case !errors.As(err, &locked) || locked.PID != pid && locked.PID != 0:
		r.t.Fatalf("error %v, want a LockError of process %d", err, pid)
	}
}

// reshape asks for another number of shards, which is so from then on, and kills
// the process that copies everything.
func (r *killRun) reshape() {
	r.shards = 2 * killShards
	if r.little {
		r.shards = killShards / 2 // each needs a MiB
	}
	c := r.launch("reshape", nil)
	c.await(c.life.hello)
	c.killAfter(r.within(2 * r.opening))
	r.end("reshape", c)
}

// inherit kills a process for whose directory another one waits.
func (r *killRun) inherit() {
	first := r.launch("awaited", nil)
	first.await(first.life.busy)
	second := r.launch("inheritance", func(p *killPlan) { p.Wait, p.Lossy = true, true })
	second.await(second.life.hello)
	first.killAfter(r.within(100 * time.Millisecond))
	r.end("awaited", first)
	second.await(second.life.busy)
	second.killAfter(r.within(50 * time.Millisecond))
	r.end("inheritance", second)
}

// starve has the kernel kill a process for the memory that it takes.
func (r *killRun) starve() {
	procs, remove := memoryGroup(256 << 20)
	defer remove()
	if procs == "" {
		r.live("service, no control group to starve in", func(c *killProcess) { c.await(c.life.busy); c.killAfter(0) })
		return
	}
	r.live("out of memory", func(c *killProcess) {
		c.await(c.life.busy)
		if err := os.WriteFile(procs, []byte(strconv.Itoa(c.cmd.Process.Pid)), 0); err != nil {
			r.t.Fatal(err)
		}
		c.endBy("eat", r.within(50*time.Millisecond))
	})
}

// memoryGroup makes a control group with that limit, in bytes, and returns where
// its processes are written; "" if that cannot be had here.
func memoryGroup(limit int64) (procs string, remove func()) {
	const v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	dir, file := filepath.Join(v1, fmt.Sprint("ember-", os.Getpid())), "memory.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(v1, file)); err != nil {
		dir, file = filepath.Join(v2, filepath.Base(dir)), "memory.max"
	}
	if os.Mkdir(dir, 0o755) != nil {
		return "", func() {}
	}
	remove = func() { _ = os.Remove(dir) }
	if os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0) != nil {
		return "", remove
	}
	return filepath.Join(dir, "cgroup.procs"), remove
}

// eat takes memory until there is none.
func eat() {
	var eaten [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		if eaten = append(eaten, b); len(eaten) > 1024 {
			os.Exit(6) // no limit
		}
	}
}

// killKeyIn is a key that lies in that quarter of all shards.
func killKeyIn(c *Cache, name string, quarter int) []byte {
	for n := 0; ; n++ {
		key := fmt.Appendf(nil, "%s-%d", name, n)
		if int(shardOf(c.hash.sum(key)))*4/maxShards == quarter {
			return key
		}
	}
}

// killed is how many processes were.
func (r *killRun) killed() (n int) {
	for name, count := range r.how {
		if name != "Close, too late" {
			n += count
		}
	}
	return n
}

func (r *killRun) report() {
	slices.Sort(r.losses)
	at := func(q float64) time.Duration {
		return r.losses[int(q*float64(len(r.losses)-1))].Round(10 * time.Microsecond)
	}
	var phases []string
	for name, n := range r.how {
		phases = append(phases, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(phases)
	r.t.Logf("%d kills: %s", r.killed(), strings.Join(phases, ", "))
	r.t.Logf("%d lives and %d writes and Clears judged; %d entries forgotten, all where memory is little or Clear ran",
		r.judged, r.events, r.forgotten)
	if !r.t.Failed() {
		r.t.Log("0 wrong values, 0 panics, 0 lost generations, and no other entry missing")
	}
	r.t.Logf("%d lives found links, %d ended before they could serve; clocks ahead %d times, behind %d, set forward in a life %d",
		r.weak, r.second, r.clocks.forward, r.clocks.back, r.clocks.jumps)
	r.t.Logf("of %d kills with writes, lost was what had returned in the last: median %v, nine in ten %v, worst %v",
		len(r.losses), at(0.5), at(0.9), at(1))
}

// watchPauses watches this process, and so a machine that stands still, until over;
// then stood says for how long nothing ran. What did not run could write no link.
func watchPauses(over <-chan struct{}) (stood func() time.Duration) {
	const step, late = 10 * time.Millisecond, 100 * time.Millisecond
	all := make(chan time.Duration, 1)
	go func() {
		sum, last := time.Duration(0), time.Now()
		for {
			select {
			case <-over:
				all <- sum
				return
			case <-time.After(step):
			}
			now := time.Now()
			if took := now.Sub(last); took > late {
				sum += took
			}
			last = now
		}
	}()
	return func() time.Duration { return <-all }
}
