package cache

import (
	"flag"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

var damagedDirs = flag.Int("damaged", 0, "directories to damage at random; 0: as many as suit every test run")

// A mixture is two directories of one history but for the values: every name and
// every number is in both, and none of the bytes that matter.
type mixture struct {
	*directory
	other *directory
}

func newMixture(t *testing.T, life life) *mixture {
	m := &mixture{newDirectoryOf(t, life, 0), newDirectoryOf(t, life, 1_000_000)}
	if !slices.Equal(m.names, m.other.names) {
		t.Fatalf("the files are %v and %v", m.names, m.other.names)
	}
	same := 0
	for i, a := range m.links[0] {
		same += oneIf(a != held{} && a == m.other.links[0][i])
	}
	if same > 3 { // values without bytes
		t.Fatalf("%d entries are the same in both", same)
	}
	return m
}

// mix replaces whole files, or single pages, by what the other directory has there.
func (m *mixture) mix(fs *crashfs.FS) (what []string) {
	for range 1 + m.rng.Intn(4) {
		name := m.names[m.rng.Intn(len(m.names))]
		file, theirs := path.Join(worldDir, name), m.other.files[name]
		var err error
		if m.rng.Intn(3) == 0 {
			what, err = append(what, name), fs.Plant(file, theirs)
		} else {
			page := m.used[name][m.rng.Intn(len(m.used[name]))]
			from := min(int(page)*pageSize, max(0, len(theirs)-pageSize))
			what = append(what, fmt.Sprintf("page %d of %s", page, name))
			err = fs.Overwrite(file, page*pageSize, theirs[from:][:pageSize])
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return what
}

// TestTwoCachesMixed puts files and pages of one cache among those of another, as
// a copy, a backup or a misdirected write does. What is opened is a state of one of
// them, minus entries; the report says why; nothing is a mixture.
func TestTwoCachesMixed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, life := range lives() {
		t.Run(string(life), func(t *testing.T) {
			m := newMixture(t, life)
			cold, lost := 0, 0
			for range max(fewer(50), *damagedDirs/6) {
				fs, o := m.copied(m.fs)
				what := fmt.Sprint(m.mix(fs))
				o.Recovery.Positional = m.rng.Intn(4) == 0
				c := openOn(t, o)
				have := m.verify(what, c)
				m.pure(what, c, have)
				cold += oneIf(c.Recovery().Outcome == OutcomeCold)
				lost += oneIf(c.Recovery().Dropped > 0)
				if m.rng.Intn(4) == 0 {
					m.goOn(what, fs, c, have)
				} else {
					drop(c)
				}
			}
			t.Logf("%d cold, %d times entries were lost", cold, lost)
			if lost == 0 && fewer(4) > 1 {
				t.Error("mixing cost nothing")
			}
		})
	}
}

// pure is the law of mixtures.
func (m *mixture) pure(what string, c *Cache, have content) {
	m.t.Helper()
	r := c.Recovery()
	part := func(cut content) bool { return slices.Equal(have, have.only(cut)) }
	now := slices.ContainsFunc(m.links, part) || slices.ContainsFunc(m.other.links, part)
	then := slices.ContainsFunc(m.older, part) || slices.ContainsFunc(m.other.older, part)
	whole := slices.ContainsFunc(slices.Concat(m.links, m.other.links), func(cut content) bool { return slices.Equal(have, cut) })
	switch {
	case !now && !then:
		m.t.Fatalf("%s: no state of either; from the newest: %s\nreport %+v", what, have.differs(have.only(m.links[len(m.links)-1])), r)
	case !now && !r.MayBeStale:
		m.t.Fatalf("%s: an older state, and the report does not say so: %+v", what, r)
	case !whole && r.Reason == nil:
		m.t.Fatalf("%s: %d entries, and no reason: %+v", what, have.entries(), r)
	}
}
