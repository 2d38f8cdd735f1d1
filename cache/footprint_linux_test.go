//go:build linux

package cache

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

var (
	footprintAll  = flag.Bool("footprint.all", false, "measure all configurations, not the smallest alone")
	footprintFor  = flag.Duration("footprint.for", 0, "steady writes; 0: as long as suits the configuration")
	footprintPace = flag.Int64("footprint.pace", 0, "bytes a second of them; 0: a 50th of MaxBytes")
	footprintDir  = flag.String("footprint.dir", "", "where the files are; default a folder for tests")
)

// A plot is a configuration whose cost is measured, and the load on it.
type plot struct {
	Name  string
	O     plotOptions
	Value int           // bytes of each
	For   time.Duration // of steady writes, once the cache is full
	Pace  int64         // bytes of them a second
	Dir   string
	Seed  int64
}

// plotOptions is what of Options a plot says.
type plotOptions struct {
	MaxBytes, WeakInterval int64
	Shards, Keep           int
}

var plots = []plot{
	{Name: "64 MiB", O: plotOptions{MaxBytes: 64 << 20}, Value: 216, For: 3 * time.Second},
	{Name: "256 MiB, 4 kept, no weak ring", O: plotOptions{MaxBytes: 256 << 20, Shards: 8, Keep: 4, WeakInterval: -1}, Value: 216, For: 15 * time.Second},
	{Name: "1 GiB, 32 shards, 3 kept", O: plotOptions{MaxBytes: 1 << 30, Shards: 32, Keep: 3}, Value: 216, For: 30 * time.Second},
}

func (p *plot) options() *Options {
	o := testOptions(p.O.MaxBytes)
	o.Shards, o.Durability.Keep, o.Durability.Weak = p.O.Shards, p.O.Keep, time.Duration(p.O.WeakInterval)
	return o
}

// A bill is what a process is charged with, in bytes.
type bill struct {
	Anonymous, Cached, Disk int64
	Before                  int64 // anonymous memory before the cache was opened
	Files                   map[string][2]int64
	Stats                   Stats
	Heap                    [4]uint64 // Go's: from the system less what was given back, of it in use, stacks and other, live
}

// TestFootprint fills caches in processes of their own, writes steadily, and
// compares what they are charged with to what Options.Footprint says: within a
// tenth.
func TestFootprint(t *testing.T) {
	if racing {
		t.Skip("memory lies on Go's heap")
	}
	for i, p := range plots {
		if i > 0 && !*footprintAll {
			break
		}
		t.Run(p.Name, func(t *testing.T) {
			p.Seed, p.Dir = *seedFlag, t.TempDir()
			if *footprintDir != "" {
				p.Dir = filepath.Join(*footprintDir, fmt.Sprint("plot-", i))
				defer os.RemoveAll(p.Dir)
			}
			if *footprintFor > 0 {
				p.For = *footprintFor
			}
			if p.Pace = *footprintPace; p.Pace == 0 {
				p.Pace = p.O.MaxBytes / 50
			}
			b := measured(t, &p)
			memory, disk := p.options().Footprint()
			for what, v := range map[string][2]int64{"memory": {b.Anonymous + b.Cached - b.Before, memory}, "disk": {b.Disk, disk}} {
				t.Logf("%s: %d bytes, Footprint says %d: %+.1f %%", what, v[0], v[1], 100*(float64(v[1])/float64(v[0])-1))
				if v[0] > v[1]*11/10 || v[0] < v[1]*9/10 {
					t.Errorf("%s is not within a tenth", what)
				}
			}
			t.Logf("Go's heap %v", b.Heap)
			t.Logf("before %d, anonymous %d, cached %d, files %v", b.Before, b.Anonymous, b.Cached, b.Files)
			t.Logf("%d entries, live %d, resident %d, %d generations, %d full, predicted %v", b.Stats.Entries, b.Stats.Bytes, b.Stats.ResidentBytes, b.Stats.Flushes, b.Stats.FullGenerations, b.Stats.PredictedRecovery)
		})
	}
}

// measured runs a plot in a process of its own.
func measured(t *testing.T, p *plot) (b bill) {
	t.Helper()
	plan, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFootprintChild$", "-test.v")
	cmd.Env = append(os.Environ(), "EMBER_FOOTPRINT="+string(plan))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, text, ok := bytes.Cut(out, []byte("bill "))
	if !ok {
		t.Fatalf("no bill in:\n%s", out)
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return b
}

// TestFootprintChild is the process that TestFootprint measures.
func TestFootprintChild(t *testing.T) {
	plan := os.Getenv("EMBER_FOOTPRINT")
	if plan == "" {
		t.Skip("TestFootprint runs it")
	}
	var p plot
	if err := json.Unmarshal([]byte(plan), &p); err != nil {
		t.Fatal(err)
	}
	b := bill{Before: anonymous(t), Files: make(map[string][2]int64)}
	c := open(t, p.Dir, p.options())
	p.load(t, c)
	b.Anonymous, b.Stats = anonymous(t), c.Stats()
	b.Cached, b.Disk = charged(t, p.Dir, b.Files)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.Heap = [4]uint64{m.Sys - m.HeapReleased, m.HeapInuse, m.Sys - m.HeapSys, m.HeapAlloc}
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("bill %s\n", text)
	mustClose(t, c)
}

// load fills the cache, then writes steadily: new keys and old ones.
func (p *plot) load(t *testing.T, c *Cache) {
	rng := rand.New(rand.NewSource(p.Seed))
	key, value := make([]byte, 0, 64), make([]byte, p.Value)
	keys := int(p.O.MaxBytes) / p.Value * 2
	set := func() {
		k := rng.Intn(keys)
		if k%2 == 0 {
			k = rng.Intn(keys / 8)
		}
		rng.Read(value[:16])
		key = fmt.Appendf(key[:0], "key-%020d", k)
		mustSet(t, c, key, value)
	}
	for range int(p.O.MaxBytes) / p.Value * 5 / 4 {
		set()
	}
	start, written := time.Now(), int64(0)
	for took := time.Duration(0); took < p.For; took = time.Since(start) {
		if float64(written) >= took.Seconds()*float64(p.Pace) {
			time.Sleep(time.Millisecond) // a pace, not a synchronisation
			continue
		}
		set()
		written += int64(p.Value) + 40
	}
}

// anonymous is the memory of this process that no file is behind.
func anonymous(t *testing.T) (n int64) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "Anonymous: %d kB", &n); err == nil {
			return n << 10
		}
	}
	t.Fatal("no Anonymous in smaps_rollup")
	return 0
}

// charged is what the files in dir take: in the page cache, and on the disk.
func charged(t *testing.T, dir string, files map[string][2]int64) (cached, disk int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // it was retired meanwhile
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		n := inCore(t, f, st.Size)
		kind, _, _ := strings.Cut(e.Name(), "-")
		files[kind] = [2]int64{files[kind][0] + n, files[kind][1] + st.Blocks*512}
		cached, disk = cached+n, disk+st.Blocks*512
		f.Close()
	}
	return cached, disk
}

// inCore asks which pages of a file the page cache holds.
func inCore(t *testing.T, f *os.File, size int64) (n int64) {
	t.Helper()
	if size == 0 {
		return 0
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mem)
	pages := make([]byte, (size+pageSize-1)/pageSize)
	if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int64(p&1) * pageSize
	}
	return n
}
