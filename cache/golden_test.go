package cache

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/embercache/ember/pagefile"
)

var update = flag.Bool("update", false, "write the golden directory of this format version")

// A golden directory is testdata/formatN.tar.gz: the files that a killed cache of
// version N left, and in goldenWant what Open has to give.
const goldenWant = "want"

func goldenPath(version int) string {
	return filepath.Join("testdata", fmt.Sprintf("format%d.tar.gz", version))
}

// TestGoldenDirectories: every build reads what any build since the first wrote.
// A change of the format without a new version fails here; with one, -update
// writes its directory, and those of older versions stay.
func TestGoldenDirectories(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for version := 1; version <= pagefile.Version; version++ {
		for _, positional := range []bool{false, true} {
			t.Run(fmt.Sprintf("version %d, positional %v", version, positional), func(t *testing.T) {
				dir := t.TempDir()
				want := unpack(t, goldenPath(version), dir)
				openGolden(t, dir, want, positional)
			})
		}
	}
}

func openGolden(t *testing.T, dir, want string, positional bool) {
	o := testOptions(2 << 20)
	o.Recovery.Positional, o.hooks.step = positional, true
	o.Clock = damageClock
	c := open(t, dir, o)
	r, err := c.WaitVerified(context.Background())
	if err != nil || r.Outcome != OutcomeWarm || r.Reason != nil || r.Dropped != 0 || r.PagesDropped != 0 {
		t.Fatalf("%v, report %+v", err, r)
	}
	if got := goldenText(c, r.Weak); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	checkInvariants(t, c)
	mustSet(t, c, damageKeys[0], []byte("new"))
	mustClose(t, c)
	c = open(t, dir, o)
	wantValue(t, c, damageKeys[0], []byte("new"))
	if r, err := c.WaitVerified(context.Background()); err != nil || r.Outcome != OutcomeWarm || r.Entries != c.Len() {
		t.Fatalf("after Close: %v, %d entries, report %+v", err, c.Len(), r)
	}
}

// goldenText is what a cache holds, a line for each entry.
func goldenText(c *Cache, weak int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d entries, %d bytes, %d weak\n", c.Len(), c.Bytes(), weak)
	for _, key := range damageKeys {
		if value, ok := c.Get(key); ok {
			e, _ := c.Info(key)
			sum := crc64.Checksum(value, crc64.MakeTable(crc64.ECMA))
			fmt.Fprintf(&b, "%s %d %016x %d %d\n", key, len(value), sum, e.Stored.UnixMilli(), e.Expires.UnixMilli())
		}
	}
	return b.String()
}

func writeGolden(t *testing.T) {
	t.Helper()
	d := newDirectory(t, killed)
	_, o := d.copied(d.fs)
	c := openOn(t, o)
	want := goldenText(c, c.Recovery().Weak)
	drop(c)
	var packed bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	w := tar.NewWriter(gz)
	add := func(name string, b []byte) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(b)
	}
	add(goldenWant, []byte(want))
	for _, name := range d.names {
		add(name, d.files[name])
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenPath(pagefile.Version), packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// unpack writes the files to dir and returns what the cache has to hold.
func unpack(t *testing.T, name, dir string) (want string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if err == io.EOF {
			return want
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == goldenWant {
			want = string(b)
		} else if err := os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
