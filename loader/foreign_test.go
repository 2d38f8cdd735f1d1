package loader

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// Files of two directories were mixed, or files of one directory of two times: what
// is not of the record is not read.
func TestLoadForeignFiles(t *testing.T) {
	other := func(g pagefile.Geometry) pagefile.Geometry {
		g.DirID++
		return g
	}
	for _, tt := range []struct {
		name, label string
		mix         func(w *writer)
	}{
		{"the page file of another directory", PagesLost, func(w *writer) {
			h := pagefile.FileHeader{Kind: pagefile.KindPages, ID: pagesID, Geometry: other(w.geo)}
			w.must(pagefile.WriteFileHeader(w.pages, h))
		}},
		{"the image of another directory", ImageLost, func(w *writer) {
			w.geo = other(w.geo)
			w.imageAgain()
		}},
		{"an image of later than the record", ImageShard, func(w *writer) {
			w.busy(40)
			w.imageAgain()
		}},
		{"a retained record of another directory", RetainedLost, func(w *writer) {
			r := *mustLoad(w.t, w).Retained[1]
			r.Geometry = other(r.Geometry)
			for _, ring := range w.rings {
				w.must(ring.Write(&r))
			}
		}},
		{"a blob of another time", BlobLost, func(w *writer) {
			r := *w.record
			r.Blobs = slices.Clone(r.Blobs)
			r.Blobs[1].Hash++
			w.put(&r)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, snap := sample(t)
			geo := w.geo
			tt.mix(w)
			w.geo = geo
			res := mustLoad(t, w)
			if !slices.Contains(labels(res), tt.label) {
				t.Fatalf("got findings %v, want %q", res.Findings, tt.label)
			}
			compare(t, res, snap)
		})
	}
}

// imageAgain writes the sample's image once more, as the shards are now.
func (w *writer) imageAgain() {
	generation := w.generation
	w.generation = w.image
	w.writeImage()
	w.generation = generation
}

func TestLoadTellsOfAMissingMirror(t *testing.T) {
	for i := range 2 {
		w, snap := sample(t)
		w.must(w.disk().Flip(w.ring(i), slotOf(w.generation)+99, 1))
		res := mustLoad(t, w)
		exactly(t, res, snap)
		if !res.MirrorMissing {
			t.Errorf("ring %d lacks the record, and nobody hears of it", i)
		}
	}
}

// An image whose record was never written has used its number up.
func TestLoadCountsImages(t *testing.T) {
	w, _ := sample(t)
	want := w.generation + 5
	w.must(w.disk().Plant(w.path(pagefile.KindImage, want), nil))
	if got := mustLoad(t, w).LastGeneration; got != want {
		t.Errorf("the last generation is %d, want %d", got, want)
	}
}

// A reader beside an owner who is writing a record: while the first of the rings is
// read the record is half in the first ring, while the second is, half in the mirror.
func TestLoadBesideARecordBeingWritten(t *testing.T) {
	w, snap := sample(t)
	half := []byte("half a record")
	next := *w.record
	next.Generation++
	next.Retained = append(slices.Clone(next.Retained), next.Generation)
	at := slotOf(next.Generation)
	w.must(w.disk().Overwrite(w.ring(0), at, half))
	first, second := "", false // rings are read one after the other, or the law is broken anyway
	remove := w.disk().Inject(func(op crashfs.Op) error {
		name := path.Base(op.Path)
		if op.Kind != crashfs.OpOpen || !strings.HasPrefix(name, "records.") || second {
			return nil
		}
		first = cmp.Or(first, name)
		if second = name != first; second {
			w.must(w.rings[0].Write(&next))
			w.must(w.disk().Overwrite(w.ring(1), at, half))
		}
		return nil
	})
	defer remove()
	res := mustLoad(t, w, func(o *Options) { o.Share = true })
	if res.MayBeStale || res.Reason != nil {
		t.Errorf("may be stale: %v, reason %v, findings %v", res.MayBeStale, res.Reason, res.Findings)
	}
	compare(t, res, snap)
}
