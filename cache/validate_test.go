package cache

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

var errNonsense = errors.New("makes no sense")

// refuseFrom is a Validate that refuses rounds from one on, and notes what it saw.
func refuseFrom(round int, asked *[]int) func(*Cache) error {
	return func(c *Cache) error {
		v, ok := c.Get([]byte("round"))
		if !ok {
			return errors.New("no round")
		}
		n := int(v[0])
		*asked = append(*asked, n)
		if n >= round {
			return fmt.Errorf("round %d: %w", n, errNonsense)
		}
		return nil
	}
}

// rounds writes generations, and links after the last.
func rounds(t *testing.T, n, keep int) (fsys *crashfs.FS, states []state, numbers []uint64) {
	fsys = crashfs.New()
	o := quietOptions(fsys, 1)
	o.Durability.Keep = keep
	c := openOn(t, o)
	for i := range n {
		rewrite(t, c, i)
		mustSet(t, c, []byte("round"), []byte{byte(i)})
		numbers = append(numbers, mustFlush(t, c))
		states = append(states, stateOf(c))
	}
	c.Delete(worldKey(3))
	if err := c.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
	drop(c)
	return fsys.Clone(), states, numbers
}

// TestValidateGoesBack: to the newest generation that is accepted, asking once
// for each; the report says so, and nothing newer comes back, whenever the process
// is killed or the power goes. Until Open returns the newest is still all there.
func TestValidateGoesBack(t *testing.T) {
	for accepted := 3; accepted >= 1; accepted-- {
		t.Run(fmt.Sprint("accepted=", accepted), func(t *testing.T) {
			fsys, states, numbers := rounds(t, 4, 3)
			newest := openOn(t, quietOptions(fsys.Clone(), 1))
			linked := stateOf(newest)
			drop(newest)
			var asked []int
			o := quietOptions(fsys, 1)
			o.Recovery.Validate = refuseFrom(accepted+1, &asked)
			from := fsys.Ops()
			c := openOn(t, o)
			opened := fsys.Ops()
			want := states[accepted]
			if accepted == 3 {
				want = linked
			}
			wantState(t, c, want)
			if got := slices.Compact(asked); len(got) != 4-accepted || len(got) != len(asked) || got[len(got)-1] != accepted {
				t.Errorf("asked about rounds %d", asked)
			}
			r := c.Recovery()
			if old := accepted < 3; r.MayBeStale != old || errors.Is(r.Reason, errNonsense) != old || (r.Outcome == OutcomePartial) != old ||
				errors.Is(c.Health(), errNonsense) != old || r.Generation != numbers[accepted] {
				t.Errorf("report %+v, health %v", r, c.Health())
			}
			mustSet(t, c, worldKey(5), []byte("after"))
			mustFlush(t, c)
			drop(c)
			for n := from; n <= fsys.Ops() && accepted < 3; n++ {
				for _, after := range []*crashfs.FS{fsys.Kill(n), fsys.Crash(n, crashfs.Cut{Fate: crashfs.FateLost}), fsys.Crash(n, crashfs.Cut{Seed: uint64(n), Sector: 512})} {
					wantEither(t, after, n, n < opened, want, linked, states[3])
				}
			}
		})
	}
}

// wantEither opens what a crash left: the state that was gone back to, perhaps
// with what was set since; or, while that may be, the newest, with or without its
// links.
func wantEither(t *testing.T, fsys *crashfs.FS, n int, early bool, back state, newest ...state) {
	t.Helper()
	c := openOn(t, quietOptions(fsys, 1))
	defer drop(c)
	got := stateOf(c)
	for _, st := range newest {
		if early && got.differs(st) == "" {
			return
		}
	}
	delete(got, string(worldKey(5)))
	for key, v := range back {
		if key != string(worldKey(5)) && got[key] != v {
			t.Fatalf("after %d operations (Open had not returned: %v): %s is of another round; report %+v", n, early, key, c.Recovery())
		}
	}
}

