package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/embercache/ember/internal/demo"
)

// TestMain lets this test binary be the service.
func TestMain(m *testing.M) {
	if demo.IsChild() {
		os.Exit(runService())
	}
	os.Exit(m.Run())
}

func TestQuickstart(t *testing.T) {
	for _, stop := range []string{"close", "kill"} {
		t.Run(stop, func(t *testing.T) {
			root, dir := t.TempDir(), t.TempDir()
			for _, name := range []string{"a.go", "b.go", "broken.go"} {
				src := sampleSource + "var Name = `" + name + "`\n"
				if name == "broken.go" {
					src = "package"
				}
				if err := os.WriteFile(filepath.Join(root, name), []byte(src), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			err := run(t.Context(), &config{
				root: root, dir: dir, stop: stop, sample: 3, maxBytes: 64 << 20,
				serve: 50 * time.Millisecond, interval: 50 * time.Millisecond,
			})
			if err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	killed := time.Unix(100, 0)
	good := func() *report {
		r := &report{cfg: &config{stop: "kill"}}
		r.cold.fill = pass{Files: 2, Digest: 7}
		r.cold.served.Stamp, r.cold.killed = killed.UnixNano()-1e6, killed
		r.warm.pass = pass{Files: 2, Hits: 2}
		r.warm.LastWrite = killed.UnixNano() - 3e6
		r.digest = pass{Files: 2, Digest: 7}
		return r
	}
	if err := good().verdict(); err != nil {
		t.Errorf("got %v for a good run", err)
	}
	if got, want := good().lost(), 2*time.Millisecond; got != want {
		t.Errorf("got %v of writes lost, want %v", got, want)
	}
	for label, spoil := range map[string]func(*report){
		"another digest":                      func(r *report) { r.digest.Digest = 8 },
		"a wrong value":                       func(r *report) { r.wrong = []string{"a.go"} },
		"a missing entry":                     func(r *report) { r.warm.pass.Hits = 1 },
		"no last write":                       func(r *report) { r.warm.LastWrite = 0 },
		"a last write from after the kill":    func(r *report) { r.warm.LastWrite = killed.UnixNano() + 1 },
		"a write acknowledged before a close": func(r *report) { r.cfg.stop = "close" },
	} {
		t.Run(label, func(t *testing.T) {
			r := good()
			spoil(r)
			if r.verdict() == nil {
				t.Error("got no error")
			}
		})
	}
}
