package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/embercache/ember/pagefile"
)

// stepOptions are those of a cache on a disk that writes when it is told to.
func stepOptions(maxBytes int64) *Options {
	o := testOptions(maxBytes)
	o.hooks.step = true
	return o
}

func mustWeak(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.persist.dumper.Weak(); err != nil {
		t.Fatal(err)
	}
}

// reopened is what Open reports once everything is read.
func reopened(t testing.TB, c *Cache) RecoveryReport {
	t.Helper()
	r, err := c.WaitVerified(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestStartsWithoutWritesChangeNoFile: ten starts in a row give the same report,
// and leave every byte of the directory as it was.
func TestStartsWithoutWritesChangeNoFile(t *testing.T) {
	o := testOptions(8 << 20)
	dir := warmDir(t, o, 3000)
	mustClose(t, open(t, dir, o)) // seals what was open
	before := list(t, dir).without("LOCK")
	for start := range 10 {
		c := open(t, dir, o)
		r := reopened(t, c)
		if r.Outcome != OutcomeWarm || r.Entries != 3001 || c.Len() != 3001 || r.Bytes != c.Bytes() || r.Dropped != 0 || r.Weak != 0 {
			t.Fatalf("start %d: %d entries of %d bytes, report %+v", start, c.Len(), c.Bytes(), r)
		}
		if g := mustFlush(t, c); g != r.Generation {
			t.Errorf("start %d: Flush wrote generation %d when %d has it all", start, g, r.Generation)
		}
		mustClose(t, c)
		wantListing(t, list(t, dir).without("LOCK"), before)
		if t.Failed() {
			return
		}
	}
}

// TestRestartsInARow writes a little in each of twelve processes, which end by
// Close or are killed: nothing is lost, gauges are exact, and what one process
// leaves on disk does not add up.
func TestRestartsInARow(t *testing.T) {
	for _, positional := range []bool{false, true} {
		for _, how := range []string{"close", "kill", "both"} {
			t.Run(fmt.Sprintf("%s, positional %v", how, positional), func(t *testing.T) { restartInARow(t, how, positional) })
		}
	}
}

func restartInARow(t *testing.T, how string, positional bool) {
	o := stepOptions(4 << 20)
	o.Recovery.Positional = positional
	dir := warmDir(t, o, 500)
	want := 501
	bytes := int64(-1)
	for round := range 12 {
		c := open(t, dir, o)
		if positional {
			wantUnmapped(t, dir)
		}
		r := c.Recovery()
		if round == 0 {
			bytes = r.Bytes
		}
		if r.Outcome != OutcomeWarm || r.Entries != want || r.Bytes != bytes || c.Len() != want || c.Bytes() != bytes {
			t.Fatalf("round %d: %d entries of %d bytes, want %d of %d; report %+v", round, c.Len(), c.Bytes(), want, bytes, r)
		}
		for old := range round {
			wantValue(t, c, fmt.Appendf(nil, "round-%d", old), testValue(old, 1000*old))
		}
		wantFilled(t, c, 500)
		if r = reopened(t, c); r.Dropped != 0 || c.Len() != want || c.Bytes() != bytes {
			t.Fatalf("round %d, all read: %d entries of %d bytes; report %+v", round, c.Len(), c.Bytes(), r)
		}
		checkInvariants(t, c)
		mustSet(t, c, fmt.Appendf(nil, "round-%d", round), testValue(round, 1000*round))
		mustSet(t, c, testKey(round), testValue(round, 100+round%300)) // in its old place no more
		want, bytes = c.Len(), c.Bytes()
		if how == "close" || how == "both" && round%2 == 0 {
			mustClose(t, c)
		} else {
			mustWeak(t, c)
			drop(c)
		}
		_, disk := o.Footprint()
		blobs, _ := filepath.Glob(filepath.Join(dir, "blobs-*"))
		if size := allocated(t, dir); size > disk*11/10 || len(blobs) > 3 {
			t.Fatalf("round %d: %d bytes on disk, Footprint says %d; %d blob files", round, size, disk, len(blobs))
		}
	}
}

// allocated is the sum of the lengths of the files in dir: they are allocated,
// not sparse.
func allocated(t testing.TB, dir string) (n int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it was retired meanwhile
			n += info.Size()
		}
	}
	return n
}

