package cache

import (
	"context"
	"testing"
)

func open(t testing.TB, dir string, o *Options) *Cache {
	t.Helper()
	c, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func mustFlush(t testing.TB, c *Cache) uint64 {
	t.Helper()
	g, err := c.Flush(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := checked(c); err != nil {
		t.Fatal(err)
	}
	return g
}

func mustClose(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCloseAndOpenGiveTheSameState(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	o := testOptions(64 << 20)
	c := open(t, dir, o)
	const n = 20000
	for i := range n {
		mustSet(t, c, testKey(i), testValue(i, 100+i%300))
	}
	mustSet(t, c, []byte("large"), testValue(1, 3<<20))
	for i := 0; i < n; i += 3 {
		c.Delete(testKey(i))
	}
	entries, bytes := c.Len(), c.Bytes()
	mustClose(t, c)

	for round := range 10 {
		c = open(t, dir, o)
		r := c.Recovery()
		if r.Outcome != OutcomeWarm || r.Entries != entries || r.Bytes != bytes {
			t.Fatalf("round %d: %+v, want %d entries of %d bytes", round, r, entries, bytes)
		}
		for i := range n {
			if i%3 == 0 {
				if c.Has(testKey(i)) {
					t.Fatalf("round %d: deleted key %d is back", round, i)
				}
			} else {
				wantValue(t, c, testKey(i), testValue(i, 100+i%300))
			}
		}
		wantValue(t, c, []byte("large"), testValue(1, 3<<20))
		if _, err := c.WaitVerified(context.Background()); err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, c)
		if c.Len() != entries || c.Bytes() != bytes {
			t.Fatalf("round %d: %d entries of %d bytes, want %d of %d", round, c.Len(), c.Bytes(), entries, bytes)
		}
		mustClose(t, c)
	}
}
