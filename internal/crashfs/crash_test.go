package crashfs

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

var seedFlag = flag.Uint64("crashfs.seed", 1, "seed of the random tests")

// fates crashes s after its last operation in many ways, and returns the
// different contents of a file with how often each came.
func fates(t *testing.T, s *FS, name string, c Cut) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(300) {
		c.Seed = seed
		b, err := s.Crash(s.Ops(), c).ReadFile(name)
		if err != nil {
			b = []byte("-")
		}
		seen[string(b)]++
	}
	return seen
}

// wantFates checks that exactly these contents are possible.
func wantFates(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if got[w] == 0 {
			t.Errorf("%.40q never came", w)
		}
		delete(got, w)
	}
	for g, n := range got {
		t.Errorf("%.40q (%d bytes) came %d times", g, len(g), n)
	}
}

// synced is a file system with a durable file of that text.
func synced(t *testing.T, text string) *FS {
	t.Helper()
	s := New()
	f := open(t, s, "/f")
	write(t, f, 0, text)
	must(t, f.Sync())
	must(t, s.SyncDir("/"))
	return s
}

func TestCrashOfWrites(t *testing.T) {
	t.Run("a synced write is kept", func(t *testing.T) {
		wantFates(t, fates(t, synced(t, "old"), "/f", Cut{}), "old")
	})
	t.Run("an unsynced overwrite is kept or lost", func(t *testing.T) {
		s := synced(t, "old")
		write(t, open(t, s, "/f"), 0, "new")
		wantFates(t, fates(t, s, "/f", Cut{}), "old", "new")
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateLost}), "old")
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateKept}), "new")
	})
	t.Run("a later write may survive an earlier one", func(t *testing.T) {
		s := synced(t, "..")
		f := open(t, s, "/f")
		write(t, f, 0, "a")
		write(t, f, 1, "b")
		wantFates(t, fates(t, s, "/f", Cut{}), "..", "a.", ".b", "ab")
	})
	t.Run("a file's sync does nothing for another file", func(t *testing.T) {
		s := synced(t, "old")
		write(t, open(t, s, "/f"), 0, "new")
		must(t, open(t, s, "/g").Sync())
		wantFates(t, fates(t, s, "/f", Cut{}), "old", "new")
	})
	t.Run("a write is torn at sectors", func(t *testing.T) {
		for _, sector := range []int{512, 4096} {
			s := synced(t, strings.Repeat(".", 3*sector))
			write(t, open(t, s, "/f"), 0, strings.Repeat("x", 3*sector))
			got := fates(t, s, "/f", Cut{Sector: int64(sector)})
			var want []string
			for mask := range 8 {
				text := ""
				for i := range 3 {
					text += strings.Repeat([]string{".", "x"}[mask>>i&1], sector)
				}
				want = append(want, text)
			}
			wantFates(t, got, want...)
		}
	})
	t.Run("a size is kept or lost, apart from the bytes", func(t *testing.T) {
		s := synced(t, "")
		write(t, open(t, s, "/f"), 0, "new")
		wantFates(t, fates(t, s, "/f", Cut{}), "", "\x00\x00\x00", "new")
	})
	t.Run("an allocation is kept or lost", func(t *testing.T) {
		s := synced(t, "")
		must(t, open(t, s, "/f").Allocate(0, 3))
		wantFates(t, fates(t, s, "/f", Cut{}), "", "\x00\x00\x00")
	})
	t.Run("garbage comes only where it was asked for", func(t *testing.T) {
		s := synced(t, strings.Repeat(".", 4096))
		write(t, open(t, s, "/f"), 0, strings.Repeat("x", 4096))
		for _, garbage := range []bool{false, true} {
			found := false
			for text := range fates(t, s, "/f", Cut{Sector: 512, Garbage: garbage}) {
				found = found || strings.Trim(text, ".x") != ""
			}
			if found != garbage {
				t.Errorf("garbage %v: found %v", garbage, found)
			}
		}
	})
}

// Whole writes are not torn, and any may outlive any.
func TestCrashOfWholeWrites(t *testing.T) {
	s := synced(t, strings.Repeat(".", 1536))
	f := open(t, s, "/f")
	write(t, f, 0, strings.Repeat("a", 1024))
	write(t, f, 512, strings.Repeat("b", 1024))
	third := func(a, b, c string) string {
		return strings.Repeat(a, 512) + strings.Repeat(b, 512) + strings.Repeat(c, 512)
	}
	wantFates(t, fates(t, s, "/f", Cut{Sector: 512, Whole: true}), third(".", ".", "."), third("a", "a", "."), third(".", "b", "b"), third("a", "b", "b"))
}

