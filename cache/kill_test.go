//go:build unix

package cache

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var kills = flag.Int("kills", 20, "processes to kill, 10 at least")

const killEnv = "EMBER_KILL_PLAN" // makes this executable a child

// killLoss is what a kill may cost, whatever the machine is busy with.
const killLoss = 2 * time.Second

// A killEvent is something that a writer did: an operation, or a Clear, which is
// one for all of them.
type killEvent struct {
	clear    bool
	number   uint64
	from, to uint64 // ns since the child began; to is MaxUint64 if it may still have run
}

// A killEntry is a value that was found.
type killEntry struct{ number, sum, size uint64 }

// A killState is what a writer's keys hold, by number of the operation; 0: nothing.
type killState [killKeys]uint64

func (st *killState) apply(seed int64, w int, e killEvent) {
	if e.clear {
		*st = killState{}
		return
	}
	switch o := opOf(seed, w, e.number); o.kind {
	case opSet, opForever:
		st[o.keys[0]] = e.number
	case opMemoryOnly, opDelete:
		st[o.keys[0]] = 0
	case opBatch:
		st[o.keys[0]], st[o.keys[1]], st[o.keys[2]] = e.number, e.number, 0
	}
}

// A killMark is what had returned at some moment.
type killMark struct {
	events        [killWriters]int
	cause, effect uint64
}

// A killLife is what one child told of itself.
type killLife struct {
	plan  killPlan
	begin time.Time
	hello chan struct{} // closed when it runs
	open  chan struct{} // closed when it has its cache
	busy  chan struct{} // closed when it writes
	over  chan struct{} // closed when nothing more comes

	dumps   chan struct{} // has one when a dump began
	after   atomic.Uint64 // on the child's clock; 0: nobody waits
	resumed chan struct{} // has one when a write began later than that

	gap       killGap // the live log was not whole at some time
	gapBefore bool    // or that of the life before

	outcome       Outcome
	weak          uint32
	generation    uint64
	closed        bool
	found         [killWriters][killKeys]killEntry
	told          uint64 // when, 0: not yet
	cause, effect uint64 // found

	events     [killWriters][]killEvent
	clearing   uint64 // number of the Clear that is under way
	now, asked killMark
	last       uint64 // of all times
	floor      killMark
	flushed    uint64 // generation
	torn       string
}

// listen takes notes until the pipe ends.
func (l *killLife) listen(r io.Reader) {
	defer close(l.over)
	in := bufio.NewReaderSize(r, 64<<10)
	var b [noteSize]byte
	for {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			if err != io.EOF {
				l.torn = err.Error()
			}
			return
		}
		var n note
		_, _ = binary.Decode(b[:], binary.LittleEndian, &n)
		l.take(n)
	}
}

func (l *killLife) take(n note) {
	l.takeGap(n)
	switch n.Kind {
	case noteHello:
		l.begin = time.Unix(0, int64(n.A))
		close(l.hello)
	case noteOpened:
		l.outcome, l.weak, l.generation = Outcome(n.Key), n.N, n.A
		close(l.open)
	case noteDumping:
		say(l.dumps)
	case noteKey:
		l.found[n.Writer][n.Key] = killEntry{n.A, n.B, n.C}
	case noteTold:
		l.told, l.cause, l.effect = n.C, n.A, n.B
		close(l.busy)
	case noteOp:
		l.append(int(n.Writer), killEvent{number: n.A, from: n.B, to: n.C})
		if after := l.after.Load(); after != 0 && n.B > after {
			say(l.resumed)
		}
	case noteClearing:
		l.clearing = n.A
		l.floor.cause, l.floor.effect, l.asked.cause, l.asked.effect = 0, 0, 0, 0
		l.now.cause, l.now.effect = 0, 0
	case noteCleared:
		l.clearing = 0
		for w := range killWriters {
			l.append(w, killEvent{clear: true, number: n.A, from: n.B, to: n.C})
		}
	case noteCause:
		l.now.cause = n.A
	case noteEffect:
		l.now.effect = n.A
	case noteFlushing, noteClosing:
		l.asked = l.now
	case noteFlushed:
		l.floor, l.flushed = l.asked, n.A
	case noteClosed:
		l.floor, l.closed = l.asked, true
	}
}

