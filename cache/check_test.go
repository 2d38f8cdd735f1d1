package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/embercache/ember/dump"
	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/pagefile"
)

// checked checks the newest generation against memory; nil if it is proved, or
// cannot be compared. mustFlush and the worlds call it after every generation.
func checked(c *Cache) error {
	err := c.selfCheck(0)
	if errors.As(err, new(unchecked)) {
		return nil
	}
	return err
}

// proved wants the newest generation to be compared and equal.
func proved(t testing.TB, c *Cache, generation uint64) {
	t.Helper()
	if err := checked(c); err != nil {
		t.Fatal(err)
	}
	if got := c.Stats().LastVerified; got != generation {
		t.Fatalf("generation %d is verified, want %d", got, generation)
	}
}

// A liar says something else to the dumper than the cache does.
type liar struct {
	dump.Source
	cut  func(*dump.Cut)
	word func(slot int, w uint64) uint64
	copy func(id dump.SegmentID, off int, b []byte)
	gone func(id dump.SegmentID) bool
}

func (l *liar) Cut() *dump.Cut {
	c := l.Source.Cut()
	if l.cut != nil {
		l.cut(c)
	}
	return c
}

func (l *liar) CopyIndex(shard, first int, dst []byte) error {
	err := l.Source.CopyIndex(shard, first, dst)
	for i := 0; l.word != nil && i < len(dst); i += 8 {
		w := binary.LittleEndian.Uint64(dst[i:])
		binary.LittleEndian.PutUint64(dst[i:], l.word(first*bucketSlots+i/8, w))
	}
	return err
}

// Pin has everything copied.
func (l *liar) Pin(int, dump.SegmentID, int, int) ([]byte, dump.Pin, bool) {
	return nil, 0, false
}

func (l *liar) Copy(dst []byte, shard int, id dump.SegmentID, off int) bool {
	if l.gone != nil && l.gone(id) {
		return false
	}
	ok := l.Source.Copy(dst, shard, id, off)
	if ok && l.copy != nil {
		l.copy(id, off, dst)
	}
	return ok
}

// A checkRig is a cache whose dumper can be lied to.
type checkRig struct {
	t  *testing.T
	fs *crashfs.FS
	c  *Cache
	l  *liar
	n  int // of the next value
}

func newCheckRig(t *testing.T, change func(*Options)) *checkRig {
	r := &checkRig{t: t, fs: crashfs.New(), l: new(liar)}
	o := quietOptions(r.fs, 1)
	o.MaxBytes, o.Durability.Keep = 2<<20, 3
	o.hooks.source = func(s dump.Source) dump.Source { r.l.Source = s; return r.l }
	if change != nil {
		change(o)
	}
	r.c = openOn(t, o)
	t.Cleanup(func() {
		if !r.c.closed.Load() {
			drop(r.c)
		}
	})
	reopened(t, r.c)
	return r
}