func TestCrashOfNames(t *testing.T) {
	t.Run("a file in an unsynced directory may be gone, synced or not", func(t *testing.T) {
		s := New()
		f := open(t, s, "/f")
		write(t, f, 0, "x")
		must(t, f.Sync())
		wantFates(t, fates(t, s, "/f", Cut{}), "-", "x")
		must(t, s.SyncDir("/"))
		wantFates(t, fates(t, s, "/f", Cut{}), "x")
	})
	t.Run("names are lost or kept apart from the bytes", func(t *testing.T) {
		s := New()
		write(t, open(t, s, "/f"), 0, "x")
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateKept, Names: NamesLost}), "-")
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateLost, Names: NamesKept}), "")
		must(t, s.SyncDir("/"))
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateKept, Names: NamesLost}), "x")
	})
	t.Run("a removed file may be back until its directory is synced", func(t *testing.T) {
		s := synced(t, "x")
		must(t, s.Remove("/f"))
		wantFates(t, fates(t, s, "/f", Cut{}), "-", "x")
		must(t, s.SyncDir("/"))
		wantFates(t, fates(t, s, "/f", Cut{}), "-")
	})
	t.Run("a directory is there as soon as it was made", func(t *testing.T) {
		s := New()
		must(t, s.MkdirAll("/a/b", 0o700))
		if _, err := s.Crash(s.Ops(), Cut{Fate: FateLost}).ReadDir("/a/b"); err != nil {
			t.Error(err)
		}
		if _, err := s.Crash(0, Cut{}).ReadDir("/a"); err == nil {
			t.Error("a directory is there before it was made")
		}
	})
	t.Run("syncing one directory leaves another", func(t *testing.T) {
		s := New()
		must(t, s.MkdirAll("/a", 0o700))
		open(t, s, "/a/f")
		must(t, s.SyncDir("/"))
		wantFates(t, fates(t, s, "/a/f", Cut{}), "-", "")
	})
}

func TestCrashPoints(t *testing.T) {
	s := synced(t, "1")
	f := open(t, s, "/f")
	write(t, f, 0, "2")
	must(t, f.Sync())
	var got []string
	for n := range s.Ops() + 1 {
		b, err := s.Crash(n, Cut{Fate: FateLost}).ReadFile("/f")
		if err != nil {
			b = []byte("-")
		}
		got = append(got, string(b))
	}
	// create, write, sync, syncdir, write, sync
	if want := "- - - - 1 1 2"; strings.Join(got, " ") != want {
		t.Errorf("after each operation %q is durable, want %s\n%v", got, want, s.Log())
	}
}

func TestSyncCoversWhatCameBefore(t *testing.T) {
	s := synced(t, "..")
	f := open(t, s, "/f")
	write(t, f, 0, "a")
	hang := s.Hang(OpSync, "/f")
	done := make(chan error)
	go func() { done <- f.Sync() }()
	<-hang.Blocked
	write(t, f, 1, "b")
	wantFates(t, fates(t, s, "/f", Cut{}), "..", "a.", ".b", "ab")
	hang.Release()
	must(t, <-done)
	wantFates(t, fates(t, s, "/f", Cut{}), "a.", "ab")
}

