package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// An endurance is one run of endure: half of it one process that opens its cache
// again and again, half of it one process after the other.
type endurance struct {
	ctx    context.Context
	w      io.Writer
	rng    *rand.Rand
	total  time.Duration
	plan   endurePlan
	disk   *smallDisk // nil: there is none
	faults map[string]int

	lives    int
	outcomes map[string]int
	opened   int64 // times
	found    int   // entries after the newest Open
	done     work  // by the newest life
	sum      work  // by those that have ended
	wrong    int
	flushed  uint64 // newest acknowledged generation of the directory
	damaged  bool   // since the newest Open
	open     bool   // the newest life has told what Open found
	all      []vitals
	unwell   time.Time // zero: Health is nil
	failed   error
}

func endure(ctx context.Context, o *options, w io.Writer) error {
	e := &endurance{ctx: ctx, w: w, rng: rand.New(rand.NewPCG(uint64(o.Seed), 8)),
		total: time.Duration(o.count(2, 1200)) * time.Second, faults: make(map[string]int), outcomes: make(map[string]int)}
	e.plan = endurePlan{Keys: 64_000, MaxBytes: 64 << 20, Shards: 8, Seed: uint64(o.Seed)}
	if o.Quick {
		e.plan.Keys, e.plan.MaxBytes = 8000, 8<<20
	}
	dir, err := os.MkdirTemp(o.Dir, "endure")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e.plan.Ledger, e.plan.Dir = filepath.Join(dir, "ledger"), filepath.Join(dir, "disk", "cache")
	if e.disk, err = newSmallDisk(dir, filepath.Join(dir, "disk"), e.plan.MaxBytes*5+64<<20); err != nil {
		e.say("no small file system, so no full one: %v", err)
	}
	defer e.disk.remove()
	e.oneProcess(e.total / 2)
	e.manyProcesses(e.total / 2)
	e.report()
	return e.failed
}

func (e *endurance) say(format string, args ...any) { fmt.Fprintf(e.w, "  "+format+"\n", args...) }

func (e *endurance) fail(err error) {
	e.say("FAIL: %v", err)
	e.failed = errors.Join(e.failed, err)
}

// start starts a life.
func (e *endurance) start() (*child[endureNote], error) {
	e.lives++
	e.plan.Seed++
	e.plan.Damaged, e.open = e.damaged, false
	return startChild[endureNote](e.ctx, "endure", e.plan)
}

// listen notes what a child tells for a while, or until it has ended.
func (e *endurance) listen(c *child[endureNote], d time.Duration) (ended bool) {
	end := time.After(d)
	for {
		select {
		case n, ok := <-c.told:
			if !ok {
				return true
			}
			e.note(&n)
		case <-end:
			return false
		}
	}
}

func (e *endurance) note(n *endureNote) {
	switch n.Kind {
	case "wrong":
		if e.wrong++; e.wrong < 10 {
			e.fail(errors.New(n.Text))
		}
	case "opened":
		e.opening(n.Opened)
	case "flushed":
		e.flushed = max(e.flushed, n.Flushed)
	case "closed":
		if n.Text != "" {
			e.faults["Close said what it could not write"]++
			e.found = 0
		}
	case "vitals":
		e.all = append(e.all, n.Vitals)
		switch {
		case n.Text == "":
			e.unwell = time.Time{}
		case e.unwell.IsZero():
			e.unwell = time.Now()
			e.faults["Health said so"]++
		}
	}
	e.done = n.Work
}

// opening judges what an Open found.
func (e *endurance) opening(n *openedNote) {
	e.outcomes[n.Outcome]++
	e.opened++
	if n.Stale {
		e.outcomes["stale"]++
	}
	if !e.damaged && e.flushed > 0 {
		if n.Outcome == "cold" || n.Stale || n.Generation < e.flushed {
			e.fail(fmt.Errorf("a lost generation: %d was acknowledged, Open found %+v", e.flushed, *n))
		}
	}
	if n.Outcome == "cold" {
		e.flushed = 0
	}
	e.damaged, e.open = false, true
}