// work stores some of everything: small and large values, MemoryOnly ones,
// overwrites and deletes.
func (r *checkRig) work(n int) {
	r.t.Helper()
	for range n {
		r.n++
		key := worldKey(r.n * 7 % worldKeys)
		mustSet(r.t, r.c, key, testValue(r.n, r.n*37%900))
		switch r.n % 20 {
		case 0:
			r.c.Delete(worldKey(r.n % worldKeys))
		case 5:
			mustSet(r.t, r.c, worldKey(r.n%40), testValue(r.n, 20<<10+r.n%30000))
		case 10:
			if err := r.c.SetEntry(worldKey(r.n%worldKeys), []byte("x"), EntryOptions{MemoryOnly: true}); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// flush writes a generation; the next one is full if asked for.
func (r *checkRig) flush(full bool) uint64 {
	r.t.Helper()
	if full {
		r.c.persist.dumper.Mend()
	}
	g, err := r.c.Flush(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// TestEveryGenerationIsProved: light and full ones, while the index grows, the
// cache turns over, is cleared, and is opened again.
func TestEveryGenerationIsProved(t *testing.T) {
	r := newCheckRig(t, nil)
	for round := range 30 {
		r.work(30 + 40*(round%7))
		if round%11 == 10 {
			if err := r.c.Clear(); err != nil {
				t.Fatal(err)
			}
			r.work(3)
		}
		proved(t, r.c, r.flush(round%5 == 4))
		if round%4 == 3 {
			mustClose(t, r.c)
			r.c.opts.hooks.lazily = true
			r.c = openOn(t, &r.c.opts)
			r.work(50) // slots change that are not in the digest
			if g := r.flush(false); r.c.selfCheck(0) != unsettled {
				t.Fatalf("generation %d is compared before all was in memory", g)
			}
			r.c.prefetch()
			r.work(1)
			proved(t, r.c, r.flush(false))
		}
	}
	for i := range 4000 { // the index grows
		mustSet(t, r.c, testKey(i), nil)
		if i%400 == 0 {
			proved(t, r.c, r.flush(false))
		}
	}
	if err := r.c.Health(); err != nil {
		t.Error(err)
	}
}

// TestLeftOutPagesAreNoMismatch: what was evicted before it could go home is
// missing in that generation, and counted as that.
func TestLeftOutPagesAreNoMismatch(t *testing.T) {
	r := newCheckRig(t, nil)
	r.work(300)
	for _, large := range []bool{false, true} {
		r.l.gone = func(id dump.SegmentID) bool {
			return (id.Queue == pagefile.QueueLarge) == large && (large || id.Number%3 == 0)
		}
		before := r.c.Stats().LeftOut
		r.turnOver()
		r.work(200)
		g := r.flush(false)
		if got := r.c.Stats().LeftOut; got == before {
			t.Fatal("nothing was left out")
		}
		proved(t, r.c, g)
		r.l.gone = nil
		if err := r.c.Clear(); err != nil { // of what the dumper was lied to about
			t.Fatal(err)
		}
		r.work(200)
		proved(t, r.c, r.flush(false))
	}
}

// TestRecordsWrittenAgainAreProved: a record that failed, or has no mirror, comes
// again under another number.
func TestRecordsWrittenAgainAreProved(t *testing.T) {
	for _, ring := range []string{pagefile.RecordsName, pagefile.MirrorName} {
		for _, more := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, more %v", ring, more), func(t *testing.T) {
				r := newCheckRig(t, nil)
				r.work(100)
				proved(t, r.c, r.flush(false))
				r.work(100)
				remove := r.fs.Fail(crashfs.Rule{Kind: crashfs.OpSync, Path: ring, Err: syscall.EIO})
				failed, err := r.c.Flush(context.Background())
				if remove(); err == nil != (ring == pagefile.MirrorName) {
					t.Fatal(err)
				}
				if more {
					r.work(100)
				}
				g := r.flush(false)
				if g <= failed {
					t.Errorf("generation %d after %d", g, failed)
				}
				proved(t, r.c, g)
			})
		}
	}
}

// once makes fn run at the first call that it accepts.
func once[T any](fn func(T) bool) (func(T), *bool) {
	done := new(bool)
	return func(v T) { *done = *done || fn(v) }, done
}

// lastEntry is the journal that ends with the last store of a cut: nothing hides it.
func lastEntry(c *dump.Cut) (j []byte, ok bool) {
	if n := len(c.Shards[0].Journal); n > 0 {
		j = c.Shards[0].Journal[n-1]
	}
	return j, len(j) > 0
}

// about lies about the first pages of segments.
func (l *liar) about(of func(dump.SegmentID) bool, lie func(b []byte)) *bool {
	told := new(bool)
	l.copy = func(id dump.SegmentID, off int, b []byte) {
		if of(id) && off == 0 && len(b) >= 2*pageSize {
			lie(b)
			*told = true
		}
	}
	return told
}

// lies are what a broken cache or dumper would write, with checksums that verify.
var lies = map[string]struct {
	full bool
	tell func(l *liar) (told *bool)
}{
	"a journal entry is dropped": {false, func(l *liar) (told *bool) {
		l.cut, told = once(func(c *dump.Cut) bool {
			j, ok := lastEntry(c)
			if ok {
				c.Shards[0].Journal[len(c.Shards[0].Journal)-1] = j[:len(j)-journalEntry]
			}
			return ok
		})
		return told
	}},
	"a journal entry has another slot": {false, func(l *liar) (told *bool) {
		l.cut, told = once(func(c *dump.Cut) bool {
			j, ok := lastEntry(c)
			if ok {
				j[len(j)-journalEntry] ^= 1
			}
			return ok
		})
		return told
	}},
	"a word of the image is another": {true, func(l *liar) (told *bool) {
		told = new(bool)
		l.word = func(slot int, w uint64) uint64 {
			if w != 0 && !*told {
				*told = true
				return w ^ 1<<posShift
			}
			return w
		}
		return told
	}},
	"a word of the image is missing": {true, func(l *liar) (told *bool) {
		told = new(bool)
		l.word = func(slot int, w uint64) uint64 {
			if w != 0 && slot > 100 && !*told {
				*told = true
				return 0
			}
			return w
		}
		return told
	}},
	"a page has another's bytes": {false, func(l *liar) (told *bool) {
		return l.about(func(id dump.SegmentID) bool { return id.Queue != pagefile.QueueLarge }, func(b []byte) {
			copy(b[:pageSize], b[pageSize:])
		})
	}},
	"a bit of a large value is another": {false, func(l *liar) (told *bool) {
		return l.about(func(id dump.SegmentID) bool { return id.Queue == pagefile.QueueLarge }, func(b []byte) {
			b[100] ^= 1
		})
	}},
	"bytes that are not home are others": {false, func(l *liar) (told *bool) {
		told = new(bool)
		l.copy = func(id dump.SegmentID, off int, b []byte) {
			if len(b) < pageSize && !*told {
				*told = true
				b[len(b)-1] ^= 1
			}
		}
		return told
	}},
	"a birth is lost": {false, func(l *liar) (told *bool) {
		l.cut, told = once(func(c *dump.Cut) bool {
			s := &c.Shards[0]
			if len(s.Born) == 0 {
				return false
			}
			s.Born = s.Born[:len(s.Born)-1]
			return true
		})
		return told
	}},
	"a death is lost": {false, func(l *liar) (told *bool) {
		l.cut, told = once(func(c *dump.Cut) bool {
			s := &c.Shards[0]
			if len(s.Died) == 0 {
				return false
			}
			s.Died = s.Died[1:]
			return true
		})
		return told
	}},
	"there is one entry less than was counted": {false, func(l *liar) (told *bool) {
		l.cut, told = once(func(c *dump.Cut) bool {
			c.Shards[0].State.Entries++
			return true
		})
		return told
	}},
}

// TestWhatFilesSayOtherwiseIsFound: bytes that verify and are wrong.
func TestWhatFilesSayOtherwiseIsFound(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			r := newCheckRig(t, nil)
			r.work(300)
			mustSet(t, r.c, []byte("again"), []byte("old"))
			good := r.flush(false)
			proved(t, r.c, good)
			r.work(400)
			mustSet(t, r.c, []byte("again"), []byte("new")) // which no count shows
			told := lie.tell(r.l)
			g := r.flush(lie.full)
			if !*told {
				t.Fatal("nobody asked what the lie is about")
			}
			err := r.c.selfCheck(0)
			var at *CorruptionError
			if !errors.Is(err, errMismatch) || !errors.Is(err, ErrCorrupt) || !errors.As(err, &at) || at.Generation != g {
				t.Fatalf("generation %d: %v", g, err)
			}
			health := r.c.Health()
			if !errors.Is(health, errMismatch) || !strings.Contains(health.Error(), fmt.Sprintf("generation %d", g)) || !strings.Contains(health.Error(), worldDir) {
				t.Errorf("Health: %v", health)
			}
			if got := r.c.Stats().LastVerified; got != good {
				t.Errorf("generation %d is verified, want %d", got, good)
			}
			if err := r.c.selfCheck(0); err != nothingNew {
				t.Errorf("the same generation again: %v", err)
			}
		})
	}
}

