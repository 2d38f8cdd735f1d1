package loader

import (
	"testing"

	"github.com/embercache/ember/pagefile"
)

// bigWriter is a directory on the real file system: 16 shards, 32,000 segments,
// an image of 80 MB. Its pages are not written, Load does not read them.
func bigWriter(b *testing.B) *writer {
	geo := pagefile.Geometry{Shards: 16, SegmentSize: 128 << 10, BaseBuckets: 1 << 16, Seed: 1, DirID: 2}
	w := newWriter(b, pagefile.OS(), b.TempDir(), geo)
	w.ringSize = 80 << 20
	data := make([]byte, geo.SegmentSize)
	for _, s := range w.shards {
		for queue := range uint8(2) {
			for seq := range uint64(1000) {
				seg := w.newSegment(s, queue, seq)
				seg.data, seg.used, seg.home = data, geo.SegmentSize, geo.PagesPerSegment()
				seg.Fill, seg.Place = uint32(geo.UnitsPerSegment()), w.places
				seg.linked, seg.linkedBytes, seg.durable = true, seg.used, seg.used
				w.places++
				s.open[queue] = seg
			}
			s.tails[queue] = 1000 * geo.UnitsPerSegment()
		}
	}
	w.must(w.pages.Allocate(0, pagefile.PageSize)) // the rest is missing: a finding, and no place
	w.generate(true)
	return w
}

func BenchmarkLoad(b *testing.B) {
	for _, bench := range []struct {
		name  string
		write func(w *writer)
		ready bool // memory for links is at hand
	}{
		{"journal=0/weak=0MB", func(*writer) {}, false},
		{"journal=1M/weak=0MB", func(w *writer) {
			w.journals(1_000_000)
			w.link(false)
			w.generate(false)
		}, false},
		{"journal=0/weak=60MB", writeChain, false},
		{"journal=0/weak=60MB/memory=ready", writeChain, true},
	} {
		b.Run(bench.name, func(b *testing.B) {
			w := bigWriter(b)
			bench.write(w)
			o := Options{FS: w.fs, Dir: w.dir, Schema: "s1"}
			memory := make([]byte, 80<<20)
			rest := memory
			if bench.ready {
				for i := 0; i < len(memory); i += pagefile.PageSize {
					memory[i] = 1
				}
				o.Memory = func(n int) (b []byte) {
					b, rest = rest[:n], rest[n:]
					return b
				}
			}
			b.ReportAllocs()
			var took Took
			for b.Loop() {
				rest = memory
				res, err := Load(b.Context(), o)
				w.must(err)
				took = res.Took
				b.StopTimer()
				if res.Record == nil || len(res.Shards[0].Segments) < 2000 {
					b.Fatal(res.Reason)
				}
				res.Close()
				b.StartTimer()
			}
			for _, phase := range []struct {
				name string
				took int64
			}{{"records", took.Records.Microseconds()}, {"tables", took.Tables.Microseconds()}, {"blobs", took.Blobs.Microseconds()},
				{"weak", took.Weak.Microseconds()}, {"finish", took.Finish.Microseconds()}} {
				b.ReportMetric(float64(phase.took), phase.name+"-us")
			}
		})
	}
}

func writeChain(w *writer) {
	for range 1500 {
		for i := range w.shards {
			w.store(i, 0, 2500)
		}
		w.link(false)
	}
}

// journals gives every shard its part of n entries.
func (w *writer) journals(n int) {
	for i := range n {
		s := w.shards[i%len(w.shards)]
		w.word(s, uint32(i/len(w.shards))%uint32(w.geo.BaseBuckets*pagefile.BucketSlots), uint64(i)<<32)
	}
}
