package pagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
)

// sectionsEqual compares by content: journals may be cut differently.
func sectionsEqual(a, b *Section) bool {
	x, y := *a, *b
	x.Journal, y.Journal = nil, nil
	join := func(s *Section) []byte { return bytes.Join(s.Journal, nil) }
	empty := func(s *Section) {
		s.Segments = append([]Segment{}, s.Segments...)
		s.Pages = append([]PageRun{}, s.Pages...)
		s.Pieces = append([]Piece{}, s.Pieces...)
		s.Died = append([]uint64{}, s.Died...)
	}
	empty(&x)
	empty(&y)
	return bytes.Equal(join(a), join(b)) && reflect.DeepEqual(x, y)
}

func TestBlobRoundTrip(t *testing.T) {
	want := sampleSections()
	b, hash := encodeBlob(t, sampleBlobHeader(BlobWeak), want...)
	const off = 128
	file := append(pattern(off, 0), b...)
	file = append(file, pattern(50, 0)...) // what follows does not matter
	r := bytes.NewReader(file)

	h, gotHash, err := ReadBlobHeader(r, off, int64(len(file)))
	if err != nil || gotHash != hash || h.Length != uint64(len(b)) || h.Length%BlobAlign != 0 {
		t.Fatalf("header %+v, hash %x, want %x: %v", h, gotHash, hash, err)
	}
	if _, gotHash, err := VerifyBlob(r, off, int64(len(file)), nil); err != nil || gotHash != hash {
		t.Errorf("VerifyBlob: %x, %v", gotHash, err)
	}
	blob, err := ReadBlob(file[off:])
	if err != nil || blob.Hash != hash || !reflect.DeepEqual(blob.Header, h) {
		t.Fatalf("ReadBlob: %+v, %v", blob, err)
	}
	if err := blob.Verify(); err != nil {
		t.Errorf("Verify: %v", err)
	}
	var reused Section
	for i := range want {
		got, metaErr, dataErr := ReadSection(r, off, &h, i)
		if metaErr != nil || dataErr != nil || !sectionsEqual(got, want[i]) {
			t.Errorf("ReadSection %d: got %+v, %v, %v", i, got, metaErr, dataErr)
		}
		got, metaErr, dataErr = blob.Section(i)
		if metaErr != nil || dataErr != nil || !sectionsEqual(got, want[i]) {
			t.Errorf("Section %d: got %+v, %v, %v", i, got, metaErr, dataErr)
		}
		if err := blob.Decode(i, &reused); err != nil || !sectionsEqual(&reused, want[i]) {
			t.Errorf("Decode %d: got %+v, %v", i, reused, err)
		}
	}
}

