package cache

import (
	"bytes"
	"math/rand"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestCopyFrontIsCopy for every length, and touches nothing beside.
func TestCopyFrontIsCopy(t *testing.T) {
	rng := rand.New(rand.NewSource(*seedFlag))
	from, to := make([]byte, frontBytes+64), make([]byte, frontBytes+64)
	for n := range frontBytes + 32 {
		rng.Read(from)
		rng.Read(to)
		want := bytes.Clone(to)
		copy(want[16:], from[1:1+n])
		copyFront(unsafe.Pointer(&to[16]), unsafe.Pointer(&from[1]), n)
		if !bytes.Equal(to, want) {
			t.Fatalf("seed %d: got another copy of %d bytes, or bytes beside it changed", *seedFlag, n)
		}
	}
}

// TestSameKeyIsEqual for every length, and finds each byte that differs.
func TestSameKeyIsEqual(t *testing.T) {
	for n := 1; n < 80; n++ {
		key := bytes.Repeat([]byte{7}, n)
		at := append(bytes.Clone(key), 1) // what follows is not the key's
		if !sameKey(unsafe.Pointer(&at[0]), key) {
			t.Errorf("got different, want %d equal bytes the same", n)
		}
		for i := range key {
			at[i] ^= 1
			if sameKey(unsafe.Pointer(&at[0]), key) {
				t.Errorf("got the same, want byte %d of %d to differ", i, n)
			}
			at[i] ^= 1
		}
	}
}

// TestQuickIsGet: what quick does not leave to get it answers as get does, whatever
// room dst has, and it leaves little.
func TestQuickIsGet(t *testing.T) {
	if racing {
		t.Skip("get alone reads under the race detector")
	}
	rng := rand.New(rand.NewSource(*seedFlag))
	c, err := OpenMemory(&Options{MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var keys [][]byte
	for range 2000 {
		key, value := make([]byte, 1+rng.Intn(50)), make([]byte, rng.Intn(3000))
		rng.Read(key)
		rng.Read(value)
		o := EntryOptions{}
		if rng.Intn(2) == 0 {
			o.TTL = time.Hour
		}
		if err := c.SetEntry(key, value, o); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key, append(bytes.Clone(key), 0)) // there, and not there
	}
	left := 0
	for _, key := range keys {
		hash := c.hash.sum(key)
		s := c.shardOf(hash)
		dst := append(make([]byte, 0, rng.Intn(4000)), "before"...)
		got, o := s.quick(dst, key, hash)
		want, ok := s.get([]byte("before"), key, hash, &c.terms)
		switch {
		case o == changed:
			left++
		case (o == hit) != ok || !bytes.Equal(got, want):
			t.Fatalf("seed %d, key %x: got %d bytes, %v, want %d, %v", *seedFlag, key, len(got), o == hit, len(want), ok)
		}
	}
	if left > len(keys)/100 {
		t.Errorf("seed %d: got %d of %d left to get, want at most a hundredth", *seedFlag, left, len(keys))
	}
}

// calls reports whether a function of this name is among those that wait for its
// caller to return.
func calls(name string) bool {
	var at [32]uintptr
	frames := runtime.CallersFrames(at[:runtime.Callers(2, at[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "."+name) {
			return true
		}
		if !more {
			return false
		}
	}
}

// TestQuickProvesWhatItFound: the frame gets another's bytes when the key was found in
// it, and before the value is copied. That is left to get, with no room made for it.
func TestQuickProvesWhatItFound(t *testing.T) {
	if racing {
		t.Skip("get alone reads under the race detector")
	}
	for name, room := range map[string]int{"with room": 100 << 10, "without": 0} {
		t.Run(name, func(t *testing.T) {
			var c *Cache
			var before, after runtime.MemStats
			armed := false
			at := time.Unix(1_800_000_000, 0)
			o := testOptions(16 << 20)
			o.Shards, o.hooks.alone = 1, true
			o.Clock = func() time.Time {
				if !calls("(*shard).quick") || !armed {
					return at
				}
				armed = false
				must(t, c.Clear())
				for i := range 300 {
					mustSet(t, c, testKey(100+i), testValue(i, 100<<10))
				}
				runtime.ReadMemStats(&before)
				return at
			}
			c = openMemory(t, o)
			key := testKey(1)
			must(t, c.SetWithTTL(key, testValue(1, 100<<10), time.Hour))
			hash := c.hash.sum(key)
			armed = true
			v, got := c.shardOf(hash).quick(make([]byte, 0, room), key, hash)
			runtime.ReadMemStats(&after)
			if armed || got != changed {
				t.Errorf("got outcome %d, %d bytes, want %d", got, len(v), changed)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 50<<10 {
				t.Errorf("got %d bytes allocated for a record that has ended, want none", n)
			}
			if c.Has(key) {
				t.Error("what was cleared is there")
			}
		})
	}
}
