package dump

import (
	"os"
	"testing"

	"github.com/embercache/ember/pagefile"
)

// A reserving file system sets space aside, as Linux does on most disks.
type reserving struct{ pagefile.FS }

type reservingFile struct{ pagefile.File }

func (r reserving) OpenFile(path string, flag int, perm os.FileMode) (pagefile.File, error) {
	f, err := r.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return reservingFile{f}, nil
}

func (f reservingFile) Reserve(off, n int64) error { return f.Allocate(off, n) }

// TestReserveLeavesRoomForTheRest: on a disk with room for what is written, but for
// little more than the page file at its longest, generations go on; where there is
// room for all, the page file has its space from the beginning. The first is told of,
// once.
func TestReserveLeavesRoomForTheRest(t *testing.T) {
	for _, c := range []struct {
		name  string
		spare int64 // beyond the page file and the rings of records
		whole bool
	}{{"tight", 16 << 10, false}, {"roomy", 1 << 30, true}} {
		t.Run(c.name, func(t *testing.T) {
			var longest, told, free, need int64
			r := newRig(t, 1, func(cfg *Config) {
				longest = cfg.Geometry.PlaceOffset(cfg.maxPlaces())
				cfg.FS = reserving{cfg.FS}
				cfg.Event = func(e Event) {
					if e.Kind == Tight {
						told, free, need = told+1, e.Free, e.Need
					}
				}
			})
			r.fs.SetBudget(r.fs.Used() + longest + 2*pagefile.RingSlots*pagefile.MaxRecord + c.spare)
			for range 5 {
				r.f.churn(200)
				r.flush()
			}
			if err := r.d.Health(); err != nil {
				t.Errorf("Health: %v", err)
			}
			if got := r.d.home.size == longest; got != c.whole {
				t.Errorf("page file of %d bytes, at its longest %d: want it whole: %v", r.d.home.size, longest, c.whole)
			}
			if tight := told == 1 && free < need && need > longest; tight == c.whole || told > 1 {
				t.Errorf("told %d times, of %d bytes free and %d needed; the page file at its longest has %d", told, free, need, longest)
			}
		})
	}
}
