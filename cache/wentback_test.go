package cache

import (
	"context"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// wentBack is a directory whose newest generation was refused, and what that one
// held. The process that went back was killed before it brought a page home: the
// segments that were open at the older cut are not sealed yet on file, and the
// generation that was refused has later pages of them at home.
func wentBack(t *testing.T, keep int) (o *Options, refused uint64, want state) {
	o = quietOptions(crashfs.New(), 1)
	o.Durability.Keep = keep
	c := openOn(t, o)
	for round := range 2 {
		mustSet(t, c, []byte("round"), []byte{byte(round)})
		for i := range 30 { // full pages, and a part of one
			mustSet(t, c, worldKey(30*round+i), testValue(i, 500))
		}
		refused = mustFlush(t, c)
	}
	want = stateOf(c)
	drop(c)
	back := *o
	back.Recovery.Validate = refuseFrom(1, new([]int))
	drop(openOn(t, &back))
	return o, refused, want
}

// survives opens what was refused.
func survives(t *testing.T, o *Options, refused uint64, want state) {
	t.Helper()
	by := *o
	by.ReadOnly, by.Recovery.Generation = true, refused
	reader := openOn(t, &by)
	wantState(t, reader, want)
	drop(reader)
}

// TestWhatWasRefusedSurvivesAKill: nobody refuses anything in the process that
// follows, and it brings pages of the segments home that were open at the older cut.
func TestWhatWasRefusedSurvivesAKill(t *testing.T) {
	o, refused, want := wentBack(t, 3)
	fs := o.hooks.fs.(*crashfs.FS).Clone()
	o.hooks.fs = fs
	c := openOn(t, o)
	wantValue(t, c, []byte("round"), []byte{0})
	mustSet(t, c, worldKey(60), testValue(60, 500))
	mustFlush(t, c)
	survives(t, o, refused, want)
	drop(c)
}

// TestWhatWasRefusedSurvivesAReadThatFails: besides, that process cannot read the
// record of what was refused, and fails to write one of its own.
func TestWhatWasRefusedSurvivesAReadThatFails(t *testing.T) {
	o, refused, want := wentBack(t, 2)
	fs := o.hooks.fs.(*crashfs.FS).Clone()
	flip := func() {
		for _, name := range []string{pagefile.RecordsName, pagefile.MirrorName} {
			if err := fs.Flip(worldDir+"/"+name, int64(pagefile.RingSlot(refused)*pagefile.MaxRecord), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip()
	o.hooks.fs = fs
	c := openOn(t, o)
	wantValue(t, c, []byte("round"), []byte{0})
	mustSet(t, c, worldKey(60), testValue(60, 500))
	fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: pagefile.RecordsName, Err: syscall.EIO})
	if _, err := c.Flush(context.Background()); err == nil {
		t.Fatal("Flush wrote its record nowhere")
	}
	drop(c)
	fs = fs.Clone()
	flip()
	o.hooks.fs = fs
	survives(t, o, refused, want)
}

// TestNewestThatIsUnreadableOnce: its record cannot be read, in either ring, for one
// start. That one opens the generation before, takes room for pages and ends before
// it has a generation; the newest, which had grown the page file, is whole after it.
func TestNewestThatIsUnreadableOnce(t *testing.T) {
	o := quietOptions(crashfs.New(), 8)
	c := openOn(t, o)
	storeRange(t, c, 0, 200, 0)
	mustFlush(t, c)
	storeRange(t, c, 0, 1200, 1)
	newest := mustFlush(t, c)
	want := stateOf(c)
	drop(c)
	fs := o.hooks.fs.(*crashfs.FS).Clone()
	flip := func() {
		for _, name := range []string{pagefile.RecordsName, pagefile.MirrorName} {
			if err := fs.Flip(worldDir+"/"+name, int64(pagefile.RingSlot(newest)*pagefile.MaxRecord), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip()
	o.hooks.fs = fs
	c = openOn(t, o)
	if got := c.Recovery().Generation; got >= newest {
		t.Fatalf("generation %d was opened, of which the record is damaged", got)
	}
	storeRange(t, c, 5000, 800, 0)
	fs.Fail(crashfs.Rule{Kind: crashfs.OpWrite, Path: pagefile.RecordsName, Err: syscall.EIO})
	if _, err := c.Flush(t.Context()); err == nil {
		t.Fatal("there is no record, and Flush returned nil")
	}
	drop(c)
	o.hooks.fs = fs.Clone()
	fs = o.hooks.fs.(*crashfs.FS)
	flip()
	c = openOn(t, o)
	defer drop(c)
	if got := c.Recovery().Generation; got != newest {
		t.Errorf("generation %d was opened, want %d", got, newest)
	}
	wantState(t, c, want)
}

// storeRange stores n large values from a key on.
func storeRange(t *testing.T, c *Cache, from, n, version int) {
	t.Helper()
	for i := range n {
		mustSet(t, c, worldKey(from+i), testValue(i+version, 5000))
	}
}
