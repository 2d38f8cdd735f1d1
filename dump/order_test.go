package dump

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// removedEarly returns a removal between a record and its mirror, and how many
// removals there were.
func removedEarly(log []crashfs.Op) (early *crashfs.Op, removals int) {
	alone := false
	for i, op := range log {
		switch {
		case op.Kind == crashfs.OpWrite && strings.HasSuffix(op.Path, pagefile.RecordsName):
			alone = true
		case op.Kind == crashfs.OpSync && strings.HasSuffix(op.Path, pagefile.MirrorName):
			alone = false
		case op.Kind == crashfs.OpRemove:
			removals++
			if alone && early == nil {
				early = &log[i]
			}
		}
	}
	return early, removals
}

// Until a record has its mirror, one damaged sector leaves the record before it,
// and that needs its files.
func TestNothingIsRemovedBeforeTheMirror(t *testing.T) {
	for name, last := range map[string]func(r *rig){
		"a record that is stated again": func(r *rig) {
			if err := r.d.restate(false, minKeep); err != nil {
				r.t.Fatal(err)
			}
		},
		"a record that was in limbo": func(r *rig) {
			r.f.churn(20)
			remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Times: 1, Err: syscall.EIO})
			r.flushFails()
			remove()
			if _, err := r.d.Flush(context.Background()); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, func(c *Config) { c.Keep = 4 })
			for range 5 {
				r.f.churn(20)
				r.d.needFull = true
				r.flush()
			}
			r.d.needFull = true
			from := r.fs.Ops()
			last(r)
			early, removals := removedEarly(r.fs.Log()[from:])
			if early != nil || removals == 0 {
				t.Errorf("%d files removed, before the mirror: %v", removals, early)
			}
		})
	}
}

// A record in limbo may be on the disk: the number is used up.
func TestLimboUsesItsNumberUp(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(20)
	r.flush()
	r.f.churn(20)
	remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: pagefile.RecordsName, Times: 1, Err: syscall.EIO})
	r.flushFails()
	remove()
	limbo := r.d.limbo.number
	if g := r.flush(); g <= limbo {
		t.Errorf("got generation %d, %d is in limbo", g, limbo)
	}
	r.verify()
}

// A record does not take the slot of one that is still retained, however many
// numbers failed attempts have used up.
func TestRetainedRecordsKeepTheirSlots(t *testing.T) {
	r := newRig(t, 1, nil)
	r.f.churn(20)
	before := r.flush()
	r.f.churn(20)
	r.d.number = before + pagefile.RingSlots
	if g := r.flush(); pagefile.RingSlot(g) == pagefile.RingSlot(before) {
		t.Errorf("generations %d and %d share a slot", before, g)
	}
	if got := r.verify(); len(got.retained) != 2 {
		t.Errorf("got %d retained generations, want 2", len(got.retained))
	}
}
