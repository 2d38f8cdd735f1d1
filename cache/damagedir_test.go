package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// A content is what a cache holds, as its callers see it, for each of damageKeys.
type content []held

type held struct {
	value   uint64 // hash; 0: there is no such entry
	expires int64  // Unix milliseconds
}

// contentOf reads every key.
func contentOf(c *Cache) content {
	have := make(content, len(damageKeys))
	var buf []byte
	for i, key := range damageKeys {
		var ok bool
		if buf, ok = c.AppendGet(buf[:0], key); ok {
			e, _ := c.Info(key)
			have[i] = held{maphash.Bytes(valueSeed, buf) | 1, e.Expires.UnixMilli()}
		}
	}
	return have
}

func (have content) entries() (n int) {
	for _, h := range have {
		if h != (held{}) {
			n++
		}
	}
	return n
}

// differs names the first difference, "" if there is none.
func (have content) differs(want content) string {
	for i, h := range have {
		switch w := want[i]; {
		case h == w:
		case h == held{}:
			return fmt.Sprintf("%s is missing", damageKeys[i])
		case w == held{}:
			return fmt.Sprintf("%s is back", damageKeys[i])
		default:
			return fmt.Sprintf("%s has another value or expiry", damageKeys[i])
		}
	}
	return ""
}

// only is want, as far as have has the key: have, if have is want minus entries.
func (have content) only(want content) content {
	part := make(content, len(want))
	for i, h := range have {
		if h != (held{}) {
			part[i] = want[i]
		}
	}
	return part
}

// A directory is the files of a cache that has ended, and what it had
// acknowledged: the subject of damage.
type directory struct {
	t      *testing.T
	rng    *rand.Rand
	life   life
	salt   int // of all values
	fs     *crashfs.FS
	o      *Options
	links  []content // acknowledged: the newest generation, then each weak link
	older  []content // of the generations before
	names  []string  // of files with something in them
	files  map[string][]byte
	used   map[string][]int64 // pages
	parts  map[string][]part
	every  int // after how many damages the cache has to work on
	opened int // caches so far
	alarms int // of them said that they may be stale
	lost   int // of them had lost entries
}

// damageClock stands still.
func damageClock() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// damageKeys are all keys that any step writes.
var damageKeys = func() (keys [][]byte) {
	for i := range 70 {
		keys = append(keys, worldKey(i))
	}
	return append(keys, []byte("large"), []byte("memory"), []byte("ended"), []byte("new"))
}()

// A life is how a directory came to be as it is.
type life string

const (
	killed life = "killed" // with weak links after the newest generation
	closed life = "closed"
	lapped life = "lapped" // killed when the rings were full, and begun again
)

// lives are those that a test goes through.
func lives() []life { return []life{killed, closed, lapped}[:min(fewer(4), 3)] }

// newDirectory lives one of the lives: two processes, generations of both kinds,
// deletes and overwrites in each of them.
func newDirectory(t *testing.T, life life) *directory {
	t.Helper()
	return newDirectoryOf(t, life, 0)
}

// value is one that this directory alone has.
func (d *directory) value(i, n int) []byte { return testValue(d.salt+i, n) }

func newDirectoryOf(t *testing.T, life life, salt int) *directory {
	t.Helper()
	fs := crashfs.New()
	d := &directory{t: t, rng: newRand(t), life: life, salt: salt, fs: fs, o: quietOptions(fs, 2), every: 24}
	d.o.Clock = damageClock
	d.o.Recovery.Budget = time.Nanosecond // full generations
	c := openOn(t, d.o)
	d.fill(c)
	d.flush(c)
	d.change(c, 1)
	d.flush(c)
	mustClose(t, c)
	d.o.Recovery.Budget = 0
	c = openOn(t, d.o)
	for i := range 70 {
		if life == lapped {
			mustSet(t, c, []byte("large"), d.value(1000+i, 20000))
			d.flush(c)
		}
	}
	for i := range 3 {
		d.change(c, 2+i)
		d.flush(c)
	}
	d.links, d.older = d.older[len(d.older)-1:], d.older[:len(d.older)-1]
	for i := range 3 {
		d.change(c, 5+i)
		if err := c.persist.dumper.Weak(); err != nil {
			t.Fatal(err)
		}
		d.links = append(d.links, onFile(c))
	}
	if life == closed {
		d.older, d.links = append(d.older, d.links[:3]...), d.links[3:]
		mustClose(t, c)
	} else {
		drop(c)
	}
	d.readFiles()
	d.findParts()
	return d
}

func (d *directory) flush(c *Cache) {
	d.t.Helper()
	mustFlush(d.t, c)
	d.older = append(d.older, onFile(c))
}

// fill stores entries of all kinds and sizes.
func (d *directory) fill(c *Cache) {
	d.t.Helper()
	for i := range 60 {
		ttl := time.Duration(i%3) * time.Hour // the default, which is none; then some
		if err := c.SetWithTTL(worldKey(i), d.value(i, i*i%1300), ttl); err != nil {
			d.t.Fatal(err)
		}
	}
	mustSet(d.t, c, worldKey(60), d.value(60, 6000))
	mustSet(d.t, c, []byte("large"), d.value(61, 20000))
	mustSet(d.t, c, []byte("ended"), d.value(62, 18000))
	if err := c.SetEntry([]byte("memory"), []byte("only"), EntryOptions{MemoryOnly: true}); err != nil {
		d.t.Fatal(err)
	}
}