// say leaves a word for who waits.
func say(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (l *killLife) append(w int, e killEvent) {
	l.events[w] = append(l.events[w], e)
	l.now.events[w]++
	l.last = max(l.last, e.to)
}

// cleared reports whether Clear was called.
func (l *killLife) cleared() bool {
	return l.clearing != 0 || slices.ContainsFunc(l.events[0], func(e killEvent) bool { return e.clear })
}

// lossy reports whether the next life may find that entries were left out: Clear
// took them while their cut was written, in this life or in one before that has not
// yet written that they are gone.
func (l *killLife) lossy() bool {
	return l.cleared() || l.plan.Lossy && l.flushed == 0 && !l.closed
}

// unsure adds to each writer's events what may have been under way at the end.
func (l *killLife) unsure() {
	for w := range killWriters {
		e := killEvent{number: l.plan.Base + 1, to: math.MaxUint64}
		for _, done := range l.events[w] {
			if e.from = done.to; !done.clear {
				e.number = done.number + 1
			}
		}
		if l.clearing != 0 {
			e.clear, e.number = true, l.clearing
		}
		l.events[w] = append(l.events[w], e)
	}
}

// A killRun is a test's kills, in one directory after the other.
type killRun struct {
	t     *testing.T
	rng   *rand.Rand
	seed  int64
	dir   string
	lives uint64

	log killLog

	// What the newest child that told its state left behind.
	base   [killWriters]killState
	before *killLife     // nil: there was none
	died   uint64        // on before's clock
	stood  time.Duration // for how long nothing ran while before did

	little  bool          // memory is: what is evicted is not held long enough
	opening time.Duration // from the newest child's hello until it had told its state

	shards int
	clocks killClocks

	how       map[string]int // kills
	losses    []time.Duration
	events    int
	weak      int // lives that found links
	second    int // lives that ended before they had told their state
	judged    int // lives that told their state
	forgotten int // entries of the cut that were not found: memory was little, or Clear ran
}

// TestKilledProcess kills processes at any moment, with SIGKILL. What the next
// one finds is the state at a cut: for each writer a prefix of what it did, none
// that leaves out what had returned before something in it began; all that Flush
// acknowledged; and nothing that was in memory alone.
func TestKilledProcess(t *testing.T) {
	if text, ok := os.LookupEnv(killEnv); ok {
		var plan killPlan
		if err := json.Unmarshal([]byte(text), &plan); err != nil {
			t.Fatal(err)
		}
		runKillChild(t, plan)
		return
	}
	if racing {
		t.Skip("the detector does not see other processes, and slows them down")
	}
	r := newKillRun(t)
	r.run(max(*kills, 10))
}

func newKillRun(t *testing.T) *killRun {
	return &killRun{t: t, rng: newRand(t), seed: *seedFlag, opening: 10 * time.Millisecond, how: make(map[string]int)}
}

// run kills n processes.
func (r *killRun) run(n int) {
	for i := 0; r.killed() < n; i++ {
		if i%10 == 0 {
			r.little = (i/10+i/20)%2 == 0
			r.fresh()
		}
		r.kill(i)
	}
	r.finish()
	r.report()
}

// fresh begins with an empty directory.
func (r *killRun) fresh() {
	if r.before != nil {
		r.finish()
	}
	r.dir = filepath.Join(r.t.TempDir(), "cache")
	r.log.fresh()
	r.base, r.before, r.died = [killWriters]killState{}, nil, 0
	r.shards, r.clocks = killShards, killClocks{back: r.clocks.back, forward: r.clocks.forward, jumps: r.clocks.jumps}
}

// finish looks at what the last kill left, and for what must be in no file.
func (r *killRun) finish() {
	r.live("clean close", func(c *killProcess) {
		c.await(c.life.busy)
		c.ask("close")
		c.await(c.life.over)
	})
	if !r.before.closed {
		r.t.Fatalf("a child did not close its cache:\n%s", r.before.torn)
	}
	r.log.gone(r.t, r.before)
	files, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil || len(files) < 4 {
		r.t.Fatalf("files %v, %v", files, err)
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte(memoryMark)) {
			r.t.Errorf("%s has the value of a MemoryOnly entry, or %v", name, err)
		}
	}
}

// A killProcess is a running child.
type killProcess struct {
	t     *testing.T
	life  *killLife
	cmd   *exec.Cmd
	stdin io.WriteCloser
	text  bytes.Buffer
	died  time.Time            // zero: it was not killed
	stood func() time.Duration // see watchPauses
}

func (c *killProcess) await(what chan struct{}) {
	select {
	case <-what:
	case <-c.life.over:
		select {
		case <-what:
			return
		default:
		}
		c.t.Fatalf("the child ended by itself:\n%s", c.wait())
	case <-time.After(time.Minute):
		c.killAfter(0)
		c.t.Fatalf("the child has said nothing for a minute:\n%s", c.wait())
	}
}

// ask has the child close, panic or eat memory.
func (c *killProcess) ask(what string) { fmt.Fprintln(c.stdin, what) }

