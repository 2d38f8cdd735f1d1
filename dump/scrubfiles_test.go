package dump

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// A fileRig scrubs at once and keeps what it is told.
type fileRig struct {
	*rig
	events []Event
}

func newFileRig(t *testing.T) *fileRig {
	r := &fileRig{rig: newRig(t, 1, func(c *Config) { c.ScrubPause = -1 })}
	r.cfg.Event = func(e Event) {
		if e.Kind == Scrub {
			r.events = append(r.events, e)
		}
	}
	r.d = New(r.cfg, r.f, Start{Opens: 1})
	r.f.churn(200)
	r.flush() // full: the first
	r.f.churn(20)
	r.flush() // light: one more blob
	return r
}

// scrubFiles reads all that is beside the pages, and returns what it is told.
func (r *fileRig) scrubFiles() []Event {
	r.t.Helper()
	r.events = nil
	r.scrubAll()
	f := r.d.scrub.files
	if f == nil {
		return r.events // a file is gone: that comes first
	}
	r.d.scrub.files = nil
	f.run()
	return r.events
}

func (r *fileRig) path(kind pagefile.FileKind, id uint64) string {
	return path.Join(fakeDir, pagefile.FileName(kind, id))
}

// TestScrubReadsEveryBlock damages each block of what the newest generation
// consists of beside pages. It is found, the next generation is full and whole, and
// a power cut then loses nothing.
func TestScrubReadsEveryBlock(t *testing.T) {
	r := newFileRig(t)
	before := r.d.Stats().Scrubbed
	if events := r.scrubFiles(); len(events) > 0 || r.d.Stats().Scrubbed == before {
		t.Fatalf("nothing is damaged: %v, %d pages compared", events, r.d.Stats().Scrubbed-before)
	}
	rec := r.d.base.record
	slot := int64(pagefile.RingSlot(rec.Generation)) * pagefile.MaxRecord
	image, size := r.path(pagefile.KindImage, rec.Image), r.d.base.imageSize
	if r.d.scrub.rest.IsZero() {
		t.Fatal("no pass was made")
	}
	for off := int64(100); off < size; off += pagefile.PageSize {
		damaged(t, image, func(fs *crashfs.FS, name string) error { return fs.Flip(name, off, 8) })
	}
	for _, e := range rec.Blobs {
		for off := int64(e.Offset) + 50; off < int64(e.Offset)+int64(e.Length); off += pagefile.PageSize {
			damaged(t, r.path(pagefile.KindBlobs, e.File), func(fs *crashfs.FS, name string) error { return fs.Flip(name, off, 1) })
		}
	}
	for _, ring := range []string{pagefile.RecordsName, pagefile.MirrorName} {
		damaged(t, path.Join(fakeDir, ring), func(fs *crashfs.FS, name string) error { return fs.Flip(name, slot+30, 1) })
		damaged(t, path.Join(fakeDir, ring), (*crashfs.FS).Erase)
	}
	damaged(t, image, (*crashfs.FS).Erase)
	damaged(t, image, func(fs *crashfs.FS, name string) error { return fs.TruncateFile(name, size-1) })
	damaged(t, r.path(pagefile.KindBlobs, rec.Blobs[0].File), (*crashfs.FS).Erase)
}

// damaged is the law for one place of damage, in a rig of its own.
func damaged(t *testing.T, file string, do func(fs *crashfs.FS, name string) error) {
	t.Helper()
	r := newFileRig(t)
	if err := do(r.fs, file); err != nil {
		t.Fatal(err)
	}
	full, mended := r.d.Stats().Full, r.d.Stats().Damaged
	events := r.scrubFiles()
	if len(events) == 0 || r.d.Stats().Damaged == mended {
		t.Fatalf("%s: damage was not found: %v", file, events)
	}
	for _, e := range events {
		at := new(pagefile.CorruptionError)
		if !errors.As(e.Err, &at) || at.Path != file || !strings.Contains(e.Err.Error(), file) {
			t.Fatalf("%s: told of %v, %+v", file, e.Err, at)
		}
	}
	r.flush()
	if r.d.Stats().Full != full+1 {
		t.Fatalf("%s: no full generation follows", file)
	}
	for _, e := range r.scrubFiles() {
		if !e.Older {
			t.Fatalf("%s: mended, and the newest still has damage: %v", file, e.Err)
		}
	}
	r.recover(r.fs.Crash(r.fs.Ops(), crashfs.Cut{Fate: crashfs.FateLost}), false)
}

