package cache

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// TestANilContextPanicsFirst: it is the caller's mistake, and a server may recover from
// it. Nothing has begun by then that nobody would end.
func TestANilContextPanicsFirst(t *testing.T) {
	var none context.Context
	o, k := freshOptions(Freshness{RefreshAfter: time.Second, Jitter: -1})
	o.CloseTimeout, o.Durability.Interval = time.Minute, -1
	dir := filepath.Join(t.TempDir(), "c")
	panics := func(what string, do func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
		}()
		do()
	}
	panics("Open", func() { _, _ = Open(none, dir, o) })
	c := open(t, dir, o)
	view := mustOf(t, c, String(), String(), nil)
	if err := view.Set("k", "v"); err != nil {
		t.Fatal(err)
	}
	mustSet(t, c, []byte("k"), []byte("v"))
	k.pass(2 * time.Second) // both are due
	load := func(context.Context, string) (string, error) { return "w", nil }
	many := func(context.Context, []string) (map[string]string, error) { return nil, nil }
	for what, do := range map[string]func(){
		"Flush":          func() { _, _ = c.Flush(none) },
		"Shutdown":       func() { _ = c.Shutdown(none) },
		"WaitVerified":   func() { _, _ = c.WaitVerified(none) },
		"a miss":         func() { _, _ = c.GetOrLoad(none, []byte("other"), brings("v")) },
		"what is due":    func() { _, _ = c.GetOrLoad(none, []byte("k"), brings("v")) },
		"a view's miss":  func() { _, _ = view.GetOrLoad(none, "other", load) },
		"a view's":       func() { _, _ = view.GetOrLoad(none, "k", load) },
		"many":           func() { _, _ = view.GetOrLoadMany(none, []string{"k"}, many) },
		"many that miss": func() { _, _ = view.GetOrLoadMany(none, []string{"other"}, many) },
	} {
		panics(what, do)
		if n := c.loads.background.Load(); n != 0 {
			t.Errorf("%s: %d loads run", what, n)
		}
		for _, s := range c.shards {
			if len(s.flights) != 0 {
				t.Errorf("%s: somebody waits for %d loads", what, len(s.flights))
			}
		}
	}
	if g := mustFlush(t, c); g == 0 {
		t.Error("no generation")
	}
	if err := c.Health(); err != nil {
		t.Error(err)
	}
	mustClose(t, c)
	c = open(t, dir, o)
	wantValue(t, c, []byte("k"), []byte("v"))
}