func (c *killProcess) killAfter(d time.Duration) {
	time.Sleep(d) // the moment to be tested
	c.died = time.Now()
	if err := c.cmd.Process.Kill(); err != nil {
		c.died = time.Time{} // it had ended
	}
}

func (c *killProcess) wait() (text string) {
	err := c.cmd.Wait()
	<-c.life.over
	c.stdin.Close()
	return fmt.Sprintf("%v\n%s", err, c.text.String())
}

// live runs a child until what do does to it ends it, and judges what it found.
func (r *killRun) live(name string, do func(c *killProcess)) {
	r.t.Helper()
	c := r.launch(name, nil)
	do(c)
	r.end(name, c)
}

// launch starts a child, with a plan that change may change.
func (r *killRun) launch(name string, change func(p *killPlan)) *killProcess {
	r.t.Helper()
	r.lives++
	plan := killPlan{Dir: r.dir, Seed: r.seed, Base: r.lives << 24, Interval: 50 * time.Millisecond, Shards: r.shards,
		Weak: time.Duration(2+r.rng.Intn(4)) * time.Millisecond, Pace: time.Duration(20+r.rng.Intn(1000)) * time.Microsecond,
		Flush: r.rng.Intn(3) > 0, VerifyFirst: r.rng.Intn(2) == 0}
	switch {
	case name == "long service":
		plan.Interval, plan.Flush, plan.FlushFirst = 10*time.Second, false, true
	case r.rng.Intn(2) == 0 && name != "dump":
		plan.Interval = 10 * time.Second
	}
	if r.rng.Intn(3) == 0 && name != "long service" {
		plan.Pace = 0
	}
	plan.MaxBytes, plan.Lossy = killMaxBytes, r.before != nil && r.before.lossy()
	if r.little {
		plan.MaxBytes, plan.Lossy = killLittle, true
	}
	r.clocks.set(r.rng, &plan)
	r.log.plan(r.rng, &plan)
	if change != nil {
		change(&plan)
	}
	return r.start(plan)
}

// end judges a child that has ended, or is about to.
func (r *killRun) end(name string, c *killProcess) {
	r.t.Helper()
	text := c.wait()
	l := c.life
	if l.torn != "" || c.died.IsZero() && !l.closed || strings.Contains(text, "FAIL") || strings.Contains(text, "panic") && name != "panic" {
		r.t.Fatalf("%s, life %d: not as a kill ends a process: %s\n%s", name, r.lives, l.torn, text)
	}
	switch {
	case name == "Close" && l.closed:
		r.how["Close, too late"]++
	case !c.died.IsZero():
		r.how[name]++
	}
	r.log.end(r.t, l)
	if l.told == 0 {
		r.second++
		return // it has written nothing of its own: the next one has to find the same
	}
	if !l.plan.Wait {
		r.opening = time.Duration(l.told)
	}
	r.judged++
	r.judge(name, l)
	l.unsure()
	r.before, r.died, r.stood = l, max(l.last, uint64(max(c.died.Sub(l.begin), 0))), c.stood()
}

