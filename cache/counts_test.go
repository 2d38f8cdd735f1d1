package cache

import (
	"context"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestAThousandGenerations: each has changes, now and then the newest is opened,
// with all that was stored and nothing that was deleted. Neither files nor open
// ones become more, and what a generation takes is freed by those that follow.
func TestAThousandGenerations(t *testing.T) {
	alone(t)
	fs := crashfs.New()
	o := quietOptions(fs, 1)
	rng, model := newRand(t), make(map[int]int)
	c := open(t, "/c", o)
	var early, late int64 // bytes
	var handles, files int
	for n := 1; n <= 1000; n++ {
		for range 8 {
			if key := rng.Intn(300); rng.Intn(5) == 0 {
				c.Delete(testKey(key))
				delete(model, key)
			} else {
				mustSet(t, c, testKey(key), testValue(n<<10+key, 100+key))
				model[key] = n
			}
		}
		g := mustFlush(t, c)
		if r := c.Recovery(); g <= r.Generation {
			t.Fatalf("flush %d wrote generation %d after %d", n, g, r.Generation)
		}
		if n%100 == 0 {
			mustClose(t, c)
			c = open(t, "/c", o)
			if r := reopened(t, c); r.Outcome != OutcomeWarm || r.Generation < g {
				t.Fatalf("generation %d was the newest: %+v", g, r)
			}
			wantModel(t, c, model)
		}
		switch late = max(late, fs.Used()); n {
		case 500:
			early, late, handles, files = late, 0, len(fs.OpenHandles()), len(fs.List())
		case 1000:
			if now := len(fs.OpenHandles()); now > handles+2 || len(fs.List()) > files+2 || late > early+1<<20 {
				t.Errorf("%d open files of %d, %d bytes at most; were %d of %d, %d", now, len(fs.List()), late, handles, files, early)
			}
		}
	}
}

// wantModel finds each key's newest value, and no other key.
func wantModel(t *testing.T, c *Cache, model map[int]int) {
	t.Helper()
	for key, n := range model {
		if v, ok := c.Get(testKey(key)); !ok || string(v) != string(testValue(n<<10+key, 100+key)) {
			t.Fatalf("key %d: %d bytes, %v; generation %d had its newest value", key, len(v), ok, n)
		}
	}
	if c.Len() != len(model) {
		t.Fatalf("%d entries, want %d", c.Len(), len(model))
	}
}

// TestFewestAndMostShards: with one shard and with as many as there can be, all
// that was stored is there after Close and after a kill.
func TestFewestAndMostShards(t *testing.T) {
	for _, shards := range []int{1, maxShards} {
		fs := crashfs.New()
		o := quietOptions(fs, shards)
		o.MaxBytes = maxShards * minBytes
		model := make(map[int]int)
		c := open(t, "/c", o)
		write := func(n int) {
			for key := n; key < 4000; key += n {
				mustSet(t, c, testKey(key), testValue(n<<10+key, 100+key))
				model[key] = n
			}
		}
		write(1)
		mustClose(t, c)
		c = open(t, "/c", o)
		if len(c.shards) != shards {
			t.Fatalf("%d shards, want %d", len(c.shards), shards)
		}
		wantModel(t, c, model)
		write(3)
		mustFlush(t, c)
		write(7)
		mustWeak(t, c)
		killed := *o
		killed.hooks.fs = fs.Clone()
		after, err := Open(context.Background(), "/c", &killed)
		if err != nil {
			t.Fatal(err)
		}
		if r := reopened(t, after); r.Outcome != OutcomeWarm || r.Weak == 0 {
			t.Errorf("%d shards: %+v", shards, r)
		}
		wantModel(t, after, model)
		mustClose(t, after)
		mustClose(t, c)
	}
}
