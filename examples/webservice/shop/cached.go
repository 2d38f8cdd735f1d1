package shop

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/embercache/ember/cache"
)

// A view is what the handlers ask: the typed view of an Ember cache, or a Go map
// to compare it with.
type view[P any] interface {
	Has(id int64) bool
	Peek(id int64) (P, bool)
	GetOrLoad(ctx context.Context, id int64, load func(context.Context, int64) (P, error)) (P, error)
	GetOrLoadMany(ctx context.Context, ids []int64, load func(context.Context, []int64) (map[int64]P, error)) (map[int64]P, error)
	Delete(id int64) bool
}

const (
	freshFor  = 10 * time.Minute // bounds what a change made by somebody else costs
	absentFor = 10 * time.Second // a product that does not exist is not looked for again
)

// openCache opens the cache. While the process before this one still closes it,
// as in a deploy, it waits.
func openCache(ctx context.Context, o Options) (*cache.Cache, error) {
	return cache.Open(ctx, o.CacheDir, &cache.Options{
		Name:        "products",
		Logger:      o.Logger,
		MaxBytes:    o.MaxBytes,
		Freshness:   cache.Freshness{TTL: freshFor, NegativeTTL: absentFor},
		WhenLocked:  cache.LockWait,
		LockTimeout: o.StartTimeout,
	})
}

const namespace = "product"

func viewV1(c *cache.Cache) (view[Product], error) {
	return cache.Of(c, cache.Int[int64](), cache.Versioned(cache.JSON[Product](), version1),
		&cache.TypedOptions[int64, Product]{Namespace: namespace})
}

// viewV2 serves what version 1 of the service has left if withMigrate is set;
// otherwise those entries are misses.
func viewV2(c *cache.Cache, withMigrate bool) (view[ProductV2], error) {
	o := &cache.TypedOptions[int64, ProductV2]{Namespace: namespace}
	if withMigrate {
		o.Migrate = func(_ string, _ int64, old []byte) (ProductV2, bool) { return migrate(old) }
	}
	return cache.Of(c, cache.Int[int64](), cache.Versioned(cache.JSON[ProductV2](), version2), o)
}

// changeMargin is more than a change takes from the time that it carries to the
// Delete that follows it, and more than clocks are set back by.
const changeMargin = time.Minute

// catchUp deletes what the database has in a newer revision than the state that
// Open found. A process that is killed between a change and its Delete, or within
// the few milliseconds after that, leaves the old product in its files; so does
// whoever changes the database while no process runs.
func catchUp[P any](ctx context.Context, s *service[P], c *cache.Cache, log *slog.Logger) error {
	written := c.Recovery().WrittenAt
	if written.IsZero() {
		return nil // a new directory, or a cold start
	}
	changed, err := s.store.ChangedSince(ctx, written.Add(-changeMargin))
	if err != nil {
		return fmt.Errorf("catch up with the database: %w", err)
	}
	outdated := 0
	for id, revision := range changed {
		if p, ok := s.view.Peek(id); !ok || s.revision(p) < revision {
			s.view.Delete(id) // also what is absent by now, or cannot be read
			outdated++
		}
	}
	log.Info("caught up", "event", "caught_up", "since", written, "changed", len(changed), "outdated", outdated)
	return nil
}