// change deletes, overwrites and adds, so that each step differs from the one
// before in all three, and has memory of its own.
func (d *directory) change(c *Cache, step int) {
	d.t.Helper()
	if step == 3 {
		c.Delete([]byte("ended"))
	}
	c.Delete(worldKey(step))
	mustSet(d.t, c, worldKey(10+step), d.value(100+step, 20*step))
	mustSet(d.t, c, worldKey(20), d.value(200+step, 40))
	mustSet(d.t, c, worldKey(61+step), d.value(300+step, 10*step))
	if err := c.SetEntry(worldKey(30+step), []byte("memory"), EntryOptions{MemoryOnly: true}); err != nil {
		d.t.Fatal(err)
	}
}

// findParts wants everything there that damage is to meet, and notes where it is.
func (d *directory) findParts() {
	d.t.Helper()
	res, err := loader.Load(context.Background(), loader.Options{FS: d.fs.Clone(), Dir: worldDir})
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Close()
	home, large := 0, 0
	for i := range res.Shards {
		for _, seg := range res.Shards[i].Segments {
			if seg.Place != pagefile.NoPlace && seg.ImageEntry >= 0 {
				home++
			}
			if seg.Queue == pagefile.QueueLarge {
				large++
			}
		}
	}
	r := res.Record
	if r == nil || r.Image == 0 || len(r.Blobs) < 2 || len(res.Retained) < 2 || home == 0 || large == 0 || res.Weak != len(d.links)-1 || res.Reason != nil {
		d.t.Fatalf("not a directory with everything in it: record %+v, %d retained, %d segments at home, %d large, %d links, reason %v",
			r, len(res.Retained), home, large, res.Weak, res.Reason)
	}
	slot := pagefile.RingSlot(r.Generation) * pagefile.MaxRecord
	next := pagefile.RingSlot(r.Generation+1) * pagefile.MaxRecord
	weak := d.files[pagefile.FileName(pagefile.KindWeak, r.Weak.File)]
	if again := !allZero(d.files[pagefile.RecordsName][next:next+64]) && !allZero(weak[res.Chain.Offset:][:64]); again != (d.life == lapped) {
		d.t.Fatalf("generation %d, links up to %d of %d bytes: have the rings begun again? %v", r.Generation, res.Chain.Offset, len(weak), again)
	}
	d.parts = map[string][]part{
		pagefile.RecordsName:                              {{slot, slot + pageSize}},
		pagefile.MirrorName:                               {{slot, slot + pageSize}},
		pagefile.FileName(pagefile.KindImage, r.Image):    {{0, 1 << 30}},
		pagefile.FileName(pagefile.KindPages, r.PageFile): {{0, pageSize}},
		pagefile.FileName(pagefile.KindWeak, r.Weak.File): {{int(r.Weak.Offset), int(res.Chain.Offset)}},
	}
	for _, e := range r.Blobs {
		name := pagefile.FileName(pagefile.KindBlobs, e.File)
		h, _, err := pagefile.ReadBlobHeader(bytes.NewReader(d.files[name]), int64(e.Offset), 1<<30)
		if err != nil {
			d.t.Fatal(err)
		}
		values := 0 // bytes at the end
		for _, s := range h.Sections {
			values += int(s.DataLen)
		}
		d.parts[name] = append(d.parts[name], part{int(e.Offset), int(e.Offset) + int(e.Length) - values})
	}
}

// A part is the bytes [from, to) of a file.
type part struct{ from, to int }

// named reports whether the byte is one that the newest generation is made of,
// and not of a value.
func (d *directory) named(name string, off int) bool {
	return slices.ContainsFunc(d.parts[name], func(p part) bool { return off >= p.from && off < p.to })
}

// onFile is what files may hold of what c has.
func onFile(c *Cache) content {
	have := contentOf(c)
	for i, key := range damageKeys {
		if r, ok := c.peek(key); ok && r.w.queue() >= fileQueues {
			have[i] = held{}
		}
	}
	return have
}

// readFiles notes what the files hold, and which of their pages hold anything.
func (d *directory) readFiles() {
	d.files, d.used = make(map[string][]byte), make(map[string][]int64)
	for _, file := range d.fs.List() {
		b, err := d.fs.ReadFile(file)
		if err != nil {
			d.t.Fatal(err)
		}
		if len(b) == 0 {
			continue
		}
		name := path.Base(file)
		d.names, d.files[name] = append(d.names, name), b
		for at := 0; at < len(b); at += pageSize {
			if !allZero(b[at:][:pageSize]) {
				d.used[name] = append(d.used[name], int64(at/pageSize))
			}
		}
	}
}

var zeroes [pageSize]byte

func allZero(b []byte) bool { return bytes.Equal(b, zeroes[:len(b)]) }

