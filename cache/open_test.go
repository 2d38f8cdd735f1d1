package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/pagefile"
)

// A listing is what a directory holds, all the way down: mode and content of each
// name.
type listing map[string]string

func list(t testing.TB, dir string) listing {
	t.Helper()
	l := make(listing)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			l[name], err = os.Readlink(path)
		case d.IsDir():
			l[name] = info.Mode().String()
		default:
			var b []byte
			b, err = os.ReadFile(path)
			l[name] = fmt.Sprintf("%v %d bytes %x", info.Mode(), len(b), sha256.Sum256(b))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// without leaves names out.
func (l listing) without(names ...string) listing {
	for _, name := range names {
		delete(l, name)
	}
	return l
}

func wantListing(t testing.TB, got, want listing) {
	t.Helper()
	for name, is := range got {
		if was, ok := want[name]; !ok {
			t.Errorf("%s is new: %s", name, is)
		} else if is != was {
			t.Errorf("%s: %s, was %s", name, is, was)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is gone", name)
		}
	}
}

// fill sets n entries of some hundred bytes, and one of many pages.
func fill(t testing.TB, c *Cache, n int) {
	t.Helper()
	for i := range n {
		mustSet(t, c, testKey(i), testValue(i, 100+i%300))
	}
	mustSet(t, c, []byte("large"), testValue(1, 100<<10))
}

func wantFilled(t testing.TB, c *Cache, n int) {
	t.Helper()
	for i := range n {
		wantValue(t, c, testKey(i), testValue(i, 100+i%300))
	}
	wantValue(t, c, []byte("large"), testValue(1, 100<<10))
}

// warmDir is a directory with n entries in it, closed.
func warmDir(t testing.TB, o *Options, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "c")
	c := open(t, dir, o)
	fill(t, c, n)
	mustClose(t, c)
	return dir
}

// TestBadOptionsNameTheField: Open and OpenMemory refuse, say which field and
// what its limit is, and Footprint has no figure.
func TestBadOptionsNameTheField(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{MaxBytes: 1<<20 - 1}, []string{"MaxBytes", "1048575", "1048576"}},
		{Options{MaxBytes: -1}, []string{"MaxBytes", "-1", "1048576"}},
		{Options{MaxBytes: math.MaxInt64}, []string{"MaxBytes"}},
		{Options{Shards: -1}, []string{"Shards", "-1", "256"}},
		{Options{Shards: 257}, []string{"Shards", "257", "256"}},
		{Options{MaxBytes: 2 << 20, Shards: 3}, []string{"4 shards", "MaxBytes", "4194304", "2097152"}},
		{Options{MaxEntryBytes: -1}, []string{"MaxEntryBytes", "-1"}},
		{Options{MaxBytes: 4 << 20, MaxEntryBytes: 1<<20 + 1}, []string{"MaxEntryBytes", "1048577", "1048576"}},
		{Options{MaxBytes: 4 << 30, MaxEntryBytes: maxValue + 1}, []string{"MaxEntryBytes", "134217727"}},
		{Options{Schema: strings.Repeat("s", 256)}, []string{"Schema", "256", "255"}},
		{Options{Durability: Durability{Keep: 1}}, []string{"Keep", "1", "2 to 8"}},
		{Options{Durability: Durability{Keep: 9}}, []string{"Keep", "9", "2 to 8"}},
		{Options{Durability: Durability{Keep: -1}}, []string{"Keep", "-1", "2 to 8"}},
		{Options{Durability: Durability{DirtyBytes: -1}}, []string{"DirtyBytes", "-1"}},
		{Options{Durability: Durability{BytesPerSec: -1}}, []string{"BytesPerSec", "-1"}},
		{Options{Recovery: Recovery{Verify: 7}}, []string{"Verify", "7"}},
		{Options{Recovery: Recovery{Budget: -1}}, []string{"Recovery.Budget", "-1"}},
		{Options{Recovery: Recovery{Timeout: -1}}, []string{"Recovery.Timeout", "-1"}},
		{Options{Freshness: Freshness{TTL: -1}}, []string{"Freshness.TTL", "-1ns", "negative"}},
		{Options{Freshness: Freshness{RefreshAfter: -time.Hour}}, []string{"RefreshAfter", "-1h"}},
		{Options{Freshness: Freshness{StaleFor: -1}}, []string{"StaleFor", "-1ns"}},
		{Options{Freshness: Freshness{NegativeTTL: -1}}, []string{"NegativeTTL", "-1ns"}},
		{Options{Freshness: Freshness{Jitter: 1.5}}, []string{"Jitter", "1.5", "fraction"}},
		{Options{Freshness: Freshness{Jitter: math.NaN()}}, []string{"Jitter", "NaN"}},
		{Options{Freshness: Freshness{Sliding: true}}, []string{"Sliding", "TTL"}},
		{Options{CloseTimeout: -1}, []string{"CloseTimeout", "-1"}},
	} {
		dir := filepath.Join(t.TempDir(), "c")
		c, err := Open(context.Background(), dir, &tt.o)
		if err == nil {
			c.Close()
			t.Errorf("Open accepted %v", tt.want)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open made a directory for %v: %v", tt.want, err)
		}
		if _, err := OpenMemory(&tt.o); err == nil {
			t.Errorf("OpenMemory accepted %v", tt.want)
		}
		if memory, disk := tt.o.Footprint(); memory != 0 || disk != 0 {
			t.Errorf("Footprint is %d, %d for %v", memory, disk, tt.want)
		}
	}
}

