//go:build unix

package cache

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Killed processes with Durability.Live: as long as a child has seen no gap the next
// one misses nothing that returned.

// A killLog is the live log of a run's lives.
type killLog struct {
	tmpfs string
	dir   string // in it, of the directory that is there now; "": there is no log

	// Since the newest child that told its state one found a log that was not whole,
	// or looked for none.
	gap, passed bool

	lives   int // that were held to the promise
	gaps    int // that were not: so many waited, were full, were found so
	reasons [3]int
	without int // lives without the option, or before one without
}

// TestKilledProcessLosesNothing is TestKilledProcess with a live log in most lives: of
// those all that had returned is found.
func TestKilledProcessLosesNothing(t *testing.T) {
	if racing {
		t.Skip("the detector does not see other processes, and slows them down")
	}
	r := newKillRun(t)
	r.log.tmpfs = tmpfs(t)
	r.run(max(*kills/2, 10))
	n := &r.log
	t.Logf("%d lives with a live log lost nothing that had returned; %d had a gap (%v), %d were without a log, or before one that was", n.lives, n.gaps, n.reasons, n.without)
	if n.gaps > 2+n.lives/2 && *kills > 100 { // else a slow disk is enough
		t.Error("the log hardly serves")
	}
}

// plan has a life use the log, but for one in eight. Generations come often enough for
// the ring, for which the log would wait.
func (n *killLog) plan(rng *rand.Rand, p *killPlan) {
	if n.dir == "" {
		return
	}
	p.Interval = 50 * time.Millisecond
	if rng.Intn(8) != 0 {
		p.Live = n.dir
		if p.Pace == 0 && rng.Intn(4) > 0 {
			p.Pace = 100 * time.Microsecond // or half of them are faster than the disk
		}
	}
}

// end looks at what a life leaves.
func (n *killLog) end(t *testing.T, l *killLife) {
	t.Helper()
	if n.dir == "" {
		return
	}
	n.gap, n.passed = n.gap || l.gapBefore, n.passed || l.plan.Live == ""
	for _, name := range n.files() {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte(memoryMark)) {
			t.Errorf("%s has the value of a MemoryOnly entry, or %v", name, err)
		}
	}
}

func (n *killLog) files() []string {
	files, _ := filepath.Glob(filepath.Join(n.dir, "*"))
	return files
}

// promise holds the child that was to find what b left to all that b was told.
func (n *killLog) promise(b *killLife) {
	gap, passed := n.gap, n.passed
	n.gap, n.passed = false, false
	switch {
	case n.dir == "" || b == nil || b.closed:
	case passed || b.plan.Live == "":
		n.without++
	case gap || b.gap != 0:
		n.gaps++
		for i, is := range []bool{b.gap&gapWaits != 0, b.gap&gapFull != 0, gap} {
			if is {
				n.reasons[i]++
			}
		}
	default:
		n.lives++
		b.floor = b.now
	}
}

// fresh is for another directory. The log of a killed process stays until that is
// opened with the option again.
func (n *killLog) fresh() {
	if n.tmpfs != "" {
		_ = os.RemoveAll(n.dir)
		n.dir = filepath.Join(n.tmpfs, fmt.Sprint(n.lives+n.gaps+n.without))
	}
}

// gone wants no log after a Close.
func (n *killLog) gone(t *testing.T, l *killLife) {
	if l.plan.Live == "" {
		return
	}
	if files := n.files(); len(files) > 0 {
		t.Errorf("after Close there is %v", files)
	}
}

// takeGap notes what a child says of its log.
func (l *killLife) takeGap(n note) {
	switch n.Kind {
	case noteOpened:
		l.gap, l.gapBefore = killGap(n.B), n.C != 0
	case noteOp, noteCause, noteEffect, noteCleared:
		l.gap |= killGap(n.N)
	}
}

// A killGap is why a log would not bring back all that has returned; 0: it would.
type killGap uint32

const (
	gapWaits killGap = 1 << iota
	gapFull
)

func (k *killChild) gapNow() (gap killGap) {
	if l := k.c.livelog; l != nil {
		switch l.health() {
		case nil:
		case errLiveFull:
			return gapFull
		default:
			return gapWaits
		}
	}
	return 0
}

// gapBefore is 1 if the log of the process before was not whole.
func gapBefore(r RecoveryReport) uint64 {
	if r.Reason != nil && strings.HasPrefix(r.Reason.Error(), "live-ended") {
		return 1
	}
	return 0
}
