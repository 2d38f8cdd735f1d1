package cache

import (
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// TestAColdStartIsNotACleanEnd: with UncleanDiscard a process that found what was
// there of no use, and is killed at once, was unclean as well: the one after it,
// to which the former generation would be of use, starts cold.
func TestAColdStartIsNotACleanEnd(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(o *Options){
		"another schema":            func(o *Options) { o.Schema = "2" },
		"a clock that runs ahead":   func(o *Options) { o.Clock = func() time.Time { return now.Add(1000 * time.Hour) } },
		"everything was refused":    func(o *Options) { o.Recovery.Validate = func(*Cache) error { return errNonsense } },
		"refused, and other shards": func(o *Options) { o.Shards, o.Recovery.Validate = 2, func(*Cache) error { return errNonsense } },
	} {
		t.Run(name, func(t *testing.T) {
			fsys := crashfs.New()
			options := func() *Options {
				o := quietOptions(fsys, 1)
				o.MaxBytes, o.Clock = 2<<20, func() time.Time { return now }
				o.Recovery.Unclean, o.Recovery.MaxAge = UncleanDiscard, time.Hour
				return o
			}
			c := openOn(t, options())
			rewrite(t, c, 1)
			mustClose(t, c)

			from, o := fsys.Ops(), options()
			change(o)
			c = openOn(t, o)
			if r := c.Recovery(); r.Outcome != OutcomeCold {
				t.Fatalf("report %+v", r)
			}
			drop(c)
			t.Logf("%d operations", fsys.Ops()-from)
			for _, after := range []*crashfs.FS{fsys.Clone(), fsys.Crash(fsys.Ops(), crashfs.Cut{Fate: crashfs.FateLost})} {
				o = options()
				o.hooks.fs = after
				c = openOn(t, o)
				if r := c.Recovery(); len(stateOf(c)) != 0 {
					t.Errorf("report %+v", r)
				}
				drop(c)
			}
		})
	}
}