// TestRefusedWritesChangeNothing: a key or value out of bounds, alone or within a
// Batch, says what the limit is and leaves what was stored.
func TestRefusedWritesChangeNothing(t *testing.T) {
	o := testOptions(64 << 20)
	o.MaxEntryBytes = 100 << 10
	c := open(t, t.TempDir(), o)
	mustSet(t, c, []byte("k"), []byte("v"))
	mustSet(t, c, bytes.Repeat([]byte("k"), 32<<10), testValue(1, 68<<10)) // just fits
	sets := c.Stats().Sets
	for name, tt := range map[string]struct {
		key  []byte
		n    int
		is   error
		says string
	}{
		"empty":     {nil, 1, ErrKeySize, "0 bytes, a key has 1 to 65535"},
		"long key":  {make([]byte, 65536), 1, ErrKeySize, "65536 bytes, a key has 1 to 65535"},
		"too large": {[]byte("k"), 100 << 10, ErrTooLarge, "102401 bytes, the most is 102400: see Options.MaxEntryBytes"},
	} {
		for how, err := range map[string]error{
			"Set":        c.Set(tt.key, make([]byte, tt.n)),
			"SetWithTTL": c.SetWithTTL(tt.key, make([]byte, tt.n), time.Hour),
			"SetEntry":   c.SetEntry(tt.key, make([]byte, tt.n), EntryOptions{MemoryOnly: true}),
			"Batch":      c.Batch([]BatchOp{{Key: []byte("k")}, {Key: []byte("new"), Value: []byte("v")}, {Key: tt.key, Value: make([]byte, tt.n)}}),
		} {
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s, %s: %v does not say %q", how, name, err, tt.says)
			}
		}
		if c.Delete(tt.key) && tt.is == ErrKeySize || c.Has(tt.key) && tt.is == ErrKeySize {
			t.Errorf("%s: a key that cannot be set is there", name)
		}
		mustSet(t, c, []byte("k"), []byte("v")) // Delete may have found it
		sets++
	}
	wantValue(t, c, []byte("k"), []byte("v"))
	if c.Has([]byte("new")) || c.Len() != 2 || c.Stats().Sets != sets {
		t.Errorf("%d entries after %d sets, want 2 after %d", c.Len(), c.Stats().Sets, sets)
	}
}

// TestSegmentsBoundKeys: where shards are many for the size, segments are small,
// and the error says what to do about a key that none of them takes.
func TestSegmentsBoundKeys(t *testing.T) {
	for _, tt := range []struct {
		maxBytes int64
		shards   int
		longest  int
	}{{256 << 20, 64, 32<<10 - headerSize}, {256 << 20, 16, 65535}, {1 << 20, 1, 8<<10 - headerSize}} {
		o := testOptions(tt.maxBytes)
		o.Shards = tt.shards
		c := openMemory(t, o)
		key := bytes.Repeat([]byte("k"), tt.longest)
		mustSet(t, c, key, []byte("v"))
		wantValue(t, c, key, []byte("v"))
		err := c.Set(append(key, 'k'), nil)
		if tt.longest == 65535 {
			if !errors.Is(err, ErrKeySize) {
				t.Errorf("%d shards: %v", tt.shards, err)
			}
		} else if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "raise Options.MaxBytes or lower Shards") {
			t.Errorf("%d shards: %v does not say what to do", tt.shards, err)
		}
	}
}

