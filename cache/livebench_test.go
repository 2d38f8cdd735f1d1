package cache

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// BenchmarkLiveSet is what a live log costs a Set of 256 bytes under a key that is
// there: a thousand at a time, every few ms, so that links keep up.
func BenchmarkLiveSet(b *testing.B) {
	for _, live := range []bool{false, true} {
		b.Run(fmt.Sprintf("live=%t", live), func(b *testing.B) {
			o := &Options{MaxBytes: 256 << 20, Logger: slog.New(slog.DiscardHandler)}
			if live {
				o.Durability.Live = tmpfs(b)
			}
			c, err := Open(context.Background(), b.TempDir(), o)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			const keys, burst = 100_000, 1000
			value := make([]byte, 256)
			key := func(i int) []byte { return fmt.Appendf(nil, "key-%08d", i%keys) }
			for i := range keys {
				_ = c.Set(key(i), value)
				if i%burst == 0 {
					time.Sleep(4 * time.Millisecond) // the pace
				}
			}
			var list [burst][]byte
			var took time.Duration
			before := c.Stats().LiveGaps
			for n := 0; n < b.N; n += burst {
				for i := range list {
					list[i] = key((n + i) * 7919)
				}
				began := time.Now()
				for _, k := range list {
					_ = c.Set(k, value)
				}
				took += time.Since(began)
				time.Sleep(4 * time.Millisecond) // the pace
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64((b.N+burst-1)/burst*burst), "ns/set")
			b.ReportMetric(float64(c.Stats().LiveGaps-before), "gaps")
		})
	}
}
