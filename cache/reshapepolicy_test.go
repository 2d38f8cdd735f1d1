package cache

import (
	"errors"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// warmFS is a directory in one shard of 1 MiB: generations with one key each, the
// last by Close.
func warmFS(t *testing.T, keys int) (*crashfs.FS, *Options) {
	t.Helper()
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Durability.Keep = 8
	c := openOn(t, o)
	for i := range keys {
		mustSet(t, c, testKey(i), testValue(i, 100))
		mustFlush(t, c)
	}
	mustClose(t, c)
	return fs, o
}

// TestAReaderConvertsNothing: whatever its options ask for, it reads the directory
// in the shape that it has.
func TestAReaderConvertsNothing(t *testing.T) {
	fs, o := warmFS(t, 3)
	o = sizing{8 << 20, 8}.of(o)
	o.ReadOnly = true
	ops := fs.Ops()
	c := openOn(t, o)
	if r := reopened(t, c); r.Outcome != OutcomeWarm || c.Len() != 3 || len(c.shards) != 1 {
		t.Errorf("%d shards, %d entries, report %+v", len(c.shards), c.Len(), r)
	}
	mustClose(t, c)
	wantOnlyLock(t, fs, ops)
}

// TestGoingBackIsNotConverted: what Validate went back to is written again before
// Open returns, in the shape that it has, so that a kill brings nothing newer back.
// The next Open converts, and is asked about what it has converted.
func TestGoingBackIsNotConverted(t *testing.T) {
	fs, o := warmFS(t, 3)
	o = sizing{8 << 20, 8}.of(o)
	asked := 0
	o.Recovery.Validate = func(c *Cache) error {
		if asked++; c.Len() == 3 {
			return errors.New("one too many")
		}
		return nil
	}
	c := openOn(t, o)
	if r := c.Recovery(); asked < 2 || c.Len() != 2 || len(c.shards) != 1 || r.Outcome == OutcomeCold {
		t.Errorf("asked %d times: %d shards, %d entries, report %+v", asked, len(c.shards), c.Len(), r)
	}
	drop(c)
	o.hooks.fs = fs.Clone()
	asked = 0
	c = openOn(t, o)
	if r := reopened(t, c); asked != 1 || c.Len() != 2 || len(c.shards) != 8 || r.Outcome != OutcomeWarm {
		t.Errorf("asked %d times: %d shards, %d entries, report %+v", asked, len(c.shards), c.Len(), r)
	}
	mustClose(t, c)
}

// TestAConversionIsNotACleanEnd: with UncleanDiscard a process that converts and is
// killed at once was unclean.
func TestAConversionIsNotACleanEnd(t *testing.T) {
	fs, o := warmFS(t, 3)
	o = sizing{8 << 20, 8}.of(o)
	o.Recovery.Unclean = UncleanDiscard
	c := openOn(t, o)
	if r := c.Recovery(); c.Len() != 3 || len(c.shards) != 8 || r.Outcome != OutcomeWarm {
		t.Errorf("%d shards, %d entries, report %+v", len(c.shards), c.Len(), r)
	}
	drop(c)
	o.hooks.fs = fs.Clone()
	c = openOn(t, o)
	if r := c.Recovery(); r.Outcome != OutcomeCold || r.Reason == nil || c.Len() != 0 {
		t.Errorf("after a kill: %d entries, report %+v", c.Len(), r)
	}
	drop(c)
}

// TestAReaderOfTheFormerShapeHoldsNoPlace: its generation lies in a page file that
// nobody writes to any more, so the new one turns over as if it were not there.
func TestAReaderOfTheFormerShapeHoldsNoPlace(t *testing.T) {
	o := stepOptions(1 << 20)
	o.Shards = 1
	dir := warmDir(t, o, 500)
	read := *o
	read.ReadOnly = true
	reader := open(t, dir, &read)
	o = sizing{4 << 20, 2}.of(o)
	c := open(t, dir, o)
	for i := range 12 << 10 {
		mustSet(t, c, testKey(i), testValue(i, 2000))
		if i%512 == 0 {
			mustFlush(t, c)
		}
	}
	wantFilled(t, reader, 500)
	mustClose(t, reader)
	mustClose(t, c)
}