func TestFailedSync(t *testing.T) {
	eio := Rule{Kind: OpSync, Times: 1, Err: syscall.EIO}
	fail := func(t *testing.T, l Loss) *FS {
		t.Helper()
		s := synced(t, "old..")
		s.SetSyncLoss(l)
		f := open(t, s, "/f")
		write(t, f, 0, "new")
		s.Fail(eio)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync: %v, want EIO", err)
		}
		return s
	}
	again := func(t *testing.T, s *FS) {
		t.Helper()
		f := open(t, s, "/f")
		write(t, f, 3, "!!")
		must(t, f.Sync())
	}
	t.Run("what it covered is seen, and no later sync saves it", func(t *testing.T) {
		s := fail(t, LossOnCrash)
		again(t, s)
		wantFile(t, s, "/f", "new!!")
		wantFile(t, s.Clone(), "/f", "new!!")
		wantFates(t, fates(t, s, "/f", Cut{}), "old!!", "new!!")
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateLost}), "old!!")
	})
	t.Run("or it is gone at once", func(t *testing.T) {
		s := fail(t, LossAtOnce)
		wantFile(t, s, "/f", "old..")
		again(t, s)
		wantFile(t, s, "/f", "old!!")
		wantFile(t, s.Clone(), "/f", "old!!")
		wantFates(t, fates(t, s, "/f", Cut{}), "old!!")
	})
	t.Run("or it waits for the next sync", func(t *testing.T) {
		s := fail(t, LossNone)
		wantFates(t, fates(t, s, "/f", Cut{Fate: FateLost}), "old..")
		again(t, s)
		wantFates(t, fates(t, s, "/f", Cut{}), "new!!")
	})
	t.Run("a write of the same bytes afterwards counts", func(t *testing.T) {
		s := fail(t, LossOnCrash)
		f := open(t, s, "/f")
		write(t, f, 0, "new")
		must(t, f.Sync())
		wantFates(t, fates(t, s, "/f", Cut{}), "new..")
	})
	t.Run("a failed sync of a directory leaves its names in doubt", func(t *testing.T) {
		s := New()
		open(t, s, "/f")
		s.Fail(Rule{Kind: OpSyncDir, Times: 1, Err: syscall.EIO})
		if err := s.SyncDir("/"); !errors.Is(err, syscall.EIO) {
			t.Fatalf("SyncDir: %v", err)
		}
		must(t, s.SyncDir("/"))
		wantFates(t, fates(t, s, "/f", Cut{}), "-", "")
	})
}

// A process is killed before it syncs, write-back fails, and the next one's sync is
// told nothing of it.
func TestFailedWriteback(t *testing.T) {
	s := synced(t, "old..")
	write(t, open(t, s, "/f"), 0, "new")
	s = s.Clone()
	s.FailWriteback()
	f := open(t, s, "/f")
	write(t, f, 3, "!!")
	must(t, f.Sync())
	wantFile(t, s, "/f", "new!!")
	wantFates(t, fates(t, s, "/f", Cut{}), "old!!", "new!!")
	write(t, f, 0, "new")
	must(t, f.Sync())
	wantFates(t, fates(t, s, "/f", Cut{}), "new!!")
}

func TestKill(t *testing.T) {
	s := synced(t, "old")
	at := s.Ops()
	f := open(t, s, "/f")
	write(t, f, 0, "mid")
	write(t, f, 0, "new")
	t.Run("everything before it is kept", func(t *testing.T) {
		wantFile(t, s.Kill(at), "/f", "old")
		wantFile(t, s.Kill(at+1), "/f", "mid")
		wantFile(t, s.Clone(), "/f", "new")
	})
	t.Run("what was not synced is still not", func(t *testing.T) {
		next := s.Kill(at + 1)
		wantFates(t, fates(t, next, "/f", Cut{}), "old", "mid")
		must(t, open(t, next, "/f").Sync())
		wantFates(t, fates(t, next, "/f", Cut{}), "mid")
	})
	t.Run("worlds do not touch each other", func(t *testing.T) {
		a, b := s.Clone(), s.Clone()
		write(t, open(t, a, "/f"), 0, "a")
		write(t, open(t, b, "/f"), 0, "b")
		open(t, a, "/g")
		wantFile(t, a, "/f", "aew")
		wantFile(t, b, "/f", "bew")
		wantFile(t, s, "/f", "new")
		wantFile(t, b, "/g", "-")
	})
	t.Run("the boot id changes with the power only", func(t *testing.T) {
		if got, want := s.Clone().BootID(), s.BootID(); got != want {
			t.Errorf("boot id %s after a kill, want %s", got, want)
		}
		next := s.Crash(s.Ops(), Cut{})
		if next.BootID() == s.BootID() || next.Crash(0, Cut{}).BootID() == next.BootID() {
			t.Error("boot id stayed over a power cut")
		}
		next.SetBootID("")
		if got := next.Clone().BootID(); got != "" {
			t.Errorf("boot id %q, want the one that was set", got)
		}
	})
}

// churn does random things to a few files.
func churn(t *testing.T, s *FS, rng *rand.Rand, steps int) {
	t.Helper()
	for range steps {
		name := fmt.Sprintf("/f%d", rng.IntN(4))
		f := open(t, s, name)
		switch rng.IntN(10) {
		case 0:
			must(t, f.Sync())
		case 1:
			must(t, s.SyncDir("/"))
		case 2:
			must(t, f.Allocate(rng.Int64N(20_000), rng.Int64N(20_000)+1))
		case 3:
			must(t, s.Remove(name))
		default:
			b := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(9000)+1)
			_, err := f.WriteAt(b, rng.Int64N(30_000))
			must(t, err)
		}
		must(t, f.Close())
	}
}

