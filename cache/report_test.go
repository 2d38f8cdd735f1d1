package cache

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// TestReportRightAfterOpen: the counts are those of the generation before
// anything was read, and once all is verified they add up.
func TestReportRightAfterOpen(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 4)
	c := openOn(t, o)
	if r := c.Recovery(); r != (RecoveryReport{Mapped: r.Mapped, Verified: r.Verified}) || r.Mapped <= 0 {
		t.Errorf("a new directory's report: %+v", r)
	}
	fill(t, c, 3000)
	for i := range 500 {
		c.Delete(testKey(i))
	}
	entries, bytes := c.Len(), c.Bytes()
	before := time.Now().Truncate(0)
	mustClose(t, c)
	release, _ := holdReads(fs)
	o.Recovery.Verify = VerifyLazy
	c = openOn(t, o)
	r := c.Recovery()
	if r.Outcome != OutcomeWarm || r.Reason != nil || r.Entries != entries || r.Bytes != bytes || r.Weak != 0 || r.MayBeStale ||
		r.Dropped != 0 || r.PagesVerified != 0 || r.PagesDropped != 0 || r.Verified != 0 || r.Mapped <= 0 {
		t.Errorf("report %+v, want %d entries of %d bytes", r, entries, bytes)
	}
	if r.WrittenAt.Before(before) || r.WrittenAt.After(time.Now()) {
		t.Errorf("written at %v, want after %v", r.WrittenAt, before)
	}
	if c.Len() != entries || c.Bytes() != bytes || c.Stats().Generation != r.Generation || c.Stats().PredictedRecovery <= 0 {
		t.Errorf("%d entries of %d bytes, Stats %+v", c.Len(), c.Bytes(), c.Stats())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := c.WaitVerified(ctx); !errors.Is(err, context.Canceled) || r.Entries != entries || r.Verified != 0 {
		t.Errorf("WaitVerified while reads hang: %v, %+v", err, r)
	}
	release()
	r = reopened(t, c)
	if least := int(bytes / pageSize); r.PagesVerified < least || r.Dropped != 0 || r.PagesDropped != 0 || r.Verified <= r.Mapped || r.Entries != entries {
		t.Errorf("all read: report %+v, want %d pages at least", r, least)
	}
	mustClose(t, c)
	checkEager(t, o, entries)
}

// checkEager opens with all verified, and reads without a look at a file.
func checkEager(t *testing.T, o *Options, entries int) {
	t.Helper()
	o.Recovery.Verify = VerifyEager
	o.Recovery.Timeout = time.Minute
	c := openOn(t, o)
	defer mustClose(t, c)
	r, faults := c.Recovery(), c.Stats().Faults
	if r.Verified <= 0 || r.PagesVerified == 0 || r.Entries != entries {
		t.Errorf("VerifyEager: report %+v", r)
	}
	for i := range 3000 {
		if c.Has(testKey(i)) != (i >= 500) {
			t.Fatalf("key %d", i)
		}
	}
	if now := c.Stats().Faults; now != faults {
		t.Errorf("%d reads of files after VerifyEager", now-faults)
	}
}

// TestEagerVerifyEndsWithItsContext: Open that must verify everything fails when
// its context ends first, and leaves the directory to the next.
func TestEagerVerifyEndsWithItsContext(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.CloseTimeout = time.Hour // the context counts, not this
	c := openOn(t, o)
	fill(t, c, 1000)
	mustClose(t, c)
	release, held := holdReads(fs)
	o.Recovery.Verify = VerifyEager
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go endWhen(ctx, cancel, held)
	if _, err := Open(ctx, worldDir, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("Open with reads that hang: %v", err)
	}
	release()
	o.Recovery.Verify = VerifyLazy
	soon(t, "the directory is free", func() bool {
		c, err := Open(context.Background(), worldDir, o)
		if err != nil {
			return false
		}
		wantFilled(t, c, 1000)
		mustClose(t, c)
		return true
	})
}

