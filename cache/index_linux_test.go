package cache

import (
	"syscall"
	"testing"
	"unsafe"
)

// TestTheIndexIsInMemoryBeforeItGrows: the next huge page comes when little is left
// of the one before, and not earlier.
func TestTheIndexIsInMemoryBeforeItGrows(t *testing.T) {
	if racing {
		t.Skip("memory lies on Go's heap")
	}
	c, err := OpenMemory(&Options{MaxBytes: 256 << 20, Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.closed.Store(true) // the tick would do it as well
	close(c.stop)
	c.running.Wait()
	s := c.shards[0]
	resident := func(page int) bool {
		var in [1]byte
		at := uintptr(s.index.base) + uintptr((page+1)*hugePage-pageSize)
		if _, _, errno := syscall.Syscall(syscall.SYS_MINCORE, at, pageSize, uintptr(unsafe.Pointer(&in))); errno != 0 {
			t.Fatal(errno)
		}
		return in[0]&1 != 0
	}
	for page := 1; page <= 3; page++ {
		end := page * hugePage / bucketSize
		s.index.version.Store(uint64(end - warmAhead - 1))
		if s.warmIndex(); resident(page) {
			t.Errorf("huge page %d is in memory with %d buckets", page, end-warmAhead-1)
		}
		s.index.version.Store(uint64(end - warmAhead))
		if s.warmIndex(); !resident(page) {
			t.Errorf("huge page %d is not in memory with %d buckets", page, end-warmAhead)
		}
	}
	s.index.version.Store(uint64(s.index.limit))
	s.warmIndex() // there is no next one
}