// oneProcess is one that lives on, opens its cache again and again, and is stopped
// and kept from its disk.
func (e *endurance) oneProcess(d time.Duration) {
	e.plan.Reopen = max(d/40, 500*time.Millisecond)
	defer func() { e.plan.Reopen = 0 }()
	c, err := e.start()
	if err != nil {
		e.fail(err)
		return
	}
	end, first := time.Now().Add(d), len(e.all)
	for time.Now().Before(end) {
		if e.listen(c, max(d/60, 300*time.Millisecond)) {
			e.fail(fmt.Errorf("the process has ended: %w\n%s", c.ended, tail(c.err.String())))
			return
		}
		if e.rng.IntN(2) == 0 {
			e.pause(c)
		} else {
			e.fill(c)
		}
	}
	e.healed(c)
	e.end(c, "Close")
	e.say("one process: %d lives of its cache", e.opened)
	if err := flat(e.all[first:], e.say); err != nil {
		e.fail(err)
	}
}

// pause stops the process for a moment.
func (e *endurance) pause(c *child[endureNote]) {
	e.faults["stopped and continued"]++
	_ = c.cmd.Process.Signal(syscall.SIGSTOP)
	e.listen(c, time.Duration(e.rng.Int64N(int64(min(3*time.Second, e.total/10)))))
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
}

// fill has the disk full for a while.
func (e *endurance) fill(c *child[endureNote]) {
	if e.disk == nil {
		return
	}
	if err := e.disk.fill(); err != nil {
		e.fail(err)
		return
	}
	e.faults["disk full, freed again"]++
	e.listen(c, min(5*time.Second, e.total/20))
	if err := e.disk.free(); err != nil {
		e.fail(err)
	}
}

// healed waits until Health is nil.
func (e *endurance) healed(c *child[endureNote]) {
	for end := time.Now().Add(time.Minute); ; {
		if e.listen(c, 1500*time.Millisecond) || e.unwell.IsZero() {
			return
		}
		if time.Now().After(end) {
			e.fail(errors.New("not healthy a minute after the disk was freed"))
			return
		}
	}
}

// end ends a life, and finds that nothing else has.
func (e *endurance) end(c *child[endureNote], how string) {
	if how == "Close" {
		c.say("close")
	} else {
		c.kill()
	}
	if !e.listen(c, 2*time.Minute) {
		c.kill()
		e.listen(c, time.Minute)
		e.fail(fmt.Errorf("a process that was ended by %s still ran two minutes later", how))
	}
	switch {
	case how == "Close" && c.ended != nil, how != "Close" && c.ended != nil && !c.killed():
		e.fail(fmt.Errorf("%s: the process has ended: %w\n%s", how, c.ended, tail(c.err.String())))
	}
	e.faults["ended by "+how]++
	e.sum.add(e.done)
	e.done = work{}
}

// manyProcesses are one after the other, each on what the one before left.
func (e *endurance) manyProcesses(d time.Duration) {
	var sums []vitals
	for end := time.Now().Add(d); time.Now().Before(end) && e.ctx.Err() == nil && e.failed == nil; {
		first := len(e.all)
		e.life(max(d/100, 500*time.Millisecond))
		if len(e.all) > first {
			sums = append(sums, e.all[len(e.all)-1])
		}
	}
	e.say("many processes: %d", e.lives-1)
	if err := flat(sums, e.say); err != nil {
		e.fail(err)
	}
}

// life is one process, of any length up to twice d.
func (e *endurance) life(d time.Duration) {
	c, err := e.start()
	if err != nil {
		e.fail(err)
		return
	}
	d = time.Duration(e.rng.Int64N(int64(2 * d)))
	how := "kill"
	switch e.rng.IntN(8) {
	case 0: // while it opens, or soon after
		d, how = time.Duration(e.rng.Int64N(int64(150*time.Millisecond))), "kill at start"
	case 1, 2:
		how = "Close"
	case 3:
		e.listen(c, d/2)
		e.pause(c)
	case 4:
		e.listen(c, d/2)
		e.fill(c)
	case 5:
		if e.listen(c, d/2); e.open && e.damage() {
			e.damaged = true
		}
	}
	e.listen(c, d)
	e.end(c, how)
	if e.rng.IntN(6) == 0 && e.damage() {
		e.damaged = true
	}
}

func (e *endurance) report() {
	for _, m := range []map[string]int{e.outcomes, e.faults} {
		text := ""
		for _, name := range slices.Sorted(maps.Keys(m)) {
			text += fmt.Sprintf("%s %d; ", name, m[name])
		}
		e.say("%s", text)
	}
	e.say("%d reads, %d of them hits, %d writes, %d of %d flushes refused", e.sum.Gets, e.sum.Hits, e.sum.Writes, e.sum.FlushErrors, e.sum.Flushes)
	e.say("%d processes, %d opens: %d wrong, mixed or old values", e.lives, e.opened, e.wrong)
}
