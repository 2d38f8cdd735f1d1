package shop

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // SQLite in pure Go; BSD-3-Clause

	"github.com/embercache/ember/cache"
)

// A Store is the database. Its methods may be called concurrently.
type Store struct {
	db      *sql.DB
	latency time.Duration
}

// StoreOptions say where the database is and what it costs.
type StoreOptions struct {
	Path string
	// Latency is added to each query and holds its connection: it stands for the
	// way to a database server and the work of a busy one, which a file on the
	// same machine does not show.
	Latency time.Duration
	Conns   int // queries at a time; the others wait
}

// OpenStore opens a database that Seed has made.
func OpenStore(o StoreOptions) (*Store, error) {
	db, err := sql.Open("sqlite", "file:"+o.Path+"?_pragma=busy_timeout(5000)&_pragma=synchronous(normal)")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(o.Conns)
	db.SetMaxIdleConns(o.Conns)
	return &Store{db, o.Latency}, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// selectRows is the query that is worth caching: joins, and two aggregates.
const selectRows = `
SELECT p.id, p.name, p.description, c.name, v.name, v.country,
       p.price_cents, p.weight_grams, p.revision,
       (SELECT coalesce(sum(units), 0) FROM stock WHERE product = p.id),
       (SELECT count(*) FROM reviews WHERE product = p.id),
       (SELECT coalesce(avg(stars), 0) FROM reviews WHERE product = p.id)
FROM products p
JOIN categories c ON c.id = p.category
JOIN vendors v ON v.id = p.vendor
WHERE p.id `

const queryTimeout = 5 * time.Second

type scanner interface{ Scan(...any) error }

func scan(r scanner) (p Product, err error) {
	err = r.Scan(&p.ID, &p.Name, &p.Description, &p.Category, &p.Vendor, &p.Country,
		&p.PriceCents, &p.WeightGrams, &p.Revision, &p.Stock, &p.Reviews, &p.Stars)
	return p, err
}

// Product returns one product, or cache.ErrNotFound: with that answer the cache
// stores that there is none.
func (s *Store) Product(ctx context.Context, id int64) (p Product, err error) {
	err = s.with(ctx, func(ctx context.Context, c *sql.Conn) error {
		p, err = scan(c.QueryRowContext(ctx, selectRows+"= ?", id))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return p, cache.ErrNotFound
	}
	return p, err
}

// Products returns those of ids that exist, with one query.
func (s *Store) Products(ctx context.Context, ids []int64) (map[int64]Product, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]Product, len(ids))
	err = s.with(ctx, func(ctx context.Context, c *sql.Conn) error {
		rows, err := c.QueryContext(ctx, selectRows+"IN (SELECT value FROM json_each(?))", string(list))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			p, err := scan(rows)
			if err != nil {
				return err
			}
			found[p.ID] = p
		}
		return rows.Err()
	})
	return found, err
}

// Change sets the name and the price of a product, which it makes if there is
// none, and returns the product's new revision.
func (s *Store) Change(ctx context.Context, id int64, name string, priceCents int64) (revision int64, err error) {
	err = s.with(ctx, func(ctx context.Context, c *sql.Conn) error {
		return c.QueryRowContext(ctx, `
INSERT INTO products (id, name, description, category, vendor, price_cents, weight_grams, revision, changed_at)
VALUES (?, ?, '', 1, 1, ?, 1000, 1, ?)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, price_cents = excluded.price_cents,
       revision = revision + 1, changed_at = excluded.changed_at
RETURNING revision`, id, name, priceCents, time.Now().UnixNano()).Scan(&revision)
	})
	return revision, err
}

// ChangedSince returns the revisions of the products that were changed at t or
// later.
func (s *Store) ChangedSince(ctx context.Context, t time.Time) (map[int64]int64, error) {
	revisions := make(map[int64]int64)
	rows, err := s.db.QueryContext(ctx, "SELECT id, revision FROM products WHERE changed_at >= ?", t.UnixNano())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, revision int64
		if err := rows.Scan(&id, &revision); err != nil {
			return nil, err
		}
		revisions[id] = revision
	}
	return revisions, rows.Err()
}

// with calls fn with a connection, after the latency. Loads of the cache outlive
// the requests that began them, so that they need a bound here.
func (s *Store) with(ctx context.Context, fn func(context.Context, *sql.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	select {
	case <-time.After(s.latency):
		return fn(ctx, c)
	case <-ctx.Done():
		return ctx.Err()
	}
}