// What only older generations consist of is told of and left.
func TestScrubLeavesOlderGenerations(t *testing.T) {
	r := newFileRig(t)
	old := r.d.base.record
	r.d.needFull = true
	r.f.churn(20)
	r.flush()
	if err := r.fs.Flip(r.path(pagefile.KindImage, old.Image), 100, 1); err != nil {
		t.Fatal(err)
	}
	events := r.scrubFiles()
	if len(events) != 1 || !events[0].Older || r.d.Stats().Damaged != 0 {
		t.Fatalf("told %+v, %d mended", events, r.d.Stats().Damaged)
	}
	full := r.d.Stats().Full
	r.f.churn(5)
	r.flush()
	if r.d.Stats().Full != full {
		t.Error("damage to an older generation costs a full one")
	}
}

// An older record that one ring alone has, since the other failed or was removed, is
// no loss; one that neither has is. The newest is to be in both.
func TestScrubAsksBothRingsForOlderRecords(t *testing.T) {
	r := newFileRig(t)
	retained := r.d.history.retained
	old, newest := retained[0], retained[len(retained)-1]
	if old == newest {
		t.Fatal("one generation is retained, want two")
	}
	spoil := func(g *pagefile.Record, ring string) {
		t.Helper()
		if err := r.fs.Flip(path.Join(fakeDir, ring), int64(pagefile.RingSlot(g.Generation))*pagefile.MaxRecord+20, 1); err != nil {
			t.Fatal(err)
		}
	}
	spoil(old, pagefile.MirrorName)
	if events := r.scrubFiles(); len(events) != 0 {
		t.Errorf("an older record in one ring: told %v", events[0].Err)
	}
	spoil(old, pagefile.RecordsName)
	if events := r.scrubFiles(); len(events) != 1 || !events[0].Older {
		t.Errorf("an older record in no ring: told %+v, want that alone", events)
	}
	spoil(newest, pagefile.MirrorName)
	if events := r.scrubFiles(); len(events) != 2 || events[0].Older {
		t.Errorf("the newest record in one ring: told %+v, want that first", events)
	}
}

// Generations are written, and files retired, while they are read: nothing of that
// is damage.
func TestScrubBesideGenerations(t *testing.T) {
	r := newFileRig(t)
	r.scrubAll()
	f := r.d.scrub.files
	for range 70 { // every slot of the rings is written over
		r.d.needFull = true
		r.f.churn(2)
		r.flush()
	}
	f.run()
	if len(r.events) > 0 {
		t.Errorf("told of %v", r.events[0].Err)
	}
}

// Close ends a scrub that rests, and waits for none.
func TestCloseEndsAScrub(t *testing.T) {
	r := newFileRig(t)
	r.scrubAll()
	r.d.cfg.ScrubPause = time.Hour
	r.d.scrubFilesAlone()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.d.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if names := r.fs.OpenHandles(); len(names) > 0 {
		t.Errorf("files are open after Close: %v", names)
	}
}

// A disk that hangs under a scrub holds up no generation, and Close no longer than
// its context.
func TestHungScrubHoldsUpNobody(t *testing.T) {
	r := newFileRig(t)
	r.scrubAll()
	hang := r.fs.Hang(crashfs.OpRead, "image-")
	defer hang.Release()
	r.d.scrubFilesAlone()
	<-hang.Blocked
	r.f.churn(5)
	r.flush()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v", err)
	}
	hang.Release()
	<-r.d.Done()
}