// TestValidateRefusesAll: cold, with the reason; the generations stay until a new
// one is complete.
func TestValidateRefusesAll(t *testing.T) {
	for name, validate := range map[string]func(*Cache) error{
		"error": func(*Cache) error { return errNonsense },
		"panic": func(*Cache) error { panic(errNonsense) },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, states, _ := rounds(t, 3, 2)
			o := quietOptions(fsys, 1)
			asked := 0
			o.Recovery.Validate = func(c *Cache) error { asked++; return validate(c) }
			c := openOn(t, o)
			if r := c.Recovery(); asked != 2 || r.Outcome != OutcomeCold || r.Reason == nil || len(stateOf(c)) > 0 {
				t.Errorf("asked %d times, report %+v", asked, r)
			}
			next := openOn(t, quietOptions(fsys.Clone(), 1))
			delete(states[2], string(worldKey(3)))
			wantState(t, next, states[2])
			drop(next)
			mustSet(t, c, worldKey(1), []byte("new"))
			mustFlush(t, c)
			drop(c)
			next = openOn(t, quietOptions(fsys.Crash(fsys.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), 1))
			if len(stateOf(next)) != 1 {
				t.Errorf("%d entries, want the new one", len(stateOf(next)))
			}
			drop(next)
		})
	}
}

// TestValidateReads: the cache that it is given can be read and neither written
// nor closed; what is accepted can be written.
func TestValidateReads(t *testing.T) {
	fsys, _, _ := rounds(t, 2, 2)
	o := quietOptions(fsys, 1)
	var refused *Cache
	o.Recovery.Validate = func(c *Cache) error {
		wantReadOnly(t, c)
		if err := c.Close(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Close: %v", err)
		}
		if _, ok := c.Get(worldKey(9)); !ok || c.Recovery().Outcome == OutcomeCold {
			t.Errorf("report %+v", c.Recovery())
		}
		if refused == nil {
			refused = c
			return errNonsense
		}
		return nil
	}
	c := openOn(t, o)
	if _, ok := refused.Get(worldKey(9)); ok || !errors.Is(refused.Set(worldKey(9), nil), ErrClosed) {
		t.Error("what was refused can still be used")
	}
	mustSet(t, c, worldKey(9), []byte("x"))
	mustClose(t, c)
	o.Recovery.Validate = func(*Cache) error { t.Error("asked about nothing"); return nil }
	o.hooks.fs = crashfs.New()
	mustClose(t, openOn(t, o))
}

// TestReaderGoesBack: a reader that refuses the newest reads the one before, and
// changes nothing.
func TestReaderGoesBack(t *testing.T) {
	fsys, states, numbers := rounds(t, 3, 2)
	var asked []int
	o := readerOn(sealedFS{fsys}, 1)
	o.Recovery.Validate = refuseFrom(2, &asked)
	c := openOn(t, o)
	wantState(t, c, states[1])
	wantReadOnly(t, c)
	if r := c.Recovery(); !r.MayBeStale || r.Generation != numbers[1] || !errors.Is(r.Reason, errNonsense) {
		t.Errorf("report %+v", r)
	}
	mustClose(t, c)
}

// TestUnclean: what Close wrote is taken up, and nothing else, however soon the
// process that took it up was killed.
func TestUnclean(t *testing.T) {
	for _, since := range []string{"nothing", "a link", "a generation"} {
		for _, mode := range []UncleanPolicy{UncleanUse, UncleanDiscard} {
			t.Run(fmt.Sprintf("%d, killed after %s", mode, since), func(t *testing.T) {
				fsys := crashfs.New()
				o := quietOptions(fsys, 1)
				o.Recovery.Unclean = mode
				c := openOn(t, o)
				rewrite(t, c, 1)
				want := stateOf(c)
				mustClose(t, c)
				for range 2 {
					c = openOn(t, o)
					wantState(t, c, want)
					mustClose(t, c)
				}
				c = openOn(t, o)
				switch since {
				case "a link":
					c.Delete(worldKey(1))
					if err := c.persist.dumper.Weak(); err != nil {
						t.Fatal(err)
					}
				case "a generation":
					c.Delete(worldKey(1))
					mustFlush(t, c)
				}
				want = stateOf(c)
				drop(c)
				fsys = fsys.Clone()
				o.hooks.fs = fsys
				c = openOn(t, o)
				r := c.Recovery()
				if discarded := mode == UncleanDiscard; discarded != (r.Outcome == OutcomeCold) || discarded == (r.Reason == nil) {
					t.Errorf("report %+v", r)
				}
				if mode == UncleanUse {
					wantState(t, c, want)
				}
				drop(c)
			})
		}
	}
}

