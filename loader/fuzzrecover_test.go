package loader

import (
	"context"
	"io"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/internal/forge"
	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/pagefile"
)

// An extract is the files that a record names, and the record, one after the other in
// one buffer: short enough to be copied for each input. There are no rings.
type extract struct {
	fsys  extractFS
	order []string // of the files; the record comes first
	whole []byte
	ends  []int // of the record and of each file
	buf   []byte

	links []byte // memory for links and blobs
	used  int    // of it
}

// memory gives what the loader asks for, until the next recover.
func (x *extract) memory(n int) []byte {
	if n > len(x.links)-x.used {
		return nil
	}
	x.used += n
	return x.links[x.used-n : x.used]
}

// extractFS has files that can be read, and nothing else.
type extractFS struct {
	pagefile.FS
	files map[string]*extractFile
	asked int // bytes
}

type extractFile struct {
	pagefile.File
	fsys *extractFS
	name string
	b    []byte
	full int64 // bytes of the whole file, most of them beyond b
	size int64 // that it has
}

func (s *extractFS) OpenFile(name string, _ int, _ os.FileMode) (pagefile.File, error) {
	if f := s.files[name]; f != nil {
		return f, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (s *extractFS) ReadDir(string) ([]string, error) { return nil, nil }

func (s *extractFS) Overwrite(name string, off int64, data []byte) error {
	copy(s.files[name].b[off:], data)
	return nil
}

func (f *extractFile) ReadAt(p []byte, off int64) (n int, err error) {
	f.fsys.asked += len(p)
	if off < int64(len(f.b)) {
		n = copy(p, f.b[off:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (f *extractFile) Size() (int64, error) { return f.size, nil }
func (f *extractFile) Name() string         { return f.name }
func (f *extractFile) Close() error         { return nil }

// newExtract is of a directory with an image, blobs and links.
func newExtract(tb testing.TB) *extract {
	w := newWriter(tb, crashfs.New(), "/c", pagefile.Geometry{Shards: 2, SegmentSize: 16 << 10, BaseBuckets: 64, Seed: 7, DirID: 0xd1})
	w.ringSize = 64 << 10
	for _, full := range []bool{true, true, false, false} {
		w.busy(8)
		w.generate(full)
	}
	for range 2 {
		w.busy(4)
		w.link(false)
	}
	x := &extract{links: make([]byte, 1<<20)}
	add := func(name string, n int) {
		b, err := w.disk().ReadFile(name)
		w.must(err)
		x.fsys.files[name] = &extractFile{fsys: &x.fsys, name: name, full: int64(len(b))}
		x.order, x.whole = append(x.order, name), append(x.whole, b[:min(n, len(b))]...)
		x.ends = append(x.ends, len(x.whole))
	}
	record, err := w.record.MarshalBinary()
	w.must(err)
	x.fsys.files, x.whole, x.ends = make(map[string]*extractFile), record, []int{len(record)}
	add(w.path(pagefile.KindImage, w.image), 1<<20)
	add(w.path(pagefile.KindBlobs, w.blobID), 1<<20)
	add(w.path(pagefile.KindWeak, weakID), int(w.pos.Offset)+pagefile.PageSize)
	add(w.path(pagefile.KindPages, pagesID), pagefile.PageSize)
	return x
}

// patch gives the files as the script changes them, and the record. One of which
// something is cut off ends there.
func (x *extract) patch(script []byte) (record []byte, touched uint64) {
	x.buf = fuzzing.Patch(x.buf[:0], x.whole, script, func(off, n int) {
		for i, end := range x.ends {
			if off < end && (i == 0 || off+n > x.ends[i-1]) {
				touched |= 1 << i
			}
		}
	})
	for i, name := range x.order {
		f, from, to := x.fsys.files[name], min(x.ends[i], len(x.buf)), min(x.ends[i+1], len(x.buf))
		if f.b, f.size = x.buf[from:to:to], f.full; to < x.ends[i+1] {
			f.size = int64(to - from)
		}
	}
	return x.buf[:min(x.ends[0], len(x.buf))], touched
}

// seal puts checksums right, of what was touched and of what names it.
func (x *extract) seal(t testing.TB, record []byte, touched uint64) {
	for i, name := range x.order {
		if touched>>(i+1)&1 != 0 {
			if err := forge.SealFile(&x.fsys, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if touched != 0 {
		forge.SealRecord(&x.fsys, "/c", record)
	}
}

// recoverTarget: what is made of a record and of the files that it names, whatever
// these hold. A cache can use it; twice it is the same; and what it costs is bounded by
// the bytes that are there.
func recoverTarget(tb testing.TB) *fuzzing.Target {
	x := newExtract(tb)
	check := func(t testing.TB, script []byte, mode byte) bool {
		record, touched := x.patch(script)
		if mode == 1 {
			x.seal(t, record, touched)
		}
		var rec pagefile.Record
		if rec.UnmarshalBinary(record) != nil {
			return false
		}
		res := x.recover(t, &rec)
		if len(script)%64 == 0 {
			want := res.Digest()
			if again := x.recover(t, &rec).Digest(); again != want {
				t.Errorf("the same files twice: digests %x and %x", want, again)
			}
		}
		return res.Record != nil
	}
	var seeds []fuzzing.Input
	add := func(off, n int) {
		seeds = append(seeds, fuzzing.Inputs(2, fuzzing.Same(x.whole, off, n))...)
	}
	add(0, 700)
	for off := x.ends[0]; off < len(x.whole); off += pagefile.PageSize {
		add(off, 256)
	}
	for _, e := range x.extents(tb) {
		add(e, 1024)
	}
	seeds = append(seeds, fuzzing.Inputs(2, nil, fuzzing.Short(x.ends[1]-100), fuzzing.Short(x.ends[2]-5000), fuzzing.Short(x.ends[3]-5000))...)
	return &fuzzing.Target{Name: "FuzzRecover", Seeds: seeds, Modes: 2, Most: 2 << 10, Slow: true, Memory: func(int) int64 { return 16 << 20 }, Check: check}
}

// extents are where the record's blobs and the links lie in the buffer.
func (x *extract) extents(tb testing.TB) (list []int) {
	record, _ := x.patch(nil)
	var rec pagefile.Record
	if err := rec.UnmarshalBinary(record); err != nil {
		tb.Fatal(err)
	}
	for _, e := range rec.Blobs {
		list = append(list, x.ends[1]+int(e.Offset))
	}
	at := int64(rec.Weak.Offset)
	for {
		h, _, err := pagefile.ReadBlobHeader(x.fsys.files[x.order[2]], at, int64(x.ends[3]-x.ends[2]))
		if err != nil {
			return list
		}
		list = append(list, x.ends[2]+int(at))
		at += int64(h.Length)
	}
}

func (x *extract) recover(t testing.TB, rec *pagefile.Record) *Result {
	x.fsys.asked, x.used = 0, 0
	l := &load{ctx: context.Background(), res: &Result{Pages: noPages{}, Record: rec, Retained: []*pagefile.Record{rec}}, last: time.Now(),
		Options: Options{FS: &x.fsys, Dir: "/c", Schema: "s1", Workers: 1, Positional: true, Memory: x.memory}.withDefaults()}
	l.recover()
	l.conclude()
	for i := range l.res.Shards {
		checkUsable(t, rec.Geometry, &l.res.Shards[i])
	}
	if l.res.Record != nil && len(l.res.Shards) != rec.Geometry.Shards {
		t.Errorf("%d shards, want %d", len(l.res.Shards), rec.Geometry.Shards)
	}
	if most := 8*len(x.whole) + 64*pagefile.PageSize; x.fsys.asked > most {
		t.Errorf("%d bytes read of %d", x.fsys.asked, len(x.whole))
	}
	return l.res
}