// TestWhatTheDiskLosesIsFound: bytes that do not verify any more, or are gone. The
// next generation is full, and Health is good again when it is proved.
func TestWhatTheDiskLosesIsFound(t *testing.T) {
	file := func(t *testing.T, fs *crashfs.FS, part string) string {
		for _, name := range fs.List() {
			if strings.Contains(name, part) {
				return name
			}
		}
		t.Fatalf("there is no %s file", part)
		return ""
	}
	for name, hurt := range map[string]func(*testing.T, *crashfs.FS) error{
		"two pages are swapped": func(t *testing.T, fs *crashfs.FS) error {
			return fs.SwapPages(file(t, fs, "pages-"), 1, 2)
		},
		"a bit of a page flips": func(t *testing.T, fs *crashfs.FS) error {
			return fs.Flip(file(t, fs, "pages-"), pagefile.FileHeaderBlock+100, 1)
		},
		"a bit of the image flips": func(t *testing.T, fs *crashfs.FS) error {
			return fs.Flip(file(t, fs, "image-"), pageSize+300, 1)
		},
		"a bit of a blob flips": func(t *testing.T, fs *crashfs.FS) error {
			return fs.Flip(file(t, fs, "blobs-"), pagefile.FileHeaderBlock+100, 1)
		},
		"the image is gone":      func(t *testing.T, fs *crashfs.FS) error { return fs.Erase(file(t, fs, "image-")) },
		"the blobs are gone":     func(t *testing.T, fs *crashfs.FS) error { return fs.Erase(file(t, fs, "blobs-")) },
		"the page file is short": func(t *testing.T, fs *crashfs.FS) error { return fs.TruncateFile(file(t, fs, "pages-"), 20*pageSize) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newCheckRig(t, nil)
			r.work(700)
			g := r.flush(true)
			if err := hurt(t, r.fs); err != nil {
				t.Fatal(err)
			}
			err := r.c.selfCheck(0)
			if err == nil || errors.Is(err, errMismatch) || !errors.Is(err, ErrCorrupt) || r.c.Stats().LastVerified != 0 {
				t.Fatalf("generation %d: %v", g, err)
			}
			if health := r.c.Health(); health == nil || !strings.Contains(health.Error(), "look after the disk") {
				t.Errorf("Health: %v", health)
			}
			full := r.c.Stats().FullGenerations
			r.work(1)
			r.flush(false)
			if got := r.c.Stats().FullGenerations; got != full+1 {
				t.Errorf("%d full generations, want %d: what was lost is still in use", got, full+1)
			}
		})
	}
}