// image is everything that a state holds.
func image(s *FS) string {
	var b strings.Builder
	for _, name := range s.List() {
		data, _ := s.ReadFile(name)
		fmt.Fprintf(&b, "%s %d\n%s\n", name, len(data), data)
	}
	return b.String()
}

func TestRandomLogs(t *testing.T) {
	t.Logf("-crashfs.seed=%d", *seedFlag)
	rng := rand.New(rand.NewPCG(*seedFlag, 7))
	for range 5 {
		s := New()
		var after []string
		for range 60 {
			churn(t, s, rng, 1)
			for len(after) <= s.Ops() {
				after = append(after, "")
			}
			after[s.Ops()] = image(s)
		}
		for n, want := range after {
			if want == "" {
				continue
			}
			if image(s.Kill(n)) != want {
				t.Fatalf("Kill(%d) is not what was there", n)
			}
			if image(s.Crash(n, Cut{Fate: FateKept})) != want {
				t.Fatalf("Crash(%d) that keeps all is not what was there", n)
			}
			cut := Cut{Seed: rng.Uint64(), Garbage: true}
			if first, again := image(s.Crash(n, cut)), image(s.Crash(n, cut)); first != again {
				t.Fatalf("Crash(%d, %+v) differs from itself", n, cut)
			}
		}
	}
}

// Checkpoints must not show: a state is the same whichever were there before.
func TestCheckpoints(t *testing.T) {
	t.Logf("-crashfs.seed=%d", *seedFlag)
	rng := rand.New(rand.NewPCG(*seedFlag, 9))
	s := New()
	churn(t, s, rng, checkpointEvery)
	s.Fail(Rule{Kind: OpSync, Path: "/f1", Times: 1, Err: syscall.EIO})
	s.Fail(Rule{Kind: OpSync, Path: "/f2", Times: 1, Err: syscall.EIO})
	churnFaulty(t, s, rng, 2*checkpointEvery)
	fresh := func() *FS {
		next := s.Clone()
		next.points.list = nil
		return next
	}
	for range 30 {
		n, cut := rng.IntN(s.Ops()+1), Cut{Seed: rng.Uint64()}
		if image(s.Crash(n, cut)) != image(fresh().Crash(n, cut)) {
			t.Fatalf("Crash(%d, %+v) depends on crashes before it", n, cut)
		}
		if image(s.Kill(n)) != image(fresh().Kill(n)) {
			t.Fatalf("Kill(%d) depends on crashes before it", n)
		}
	}
	if len(s.points.list) == 0 {
		t.Error("no checkpoint was made")
	}
	for _, r := range s.points.list {
		for _, op := range s.log[:r.done] {
			if op.Kind == OpSyncFailed {
				t.Errorf("checkpoint %d lies after a failed sync, which chance decides", r.done)
			}
		}
	}
}

// churnFaulty is churn that takes errors for granted.
func churnFaulty(t *testing.T, s *FS, rng *rand.Rand, steps int) {
	t.Helper()
	f, g := open(t, s, "/f1"), open(t, s, "/f2")
	for i := range steps {
		f.WriteAt([]byte{byte(i)}, rng.Int64N(9000))
		g.WriteAt([]byte{byte(i)}, rng.Int64N(9000))
		if rng.IntN(100) == 0 {
			f.Sync()
			g.Sync()
		}
	}
}

func TestUsedCountsPages(t *testing.T) {
	t.Logf("-crashfs.seed=%d", *seedFlag)
	s := New()
	churn(t, s, rand.New(rand.NewPCG(*seedFlag, 8)), 300)
	next := s.Crash(s.Ops(), Cut{Seed: *seedFlag})
	for _, s := range []*FS{s, next} {
		var want int64
		for _, in := range s.live.inodes {
			for _, p := range in.pages {
				if p != nil {
					want += pageSize
				}
			}
		}
		if got := s.Used(); got != want {
			t.Errorf("Used = %d, want %d", got, want)
		}
	}
}

func BenchmarkCrash(b *testing.B) {
	const ops, size = 10_000, 10_000
	s := New()
	f, err := s.OpenFile("/f", 0x42, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, size)
	for i := range ops {
		f.WriteAt(data, int64(i)*size)
		if i%100 == 0 {
			f.Sync()
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Crash(s.Ops(), Cut{Seed: uint64(i)})
	}
}
