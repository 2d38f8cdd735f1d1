package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// TestMain lets this test binary be the child.
func TestMain(m *testing.M) {
	if demo.IsChild() {
		os.Exit(runChild())
	}
	os.Exit(m.Run())
}

func smallConfig(t *testing.T, how string) *config {
	return &config{
		load: load{
			Entries: 5000, KeySize: 24, ValueSize: 100, MaxBytes: 64 << 20,
			Interval: 50 * time.Millisecond, Rate: 10_000, Seed: 7,
		},
		rounds: 2, how: how, missing: 1e-3, run: 100 * time.Millisecond, dir: t.TempDir(),
	}
}

func TestRestart(t *testing.T) {
	for _, how := range []string{"close", "kill"} {
		for _, chain := range []bool{false, true} {
			name := how
			if chain {
				name += " again and again"
			}
			t.Run(name, func(t *testing.T) {
				cfg := smallConfig(t, how)
				cfg.chain = chain
				out, err := os.Create(filepath.Join(t.TempDir(), "out"))
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				if err := run(t.Context(), cfg, out); err != nil {
					t.Error(err)
				}
				if left, err := os.ReadDir(cfg.dir); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				if printed, err := os.ReadFile(out.Name()); err != nil || len(printed) == 0 || slices.Contains(printed, '\x1b') {
					t.Errorf("printed %q, %v, want text without control codes", printed, err)
				}
			})
		}
	}
}

// TestJudge lets a process find the state after the tenth of twenty writes, and
// then spoils that.
func TestJudge(t *testing.T) {
	l := &load{Entries: 8, KeySize: 8, ValueSize: 8, Seed: 7}
	writes := []span{{1, 20}}
	good := l.expected([]span{{1, 10}})
	last := l.target(10)
	earlier := slices.IndexFunc(good, func(w uint64) bool { return w > 0 && w < 10 })
	for _, c := range []struct {
		label string
		spoil func([]uint64)
		wrong int
		want  check
	}{
		{"a state that was", func([]uint64) {}, 0, check{Newest: 10}},
		{"a missing entry", func(f []uint64) { f[earlier] = absent }, 0, check{Newest: 10, Missing: 1}},
		{"an older value", func(f []uint64) { f[earlier] = 0 }, 0, check{Newest: 10, Outdated: 1}},
		{"a wrong value", func(f []uint64) { f[earlier] = absent }, 1, check{Newest: 10, Wrong: 1}},
		{"a write beside its key", func(f []uint64) { f[earlier] = 10 }, 0, check{Newest: 10, Outdated: 1}},
		{"a later write without the ones before", func(f []uint64) { f[last] = 0; f[l.target(20)] = 20 }, 0,
			check{Newest: 20, Outdated: differing(l, good, last)}},
	} {
		t.Run(c.label, func(t *testing.T) {
			found := slices.Clone(good)
			c.spoil(found)
			got := check{Wrong: c.wrong}
			l.judge(&got, found, writes)
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// differing counts what is outdated when write 20 alone is on top of good, and
// the entry called undone is back to its fill.
func differing(l *load, good []uint64, undone int) (n int) {
	for i, want := range l.expected([]span{{1, 20}}) {
		got := good[i]
		if i == undone {
			got = 0
		}
		if i == l.target(20) {
			got = 20
		}
		if got != want {
			n++
		}
	}
	return n
}

func TestLost(t *testing.T) {
	acks := []ack{{}, {Begun: 1500, At: 2000, Last: 10}, {Begun: 2500, At: 3000, Last: 20}, {Begun: 3500, At: 4000, Last: 30}}
	for _, c := range []struct {
		newest uint64
		writes uint64
		time   time.Duration
	}{{30, 0, 0}, {35, 0, 0}, {29, 1, 500}, {20, 10, 500}, {19, 11, 1500}, {0, 30, 2500}} {
		if n, d := lost(acks, c.newest); n != c.writes || d != c.time {
			t.Errorf("newest %d: got %d writes, %d ns, want %d, %d", c.newest, n, d, c.writes, c.time)
		}
	}
}

func TestVerdict(t *testing.T) {
	cfg := &config{load: load{Entries: 1000, MaxBytes: 100}, how: "close", missing: 1e-3}
	for label, c := range map[string]struct {
		r    round
		good bool
	}{
		"nothing":                     {round{entries: 1000}, true},
		"one missing":                 {round{entries: 1000, check: check{Missing: 1}}, true},
		"two missing":                 {round{entries: 1000, check: check{Missing: 2}}, false},
		"evicted over half":           {round{entries: 900, peak: 51, check: check{Missing: 101}}, true},
		"evicted over half, and lost": {round{entries: 900, peak: 51, check: check{Missing: 102}}, false},
		"evicted under half":          {round{entries: 900, peak: 50, check: check{Missing: 100}}, false},
		"a wrong value":               {round{entries: 1000, check: check{Wrong: 1}}, false},
		"an outdated value":           {round{entries: 1000, check: check{Outdated: 1}}, false},
		"a write lost by a close":     {round{entries: 1000, lostWrites: 1}, false},
	} {
		if err := verdict(cfg, []round{{entries: 1000}, c.r}); (err == nil) != c.good {
			t.Errorf("%s: got %v", label, err)
		}
	}
}

func TestValuesTellTheirWrite(t *testing.T) {
	l := &load{Entries: 10, KeySize: 13, ValueSize: 21, Seed: 1}
	seen := map[string]bool{}
	for i := range l.Entries {
		key := string(l.appendKey(nil, i))
		if len(key) != l.KeySize || seen[key] {
			t.Errorf("key %d: got %q, want another one of %d bytes", i, key, l.KeySize)
		}
		seen[key] = true
		for w := range uint64(3) {
			v := l.appendValue(nil, i, w)
			if len(v) != l.ValueSize || seen[string(v)] || writeOf(v) != w {
				t.Errorf("entry %d, write %d: got %q", i, w, v)
			}
			seen[string(v)] = true
		}
	}
}
