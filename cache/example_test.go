package cache_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/embercache/ember/cache"
)

// quiet keeps what is logged out of the examples' output.
var quiet = slog.New(slog.DiscardHandler)

// folder makes a directory for an example. A service names one of its own.
func folder() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "ember")
	if err != nil {
		log.Fatal(err)
	}
	return filepath.Join(dir, "users.cache"), func() { _ = os.RemoveAll(dir) }
}

// A service that is restarted finds what it had stored.
func Example() {
	dir, remove := folder()
	defer remove()

	serve := func() {
		c, err := cache.Open(context.Background(), dir, &cache.Options{Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		defer c.Close()
		name, ok := c.Get([]byte("user/42"))
		fmt.Printf("%v: %q %v\n", c.Recovery().Outcome, name, ok)
		if err := c.Set([]byte("user/42"), []byte("Ada")); err != nil {
			log.Fatal(err)
		}
	}
	serve()
	serve()
	// Output:
	// cold: "" false
	// warm: "Ada" true
}

// The report says what was restored, and if not all, why.
func ExampleOpen() {
	dir, remove := folder()
	defer remove()

	c, err := cache.Open(context.Background(), dir, &cache.Options{
		MaxBytes:   64 << 20,
		Durability: cache.Durability{Interval: 5 * time.Second},
		Logger:     quiet,
	})
	if err != nil {
		log.Fatal(err) // bad Options, a directory that cannot be used, or a lock
	}
	defer c.Close()
	r := c.Recovery()
	fmt.Println(r.Outcome, r.Entries, r.Reason)
	// Output: cold 0 <nil>
}

// A build that gives stored values another meaning names another Schema: it
// starts cold and says so, instead of serving what it would misread.
func ExampleOpen_schema() {
	dir, remove := folder()
	defer remove()

	for _, schema := range []string{"user/v1", "user/v1", "user/v2"} {
		c, err := cache.Open(context.Background(), dir, &cache.Options{Schema: schema, Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(schema, c.Recovery().Outcome)
		if err := c.Set([]byte("user/42"), []byte("Ada")); err != nil {
			log.Fatal(err)
		}
		if err := c.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// user/v1 cold
	// user/v1 warm
	// user/v2 cold
}

// One buffer serves many reads: with room in it, a hit does not allocate.
func ExampleCache_AppendGet() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_ = c.Set([]byte("a"), []byte("first"))
	_ = c.Set([]byte("b"), []byte("second"))

	buf := make([]byte, 0, 4<<10)
	for _, key := range []string{"a", "b", "c"} {
		value, ok := c.AppendGet(buf[:0], []byte(key))
		fmt.Printf("%s: %q %v\n", key, value, ok)
	}
	// Output:
	// a: "first" true
	// b: "second" true
	// c: "" false
}

// What a large value is asked for may be small: View reads it where it lies.
func ExampleCache_View() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_ = c.Set([]byte("page"), []byte("title: Ember\n\nA cache that survives restarts."))

	var title string
	err = c.View([]byte("page"), func(value []byte) error {
		line, _, _ := bytes.Cut(value, []byte("\n"))
		title = string(bytes.TrimPrefix(line, []byte("title: "))) // a copy: value ends with fn
		return nil
	})
	fmt.Println(title, err)
	fmt.Println(c.View([]byte("other"), func([]byte) error { return nil }))
	// Output:
	// Ember <nil>
	// cache: not found
}

// Entries come in no particular order, and nobody has to wait meanwhile.
func ExampleCache_All() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_ = c.Set([]byte("a"), []byte("first"))
	_ = c.Set([]byte("b"), []byte("second"))

	found := make(map[string]string)
	for key, value := range c.All() {
		found[string(key)] = string(value) // copies: both slices are valid for one step
	}
	fmt.Println(found)
	// Output: map[a:first b:second]
}

// A service that has been told to stop gives its last generation what is left of
// the grace period. If that runs out, the generation before it stays the newest.
func ExampleCache_Shutdown() {
	dir, remove := folder()
	defer remove()
	c, err := cache.Open(context.Background(), dir, &cache.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	_ = c.Set([]byte("user/42"), []byte("Ada"))

	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	fmt.Println(c.Shutdown(grace))
	fmt.Println(c.Set([]byte("user/42"), []byte("Bob")))
	// Output:
	// <nil>
	// cache: closed
}

// The counters grow from Open on. Two snapshots give what happened in between.
func ExampleStats_Sub() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_ = c.Set([]byte("user/42"), []byte("Ada"))
	c.Get([]byte("user/41"))

	before := c.Stats()
	c.Get([]byte("user/42"))
	c.Get([]byte("user/42"))
	c.Get([]byte("user/43"))
	change := c.Stats().Sub(before)
	fmt.Printf("%d hits, %d misses, hit ratio %.2f\n", change.Hits, change.Misses, change.HitRatio())
	// Output: 2 hits, 1 misses, hit ratio 0.67
}