// copied is a copy of the files and options for it.
func (d *directory) copied(fs *crashfs.FS) (*crashfs.FS, *Options) {
	fs = fs.Clone()
	o := *d.o
	o.hooks.fs = fs
	return fs, &o
}

// damage opens a copy of the files after do and holds it to the law. file is
// where the damage lies.
func (d *directory) damage(what, file string, do func(fs *crashfs.FS, name string) error) {
	d.t.Helper()
	if fewer(4) == 1 && d.rng.Intn(64) > 0 {
		return
	}
	fs, o := d.copied(d.fs)
	if err := do(fs, path.Join(worldDir, file)); err != nil {
		d.t.Fatalf("%s: %v", what, err)
	}
	o.Recovery.Positional = d.rng.Intn(4) == 0
	c := openOn(d.t, o)
	st := d.verify(what, c)
	if why := d.judge(c, st, file); why != "" {
		d.t.Fatalf("%s: %s\nreport %+v", what, why, c.Recovery())
	}
	if d.rng.Intn(d.every) == 0 {
		d.goOn(what, fs, c, st)
	} else {
		drop(c)
	}
	if d.opened++; d.opened%256 == 0 {
		runtime.GC() // address space
	}
}

// verify reads what there is: at times while most of it is on file only.
func (d *directory) verify(what string, c *Cache) content {
	d.t.Helper()
	var early content
	if d.rng.Intn(4) == 0 {
		early = contentOf(c)
	}
	if _, err := c.WaitVerified(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	have := contentOf(c)
	if early != nil && !slices.Equal(early, have) {
		d.t.Fatalf("%s: once everything is read: %s", what, have.differs(early))
	}
	if c.Len() != have.entries() {
		d.t.Fatalf("%s: %d entries, Len is %d", what, have.entries(), c.Len())
	}
	return have
}

// judge is the law for one place of damage: exactly the newest state, or that
// state minus entries and a report that says so. Damage to the weak ring ends the
// chain, as a kill in the middle of a link does: then it is exactly the state at
// an earlier link. Damage to the mirror where the first ring has nothing yet is
// taken for a record that was lost in both: an alarm, but no older state.
func (d *directory) judge(c *Cache, have content, file string) string {
	r, last := c.Recovery(), len(d.links)-1
	if r.MayBeStale {
		d.alarms++
		if c.Health() == nil || file != pagefile.MirrorName {
			return fmt.Sprintf("it may be stale, Health is %v", c.Health())
		}
	}
	for i := last; i >= 0 && r.Dropped == 0; i-- {
		if !slices.Equal(have, d.links[i]) {
			continue
		}
		if i < last && !strings.HasPrefix(file, "weak-") {
			return fmt.Sprintf("the state at link %d of %d, which is older", i, last)
		}
		return ""
	}
	d.lost++
	return lacks(&r, have, d.links[last])
}

// lacks says how have is not want minus entries, or is and the report does not
// say so.
func lacks(r *RecoveryReport, have, want content) string {
	if part := have.only(want); !slices.Equal(have, part) {
		return have.differs(part)
	}
	missing := want.entries() - have.entries()
	switch {
	case r.Outcome == OutcomeWarm || r.Reason == nil:
		return fmt.Sprintf("%d entries are missing and the report does not say why", missing)
	case r.Outcome == OutcomePartial && r.Dropped != missing:
		return fmt.Sprintf("%d entries are missing, the report says %d", missing, r.Dropped)
	}
	return ""
}

// goOn uses a cache that found damage: what it stores then has to last, and the
// generation that it writes has to lean on nothing that is damaged, save pages of
// entries, each proved by itself, and a slot of the mirror, see judge.
func (d *directory) goOn(what string, fs *crashfs.FS, c *Cache, have content) {
	d.t.Helper()
	checkInvariants(d.t, c)
	want := slices.Clone(have)
	c.Delete(damageKeys[40])
	want[40] = held{}
	for i, k := range []int{3, 41, 70, 73} {
		value := testValue(400+i, 100+i*6000)
		mustSet(d.t, c, damageKeys[k], value)
		want[k] = held{maphash.Bytes(valueSeed, value) | 1, time.Time{}.UnixMilli()}
	}
	if _, err := c.Flush(context.Background()); err != nil {
		d.t.Fatalf("%s: Flush: %v", what, err)
	}
	if d.rng.Intn(2) == 0 {
		drop(c)
	} else {
		mustClose(d.t, c)
	}
	_, o := d.copied(fs)
	c = openOn(d.t, o)
	if diff := d.verify(what, c).differs(want); diff != "" {
		d.t.Fatalf("%s: after a Flush: %s\nreport %+v", what, diff, c.Recovery())
	}
	r := c.Recovery()
	var found *loader.ReasonError
	if errors.As(r.Reason, &found) && found.Case != loader.NewestLost || r.Dropped != 0 || r.Outcome == OutcomeCold {
		d.t.Fatalf("%s: after a Flush: report %+v", what, r)
	}
	checkInvariants(d.t, c)
	if d.t.Failed() {
		d.t.Fatal(what)
	}
	drop(c)
}