// TestUnusableDirectories: Open says which directory and why, and leaves it as it
// was. What only other systems or privileges can make is in open_linux_test.go.
func TestUnusableDirectories(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "linked", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(root, "linked", "LOCK")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(filepath.Join(root, "nothing"), filepath.Join(root, "dangling")); err != nil {
		t.Fatal(err)
	}
	before := list(t, root)
	for name, o := range map[string]struct{ dir, weak string }{
		"a file":                  {file, ""},
		"under a file":            {filepath.Join(file, "c"), ""},
		"LOCK is a link":          {filepath.Join(root, "linked"), ""},
		"a link to nothing":       {filepath.Join(root, "dangling"), ""},
		"without a name":          {"", ""},
		"the weak folder a file":  {filepath.Join(root, "new"), file},
		"the weak folder under a": {filepath.Join(root, "new"), filepath.Join(file, "weak")},
	} {
		t.Run(name, func(t *testing.T) {
			opts := testOptions(1 << 20)
			opts.Durability.WeakDir = o.weak
			c, err := Open(context.Background(), o.dir, opts)
			if err == nil {
				c.Close()
				t.Fatal("Open succeeded")
			}
			if !strings.Contains(err.Error(), "cache: open "+o.dir) {
				t.Errorf("%q does not name the directory", err)
			}
			wantListing(t, list(t, root).without("new"), before)
		})
	}
}

// TestOpenMakesAPrivateDirectory: parents are made, and nobody else can read.
func TestOpenMakesAPrivateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	o := testOptions(1 << 20)
	o.Durability.WeakDir = filepath.Join(t.TempDir(), "weak")
	c := open(t, dir, o)
	fill(t, c, 100)
	mustFlush(t, c)
	for _, d := range []string{dir, filepath.Dir(dir), o.Durability.WeakDir} {
		for name, is := range list(t, d) {
			if !strings.HasPrefix(is, "drwx------") && !strings.HasPrefix(is, "-rw-------") {
				t.Errorf("%s in %s: %s", name, d, is)
			}
		}
	}
	if len(list(t, o.Durability.WeakDir)) != 2 {
		t.Errorf("the ring is not in its folder: %v", list(t, o.Durability.WeakDir))
	}
}

// TestHoldsADirectory is the other process of TestHeldDirectory.
func TestHoldsADirectory(t *testing.T) {
	dir := os.Getenv("EMBER_TEST_HOLD")
	if dir == "" {
		t.Skip("a child of TestHeldDirectory")
	}
	c, err := Open(context.Background(), dir, testOptions(4<<20))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fill(t, c, 200)
	mustFlush(t, c)
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1) // as a crash: nothing is closed
}

// TestHeldDirectory: whoever comes second learns who is there, changes nothing,
// and gets in when the holder is gone, however it went.
func TestHeldDirectory(t *testing.T) {
	dir := warmDir(t, testOptions(4<<20), 100)
	t.Run("by this process", func(t *testing.T) {
		o := testOptions(4 << 20)
		o.hooks.step = true // the holder writes when it is told to
		c := open(t, dir, o)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Skip(err)
		}
		for _, name := range []string{dir, dir + "/.", link} {
			wantLocked(t, name, os.Getpid(), "by this process")
		}
		mustSet(t, c, []byte("k"), []byte("v")) // goes on as before
		mustFlush(t, c)
		mustClose(t, c)
	})
	t.Run("by another", func(t *testing.T) {
		cmd, end := holder(t, dir)
		wantLocked(t, dir, cmd.Process.Pid, fmt.Sprintf("by process %d", cmd.Process.Pid))
		end()
		_ = cmd.Wait()
		c := open(t, dir, testOptions(4<<20))
		wantFilled(t, c, 200)
		wantValue(t, c, []byte("k"), []byte("v"))
	})
}

