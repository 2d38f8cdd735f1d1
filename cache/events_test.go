package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
)

// TestEveryLineHasItsLevel: all that is ever logged, and with what.
func TestEveryLineHasItsLevel(t *testing.T) {
	want := map[string]string{
		"recovered INFO new":     "cache event outcome generation weak entries bytes mapped",
		"recovered INFO warm":    "cache event outcome generation weak entries bytes mapped age",
		"recovered WARN cold":    "cache event outcome generation weak entries bytes mapped reason",
		"recovered WARN partial": "cache event outcome generation weak entries bytes mapped age reason",
		"network WARN":           "cache event type dir",
		"damaged WARN":           "cache event reason",
		"flushed DEBUG":          "cache event generation kind pages bytes took",
		"flush_failed WARN":      "cache event err retry_in",
		"flush_failed DEBUG":     "cache event err retry_in",
		"flush_failing ERROR":    "cache event since err",
		"flush_resumed INFO":     "cache event generation after",
		"low_space WARN":         "cache event free need",
		"tight_space WARN":       "cache event free need",
		"low_memory WARN":        "cache event takes go_limit limit by max_bytes fits",
		"disk_slow WARN":         "cache event op took",
		"weak_paused DEBUG":      "cache event err",
		"scrub WARN":             "cache event pages err",
		"callback_panic ERROR":   "cache event callback panic stack",
		"load_panicked ERROR":    "cache event err",
		"self_check ERROR":       "cache event generation err",
		"verified DEBUG":         "cache event generation",
		"no_live_log WARN":       "cache event dir err",
		"live_log_waits WARN":    "cache event err",
		"closed INFO":            "cache event generation",
		"closed WARN":            "cache event generation err",
	}
	got := make(map[string]string)
	for _, live := range []func(*testing.T, *Options, *crashfs.FS){logsStarts, logsDamage, logsLive, logsOutage, logsRest} {
		log, fs := newRecorder(), crashfs.New()
		o := quietOptions(fs, 1)
		o.Name, o.Logger = "users", slog.New(log)
		live(t, o, fs)
		for _, l := range log.of("") {
			name := l.event + " " + l.level.String()
			if l.event == "recovered" {
				_, outcome, _ := strings.Cut(l.text, "outcome=")
				outcome, _, _ = strings.Cut(outcome, " ")
				if outcome == "cold" && l.level == slog.LevelInfo {
					outcome = "new"
				}
				name += " " + outcome
			}
			got[name] = strings.Join(l.keys, " ")
			if !strings.Contains(l.text, "cache=users") {
				t.Errorf("whose line is that: %s", l.text)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s: got keys %q, want %q", name, got[name], want[name])
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("also logged: %v", got)
	}
}

func logsStarts(t *testing.T, o *Options, fs *crashfs.FS) {
	for _, schema := range []string{"v1", "v1", "v2"} {
		o.Schema = schema
		c := openOn(t, o)
		fill(t, c, 100)
		mustClose(t, c)
	}
	fs.SetNetwork("nfs")
	mustClose(t, openOn(t, o))
}

func logsDamage(t *testing.T, o *Options, fs *crashfs.FS) {
	c := openOn(t, o)
	fill(t, c, 1000)
	mustClose(t, c)
	flipIn(t, fs, "/pages-", 6*pageSize)
	c = openOn(t, o)
	reopened(t, c)
	mustClose(t, c)
	flipIn(t, fs, "/image-", 100)
	mustClose(t, openOn(t, o))
}

func logsOutage(t *testing.T, o *Options, fs *crashfs.FS) {
	o.hooks.step, o.hooks.slow = false, time.Millisecond
	o.Durability.Interval, o.Durability.Weak = time.Hour, -1
	c := openOn(t, o)
	defer func() { mustClose(t, c) }()
	mustSet(t, c, []byte("k"), []byte("v"))
	mustFlush(t, c)
	fails := func() {
		t.Helper()
		if _, err := c.Flush(context.Background()); err == nil {
			t.Fatal("no failure")
		}
	}
	fs.SetBudget(fs.Used())
	fill(t, c, 2000)
	fails()
	fails()
	c.persist.mu.Lock()
	c.persist.outage.since = c.persist.outage.since.Add(-longOutage)
	c.persist.mu.Unlock()
	fails()
	fails()
	fs.SetBudget(-1)
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: "/pages-", Delay: 20 * time.Millisecond})
	mustFlush(t, c)
	remove()
}

