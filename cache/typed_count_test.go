package cache

import (
	"context"
	"testing"
)

// TestWhatCannotBeReadIsAMiss in the counters as well, and what Migrate takes a hit:
// each way to ask counts once.
func TestWhatCannotBeReadIsAMiss(t *testing.T) {
	want := v2{"Ada", "L"}
	one := func(context.Context, int) (v2, error) { return want, nil }
	many := func(_ context.Context, keys []int) (map[int]v2, error) { return map[int]v2{keys[0]: want}, nil }
	for name, ask := range map[string]func(v *Typed[int, v2]){
		"Get":           func(v *Typed[int, v2]) { v.Get(1) },
		"View":          func(v *Typed[int, v2]) { _ = v.View(1, func([]byte) error { return nil }) },
		"GetOrLoad":     func(v *Typed[int, v2]) { _, _ = v.GetOrLoad(context.Background(), 1, one) },
		"GetOrLoadMany": func(v *Typed[int, v2]) { _, _ = v.GetOrLoadMany(context.Background(), []int{1}, many) },
	} {
		for stored, hits := range map[v1]uint64{{"Ada L"}: 1, {"nospace"}: 0} {
			dir, o := t.TempDir(), stepOptions(1<<20)
			c := open(t, dir, o)
			must(t, ofUsers(t, c, userV1, nil).Set(1, stored))
			mustClose(t, c)
			c = open(t, dir, o)
			ask(ofUsers(t, c, userV2, migrateUser))
			if st := c.Stats(); st.Hits != hits || st.Misses != 1-hits || st.Undecoded != 1-hits {
				t.Errorf("%s of %v: %d hits, %d misses, %d undecoded, want %d, %d, %d", name, stored, st.Hits, st.Misses, st.Undecoded, hits, 1-hits, 1-hits)
			}
			mustClose(t, c)
		}
	}
}