// TestAnotherSchemaStartsCold: with the reason; and until something of the new
// schema is durable, whoever comes back with the old one is warm.
func TestAnotherSchemaStartsCold(t *testing.T) {
	one := stepOptions(4 << 20)
	one.Schema = "users/v1"
	two := *one
	two.Schema = "users/v2"
	dir := warmDir(t, one, 500)
	before := list(t, dir).without("LOCK")
	c := open(t, dir, &two)
	r := c.Recovery()
	if r.Outcome != OutcomeCold || !errors.Is(r.Reason, ErrSchema) || r.Entries != 0 || c.Len() != 0 || c.Health() != nil {
		t.Fatalf("%d entries, Health %v, report %+v", c.Len(), c.Health(), r)
	}
	for _, part := range []string{"users/v1", "users/v2"} {
		if !strings.Contains(r.Reason.Error(), part) {
			t.Errorf("%q does not say %q", r.Reason, part)
		}
	}
	mustSet(t, c, []byte("new"), []byte("2"))
	drop(c) // before its first generation
	wantListing(t, list(t, dir).without("LOCK"), before)

	c = open(t, dir, one)
	wantFilled(t, c, 500)
	if r := reopened(t, c); r.Outcome != OutcomeWarm || c.Has([]byte("new")) {
		t.Fatalf("back with the old schema: %+v", r)
	}
	mustClose(t, c)

	c = open(t, dir, &two)
	mustSet(t, c, []byte("new"), []byte("2"))
	mustFlush(t, c)
	drop(c)
	if c = open(t, dir, &two); c.Recovery().Outcome != OutcomeWarm || c.Len() != 1 {
		t.Fatalf("%d entries, report %+v", c.Len(), c.Recovery())
	}
	wantValue(t, c, []byte("new"), []byte("2"))
	mustClose(t, c)
	if c = open(t, dir, one); c.Recovery().Outcome != OutcomeCold || c.Len() != 0 {
		t.Fatalf("the old schema after the new one: %+v", c.Recovery())
	}
}

// TestNewerFilesAreLeftAlone: a newer build's record, page file or image is a
// cold start that serves from memory, says why, and writes nothing at all.
func TestNewerFilesAreLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		part string
		size int // of the checksummed structure, its checksum at the end; 0: it says so itself
	}{{"records.", 0}, {"pages-", 64}, {"image-", 64}} {
		t.Run(tt.part, func(t *testing.T) {
			o := testOptions(4 << 20)
			dir := warmDir(t, o, 300)
			if !makeNewer(t, dir, tt.part, tt.size) {
				t.Fatal("no such file")
			}
			before := list(t, dir).without("LOCK")
			c := open(t, dir, o)
			r := c.Recovery()
			if r.Outcome != OutcomeCold || !errors.Is(r.Reason, pagefile.ErrVersion) || c.Len() != 0 {
				t.Errorf("%d entries, report %+v", c.Len(), r)
			}
			fill(t, c, 300)
			_, err := c.Flush(context.Background())
			for _, err := range []error{err, c.Health()} {
				if !errors.Is(err, pagefile.ErrVersion) || !strings.Contains(err.Error(), dir+" was written by a newer build") {
					t.Errorf("%v does not say why", err)
				}
			}
			wantFilled(t, c, 300)
			mustClose(t, c)
			wantListing(t, list(t, dir).without("LOCK"), before)
		})
	}
}