func wantLocked(t *testing.T, dir string, pid int, says string) {
	t.Helper()
	before := list(t, dir)
	_, err := Open(context.Background(), dir, testOptions(4<<20))
	var held *LockError
	if !errors.Is(err, ErrLocked) || !errors.Is(err, pagefile.ErrLocked) || !errors.As(err, &held) {
		t.Fatalf("Open of a held directory: %v", err)
	}
	host, _ := os.Hostname()
	if held.PID != pid || held.Host != host || time.Since(held.Since).Abs() > time.Minute {
		t.Errorf("the holder is %+v, want process %d", *held, pid)
	}
	for _, part := range []string{dir, says, "use another directory"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	wantListing(t, list(t, dir), before)
}

// TestWhatIsNotOursStays: files, folders and links of other people, and names
// that are almost ours, are as they were after Open, ten generations, Close, and
// a cold start that makes all of our own files anew.
func TestWhatIsNotOursStays(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	precious := filepath.Join(outside, "precious")
	for _, name := range []string{
		precious, dir + "/notes.txt", dir + "/LOCK.old", dir + "/lock", dir + "/records", dir + "/records.2", dir + "/records.0~",
		dir + "/pages-0000000000000001.bak", dir + "/image-1", dir + "/image-000000000000000G", dir + "/weak-", dir + "/blobs-00000000000000001",
		dir + "/BLOBS-0000000000000001", dir + "/pages-00000000000000AB", dir + "/ pages-0000000000000001", dir + "/core",
	} {
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "image", "pages-0000000000000001"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image", "records.0"), []byte("x"), 0o444); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"out": precious, "records.1.bak": precious, "nowhere": "/does/not/exist", "me": "."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	strangers, far := list(t, dir), list(t, outside)
	check := func(what string) {
		t.Helper()
		got := make(listing)
		for name, is := range list(t, dir) {
			if _, ok := strangers[name]; ok {
				got[name] = is
			}
		}
		wantListing(t, got, strangers)
		wantListing(t, list(t, outside), far)
		if t.Failed() {
			t.Fatal(what)
		}
	}
	o := testOptions(4 << 20)
	for _, schema := range []string{"one", "two"} {
		o.Schema = schema
		c := open(t, dir, o)
		if r := c.Recovery(); schema == "one" && (r.Outcome != OutcomeCold || r.Reason != nil) {
			t.Errorf("strangers alone give %+v", r)
		}
		check("Open")
		for i := range 10 {
			fill(t, c, 100+i)
			mustFlush(t, c)
		}
		check("ten generations")
		mustClose(t, c)
		check("Close")
	}
}

// A networkFS claims to lie on a network, and says who maps a file.
type networkFS struct {
	pagefile.FS
	name string
}

func (n networkFS) Network(string) (string, bool) { return n.name, n.name != "" }

// TestNetworkFileSystem: a warning is logged, files are read by position, and all
// else is as ever.
func TestNetworkFileSystem(t *testing.T) {
	var log bytes.Buffer
	o := testOptions(4 << 20)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o.hooks.fs = networkFS{pagefile.OS(), "nfs"}
	dir := warmDir(t, o, 1000)
	c := open(t, dir, o)
	if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Reason != nil {
		t.Errorf("report %+v", r)
	}
	wantUnmapped(t, dir)
	wantFilled(t, c, 1000)
	mustClose(t, c) // the log is whole then
	for _, part := range []string{"level=WARN", "event=network", "type=nfs", "dir=" + dir, "cache=c"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not say %q:\n%s", part, log.String())
		}
	}
}

// TestNamesWithHugeNumbers: a file that has our name and a number that no
// directory ever reaches does not make numbers end. // I12
func TestNamesWithHugeNumbers(t *testing.T) {
	for _, id := range []uint64{1<<64 - 1, 1<<64 - 2, 1 << 62} {
		for _, kind := range []pagefile.FileKind{pagefile.KindPages, pagefile.KindImage, pagefile.KindBlobs, pagefile.KindWeak} {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, pagefile.FileName(kind, id)), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			last := uint64(0)
			for start := range 2 {
				c := open(t, dir, stepOptions(1<<20))
				if r := c.Recovery(); start > 0 && r.Outcome != OutcomeWarm {
					t.Fatalf("%s: start %d: %+v", pagefile.FileName(kind, id), start, r)
				}
				mustSet(t, c, testKey(start), testValue(start, 100))
				if g := mustFlush(t, c); g <= last || g > 100 {
					t.Fatalf("%s: start %d: generation %d after %d", pagefile.FileName(kind, id), start, g, last)
				} else {
					last = g
				}
				for old := range start + 1 {
					wantValue(t, c, testKey(old), testValue(old, 100))
				}
				mustClose(t, c)
			}
		}
	}
}