// wantOnlyLock wants nothing written since but to the lock file.
func wantOnlyLock(t testing.TB, fs *crashfs.FS, since int) {
	t.Helper()
	for _, op := range fs.Log()[since:] {
		if !strings.HasSuffix(op.Path, "/LOCK") {
			t.Errorf("written: %v", op)
		}
	}
}

// TestDiskThatHangsAtOpen: wherever it hangs, Open serves from memory within
// Recovery.Timeout, says why, writes nothing, and the next Open finds everything.
func TestDiskThatHangsAtOpen(t *testing.T) {
	for _, at := range []struct {
		kind crashfs.Kind
		path string
	}{
		{crashfs.OpReadDir, ""}, {crashfs.OpOpen, "records.0"}, {crashfs.OpRead, "records.1"}, {crashfs.OpOpen, "pages-"},
		{crashfs.OpRead, "image-"}, {crashfs.OpRead, "blobs-"}, {crashfs.OpMap, ""}, {crashfs.OpOpen, "LOCK"}, {crashfs.OpLock, ""},
	} {
		t.Run(at.kind.String()+" "+at.path, func(t *testing.T) { hangAtOpen(t, at.kind, at.path) })
	}
}

func hangAtOpen(t *testing.T, kind crashfs.Kind, path string) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	c := openOn(t, o)
	fill(t, c, 500)
	mustClose(t, c)
	ops := fs.Ops()
	hang := fs.Hang(kind, path)
	defer hang.Release()
	o.Recovery.Timeout = 100 * time.Millisecond
	start := time.Now()
	c = openOn(t, o)
	if took := time.Since(start); took > stalls {
		t.Errorf("Open took %v, the timeout is %v", took, o.Recovery.Timeout)
	}
	r := c.Recovery()
	_, flushErr := c.Flush(context.Background())
	for what, err := range map[string]error{"Reason": r.Reason, "Health": c.Health(), "Flush": flushErr} {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), worldDir+": no answer from the disk within 100ms") {
			t.Errorf("%s does not say why: %v", what, err)
		}
	}
	if r.Outcome != OutcomeCold || c.Len() != 0 {
		t.Errorf("%d entries, report %+v", c.Len(), r)
	}
	fill(t, c, 100)
	wantFilled(t, c, 100)
	mustClose(t, c)
	hang.Release()
	o.Recovery.Timeout = time.Minute
	soon(t, "the directory is free", func() bool {
		again, err := Open(context.Background(), worldDir, o)
		c = again
		return err == nil
	})
	wantOnlyLock(t, fs, ops)
	wantFilled(t, c, 500)
	drop(c)
}

// TestWhatIsLogged: a person learns from one line what a start found, at a level
// that tells whether to look.
func TestWhatIsLogged(t *testing.T) {
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	o.Schema, o.Name = "v1", "users"
	c := openOn(t, o)
	fill(t, c, 100)
	mustClose(t, c)
	for _, tt := range []struct {
		schema string
		says   []string
	}{
		{"v1", []string{"level=INFO", "cache=users", "event=recovered", "outcome=warm", "generation=", "entries=101", "bytes=", "age=", "mapped=", "event=closed"}},
		{"v2", []string{"level=WARN", "cache=users", "outcome=cold", "reason=", `\"v1\"`, `\"v2\"`}},
	} {
		var log bytes.Buffer
		o.Schema, o.Logger = tt.schema, slog.New(slog.NewTextHandler(&log, nil))
		mustClose(t, openOn(t, o))
		for _, part := range tt.says {
			if !strings.Contains(log.String(), part) {
				t.Errorf("schema %s: the log does not say %q:\n%s", tt.schema, part, log.String())
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	got := ""
	for _, o := range []Outcome{OutcomeCold, OutcomePartial, OutcomeWarm, 9} {
		got += o.String() + " "
	}
	if want := "cold partial warm outcome(9) "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