func (r *killRun) start(plan killPlan) *killProcess {
	text, err := json.Marshal(plan)
	if err != nil {
		r.t.Fatal(err)
	}
	l := &killLife{plan: plan, hello: make(chan struct{}), open: make(chan struct{}), busy: make(chan struct{}),
		over: make(chan struct{}), dumps: make(chan struct{}, 1), resumed: make(chan struct{}, 1)}
	c := &killProcess{t: r.t, life: l, cmd: exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")}
	c.cmd.Env = append(os.Environ(), killEnv+"="+string(text))
	c.cmd.Stdout, c.cmd.Stderr = &c.text, &c.text
	in, out, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	c.cmd.ExtraFiles = []*os.File{out}
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	out.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.stood = watchPauses(l.over)
	go func() { l.listen(in); in.Close() }()
	return c
}

// judge holds what a child found to what the ones before it did.
func (r *killRun) judge(name string, l *killLife) {
	r.t.Helper()
	var found [killWriters]killState
	for w := range killWriters {
		for key, e := range l.found[w] {
			if e.number == 0 {
				continue
			}
			found[w][key] = e.number
			if v := killValue(w, key, e.number, opOf(r.seed, w, e.number)); e.size != uint64(len(v)) || e.sum != killSum(v) {
				r.t.Fatalf("%s, life %d: key %d of writer %d has %d bytes that operation %#x never stored", name, r.lives, key, w, e.size, e.number)
			}
		}
	}
	if l.weak > 0 {
		r.weak++
	}
	r.log.promise(r.before)
	if b := r.before; b != nil {
		r.judgeCut(name, b, l, &found)
		if b.flushed > l.generation || b.flushed > 0 && l.outcome == OutcomeCold {
			r.t.Errorf("life %d: generation %d was acknowledged; generation %d is there, %v", r.lives, b.flushed, l.generation, l.outcome)
		}
		lossy := b.lossy() || r.little
		if r.little && l.cause == 0 {
			l.cause = max(b.floor.cause, l.effect)
		}
		if l.effect > l.cause && (l.cause != 0 || !lossy) || l.cause < b.floor.cause || l.effect < b.floor.effect {
			r.t.Errorf("life %d: effect %#x, its cause %#x; acknowledged were %#x, %#x", r.lives, l.effect, l.cause, b.floor.effect, b.floor.cause)
		}
	} else if found != r.base || l.outcome != OutcomeCold && r.log.dir == "" { // with it Open writes a generation
		r.t.Errorf("life %d: an empty directory, and %v with entries", r.lives, l.outcome)
	}
	r.base = found
}

// A killCut is where a writer's events are divided: at one of [least, most].
type killCut struct{ least, most int }

func (r *killRun) judgeCut(name string, b, l *killLife, found *[killWriters]killState) {
	r.t.Helper()
	var cuts [killWriters]killCut
	lost := uint64(0)
	for w := range killWriters {
		cut, ok := r.cutOf(w, b, &found[w])
		if !ok {
			r.t.Fatalf("life %d, %s after %+v: writer %d: %s\nfound %d links after generation %d", r.lives, name, b.plan, w, r.explain(w, b, &found[w]), l.weak, l.generation)
		}
		cuts[w] = cut
		r.events += len(b.events[w]) - 1
		if cut.most < len(b.events[w])-1 {
			lost = max(lost, r.died-b.events[w][cut.most].to)
		}
	}
	for w, out := range cuts {
		for v, in := range cuts {
			if out.most == len(b.events[w]) || in.least == 0 {
				continue
			}
			e, f := b.events[w][out.most], b.events[v][in.least-1]
			if e.to < f.from || e.clear && f.clear && e.number == f.number {
				r.t.Fatalf("life %d: %+v of writer %d is in the cut; %+v of writer %d, which had returned before, is not", r.lives, f, v, e, w)
			}
		}
	}
	if b.now.events == [killWriters]int{} {
		return
	}
	r.losses = append(r.losses, time.Duration(lost))
	if time.Duration(lost) > killLoss+r.stood {
		r.t.Errorf("life %d: lost is what had returned %v before the kill; plan %+v", r.lives, time.Duration(lost), b.plan)
	}
}

// cutOf finds where a writer's events are divided, not before what Flush
// acknowledged.
func (r *killRun) cutOf(w int, b *killLife, found *killState) (cut killCut, ok bool) {
	if cut, ok = r.divide(w, b, func(st *killState, _ int) bool { return *found == *st }); ok {
		return cut, true
	}
	// Clear gives back more memory than a cut that is being written can hold; so
	// does who writes a lot into little of it.
	cleared := 0
	for i, e := range b.events[w] {
		if e.clear {
			cleared = i + 1
		}
	}
	missing := 0
	cut, ok = r.divide(w, b, func(st *killState, i int) bool {
		n := 0
		for key := range found {
			if found[key] == st[key] {
				continue
			}
			if n++; found[key] != 0 || i >= cleared && !r.little {
				return false
			}
		}
		missing = n
		return true
	})
	r.forgotten += missing
	return cut, ok
}

// divide finds the events after which the state is what was found.
func (r *killRun) divide(w int, b *killLife, same func(st *killState, i int) bool) (cut killCut, ok bool) {
	st := r.base[w]
	for i := 0; i <= len(b.events[w]); i++ {
		if i >= b.floor.events[w] && same(&st, i) {
			if !ok {
				cut.least = i
			}
			cut.most, ok = i, true
		}
		if i < len(b.events[w]) {
			st.apply(r.seed, w, b.events[w][i])
		}
	}
	return cut, ok
}

// explain names what is wrong with the state that comes closest.
func (r *killRun) explain(w int, b *killLife, found *killState) (text string) {
	st, least := r.base[w], killKeys+1
	for i := 0; i <= len(b.events[w]); i++ {
		var diff []string
		for key := range found {
			if found[key] != st[key] {
				diff = append(diff, fmt.Sprintf("key %d is of operation %#x, not %#x", key, found[key], st[key]))
			}
		}
		if len(diff) <= least {
			least = len(diff)
			text = fmt.Sprintf("closest is what %d of %d events left (acknowledged %d): %s", i, len(b.events[w]), b.floor.events[w], strings.Join(diff, ", "))
		}
		if i < len(b.events[w]) {
			st.apply(r.seed, w, b.events[w][i])
		}
	}
	return text
}
