package cache

import (
	"encoding/binary"
	"math/rand"
	"sync"
	"testing"
	"time"
)

func TestAJournalThatOverflowsSaysSo(t *testing.T) {
	j := journal{chunks: testChunks(t, 10), limit: 10_000}
	for i := range 5000 {
		j.append(uint32(i), word(i))
	}
	parts, lost, _ := j.cut()
	n := 0
	for _, p := range parts {
		for ; len(p) > 0; p = p[journalEntry:] {
			if binary.LittleEndian.Uint32(p) != uint32(n) || binary.LittleEndian.Uint64(p[4:]) != uint64(n) {
				t.Fatalf("entry %d is wrong", n)
			}
			n++
		}
	}
	if n != 5000 || lost {
		t.Fatalf("%d entries, lost %v", n, lost)
	}
	for i := range 30_000 {
		j.append(uint32(i), 1)
	}
	if parts, lost, _ = j.cut(); !lost || len(parts) != 0 {
		t.Errorf("after an overflow: lost %v, %d parts", lost, len(parts))
	}
	j.append(7, 7)
	if parts, lost, _ = j.cut(); lost || len(parts) != 1 || len(parts[0]) != journalEntry {
		t.Errorf("after the cut: lost %v, %d parts", lost, len(parts))
	}
}

// BenchmarkJournalAppend is the journal's share of a Set.
func BenchmarkJournalAppend(b *testing.B) {
	j := journal{chunks: testChunks(b, 40), limit: 1 << 30}
	for left := b.N; left > 0; left -= 100_000 {
		for i := range min(left, 100_000) {
			j.append(uint32(i), word(i))
		}
		parts, _, _ := j.cut()
		for _, part := range parts {
			j.chunks.drop(part)
		}
	}
}

// BenchmarkApplyJournal stores a million slots, scattered over an index of 4
// million entries that no process has touched yet, as Open does: each shard by a
// goroutine of its own.
func BenchmarkApplyJournal(b *testing.B) {
	const stores = 1_000_000
	rnd := rand.New(rand.NewSource(1))
	var worst, total time.Duration
	for range b.N {
		b.StopTimer()
		c, err := OpenMemory(testOptions(2 << 30))
		if err != nil {
			b.Fatal(err)
		}
		entries := make([][]byte, len(c.shards))
		buckets := 750_000 / len(c.shards)
		for i, s := range c.shards {
			s.index.version.Store(uint64(buckets))
			s.segmentAt(mainQueue, 0).open(1, 0, allPages)
			s.queues[mainQueue].tail = s.unitMask
			for range stores / len(c.shards) {
				entries[i] = binary.LittleEndian.AppendUint32(entries[i], uint32(rnd.Intn(buckets*bucketSlots)))
				entries[i] = binary.LittleEndian.AppendUint64(entries[i], uint64(makeWord(mainQueue, uint64(rnd.Intn(1000)), 1)))
			}
		}
		b.StartTimer()
		start := time.Now()
		var group sync.WaitGroup
		for i, s := range c.shards {
			group.Go(func() {
				l := &lazyShard{buckets: uint32(buckets), marks: make([]uint64, buckets*bucketSlots/64+1)}
				l.opened[mainQueue] = s.queues[mainQueue]
				s.applyJournals(l, [][]byte{entries[i]})
			})
		}
		group.Wait()
		took := time.Since(start)
		worst, total = max(worst, took), total+took
		b.StopTimer()
		c.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "ms/million")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms/million")
}