// makeNewer gives the first structure of files the next format version.
func makeNewer(t *testing.T, dir, part string, size int) (found bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, part+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for off := 0; off < len(b); off += pagefile.MaxRecord {
			s := b[off:]
			n := size
			if n == 0 {
				n = int(binary.LittleEndian.Uint32(s[12:]))
			}
			if n < 64 || n > len(s) || xxhash.Sum64(s[:n-8]) != binary.LittleEndian.Uint64(s[n-8:]) {
				continue
			}
			found = true
			binary.LittleEndian.PutUint16(s[8:], pagefile.Version+1)
			binary.LittleEndian.PutUint64(s[n-8:], xxhash.Sum64(s[:n-8]))
			if size != 0 {
				break
			}
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// TestDamageCostsOnce: what one start could not prove is all that is gone; its
// Close takes nothing more, and the next start is warm.
func TestDamageCostsOnce(t *testing.T) {
	o := stepOptions(4 << 20)
	dir := warmDir(t, o, 2000)
	name := damage(t, dir, "pages-", pagefile.FileHeaderBlock+40)
	c := open(t, dir, o)
	r := reopened(t, c)
	if r.Outcome != OutcomePartial || r.PagesDropped != 1 || r.Dropped == 0 || r.Dropped > 40 || r.Entries != 2001 || c.Len() != 2001-r.Dropped {
		t.Fatalf("one flipped byte: %d entries, report %+v", c.Len(), r)
	}
	var damaged *CorruptionError
	if !errors.As(r.Reason, &damaged) || !errors.Is(r.Reason, ErrCorrupt) || damaged.Path != name || damaged.Want == damaged.Got {
		t.Errorf("reason %v does not say where: %+v", r.Reason, damaged)
	}
	var kept [][]byte
	for i := range 2000 {
		if v, ok := c.Get(testKey(i)); ok {
			kept = append(kept, testKey(i))
			wantValue(t, c, testKey(i), testValue(i, 100+i%300))
			if len(v) != 100+i%300 {
				t.Errorf("key %d has %d bytes", i, len(v))
			}
		}
	}
	left, bytes := c.Len(), c.Bytes()
	mustClose(t, c)
	for range 2 {
		c = open(t, dir, o)
		r = reopened(t, c)
		if c.Len() != left || c.Bytes() != bytes || r.Dropped != 0 {
			t.Errorf("%d entries of %d bytes, want %d of %d; report %+v", c.Len(), c.Bytes(), left, bytes, r)
		}
		for _, key := range kept {
			if !c.Has(key) {
				t.Errorf("%s is gone", key)
			}
		}
		mustClose(t, c)
	}
}

// damage flips a bit of the file whose name begins with part.
func damage(t testing.TB, dir, part string, off int64) (name string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, part+"*"))
	if len(names) != 1 {
		t.Fatalf("files that begin with %s: %v", part, names)
	}
	f, err := os.OpenFile(names[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	return names[0]
}

// TestTimeGoesOnWhileDown: expiry is absolute. What ended while the process was
// down is a miss, Open gives nothing more time, and a clock that was set back or
// ahead lets nothing live longer than its TTL from now.
func TestTimeGoesOnWhileDown(t *testing.T) {
	for _, how := range []string{"close", "kill"} {
		for _, jump := range []time.Duration{0, -time.Hour, time.Hour, -24 * 365 * time.Hour} {
			t.Run(fmt.Sprintf("%s, jump %v", how, jump), func(t *testing.T) { downFor(t, how, jump) })
		}
	}
}

func downFor(t *testing.T, how string, jump time.Duration) {
	const minute = time.Minute
	var wall atomic.Int64 // the cache reads it in the background, too
	wall.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	pass := func(d time.Duration) { wall.Add(int64(d)) }
	o := stepOptions(1 << 20)
	o.Clock = func() time.Time { return time.Unix(0, wall.Load()) }
	o.Freshness.Jitter = -1
	dir := t.TempDir()
	c := open(t, dir, o)
	for n := range 60 { // entry n ends after n+1 minutes
		if err := c.SetWithTTL(testKey(n), testValue(n, 100), time.Duration(n+1)*minute); err != nil {
			t.Fatal(err)
		}
	}
	mustSet(t, c, []byte("always"), []byte("v"))
	mustFlush(t, c)
	up := time.Duration(0) // by the monotonic clock of those who served
	serve := func(d time.Duration, oldest int) {
		t.Helper()
		pass(d)
		up += d
		for n := range 60 {
			if c.Has(testKey(n)) != (n >= oldest) {
				t.Fatalf("after %v of serving, wall clock %v: entry %d is there: %v, want those from %d on", up, o.Clock(), n, n < oldest, oldest)
			}
		}
		wantValue(t, c, []byte("always"), []byte("v"))
	}
	serve(5*minute, 5)
	mustSet(t, c, []byte("clock"), nil) // a cut that knows the time
	if how == "close" {
		mustClose(t, c)
	} else {
		mustWeak(t, c)
		drop(c)
	}
	pass(10*minute + jump)
	down := max(10*minute+jump, 0) // as far as anybody can tell
	c = open(t, dir, o)
	first := int(min((5*minute+down)/minute, 60))
	serve(0, first)
	for range 3 {
		if first < 60 {
			first = min(first+5, 60)
		}
		serve(5*minute, first)
	}
	pass(-time.Hour) // while open: time stands still
	serve(0, first)
	pass(time.Hour)
	serve(0, first)
	if err := c.SetWithTTL([]byte("new"), nil, minute); err != nil {
		t.Fatal(err)
	}
	if pass(minute); c.Has([]byte("new")) {
		t.Error("a new entry outlives its TTL")
	}
	mustClose(t, c)
}

// TestOldGenerationsMakeRoom: generations beyond two go when places run out, also
// those that an earlier process wrote.
func TestOldGenerationsMakeRoom(t *testing.T) {
	rng := newRand(t)
	o := stepOptions(2 << 20)
	o.Durability.Keep = 8
	dir := t.TempDir()
	for process := range 3 {
		c := open(t, dir, o)
		if r := reopened(t, c); process > 0 && (r.Outcome != OutcomeWarm || c.Len() == 0 || r.PagesDropped != 0) {
			t.Errorf("process %d: %d entries, report %+v", process, c.Len(), r)
		}
		for i := range 2048 {
			n := rng.Intn(4000)
			if rng.Intn(50) == 0 {
				n = rng.Intn(100 << 10)
			}
			mustSet(t, c, testKey(rng.Intn(1<<16)), testValue(i, n))
			if i%512 == 511 {
				if _, err := c.Flush(context.Background()); err != nil {
					t.Fatalf("process %d, Set %d: %v", process, i, err)
				}
			}
		}
		mustClose(t, c)
	}
}
