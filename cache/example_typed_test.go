package cache_test

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/embercache/ember/cache"
)

// Keys and values have Go types. Several views share a Cache by their Namespace.
func ExampleOf() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	type user struct{ Name string }
	users, err := cache.Of(c, cache.Int[int64](), cache.JSON[user](), &cache.TypedOptions[int64, user]{Namespace: "user"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.Set(42, user{"Ada"}); err != nil {
		log.Fatal(err)
	}
	u, ok := users.Get(42)
	fmt.Println(u.Name, ok)
	_, ok = users.Get(43)
	fmt.Println(ok)
	// Output:
	// Ada true
	// false
}

// Numbers, and arrays and structs of them, take their own size and are not parsed.
func ExampleFixed() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	type cell struct{ Row, Column uint32 }
	type price struct {
		Cents int64
		Digit [3]uint8
	}
	prices, err := cache.Of(c, cache.Fixed[cell](), cache.Fixed[price](), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := prices.Set(cell{1, 2}, price{Cents: 995, Digit: [3]uint8{9, 9, 5}}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(prices.Get(cell{1, 2}))
	// Output: {995 [9 9 5]} true
}

// A struct that changed its meaning gets another version. Values of the old one
// are misses then; they do not decode as something that they are not.
func ExampleVersioned() {
	type price struct{ Amount int } // was in euros, is in cents
	v1 := cache.Versioned(cache.JSON[price](), 1)
	v2 := cache.Versioned(cache.JSON[price](), 2)
	fmt.Println(v1.Name(), v2.Name())
	// Output: json/v1 json/v2
}

// A deploy that changes a struct stays warm: Migrate makes today's value of
// yesterday's at its first read.
func ExampleTypedOptions_migrate() {
	dir, remove := folder()
	defer remove()
	open := func() *cache.Cache {
		c, err := cache.Open(context.Background(), dir, &cache.Options{MaxBytes: 16 << 20, Logger: quiet})
		if err != nil {
			log.Fatal(err)
		}
		return c
	}

	type userV1 struct{ Name string }
	v1 := cache.Versioned(cache.JSON[userV1](), 1)
	c := open()
	before, err := cache.Of(c, cache.String(), v1, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := before.Set("ada", userV1{"Ada Lovelace"}); err != nil {
		log.Fatal(err)
	}
	if err := c.Close(); err != nil {
		log.Fatal(err)
	}

	type userV2 struct{ First, Last string } // the next build
	v2 := cache.Versioned(cache.JSON[userV2](), 2)
	c = open()
	defer c.Close()
	users, err := cache.Of(c, cache.String(), v2, &cache.TypedOptions[string, userV2]{
		Migrate: func(codec, key string, old []byte) (userV2, bool) {
			if codec != v1.Name() {
				return userV2{}, false
			}
			u, err := v1.Decode(old)
			first, last, _ := strings.Cut(u.Name, " ")
			return userV2{first, last}, err == nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(users.Get("ada"))
	// Output: {Ada Lovelace} true
}

// Compute counts in one step, whoever else counts at the same time.
func ExampleTyped_Compute() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	visits, err := cache.Of(c, cache.String(), cache.Int[int](), nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		if err := visits.Compute("home", func(old int, found bool) (int, cache.Op) {
			return old + 1, cache.OpWrite
		}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(visits.Get("home"))
	// Output: 3 true
}

// The function makes the new value of the old one. It runs again if the key changed
// meanwhile.
func ExampleCache_Compute() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	list := []byte("list")
	for _, item := range []string{"a", "b"} {
		if err := c.Compute(list, func(old []byte, found bool) ([]byte, cache.Op) {
			return append(old, item...), cache.OpWrite
		}); err != nil {
			log.Fatal(err)
		}
	}
	value, _ := c.Get(list)
	fmt.Printf("%s\n", value)
	// Output: ab
}

// All ranges over the view's entries, decoded.
func ExampleTyped_All() {
	c, err := cache.OpenMemory(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ages, err := cache.Of(c, cache.String(), cache.Int[int](), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := ages.SetMany(map[string]int{"Ada": 36, "Grace": 85}); err != nil {
		log.Fatal(err)
	}
	var lines []string
	for name, age := range ages.All() {
		lines = append(lines, fmt.Sprint(name, " ", age))
	}
	slices.Sort(lines)
	fmt.Println(lines)
	// Output: [Ada 36 Grace 85]
}
