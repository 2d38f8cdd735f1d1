package cache

import (
	"encoding/binary"
	"flag"
	randv2 "math/rand/v2"
	"testing"

	"github.com/embercache/ember/internal/hitratio"
)

var tracesFlag = flag.String("traces", "", "folder of traces for TestHitRatio: name.u32.gz, a gzip file of little-endian uint32 keys in order of access")

// How bytes are counted: an entry has its key of 8, its value of 200 and a header
// of 16, 224 bytes. Policies by item have room for MaxBytes/224 of them.
const (
	ratioValue = 200
	ratioEntry = (headerSize + 8 + ratioValue + unitSize - 1) / unitSize * unitSize
)

func mustRead(t testing.TB, path string) hitratio.Trace {
	t.Helper()
	tr, err := hitratio.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// drawn is a stream of -seed.
func drawn(t testing.TB, s hitratio.Stream, keys, n int) hitratio.Trace {
	t.Helper()
	return s.Draw(randv2.New(newRand(t)), keys, n)
}

// playCache is cache-aside: Get, and Set on a miss.
func playCache(t testing.TB, c *Cache, accesses []uint32) (hits int) {
	t.Helper()
	key, value, buf := make([]byte, 8), make([]byte, ratioValue), make([]byte, 0, ratioValue)
	for _, k := range accesses {
		binary.LittleEndian.PutUint64(key, uint64(k))
		if _, ok := c.AppendGet(buf, key); ok {
			hits++
			continue
		}
		mustSet(t, c, key, value)
	}
	return hits
}

// TestHitRatio: Ember's hit ratio is within a point of S3-FIFO by item, and of its
// own policy by item.
func TestHitRatio(t *testing.T) {
	alone(t)
	t.Log("| trace | tenants | room | MiB | ideal | S3-FIFO | adaptive | Ember | LRU | FIFO | Ember - S3-FIFO |")
	if *tracesFlag == "" {
		n := fewer(300_000)
		for _, alpha := range []float64{0.8, 0.99} {
			for _, scan := range []int{0, 5000} {
				tr := drawn(t, hitratio.Stream{Alpha: alpha, Scan: scan}, 50_000, n)
				for _, room := range []int{minBytes/ratioEntry + 1, 12_500} {
					compare(t, tr, 1, room, 100*room/50_000)
				}
			}
		}
		return
	}
	paths, err := hitratio.Paths(*tracesFlag)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		tr := mustRead(t, path)
		for _, percent := range []int{1, 2, 5, 10, 20, 40} {
			room := tr.Keys * percent / 100
			n := tr.TenantsFor(room, ratioEntry)
			compare(t, tr.Tenants(n), n, n*room, percent)
		}
	}
}

// compare plays a trace with room for that many entries, a row of the table.
func compare(t *testing.T, tr hitratio.Trace, tenants, room, percent int) {
	t.Helper()
	o := testOptions(int64(room * ratioEntry))
	c := openMemory(t, o)
	ratio := func(hits int) float64 { return 100 * float64(hits) / float64(len(tr.Accesses)) }
	byItem := func(name string) float64 { return ratio(hitratio.Hits(hitratio.Policies[name](tr, room), tr.Accesses)) }
	best := byItem("ideal")
	want := byItem("s3fifo")
	adaptive := ratio(hitratio.Hits(newItemAdaptive(tr.Keys, room), tr.Accesses))
	lru := byItem("lru")
	first := byItem("fifo")
	got := ratio(playCache(t, c, tr.Accesses))
	t.Logf("| %s | %d | %d %% | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %+.2f |", tr.Name, tenants, percent,
		float64(o.MaxBytes)/(1<<20), best, want, adaptive, got, lru, first, got-want)
	if got < want-1 {
		t.Errorf("%s with room for %d %%: %.2f %% hits, S3-FIFO by item has %.2f", tr.Name, percent, got, want)
	}
	if got < adaptive-1 {
		t.Errorf("%s with room for %d %%: %.2f %% hits, the policy by item has %.2f", tr.Name, percent, got, adaptive)
	}
	if live := c.Bytes(); live > o.MaxBytes {
		t.Errorf("%s: %d bytes live, MaxBytes is %d", tr.Name, live, o.MaxBytes)
	}
	c.Close()
}
