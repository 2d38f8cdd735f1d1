//go:build unix

package cache

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var besideTime = flag.Duration("beside", 1500*time.Millisecond, "how long a process reads beside its owner")

const (
	besideEnv  = "EMBER_TEST_BESIDE" // directory; makes this executable a reader
	besideKeys = 4000
	besideSize = 500
)

// besideValue is what the owner stores: its bytes follow from key and count.
func besideValue(key int, count uint64) []byte {
	v := binary.LittleEndian.AppendUint64(nil, count)
	return append(v, testValue(key<<20+int(count%(1<<20)), besideSize)...)
}

// TestReadsBeside is the other process: it opens the generation before the newest
// and reads all of it again and again, until its input ends.
func TestReadsBeside(t *testing.T) {
	dir := os.Getenv(besideEnv)
	if dir == "" {
		t.Skip("for TestReaderBesideAnOwner")
	}
	o := testOptions(16 << 20)
	o.ReadOnly, o.hooks.lazily = true, true
	probe := open(t, dir, o)
	list := probe.Generations()
	if len(list) < 2 {
		t.Fatalf("%d generations", len(list))
	}
	o.Recovery.Generation = list[len(list)-2]
	c, err := Open(context.Background(), dir, o)
	if err != nil { // the owner was faster; what the probe holds stays
		o.Recovery.Generation = probe.Recovery().Generation
		c = open(t, dir, o)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	first, reads := besideDigest(t, c), 0
	fmt.Printf("ready %d\n", c.Recovery().Generation)
	for done := false; !done; reads++ {
		if got := besideDigest(t, c); got != first {
			t.Fatalf("read %d: digest %x, the first was %x", reads, got, first)
		}
		select {
		case <-ended:
			done = true
		default:
		}
	}
	if r := c.Recovery(); r.Outcome != OutcomeWarm || r.Dropped > 0 || r.PagesDropped > 0 || reads < 2 {
		t.Errorf("%d reads, report %+v", reads, r)
	}
	mustClose(t, c)
	mustClose(t, probe)
	fmt.Println("same", reads)
}

// besideDigest reads all keys: each has a value that was stored under it.
func besideDigest(t *testing.T, c *Cache) uint64 {
	t.Helper()
	h := fnv.New64a()
	for i := range besideKeys {
		v, ok := c.Get(testKey(i))
		if !ok {
			t.Fatalf("key %d is missing; report %+v", i, c.Recovery())
		}
		if string(v) != string(besideValue(i, binary.LittleEndian.Uint64(v))) {
			t.Fatalf("key %d has a value that was never stored", i)
		}
		_, _ = h.Write(v)
	}
	return h.Sum64()
}

// TestReaderBesideAnOwner: a process reads a generation for a while, and another
// overwrites everything many times. The reader's digest never changes; the owner
// goes on writing generations and no Set of its waits for the reader. A reader
// that is killed gives its places back.
func TestReaderBesideAnOwner(t *testing.T) {
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("killed=", killed), func(t *testing.T) { readBeside(t, killed) })
	}
}

func readBeside(t *testing.T, killed bool) {
	dir := filepath.Join(t.TempDir(), "c")
	o := testOptions(16 << 20)
	o.Shards, o.Durability.Interval, o.Durability.NoSync = 2, 20*time.Millisecond, true
	owner := open(t, dir, o)
	rng, count, longest := newRand(t), uint64(0), time.Duration(0)
	write := func(n int) {
		for range n {
			key := rng.Intn(besideKeys)
			count++
			start := time.Now()
			mustSet(t, owner, testKey(key), besideValue(key, count))
			longest = max(longest, time.Since(start))
		}
	}
	for key := range besideKeys {
		count++
		mustSet(t, owner, testKey(key), besideValue(key, count))
	}
	for range 3 {
		write(2000)
		mustFlush(t, owner)
	}
	cmd, out, end := startChild(t, "TestReadsBeside", besideEnv+"="+dir)
	var held uint64
	if _, err := fmt.Fscanf(out, "ready %d\n", &held); err != nil {
		t.Fatalf("the reader said nothing: %v", err)
	}
	from, longestBefore := owner.Stats(), longest
	longest = 0
	st := from
	for start := time.Now(); ; {
		write(100)
		st = owner.Stats()
		if took := time.Since(start); took > stalls || took > *besideTime && st.Flushes >= from.Flushes+3 {
			break
		}
	}
	t.Logf("%d Sets, %d generations, longest Set %v (before %v)", st.Sets-from.Sets, st.Flushes-from.Flushes, longest, longestBefore)
	if st.Flushes < from.Flushes+3 { // one may fail for want of a place, and is tried again at once
		t.Errorf("%d generations while somebody read, %d failed: %v", st.Flushes-from.Flushes, st.FlushErrors-from.FlushErrors, owner.Health())
	}
	if longest > stalls {
		t.Errorf("a Set took %v", longest)
	}
	if got := heldIn(t, dir); !got[held] {
		t.Errorf("generation %d is read, and not retained", held)
	}
	if killed {
		_ = cmd.Process.Kill()
	} else {
		end()
	}
	if err := cmd.Wait(); (err != nil) != killed {
		t.Errorf("the reader ended with %v", err)
	}
	write(100)
	mustFlush(t, owner)
	if got := heldIn(t, dir); got[held] {
		t.Errorf("generation %d is retained though nobody reads it", held)
	}
	mustClose(t, owner)
}

// heldIn lists what can be opened in a directory, as a reader sees it.
func heldIn(t *testing.T, dir string) map[uint64]bool {
	t.Helper()
	o := testOptions(16 << 20)
	o.ReadOnly, o.hooks.lazily = true, true
	c := open(t, dir, o)
	held := make(map[uint64]bool)
	for _, g := range c.Generations() {
		held[g] = true
	}
	mustClose(t, c)
	return held
}
