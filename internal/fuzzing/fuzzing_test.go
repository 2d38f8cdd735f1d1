package fuzzing

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// What a corpus keeps is what go test wrote, byte for byte.
func TestCorpusRoundTrip(t *testing.T) {
	dir := t.TempDir()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := []Input{{nil, 0}, {[]byte("a\"b\\\n'"), '\''}, {all, 255}, {[]byte("é\xff"), '\\'}}
	for i, in := range want {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), encode(in), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Corpus(dir)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d inputs, %v, want %d", len(got), err, len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i].Bytes, want[i].Bytes) || got[i].Mode != want[i].Mode {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	for _, bad := range []string{"", "go test fuzz v1\n[]byte(\"a\")", "go test fuzz v1\nint(1)\nbyte('a')", "go test fuzz v2\n[]byte(\"a\")\nbyte('a')"} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%q is an input", bad)
		}
	}
}

// What a trace keeps is the last input alone, as a corpus has it.
func TestTraceKeepsTheLastInput(t *testing.T) {
	dir := t.TempDir()
	tr := &trace{name: filepath.Join(dir, "input")}
	for _, in := range []Input{{make([]byte, 100), 1}, {[]byte("short"), 2}} {
		if err := tr.keep(in); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Corpus(dir)
	if err != nil || len(got) != 1 || string(got[0].Bytes) != "short" || got[0].Mode != 2 {
		t.Errorf("got %v, %v", got, err)
	}
	tr.drop()
	if _, err := os.Stat(tr.name); !os.IsNotExist(err) {
		t.Errorf("after it was dropped: %v", err)
	}
}

// The same seed gives the same inputs, another seed others; none is too long.
func TestMutationsAreSeeded(t *testing.T) {
	corpus := []Input{{bytes.Repeat([]byte("0123456789"), 20), 0}, {[]byte("short"), 1}, {}}
	run := func(seed uint64) (all []byte, distinct map[string]bool) {
		m := mutator{rng: rand.New(rand.NewPCG(seed, 0)), corpus: corpus, modes: 3, most: 150}
		distinct = make(map[string]bool)
		for range 2000 {
			b, mode := m.next(nil)
			if len(b) > 150 || mode > 2 {
				t.Fatalf("%d bytes, mode %d", len(b), mode)
			}
			all = append(append(all, b...), mode)
			distinct[string(b)] = true
		}
		return all, distinct
	}
	first, distinct := run(1)
	again, _ := run(1)
	other, _ := run(2)
	if !bytes.Equal(first, again) || bytes.Equal(first, other) {
		t.Error("inputs do not follow from the seed")
	}
	if len(distinct) < 1500 {
		t.Errorf("%d of 2000 inputs are distinct", len(distinct))
	}
}

// A patch changes what it says, within the file.
func TestPatch(t *testing.T) {
	file := []byte("0123456789")
	for _, c := range []struct {
		script []byte
		want   string
	}{
		{nil, "0123456789"},
		{Same(file, 2, 5), "0123456789"},
		{[]byte{3, 0, 0, 2, 'a', 'b'}, "012ab56789"},
		{[]byte{13, 0, 0, 2, 'a', 'b'}, "012ab56789"},
		{[]byte{9, 0, 0, 2, 'a', 'b'}, "012345678a"},
		{append(Short(4), 0, 0, 0, 1, 'x'), "x123"},
		{[]byte{1, 0, 0, 200, 'a'}, "0a23456789"},
	} {
		if got := Patch(nil, file, c.script, nil); string(got) != c.want {
			t.Errorf("%x: got %q, want %q", c.script, got, c.want)
		}
	}
}

// What a check takes from the heap is seen.
func TestAllocatedIsMeasured(t *testing.T) {
	before := Allocated()
	kept := make([]byte, 8<<20)
	if used := Allocated() - before; used < 8<<20 {
		t.Errorf("%d bytes allocated, want %d", used, len(kept))
	}
}
