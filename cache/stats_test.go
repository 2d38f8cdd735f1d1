package cache

import (
	"reflect"
	"testing"
)

// Sub subtracts every counter and no gauge: a field that is added belongs to one
// of them.
func TestSubKnowsEveryField(t *testing.T) {
	gauges := map[string]bool{"Entries": true, "Bytes": true, "MaxBytes": true, "ResidentBytes": true, "DirtyBytes": true, "OnDisk": true, "MappedBytes": true,
		"Generation": true, "LastVerified": true, "LastFlush": true, "PredictedRecovery": true}
	var s, before Stats
	set := func(st *Stats, n int) {
		v := reflect.ValueOf(st).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case f.CanInt():
				f.SetInt(int64(n))
			case f.CanUint():
				f.SetUint(uint64(n))
			}
		}
	}
	set(&s, 5)
	set(&before, 2)
	v := reflect.ValueOf(s.Sub(before))
	for i := range v.NumField() {
		name, f, want := v.Type().Field(i).Name, v.Field(i), uint64(3)
		if gauges[name] {
			want = 5
		}
		got := want
		switch {
		case f.CanInt():
			got = uint64(f.Int())
		case f.CanUint():
			got = f.Uint()
		}
		if got != want {
			t.Errorf("%s: 5 after 2 gives %d, want %d", name, got, want)
		}
	}
}

// The report counts the pages of the generation, and all of them are verified.
func TestPagesAreCounted(t *testing.T) {
	dir, o := t.TempDir(), testOptions(8<<20)
	c := open(t, dir, o)
	for i := range 3000 {
		mustSet(t, c, testKey(i), testValue(i, 300))
	}
	mustClose(t, c)
	c = open(t, dir, o)
	r, err := c.WaitVerified(t.Context())
	if err != nil || r.Pages < 3000*344/pageSize || r.PagesVerified > r.Pages {
		t.Errorf("%d pages, %d verified, %v", r.Pages, r.PagesVerified, err)
	}
}