func logsRest(t *testing.T, o *Options, fs *crashfs.FS) {
	o.Events = &Events{Recovered: func(RecoveryReport) { panic("boom") }}
	o.CloseTimeout, o.hooks.machine = 50*time.Millisecond, machineOf(1<<20)
	c := openOn(t, o)
	c.persist.event(dump.Event{Kind: dump.Tight, Free: 1, Need: 2})
	c.persist.event(dump.Event{Kind: dump.Weak, Err: errors.New("the ring is full")})
	c.persist.event(dump.Event{Kind: dump.Scrub, Pages: 1, Err: errors.New("bad")})
	mustSet(t, c, []byte("k"), []byte("v"))
	c.persist.checkFailed(1, errors.New("page 7"))
	c.persist.checkPassed(1)
	ctx, leave := context.WithCancel(context.Background())
	_, _ = c.GetOrLoad(ctx, []byte("none"), func(context.Context) ([]byte, error) { leave(); <-c.stop; panic("boom") })
	hang := fs.Hang(crashfs.OpSync, "")
	if err := c.Close(); err == nil {
		t.Error("Close while the disk hung: no error")
	}
	hang.Release()
	<-c.notices.done
}

// TestAHangIsAnOutage: what hangs fails nothing, and is an error all the same after
// a minute, once.
func TestAHangIsAnOutage(t *testing.T) {
	log := newRecorder()
	o := quietOptions(crashfs.New(), 1)
	o.Logger = slog.New(log)
	c := openOn(t, o)
	for _, took := range []time.Duration{time.Second, longOutage, 2 * longOutage} {
		c.persist.event(dump.Event{Kind: dump.Slow, Op: "sync pages", Took: took})
	}
	mustClose(t, c)
	if lines := log.of("flush_failing"); len(lines) != 1 || lines[0].level != slog.LevelError || !strings.Contains(lines[0].text, "sync pages") {
		t.Errorf("logged: %v", lines)
	}
}

// A teller notes all events as text, and does with the cache what it likes.
type teller struct {
	told  chan string
	after func()
}

func (e *teller) say(format string, args ...any) {
	e.told <- fmt.Sprintf(format, args...)
	if e.after != nil {
		e.after()
	}
}

func (e *teller) events() *Events {
	return &Events{
		Recovered:  func(r RecoveryReport) { e.say("recovered %v %d", r.Outcome, r.Entries) },
		FlushStart: func(generation uint64, pages int) { e.say("start %d %v", generation, pages > 0) },
		FlushDone: func(generation uint64, pages int, took time.Duration, err error) {
			e.say("done %d %v %v %v", generation, pages > 0, took > 0, err != nil)
		},
		Corruption: func(err *CorruptionError) { e.say("corrupt %v", err.Want != err.Got) },
		DiskSlow:   func(op string, took time.Duration) { e.say("slow %s %v", op, took >= time.Millisecond) },
		LowSpace:   func(free, need int64) { e.say("space %d %v", free, need > 0) },
	}
}

