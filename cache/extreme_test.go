package cache

import (
	"encoding/binary"
	"flag"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
)

// Numbers that are far off, one at a time: each of every structure that the newest
// record names, and of itself, under checksums that are right.

var extremesFlag = flag.Int("extremes", 250, "numbers at an extreme that are tried; 0: all, some minutes")

// extremes are what a number of so many bytes is set to.
var extremes = map[int][]uint64{
	2: {0, 1, 1<<15 - 1, 1 << 15, 1<<16 - 2, 1<<16 - 1},
	4: {0, 1, 1<<29 - 1, 1 << 29, 1<<30 - 1, 1 << 30, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1},
	8: {0, 1, 1<<29 - 1, 1 << 29, 1<<29 + 1, 1<<30 - 1, 1<<32 - 1, 1 << 40, 1<<61 - 1, 1 << 61, 1<<62 - 1, 1 << 62, 1<<62 + 1, 1<<63 - 1, 1 << 63, 1<<64 - 2, 1<<64 - 1},
}

// An extreme is a number of a script that changes nothing, and what it becomes.
type extreme struct {
	script, at, width int
	value             uint64
}

// extremesOf lists them for all aligned numbers of the patches of scripts.
func extremesOf(scripts [][]byte) (list []extreme) {
	const header = 8
	for i, script := range scripts {
		for at := 0; at < len(script); {
			n := int(script[at+1])
			at += header
			for off := range n {
				for _, width := range [...]int{2, 4, 8} {
					for _, v := range extremes[width] {
						if off%width == 0 && off+width <= n {
							list = append(list, extreme{i, at + off, width, v})
						}
					}
				}
			}
			at += n
		}
	}
	return list
}

// put returns the script with the number at its extreme.
func (e extreme) put(script []byte) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], e.value)
	script = append([]byte(nil), script...)
	copy(script[e.at:], b[:e.width])
	return script
}

// TestExtremeNumbers: whatever a number says, opening, using and closing such a
// directory takes bounded time and memory, every Flush succeeds, and what is written
// once it was opened twice is taken up when it is opened again.
func TestExtremeNumbers(t *testing.T) {
	alone(t)
	rng := newRand(t)
	disk := forgedSample(t)
	scripts, err := forge.Scripts(disk, worldDir)
	if err != nil {
		t.Fatal(err)
	}
	list := extremesOf(scripts)
	rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	if n := *extremesFlag; n > 0 && n < len(list) {
		list = list[:n]
	}
	warm, told := 0, time.Now()
	for i, e := range list {
		script := e.put(scripts[e.script])
		if e.script < 2 { // a record, and its twin in the mirror
			script = append(script, e.put(scripts[1-e.script])...)
		}
		before, began := fuzzing.Allocated(), time.Now()
		if livesOn(t, disk.Clone(), script) {
			warm++
		}
		if used := fuzzing.Allocated() - before; used > 128<<20 {
			t.Errorf("%d bytes allocated", used)
		}
		if took := time.Since(began); took > extremeTime && !racing {
			t.Errorf("it took %v", took)
		}
		if t.Failed() {
			t.Fatalf("script %d, byte %d: %d bytes are %d", e.script, e.at, e.width, e.value)
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			t.Logf("%d of %d", i, len(list))
		}
	}
	t.Logf("%d numbers of structures, %d times something came back", len(list), warm)
	if warm == 0 {
		t.Error("nothing was tried")
	}
}

const extremeTime = 30 * time.Second // some ms, on a machine that is not busy

// livesOn forges a directory and reports whether anything of it came back.
func livesOn(t *testing.T, fs *crashfs.FS, script []byte) bool {
	t.Helper()
	c, written, warm := openForged(t, fs, script, openSealed)
	if !written {
		drop(c)
		return warm
	}
	for i := range 1500 { // more than it holds
		mustSet(t, c, testKey(i%700), testValue(i, 700))
	}
	mustSet(t, c, []byte("last"), []byte("value"))
	flushUnchecked(t, c)
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	c = openOn(t, forgedOptions(fs, openSealed))
	if v, ok := c.Get([]byte("last")); ok && string(v) != "value" {
		t.Errorf("got %q, want what was stored", v)
	}
	if r := c.Recovery(); r.Outcome == OutcomeCold {
		t.Errorf("a cold start after a Flush: %v", r.Reason)
	}
	drop(c)
	return warm
}
