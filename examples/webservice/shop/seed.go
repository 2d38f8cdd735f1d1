package shop

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// seed makes a shop that depends on the number of products alone: what looks
// random is a product with a large prime.
const seed = `
PRAGMA journal_mode = off;
PRAGMA synchronous = off;
BEGIN;
CREATE TABLE categories (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE vendors (id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL);
CREATE TABLE products (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL,
  category INTEGER NOT NULL, vendor INTEGER NOT NULL,
  price_cents INTEGER NOT NULL, weight_grams INTEGER NOT NULL,
  revision INTEGER NOT NULL, changed_at INTEGER NOT NULL);
CREATE TABLE stock (product INTEGER, warehouse INTEGER, units INTEGER NOT NULL,
  PRIMARY KEY (product, warehouse)) WITHOUT ROWID;
CREATE TABLE reviews (product INTEGER, n INTEGER, stars INTEGER NOT NULL,
  PRIMARY KEY (product, n)) WITHOUT ROWID;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 100)
INSERT INTO categories SELECT i, 'Category ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 500)
INSERT INTO vendors SELECT i, 'Vendor ' || i, substr('DEFRITESNLPLSECZ', 1 + 2*(i %% 8), 2) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %[1]d)
INSERT INTO products SELECT i, 'Product ' || i,
  substr(replace(hex(zeroblob(30)), '00', 'Well made, fairly priced. '), 1, 100 + i*7919 %% 500), 1 + i*104729 %% 100, 1 + i*1299709 %% 500,
  100 + i*15485863 %% 100000, 50 + i*32452843 %% 5000, 1, 0 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 4*%[1]d - 1)
INSERT INTO stock SELECT 1 + i/4, i %% 4, i*49979687 %% 200 FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 8*%[1]d - 1)
INSERT INTO reviews SELECT 1 + i/8, i %% 8, 1 + i*67867967 %% 5 FROM n;
CREATE INDEX products_changed_at ON products (changed_at);
COMMIT;
PRAGMA journal_mode = wal; -- stays with the file
`

// Seed makes a database with products 1 to n at path, unless there is a file.
func Seed(path string, n int) (err error) {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// Under another name until it is whole: a run that was interrupted leaves no
	// half of a shop behind.
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+part)
	if err != nil {
		return fmt.Errorf("seed database: %w", err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.Exec(fmt.Sprintf(seed, n))
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("seed database: %w", err)
	}
	return os.Rename(part, path)
}
