package cache

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// TestAnImageIsCopiedBesideAWriter: nobody who writes is waited for, nor waits.
func TestAnImageIsCopiedBesideAWriter(t *testing.T) {
	c, err := OpenMemory(testOptions(1 << 20))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 1000 {
		_ = c.Set(fmt.Appendf(nil, "key %d", i), []byte("value"))
		_ = c.SetEntry(fmt.Appendf(nil, "memory %d", i), []byte("value"), EntryOptions{MemoryOnly: true})
	}
	s := c.shards[0]
	entries := 0
	dst := make([]byte, int(s.index.buckets())*bucketSize)
	copied := make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	go func() { copied <- cutter{c}.CopyIndex(0, 0, dst) }()
	select {
	case err := <-copied:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the copy waits for the shard's lock")
	}
	for slot := range s.index.buckets() * bucketSlots {
		got, want := word(binary.LittleEndian.Uint64(dst[8*slot:])), s.index.load(slot).onFile()
		if got != want {
			t.Fatalf("slot %d: got %x, want %x", slot, got, want)
		}
		if got != 0 {
			entries++
		}
	}
	if entries == 0 || int64(entries) != s.fileEntries {
		t.Errorf("%d entries were copied of %d", entries, s.fileEntries)
	}
}
