package power

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A tally counts what was seen of one kind of file system.
type tally struct {
	mu sync.Mutex

	name            string
	worlds          int
	writes, flushes int // asked of the disks of worlds
	acknowledged    int // Flushes and Closes
	leftOut         int // worlds that memory was too little for
	states          int
	fates           [fates]int
	later           int // of states: after a cut of what followed another
	loose           int // writes that a cut could lose, over all states
	outcomes        map[string]int
	reasons         map[string]int
	links           int // states that found some
	events          int // judged
	refused         int // images, torn at 512, that the kernel does not mount
	wrong, lost     int
}

func newTally(name string) *tally {
	return &tally{name: name, outcomes: make(map[string]int), reasons: make(map[string]int)}
}

func (t *tally) world(d *disk, h *history) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.worlds++
	t.acknowledged += len(h.floors)
	if h.lossy || h.leftOut {
		t.leftOut++
	}
	for _, o := range d.log {
		if o.flush() {
			t.flushes++
		} else {
			t.writes++
		}
	}
}

// state counts what the first Open after a cut found.
func (t *tally) state(c cut, depth, loose int, h *history, m *message, v *verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.states++
	t.fates[c.fate]++
	t.loose += loose
	if depth > 1 {
		t.later++
	}
	t.outcomes[m.Report.Outcome]++
	if m.Report.Weak > 0 {
		t.links++
	}
	if m.Report.Reason != "" {
		t.reasons[reasonOf(m.Report.Reason)]++
	}
	for _, n := range h.counts() {
		t.events += n
	}
	t.count(v)
}

// refuse counts an image that the kernel refuses to mount, and says whether that may
// be: a superblock of ext4 and a block of xfs have more sectors than one, and neither
// survives if only some of them are written.
func (t *tally) refuse(c cut) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused++
	return c.fate == fateTorn || c.fate == fateSector
}

// visited is how many states there were.
func (t *tally) visited() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states
}

// judged counts an Open that no cut came before.
func (t *tally) judged(v *verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(v)
}

func (t *tally) count(v *verdict) {
	if len(v.wrong) > 0 {
		t.wrong++
	}
	if len(v.lost) > 0 {
		t.lost++
	}
}

// reasonOf is the kind of a reason: what stands before files and numbers.
func reasonOf(text string) string {
	text, _, _ = strings.Cut(text, ":")
	text, _, _ = strings.Cut(text, " in ")
	text, _, _ = strings.Cut(text, " (")
	return text
}

func (t *tally) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(w, "  %s: %d worlds (%d may forget), %d writes, %d flushes, %d acknowledged; %d states (", t.name, t.worlds, t.leftOut, t.writes, t.flushes, t.acknowledged, t.states)
	for f, n := range t.fates {
		fmt.Fprintf(w, "%s %d, ", fate(f), n)
	}
	fmt.Fprintf(w, "%d of them after another cut)", t.later)
	fmt.Fprintf(w, ", %d writes at their mercy; outcome", t.loose)
	for _, o := range slices.Sorted(maps.Keys(t.outcomes)) {
		fmt.Fprintf(w, " %s %d", o, t.outcomes[o])
	}
	fmt.Fprintf(w, ", links in %d; %d torn images not mountable; wrong %d, lost %d\n", t.links, t.refused, t.wrong, t.lost)
	for _, r := range slices.Sorted(maps.Keys(t.reasons)) {
		fmt.Fprintf(w, "    reason, %d times: %s\n", t.reasons[r], r)
	}
}
