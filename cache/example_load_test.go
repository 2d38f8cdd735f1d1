package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/embercache/ember/cache"
)

// All who miss a key at the same time wait for one load.
func ExampleCache_GetOrLoad() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	load := func(ctx context.Context) ([]byte, error) { // asks the database, say
		fmt.Println("loading")
		return []byte("Ada"), nil
	}

	var callers sync.WaitGroup
	for range 100 {
		callers.Add(1)
		go func() {
			defer callers.Done()
			if _, err := c.GetOrLoad(context.Background(), []byte("user/42"), load); err != nil {
				log.Fatal(err)
			}
		}()
	}
	callers.Wait()
	name, ok := c.Get([]byte("user/42"))
	fmt.Printf("%s %v\n", name, ok)
	// Output:
	// loading
	// Ada true
}

// A load says ErrNotFound of what does not exist. With NegativeTTL that is kept, so
// that the source is not asked for it again and again.
func ExampleCache_GetOrLoad_negative() {
	c, err := cache.OpenMemory(&cache.Options{
		Freshness: cache.Freshness{TTL: 10 * time.Minute, NegativeTTL: 10 * time.Second},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	load := func(ctx context.Context) ([]byte, error) {
		fmt.Println("loading")
		return nil, cache.ErrNotFound
	}

	for range 3 {
		_, err := c.GetOrLoad(context.Background(), []byte("user/43"), load)
		fmt.Println(errors.Is(err, cache.ErrNotFound))
	}
	_, ok := c.Get([]byte("user/43")) // to all others it is a miss
	fmt.Println(ok, c.Stats().NegativeHits)
	// Output:
	// loading
	// true
	// true
	// true
	// false 2
}

// One call loads all that is missing; what it leaves out does not exist.
func ExampleTyped_GetOrLoadMany() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	source := map[int]string{1: "Ada", 2: "Grace", 3: "Barbara"}
	users, err := cache.Of(c, cache.Int[int](), cache.String(), &cache.TypedOptions[int, string]{
		Namespace: "user",
		LoadMany: func(ctx context.Context, ids []int) (map[int]string, error) {
			fmt.Println("loading", ids)
			found := make(map[int]string)
			for _, id := range ids {
				if name, ok := source[id]; ok {
					found[id] = name
				}
			}
			return found, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	for _, ids := range [][]int{{1, 2}, {1, 2, 3, 4}} {
		found, err := users.GetOrLoadMany(context.Background(), ids, nil)
		fmt.Println(found, err)
	}
	// Output:
	// loading [1 2]
	// map[1:Ada 2:Grace] <nil>
	// loading [3 4]
	// map[1:Ada 2:Grace 3:Barbara] <nil>
}
