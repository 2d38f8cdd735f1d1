package pagefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func TestFileHeaderRoundTrip(t *testing.T) {
	f, want := new(memFile), sampleHeader()
	if err := WriteFileHeader(f, want); err != nil {
		t.Fatal(err)
	}
	if len(f.b) != FileHeaderBlock {
		t.Errorf("wrote %d bytes, want %d", len(f.b), FileHeaderBlock)
	}
	got, err := ReadFileHeader(f, want.Kind, want.ID)
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestFileHeaderRefusals(t *testing.T) {
	f := new(memFile)
	if err := WriteFileHeader(f, sampleHeader()); err != nil {
		t.Fatal(err)
	}
	t.Run("every flipped byte", func(t *testing.T) {
		flips(f.b, func(i int, b []byte) {
			var h FileHeader
			if err := h.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) || h != (FileHeader{}) {
				t.Fatalf("byte %d: got %+v, %v", i, h, err)
			}
		})
	})
	t.Run("every truncation", func(t *testing.T) {
		for n := range f.b {
			if _, err := ReadFileHeader(bytes.NewReader(f.b[:n]), KindPages, 7); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes: got %v", n, err)
			}
		}
	})
	t.Run("a file of another id or kind", func(t *testing.T) {
		if _, err := ReadFileHeader(f, KindPages, 8); !errors.Is(err, ErrCorrupt) {
			t.Errorf("other id: got %v", err)
		}
		if _, err := ReadFileHeader(f, KindBlobs, 7); !errors.Is(err, ErrCorrupt) {
			t.Errorf("other kind: got %v", err)
		}
	})
	t.Run("a newer version is not damage", func(t *testing.T) {
		b := bytes.Clone(f.b)
		binary.LittleEndian.PutUint16(b[fileVersion:], Version+1)
		resealImage(b[:fileHeaderSize])
		var h FileHeader
		if err := h.UnmarshalBinary(b); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v, want ErrVersion", err)
		}
	})
}

func TestGeometryValidate(t *testing.T) {
	change := func(f func(*Geometry)) Geometry {
		g := sampleGeometry()
		f(&g)
		return g
	}
	for name, g := range map[string]Geometry{
		"no shards":         change(func(g *Geometry) { g.Shards = 0 }),
		"three shards":      change(func(g *Geometry) { g.Shards = 3 }),
		"512 shards":        change(func(g *Geometry) { g.Shards = 512 }),
		"negative shards":   change(func(g *Geometry) { g.Shards = math.MinInt32 }),
		"small segments":    change(func(g *Geometry) { g.SegmentSize = 8 << 10 }),
		"large segments":    change(func(g *Geometry) { g.SegmentSize = 512 << 10 }),
		"odd segments":      change(func(g *Geometry) { g.SegmentSize = 20 << 10 }),
		"few base buckets":  change(func(g *Geometry) { g.BaseBuckets = 32 }),
		"many base buckets": change(func(g *Geometry) { g.BaseBuckets = 1 << 27 }),
	} {
		if g.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := (FileHeader{Kind: KindPages, Geometry: g}).MarshalBinary(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		if _, err := parseGeometry(g.append(nil)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: decoded: %v", name, err)
		}
	}
	if err := sampleGeometry().Validate(); err != nil {
		t.Error(err)
	}
	largest := Geometry{Shards: MaxShards, SegmentSize: MaxSegmentSize, BaseBuckets: MaxBaseBuckets}
	if err := largest.Validate(); err != nil || largest.MaxBuckets() != MaxBuckets || largest.PagesPerSegment() != 64 {
		t.Errorf("largest: %v, %d buckets, %d pages", err, largest.MaxBuckets(), largest.PagesPerSegment())
	}
	if got, want := largest.PlaceOffset(NoPlace-1), int64(4096)+(1<<32-2)*(256<<10); got != want {
		t.Errorf("last place at %d, want %d", got, want)
	}
}

func TestNames(t *testing.T) {
	for kind := KindPages; kind <= KindWeak; kind++ {
		for _, id := range []uint64{0, 1, 0x4d2, math.MaxUint64} {
			name := FileName(kind, id)
			if k, i, ok := ParseName(name); !ok || k != kind || i != id {
				t.Errorf("%s: got %v %x %v", name, k, i, ok)
			}
		}
	}
	for _, name := range []string{
		"", "-", "pages", "pages-", "pages-1", "pages-000000000000004D2", "pages-00000000000004D2",
		"pages-00000000000004d2 ", "pages-+0000000000004d2", "pages-00000000000004d2.tmp", "Pages-00000000000004d2",
		"image_00000000000004d2", "-00000000000004d2", "kind 5-00000000000004d2", RecordsName, MirrorName,
	} {
		if k, i, ok := ParseName(name); ok {
			t.Errorf("%q: got %v %x", name, k, i)
		}
	}
}

func TestPageSum(t *testing.T) {
	page := pattern(PageSize, 0)
	want := PageSum(5, 3, page)
	if PageSum(6, 3, page) == want || PageSum(5, 4, page) == want {
		t.Error("the page of another number verifies")
	}
	flips(page, func(i int, b []byte) {
		if PageSum(5, 3, b) == want {
			t.Fatalf("byte %d: the flip verifies", i)
		}
	})
	if nonZero(0) == 0 {
		t.Error("a checksum of 0 says that there is none")
	}
	if n := testing.AllocsPerRun(10, func() { PageSum(5, 3, page) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSegmentAndState(t *testing.T) {
	for _, s := range sampleSection(0).Segments {
		b := s.append(nil)
		if got, err := parseSegment(b); err != nil || got != s || len(b) != segmentSize {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
	for name, s := range map[string]Segment{
		"no number":           {Seq: 1},
		"a MemoryOnly queue":  {Number: 1, Queue: 2},
		"large under a seq":   {Number: 1, Queue: QueueLarge, Seq: 2},
		"fuller than it is":   {Number: 1, Fill: MaxSegmentSize/UnitSize + 1},
		"a seq of 2^62 units": {Number: 1, Seq: maxSeq},
	} {
		if s.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	state := sampleState(0)
	b := state.append(nil)
	if got, err := parseState(b); err != nil || got != state || len(b) != stateSize {
		t.Errorf("got %+v, %v, want %+v", got, err, state)
	}
	g := sampleGeometry()
	for name, change := range map[string]func(*ShardState){
		"head beyond tail":  func(s *ShardState) { s.Heads[1] = s.Tails[1] + 1 },
		"more than a lap":   func(s *ShardState) { s.Tails[0] = s.Heads[0] + Lap + 1 },
		"no buckets":        func(s *ShardState) { s.Buckets = 0 },
		"below the base":    func(s *ShardState) { s.Buckets = MinBaseBuckets - 1 },
		"grown too far":     func(s *ShardState) { s.Buckets = MinBaseBuckets*MaxGrowth + 1 },
		"more than it fits": func(s *ShardState) { s.Entries = s.Buckets*BucketSlots + 1 },
	} {
		s := sampleState(0)
		change(&s)
		if s.Validate(g) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