func TestBlobWithoutSections(t *testing.T) {
	b, _ := encodeBlob(t, sampleBlobHeader(BlobDurable))
	blob, err := ReadBlob(b)
	if err != nil || len(b) != 128 || blob.Verify() != nil {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

// A journal may be given in slices, and in one: the bytes are the same.
func TestBlobJournalSlices(t *testing.T) {
	one := sampleSection(0)
	many := sampleSection(0)
	j := one.Journal[0]
	many.Journal = [][]byte{j[:12], nil, j[12:48], j[48:]}
	a, _ := encodeBlob(t, sampleBlobHeader(BlobWeak), one)
	b, _ := encodeBlob(t, sampleBlobHeader(BlobWeak), many)
	if !bytes.Equal(a, b) {
		t.Error("the bytes differ")
	}
}

// damagedParts reads all sections both ways, which must agree, and returns which
// meta and data parts fail. Parts that do not fail must be those of want.
func damagedParts(t *testing.T, b []byte, h *BlobHeader, want []*Section) (meta, data []int) {
	t.Helper()
	blob := Blob{Header: *h, bytes: b}
	for i := range want {
		s, metaErr, dataErr := ReadSection(bytes.NewReader(b), 0, h, i)
		s2, metaErr2, dataErr2 := blob.Section(i)
		if (metaErr == nil) != (metaErr2 == nil) || (dataErr == nil) != (dataErr2 == nil) || !reflect.DeepEqual(s, s2) {
			t.Fatalf("section %d: from a file %v, %v, from memory %v, %v", i, metaErr, dataErr, metaErr2, dataErr2)
		}
		switch {
		case metaErr != nil:
			meta = append(meta, i)
			if s != nil || dataErr != nil {
				t.Fatalf("section %d: something is left of damaged meta", i)
			}
			continue
		case dataErr != nil:
			data = append(data, i)
			if len(s.Pieces) != 0 {
				t.Fatalf("section %d: pieces of damaged data", i)
			}
			s.Pieces = want[i].Pieces
		}
		if !sectionsEqual(s, want[i]) {
			t.Fatalf("section %d: got %+v", i, s)
		}
	}
	return meta, data
}

func TestBlobFlips(t *testing.T) {
	want := sampleSections()
	b := sampleBlob(t, BlobDurable)
	good, err := ReadBlob(b)
	if err != nil {
		t.Fatal(err)
	}
	h := good.Header
	// part says what byte i belongs to.
	part := func(i int) (kind string, section int) {
		for k, ref := range h.Sections {
			meta, data := h.span(k)
			if int64(i) >= meta && int64(i) < meta+int64(ref.MetaLen) {
				return "meta", k
			}
			if int64(i) >= data && int64(i) < data+int64(ref.DataLen) {
				return "data", k
			}
		}
		return "", 0
	}
	flips(b, func(i int, b []byte) {
		_, _, err := VerifyBlob(bytes.NewReader(b), 0, int64(len(b)), nil)
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: VerifyBlob: %v", i, err)
		}
		blob, err := ReadBlob(b)
		if int64(i) < headerSize(len(want)) {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d of the header: %v", i, err)
			}
			return
		}
		if err != nil || !errors.Is(blob.Verify(), ErrCorrupt) {
			t.Fatalf("byte %d: %v, Verify: %v", i, err, blob.Verify())
		}
		meta, data := damagedParts(t, b, &h, want)
		kind, section := part(i)
		switch {
		case kind == "meta" && reflect.DeepEqual(meta, []int{section}) && data == nil:
		case kind == "data" && reflect.DeepEqual(data, []int{section}) && meta == nil:
		case kind == "" && meta == nil && data == nil: // padding carries nothing
		default:
			t.Fatalf("byte %d, %s of section %d: damaged meta %d, data %d", i, kind, section, meta, data)
		}
	})
}

func TestBlobTruncations(t *testing.T) {
	b := sampleBlob(t, BlobDurable)
	for n := range b {
		short := b[:n]
		if _, err := ReadBlob(short); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: ReadBlob: %v", n, err)
		}
		// The limit may be that of a file that was longer.
		for _, limit := range []int{n, len(b)} {
			if _, _, err := VerifyBlob(bytes.NewReader(short), 0, int64(limit), nil); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes, limit %d: VerifyBlob: %v", n, limit, err)
			}
		}
	}
	for _, off := range []int64{-1, math.MinInt64, math.MaxInt64, int64(len(b))} {
		if _, _, err := ReadBlobHeader(bytes.NewReader(b), off, int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("at %d: %v", off, err)
		}
	}
}

func TestBlobVersionAndKind(t *testing.T) {
	b := sampleBlob(t, BlobWeak)
	binary.LittleEndian.PutUint16(b[blobVersion:], Version+1)
	resealBlob(b)
	if _, err := ReadBlob(b); !errors.Is(err, ErrVersion) {
		t.Errorf("newer: got %v", err)
	}
	b = sampleBlob(t, BlobWeak)
	binary.LittleEndian.PutUint16(b[blobKind:], 3)
	resealBlob(b)
	if _, err := ReadBlob(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("unknown kind: got %v", err)
	}
}

