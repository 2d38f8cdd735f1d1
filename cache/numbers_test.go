package cache

import (
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// TestNumbersRunIntoTheNextOpen: a process that opens more than 2^32 segments has the
// numbers with which the next one would begin. That begins behind them.
func TestNumbersRunIntoTheNextOpen(t *testing.T) {
	for name, end := range map[string]func(testing.TB, *Cache){
		"close": mustClose,
		"kill":  func(t testing.TB, c *Cache) { mustFlush(t, c); drop(c) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := crashfs.New()
			c := openOn(t, quietOptions(fs, 1))
			mustFlush(t, c)
			c.numbers.last.Store(c.numbers.last.Load() | (1<<32 - 3))
			for i := range 60 {
				mustSet(t, c, worldKey(i), testValue(i, 20000)) // of which some have segments of their own
			}
			last, want := c.numbers.last.Load(), contents(c)
			if last>>32 != 2 {
				t.Fatalf("the counter has not run over: %x", last)
			}
			end(t, c)
			for life := range 3 {
				c = openOn(t, quietOptions(fs, 1))
				sameContents(t, contents(c), want)
				if now := c.numbers.last.Load(); now>>32 <= last>>32 {
					t.Fatalf("life %d is at %x, the one before ended at %x", life, now, last)
				}
				mustSet(t, c, worldKey(life), testValue(life+100, 20000))
				want, last = contents(c), c.numbers.last.Load()
				end(t, c)
			}
		})
	}
}
