package cache

import (
	"path/filepath"
	"testing"

	"github.com/embercache/ember/internal/hitratio"
)

// How often a cache that is written to step by step writes, in accesses: as the
// intervals' defaults would at 20,000 to 50,000 a second.
const (
	warmWeak  = 250
	warmFlush = 20_000
)

// playWriting is playCache with generations in between.
func playWriting(t testing.TB, c *Cache, accesses []uint32) (hits int) {
	t.Helper()
	for at := 0; at < len(accesses); at += warmWeak {
		hits += playCache(t, c, accesses[at:min(at+warmWeak, len(accesses))])
		if at%warmFlush == warmFlush-warmWeak || c.persist.dumper.Weak() != nil {
			mustFlush(t, c) // the ring is full
		}
	}
	return hits
}

// TestKilledPolicyIsWarm: a cache that was closed or killed halfway goes on with as
// many hits as one that was not, less a point at most: uses and ghosts are back.
func TestKilledPolicyIsWarm(t *testing.T) {
	alone(t)
	if *tracesFlag != "" {
		tr := mustRead(t, filepath.Join(*tracesFlag, "cloudphysics-w106.u32.gz"))
		for _, percent := range []int{1, 2, 5, 10, 20, 40} {
			testWarm(t, tr, max(tr.Keys*percent/100, minBytes/ratioEntry+1))
		}
		return
	}
	for _, scan := range []int{0, 5000} {
		testWarm(t, drawn(t, hitratio.Stream{Alpha: 0.8, Scan: scan}, 50_000, fewer(300_000)), 2*minBytes/ratioEntry)
	}
}

func testWarm(t *testing.T, tr hitratio.Trace, room int) {
	t.Helper()
	o := stepOptions(int64(room * ratioEntry))
	half, tenth := len(tr.Accesses)/2/warmWeak*warmWeak, len(tr.Accesses)/10
	next := tr.Accesses[half : half+tenth]
	hits := func(end func(c *Cache)) float64 {
		dir := t.TempDir()
		c := open(t, dir, o)
		playWriting(t, c, tr.Accesses[:half])
		st := c.Stats()
		if end != nil {
			end(c)
			c = open(t, dir, o)
			reopened(t, c)
		}
		n := playWriting(t, c, next)
		t.Logf("full %d of %d generations, left out %d; live %d of %d", st.FullGenerations, st.Flushes, st.LeftOut, st.Bytes, o.MaxBytes)
		drop(c)
		return 100 * float64(n) / float64(tenth)
	}
	want := hits(nil)
	closed, killed := hits(func(c *Cache) { mustClose(t, c) }), hits(drop)
	t.Logf("%s, room for %d: %.2f %% hits without a restart, %.2f after Close, %.2f after a kill", tr.Name, room, want, closed, killed)
	if closed < want-1 || killed < want-1 {
		t.Errorf("%s: %.2f %% hits after Close and %.2f after a kill, %.2f without either", tr.Name, closed, killed, want)
	}
}