// A section that verifies, but is of another shard, is refused.
func TestBlobMisdirectedSection(t *testing.T) {
	b, _ := encodeBlob(t, sampleBlobHeader(BlobDurable), sampleSection(0))
	at := headerSize(1)
	binary.LittleEndian.PutUint32(b[at+sectionShard:], 3)
	resealBlob(b)
	blob, err := ReadBlob(b)
	if err != nil {
		t.Fatal(err)
	}
	if s, metaErr, _ := blob.Section(0); !errors.Is(metaErr, ErrCorrupt) || s != nil {
		t.Errorf("got %v, %v", s, metaErr)
	}
}

func TestBlobBuilderRefusals(t *testing.T) {
	for name, change := range map[string]func(*Section){
		"shard 256":             func(s *Section) { s.Shard = MaxShards },
		"shard -1":              func(s *Section) { s.Shard = -1 },
		"a bad state":           func(s *Section) { s.State.Buckets = 0 },
		"half a journal entry":  func(s *Section) { s.Journal[0] = s.Journal[0][:13] },
		"a bad segment":         func(s *Section) { s.Segments[0].Number = 0 },
		"a dead 0":              func(s *Section) { s.Died[0] = 0 },
		"an empty run":          func(s *Section) { s.Pages[0].Sums = nil },
		"a run beyond page 64":  func(s *Section) { s.Pages[0].First = 62 },
		"a run before page 0":   func(s *Section) { s.Pages[0].First = -1 },
		"a run of no segment":   func(s *Section) { s.Pages[0].Number = 0 },
		"a page without sum":    func(s *Section) { s.Pages[0].Sums[1] = 0 },
		"an empty piece":        func(s *Section) { s.Pieces[0].Bytes = nil },
		"a piece of no segment": func(s *Section) { s.Pieces[0].Number = 0 },
		"a piece too far":       func(s *Section) { s.Pieces[0].Offset = MaxSegmentSize - 99 },
		"a piece far too far":   func(s *Section) { s.Pieces[0].Offset = math.MaxUint32 },
	} {
		t.Run(name, func(t *testing.T) {
			s := sampleSection(0)
			change(s)
			var b BlobBuilder
			b.Reset(sampleBlobHeader(BlobWeak))
			addErr, f := b.Add(s), new(memFile)
			_, n, err := b.WriteTo(f, 0)
			if addErr == nil || err == nil || n != 0 || f.writes != 0 {
				t.Errorf("Add: %v, WriteTo: %v", addErr, err)
			}
			b.Reset(sampleBlobHeader(BlobWeak))
			if err := b.Add(sampleSection(0)); err != nil {
				t.Errorf("after Reset: %v", err)
			}
		})
	}
	var b BlobBuilder
	b.Reset(sampleBlobHeader(BlobWeak))
	b.Add(sampleSection(1))
	if b.Add(sampleSection(1)) == nil {
		t.Error("the same shard twice: accepted")
	}
	b.Reset(BlobHeader{})
	if _, _, err := b.WriteTo(new(memFile), 0); err == nil {
		t.Error("no kind: accepted")
	}
}