// TestMaxAge: by the wall clock, which may be set; Close counts as use.
func TestMaxAge(t *testing.T) {
	var now atomic.Int64 // ns
	now.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	fsys := crashfs.New()
	o := quietOptions(fsys, 1)
	o.Clock = func() time.Time { return time.Unix(0, now.Load()) }
	o.Recovery.MaxAge = time.Hour
	c := openOn(t, o)
	rewrite(t, c, 1)
	mustFlush(t, c)
	for range 3 {
		now.Add(int64(50 * time.Minute))
		mustClose(t, c)
		now.Add(int64(50 * time.Minute))
		if c = openOn(t, o); c.Recovery().Outcome != OutcomeWarm {
			t.Fatalf("closed 50 minutes ago: %+v", c.Recovery())
		}
	}
	mustClose(t, c)
	at := now.Load()
	for age, cold := range map[time.Duration]bool{
		time.Hour: false, time.Hour + 1: true, -time.Minute: false, -time.Hour: true, 1e5 * time.Hour: true,
	} {
		now.Store(at + int64(age))
		p := o.hooks
		o.hooks.fs = fsys.Clone()
		c = openOn(t, o)
		if r := c.Recovery(); (r.Outcome == OutcomeCold) != cold || cold != (r.Reason != nil) {
			t.Errorf("age %v: report %+v", age, r)
		}
		drop(c)
		o.hooks = p
	}
}

// TestReset: cold until a generation is complete, whatever crash comes between,
// and the values that were not wanted never come back.
func TestReset(t *testing.T) {
	fsys, _, _ := rounds(t, 2, 2)
	if err := fsys.Plant(worldDir+"/RESET", nil); err != nil {
		t.Fatal(err)
	}
	o := quietOptions(fsys, 1)
	from := fsys.Ops()
	c := openOn(t, o)
	if r := c.Recovery(); r.Outcome != OutcomeCold || r.Reason == nil {
		t.Errorf("report %+v", r)
	}
	mustSet(t, c, []byte("new"), []byte("v"))
	mustFlush(t, c)
	mustSet(t, c, []byte("newer"), []byte("v"))
	mustFlush(t, c)
	drop(c)
	for n := from; n <= fsys.Ops(); n++ {
		for _, fate := range []crashfs.Fate{crashfs.FateLost, crashfs.FateKept, crashfs.FateAny} {
			c := openOn(t, quietOptions(fsys.Crash(n, crashfs.Cut{Seed: uint64(n), Fate: fate}), 1))
			if left := len(stateOf(c)); left > 0 {
				t.Fatalf("%d entries are back after %d operations; report %+v", left, n, c.Recovery())
			}
			drop(c)
		}
	}
	next := openOn(t, quietOptions(fsys.Crash(fsys.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), 1))
	if r := next.Recovery(); r.Outcome != OutcomeWarm || !next.Has([]byte("newer")) {
		t.Errorf("the file was not removed: %+v", r)
	}
	mustClose(t, next)
}

// TestWhatWasRefusedStaysWhole: places that a refused generation has beyond those
// that the one before counted are not taken while it is retained.
func TestWhatWasRefusedStaysWhole(t *testing.T) {
	fsys := crashfs.New()
	o := quietOptions(fsys, 1)
	o.Durability.Keep = 3
	c := openOn(t, o)
	mustSet(t, c, []byte("round"), []byte{0})
	mustFlush(t, c)
	mustSet(t, c, []byte("round"), []byte{1})
	for i := range 100 { // more than the places that a page file begins with
		mustSet(t, c, worldKey(i), testValue(i, 9<<10))
	}
	want := stateOf(c)
	mustClose(t, c)

	o.Recovery.Validate = refuseFrom(1, new([]int))
	c = openOn(t, o)
	for i := range 100 {
		mustSet(t, c, worldKey(i), testValue(i+1, 9<<10))
	}
	mustFlush(t, c)
	by, list := quietOptions(fsys, 1), c.Generations()
	by.Recovery.Generation = list[len(list)-1]
	reader := openOn(t, by)
	wantState(t, reader, want)
	drop(reader)
	drop(c)
}