// wantTold closes the cache and compares what it told. Of equal lines one after
// the other, one counts.
func wantTold(t *testing.T, c *Cache, e *teller, want ...string) {
	t.Helper()
	mustClose(t, c)
	close(e.told)
	var got []string
	for line := range e.told {
		got = append(got, line)
	}
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestEventsTellWhatHappened: in its order, with what belongs to it.
func TestEventsTellWhatHappened(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Durability.Weak = -1
	tell := func() *teller {
		e := &teller{told: make(chan string, 1000)}
		o.Events = e.events()
		return e
	}
	e := tell()
	c := openOn(t, o)
	*o.Events = Events{} // Open has a copy
	fill(t, c, 1000)
	first := mustFlush(t, c)
	fs.SetBudget(fs.Used() + 7*pageSize)
	fill(t, c, 2500)
	if _, err := c.Flush(context.Background()); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	fs.SetBudget(-1)
	last := mustFlush(t, c)
	wantTold(t, c, e, "recovered cold 0", begins(first), ends(first), begins(first+1),
		fmt.Sprintf("done %d false true true", first+1), fmt.Sprintf("space %d true", 7*pageSize), begins(last), ends(last))
}

// TestCorruptionIsTold: of each page.
func TestCorruptionIsTold(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	c := openOn(t, o)
	fill(t, c, 1000)
	mustClose(t, c)
	flipIn(t, fs, "/pages-", 6*pageSize)
	flipIn(t, fs, "/pages-", 8*pageSize)
	told := make(chan *CorruptionError, 10)
	o.Events = &Events{Corruption: func(err *CorruptionError) { told <- err }}
	c = openOn(t, o)
	r := reopened(t, c)
	mustClose(t, c)
	for range 2 {
		if err := <-told; err.Want == err.Got || err.Generation != r.Generation || !strings.Contains(err.Path, "/pages-") {
			t.Errorf("told of %v", err)
		}
	}
	if len(told) > 0 || r.PagesDropped != 2 {
		t.Errorf("%d more told, report %+v", len(told), r)
	}
}

func flipIn(t *testing.T, fs *crashfs.FS, part string, off int64) {
	t.Helper()
	for _, name := range fs.List() {
		if strings.Contains(name, part) {
			if err := fs.Flip(name, off, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func begins(g uint64) string { return fmt.Sprintf("start %d true", g) }
func ends(g uint64) string   { return fmt.Sprintf("done %d true true false", g) }

// TestASlowDiskIsTold: while a step goes on and when it has ended.
func TestASlowDiskIsTold(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	var started, ended atomic.Int64
	var looking atomic.Bool
	hung := make(chan struct{})
	o.Events = &Events{DiskSlow: func(op string, took time.Duration) {
		if op != "sync pages" || !looking.Load() {
			return // a loaded machine
		}
		if started.Add(1) == 1 {
			close(hung)
		} else {
			ended.Store(int64(took))
		}
	}}
	o.hooks.slow = 100 * time.Millisecond
	c := openOn(t, o)
	mustSet(t, c, []byte("k"), []byte("v"))
	mustFlush(t, c) // the files are made
	looking.Store(true)
	hang := fs.Hang(crashfs.OpSync, "/pages-")
	fill(t, c, 1000)
	flushed := make(chan error, 1)
	go func() { _, err := c.Flush(context.Background()); flushed <- err }()
	<-hung
	before := time.Now()
	hang.Release()
	if err := <-flushed; err != nil {
		t.Error(err)
	}
	mustClose(t, c)
	if started.Load() < 2 || ended.Load() < int64(100*time.Millisecond) || time.Since(before) > time.Minute {
		t.Errorf("%d calls, the last after %v", started.Load(), time.Duration(ended.Load()))
	}
}

// TestEventsMayCallTheCache: no callback runs under a lock, and none holds up who
// tells of it.
func TestEventsMayCallTheCache(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.hooks.slow = time.Millisecond
	o.CloseTimeout = time.Minute
	var c *Cache
	ready := make(chan struct{})
	var quiet atomic.Bool
	calls, kinds := make(map[string]int), make(chan string, 100)
	e := &teller{told: make(chan string, 10_000)}
	e.after = func() {
		<-ready
		if quiet.Load() {
			return
		}
		kind, _, _ := strings.Cut(<-e.told, " ")
		if calls[kind]++; calls[kind] > 3 {
			return
		}
		c.Stats()
		_, _, _ = c.Health(), c.Recovery(), c.Len()
		if c.Set([]byte("told"), []byte(kind)) == nil {
			c.Get([]byte("told"))
		}
		ctx, cancel := context.WithTimeout(context.Background(), stalls)
		defer cancel()
		if _, err := c.Flush(ctx); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush in %s: %v", kind, err)
		}
		kinds <- kind
	}
	o.Events = e.events()
	c = openOn(t, o)
	close(ready)
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Delay: 2 * time.Millisecond})
	fill(t, c, 1000)
	mustFlush(t, c)
	fs.SetBudget(fs.Used())
	fill(t, c, 3000)
	_, _ = c.Flush(context.Background())
	fs.SetBudget(-1)
	c.foundDamage(&CorruptionError{Want: 1})
	remove()
	left := map[string]bool{"recovered": true, "start": true, "done": true, "corrupt": true, "slow": true, "space": true}
	for len(left) > 0 {
		select {
		case kind := <-kinds:
			delete(left, kind)
		case <-time.After(stalls):
			t.Fatalf("still not called, or not back: %v", left)
		}
	}
	quiet.Store(true)
	mustClose(t, c)
}

// TestEventsMayClose: the rest comes when the callback has returned.
func TestEventsMayClose(t *testing.T) {
	o := quietOptions(crashfs.New(), 1)
	log := newRecorder()
	o.Logger, o.CloseTimeout = slog.New(log), time.Hour
	var c *Cache
	ready, closed := make(chan struct{}), make(chan error, 1)
	o.Events = &Events{Recovered: func(RecoveryReport) {
		<-ready
		closed <- c.Shutdown(context.Background())
	}}
	c = openOn(t, o)
	mustSet(t, c, []byte("k"), []byte("v"))
	close(ready)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-c.notices.done
	if len(log.of("closed")) != 1 {
		t.Errorf("logged: %v", log.of(""))
	}
}

// TestALoggerThatBlocks holds up nobody but Close, and that to its timeout.
func TestALoggerThatBlocks(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	log, block := newRecorder(), make(chan struct{})
	log.common.hook = func() { <-block }
	o.Logger, o.CloseTimeout = slog.New(log), 50*time.Millisecond
	c := openOn(t, o)
	for i := range 2 * mostNotices {
		mustSet(t, c, testKey(i), testValue(i, 100))
		wantValue(t, c, testKey(i), testValue(i, 100))
		mustFlush(t, c)
	}
	if st := c.Stats(); st.EventsDropped == 0 || st.Flushes != 2*mostNotices {
		t.Errorf("%d lines dropped, %d flushes", st.EventsDropped, st.Flushes)
	}
	if err := c.Close(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	close(block)
	<-c.notices.done
	c = openOn(t, quietOptions(fs, 1))
	wantValue(t, c, testKey(511), testValue(511, 100))
	mustClose(t, c)
}

// TestCorruptionDoesNotFlood: 64 at once, then one a second.
func TestCorruptionDoesNotFlood(t *testing.T) {
	var r rate
	now := time.Unix(1000, 0)
	let := func(after time.Duration) (n int) {
		now = now.Add(after)
		for range 1000 {
			if r.allows(now) {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 64}, {0, 0}, {999 * time.Millisecond, 0}, {time.Millisecond, 1}, {10 * time.Second, 10}, {time.Hour, 64}, {1 << 62, 64}} {
		if got := let(tt.after); got != tt.want {
			t.Errorf("after %v: %d, want %d", tt.after, got, tt.want)
		}
	}
}

// TestFlushesThatNeverBegin are told, too: the directory cannot be written.
func TestFlushesThatNeverBegin(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	e := &teller{told: make(chan string, 100)}
	o.Events = e.events()
	c := openOn(t, o)
	mustSet(t, c, []byte("k"), []byte("v"))
	remove := fs.Fail(crashfs.Rule{Kind: crashfs.OpCreate, Err: syscall.ENOSPC})
	if _, err := c.Flush(context.Background()); err == nil {
		t.Fatal("no failure")
	}
	remove()
	generation := mustFlush(t, c)
	if st := c.Stats(); st.FlushErrors != 1 || st.FlushTime.Counts[len(st.FlushTime.Bounds)] != 1 {
		t.Errorf("%d errors, FlushTime %v", st.FlushErrors, st.FlushTime)
	}
	wantTold(t, c, e, "recovered cold 0", "done 0 false true true", "space 0 false",
		begins(generation), fmt.Sprintf("done %d false true false", generation))
}