func TestBlobTooLong(t *testing.T) {
	s := &Section{State: sampleState(0)}
	piece := make([]byte, MaxSegmentSize)
	for range MaxBlob/MaxSegmentSize + 1 {
		s.Pieces = append(s.Pieces, Piece{Number: 1, Bytes: piece})
	}
	var b BlobBuilder
	b.Reset(sampleBlobHeader(BlobWeak))
	if err := b.Add(s); !errors.Is(err, ErrBlobTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestBlobBuilderWrites(t *testing.T) {
	big := &Section{State: sampleState(0), Journal: [][]byte{sampleJournal(100000), sampleJournal(1)}}
	for i := range 20 {
		big.Pieces = append(big.Pieces, Piece{Number: uint64(i + 1), Bytes: pattern(MaxSegmentSize, byte(i))})
	}
	var b BlobBuilder
	b.Reset(sampleBlobHeader(BlobWeak))
	if err := b.Add(big); err != nil {
		t.Fatal(err)
	}
	f := new(memFile)
	_, n, err := b.WriteTo(f, 64)
	if want := int(n>>20) + 1; err != nil || f.largest > gatherSize || f.writes > want {
		t.Errorf("%d writes of up to %d bytes, want %d: %v", f.writes, f.largest, want, err)
	}
	if _, _, err := VerifyBlob(f, 64, int64(len(f.b)), make([]byte, PageSize)); err != nil {
		t.Error(err)
	}
	// A failed write ends it; the same blob goes elsewhere.
	bad := &memFile{writeErr: errors.New("EIO")}
	if hash, _, err := b.WriteTo(bad, 0); !errors.Is(err, bad.writeErr) || hash != 0 {
		t.Errorf("got hash %x, %v", hash, err)
	}
	again := new(memFile)
	if _, _, err := b.WriteTo(again, 0); err != nil || !bytes.Equal(again.b, f.b[64:]) {
		t.Errorf("written again: %v", err)
	}
}

// A weak link is written every few milliseconds: none of its making allocates.
func TestBlobAllocations(t *testing.T) {
	s, f := sampleSection(0), &memFile{b: make([]byte, 1<<16)}
	var b BlobBuilder
	link := func() {
		b.Reset(sampleBlobHeader(BlobWeak))
		if b.Add(s) != nil {
			t.Fatal("Add")
		}
		if _, _, err := b.WriteTo(f, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, link); n != 0 {
		t.Errorf("%v allocations a link", n)
	}
	s.Pages = nil
	link()
	var blob Blob
	var got Section
	read := func() {
		if blob.Reset(f.b) != nil || blob.Verify() != nil || blob.Decode(0, &got) != nil {
			t.Fatal("read")
		}
	}
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations to read a link", n)
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Lengths that verify but are not there cost no memory.
func TestBlobHostileLengths(t *testing.T) {
	const some = 256 << 10
	for field := sectionEntries; field < sectionReserved; field += 4 {
		b, _ := encodeBlob(t, sampleBlobHeader(BlobDurable), sampleSection(0))
		for _, n := range []uint32{1<<32 - 1, 1 << 31, 1 << 24} {
			binary.LittleEndian.PutUint32(b[int(headerSize(1))+field:], n)
			resealBlob(b)
			used := allocated(func() {
				blob, err := ReadBlob(b)
				if err != nil {
					t.Fatal(err)
				}
				if _, metaErr, _ := blob.Section(0); !errors.Is(metaErr, ErrCorrupt) {
					t.Errorf("field at %d = %d: got %v", field, n, metaErr)
				}
			})
			if used > some {
				t.Errorf("field at %d = %d: %d bytes allocated", field, n, used)
			}
		}
	}
	b, _ := encodeBlob(t, sampleBlobHeader(BlobDurable), sampleSection(0))
	binary.LittleEndian.PutUint32(b[blobFixed+refMetaLen:], 1<<30)
	binary.LittleEndian.PutUint64(b[blobLength:], uint64(roundUp(headerSize(1)+1<<30+433, BlobAlign)))
	sum := blobFixed + refSize
	binary.LittleEndian.PutUint64(b[sum:], checksum(b[:sum]))
	used := allocated(func() {
		if _, _, err := ReadBlobHeader(bytes.NewReader(b), 0, int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a part of 1 GiB: got %v", err)
		}
	})
	if used > some {
		t.Errorf("a part of 1 GiB: %d bytes allocated", used)
	}
}

func BenchmarkBlobVerify(b *testing.B) {
	s := &Section{State: sampleState(0), Journal: [][]byte{sampleJournal(20000)}}
	for i := range 16 {
		s.Pieces = append(s.Pieces, Piece{Number: uint64(i + 1), Bytes: pattern(60000, byte(i))})
	}
	link, _ := encodeBlob(b, sampleBlobHeader(BlobWeak), s)
	b.SetBytes(int64(len(link)))
	b.ReportAllocs()
	var blob Blob
	var got Section
	for b.Loop() {
		if blob.Reset(link) != nil || blob.Verify() != nil || blob.Decode(0, &got) != nil {
			b.Fatal("link")
		}
	}
}
