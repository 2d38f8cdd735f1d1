package cache

import (
	"compress/gzip"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

var tracesFlag = flag.String("traces", "", "folder of traces for TestHitRatio: name.u32.gz, a gzip file of little-endian uint32 keys in order of access")

// How bytes are counted: an entry has its key of 8, its value of 200 and a header
// of 16, 224 bytes. Policies by item have room for MaxBytes/224 of them.
const (
	ratioValue = 200
	ratioEntry = (headerSize + 8 + ratioValue + unitSize - 1) / unitSize * unitSize
)

// A trace is a sequence of accesses to keys below keys.
type trace struct {
	name     string
	keys     int
	accesses []uint32
}

func readTrace(t testing.TB, path string) trace {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	tr := trace{name: strings.TrimSuffix(filepath.Base(path), ".u32.gz")}
	for ; len(b) >= 4; b = b[4:] {
		key := binary.LittleEndian.Uint32(b)
		tr.accesses = append(tr.accesses, key)
		tr.keys = max(tr.keys, int(key)+1)
	}
	return tr
}

// tenants is the trace played n times at once, each time with keys of its own and
// from another point on.
func (tr trace) tenants(n int) trace {
	if n == 1 {
		return tr
	}
	all := make([]uint32, 0, n*len(tr.accesses))
	for i := range tr.accesses {
		for tenant := range n {
			at := (i + tenant*len(tr.accesses)/n) % len(tr.accesses)
			all = append(all, uint32(tenant*tr.keys)+tr.accesses[at])
		}
	}
	return trace{tr.name, n * tr.keys, all}
}

// tenantsFor is how many tenants a trace is played as: 64 where segments are large
// beside a cache of that many entries, more where even those do not make a MiB, and
// of a long trace no more than make 8 MiB.
func (tr trace) tenantsFor(room int) int {
	if room*ratioEntry >= 4<<20 {
		return 1
	}
	n := 64
	for n*room*ratioEntry < minBytes {
		n *= 2
	}
	for len(tr.accesses) > 1_000_000 && n*room*ratioEntry >= 8<<20 {
		n /= 2
	}
	return n
}

// zipf is accesses to keys whose frequency falls with their rank to the power of
// -alpha, with scans of keys that come once between them, if scan is not 0: as
// long as that, after as many others.
func zipf(rng *rand.Rand, alpha float64, keys, n, scan int) trace {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -alpha)
		sums[i] = sum
	}
	tr := trace{name: fmt.Sprintf("zipf=%v/scan=%d", alpha, scan), keys: keys}
	rank := rng.Perm(keys)
	for i := range n {
		if scan > 0 && i/scan%2 == 1 {
			tr.accesses = append(tr.accesses, uint32(tr.keys))
			tr.keys++
			continue
		}
		r := sort.SearchFloat64s(sums, rng.Float64()*sum)
		tr.accesses = append(tr.accesses, uint32(rank[min(r, keys-1)]))
	}
	return tr
}

func playPolicy(p policy, accesses []uint32) (hits int) {
	for _, key := range accesses {
		if p.access(key) {
			hits++
		}
	}
	return hits
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
				tr := zipf(newRand(t), alpha, 50_000, n, scan)
				for _, room := range []int{minBytes/ratioEntry + 1, 12_500} {
					compare(t, tr, 1, room, 100*room/50_000)
				}
			}
		}
		return
	}
	paths, err := filepath.Glob(filepath.Join(*tracesFlag, "*.u32.gz"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no traces in %s: %v", *tracesFlag, err)
	}
	for _, path := range paths {
		tr := readTrace(t, path)
		for _, percent := range []int{1, 2, 5, 10, 20, 40} {
			room := tr.keys * percent / 100
			n := tr.tenantsFor(room)
			compare(t, tr.tenants(n), n, n*room, percent)
		}
	}
}

// compare plays a trace with room for that many entries, a row of the table.
func compare(t *testing.T, tr trace, tenants, room, percent int) {
	t.Helper()
	o := testOptions(int64(room * ratioEntry))
	c := openMemory(t, o)
	ratio := func(hits int) float64 { return 100 * float64(hits) / float64(len(tr.accesses)) }
	best := ratio(playPolicy(newIdeal(tr.keys, room, tr.accesses), tr.accesses))
	want := ratio(playPolicy(newItemS3FIFO(tr.keys, room), tr.accesses))
	adaptive := ratio(playPolicy(newItemAdaptive(tr.keys, room), tr.accesses))
	lru := ratio(playPolicy(newItemLRU(tr.keys, room), tr.accesses))
	first := ratio(playPolicy(newItemFIFO(tr.keys, room), tr.accesses))
	got := ratio(playCache(t, c, tr.accesses))
	t.Logf("| %s | %d | %d %% | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %+.2f |", tr.name, tenants, percent,
		float64(o.MaxBytes)/(1<<20), best, want, adaptive, got, lru, first, got-want)
	if got < want-1 {
		t.Errorf("%s with room for %d %%: %.2f %% hits, S3-FIFO by item has %.2f", tr.name, percent, got, want)
	}
	if got < adaptive-1 {
		t.Errorf("%s with room for %d %%: %.2f %% hits, the policy by item has %.2f", tr.name, percent, got, adaptive)
	}
	if live := c.Bytes(); live > o.MaxBytes {
		t.Errorf("%s: %d bytes live, MaxBytes is %d", tr.name, live, o.MaxBytes)
	}
	c.Close()
}
