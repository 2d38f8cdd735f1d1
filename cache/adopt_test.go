package cache

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

// left opens a cache whose entries are all left on file, and nothing is brought in.
func left(t *testing.T) (fs *crashfs.FS, c *Cache, s *shard, l *lazyShard) {
	t.Helper()
	o := quietOptions(crashfs.New(), 1)
	o.hooks.lazily = true
	c = openOn(t, o)
	for i := range 60 {
		mustSet(t, c, testKey(i), testValue(i, 1000))
	}
	mustFlush(t, c)
	drop(c)
	fs = o.hooks.fs.(*crashfs.FS).Clone()
	o.hooks.fs = fs
	c = openOn(t, o)
	t.Cleanup(func() { drop(c) })
	s = c.shards[0]
	if l = s.lazy.Load(); l == nil || l.left.Load() == 0 {
		t.Fatal("nothing was left on file")
	}
	return fs, c, s, l
}

// Who can read the block once more must not have its words back: the journal says
// that its slots are empty. // I10
func TestADamagedBlockIsEmptyInTheJournal(t *testing.T) {
	fs, _, s, l := left(t)
	defer fs.Fail(crashfs.Rule{Kind: crashfs.OpRead, Path: "image-", Err: syscall.EIO})()
	s.loadIndex()
	s.lock()
	defer s.unlock()
	parts, _, _ := s.journal.cut()
	stores := 0
	for _, p := range parts {
		stores += len(p) / journalEntry
	}
	if want := int(l.buckets) * bucketSlots; stores != want {
		t.Errorf("%d slots are empty in the journal, want %d", stores, want)
	}
}

// A word from a file counts if it lies in its queue, as it was at the opened cut and
// as it is now. // I10
func TestWordsFromFilesAreTested(t *testing.T) {
	_, _, s, l := left(t)
	s.lock()
	defer s.unlock()
	q := uint8(smallQueue)
	if s.queues[q].head == s.queues[q].tail {
		q = mainQueue
	}
	at, qu := l.opened[q], &s.queues[q]
	want := func(what string, pos uint64, want bool) {
		t.Helper()
		if got, dangles := s.standsLocked(l, makeWord(q, pos, 1)); got != want || dangles {
			t.Errorf("%s: stands %v, dangles %v, want %v, false", what, got, dangles, want)
		}
	}
	want("the first", at.head, true)
	want("the last", at.tail-1, true)
	want("one after the cut, in its last segment", at.tail, false)
	head := qu.head
	qu.head++
	want("one that was evicted since", at.head, false)
	qu.head = head
}

// While a page is read its segment may end, or somebody else may bring the page in.
func TestAPageIsAdoptedOnce(t *testing.T) {
	for _, ends := range []bool{false, true} {
		fs, _, s, l := left(t)
		seg, number := s.homeSegment(t, l)
		frame := s.frames.bytes(seg.frame.Load())
		mark := bytes.Repeat([]byte{0xee}, pageSize)
		read := false
		remove := fs.Inject(func(op crashfs.Op) error {
			if op.Kind != crashfs.OpRead || !strings.Contains(op.Path, "pages-") || read {
				return nil
			}
			read = true
			s.mu.Lock()
			defer s.mu.Unlock()
			copy(frame, mark)
			if ends {
				seg.number.Store(number + 1000)
			} else {
				seg.present.Store(seg.present.Load() | 1)
			}
			return nil
		})
		s.loadPages(l, want{seg, number, 1})
		remove()
		if !read || !bytes.Equal(frame[:pageSize], mark) || ends && seg.present.Load()&1 != 0 {
			t.Errorf("ends %v: read %v, or the page was copied over other bytes", ends, read)
		}
		seg.number.Store(number)
	}
}

// homeSegment is a segment whose first page is on file only.
func (s *shard) homeSegment(t *testing.T, l *lazyShard) (*segment, uint64) {
	t.Helper()
	for i := range l.segments {
		f := &l.segments[i]
		seg := s.segmentAt(f.Queue, s.startOf(f.Seq))
		if f.Queue < fileQueues && seg.number.Load() == f.Number && seg.present.Load()&1 == 0 {
			return seg, f.Number
		}
	}
	t.Fatal("no page was left on file")
	return nil, 0
}
