package pagefile

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func marshal(t testing.TB, r *Record) []byte {
	t.Helper()
	b, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// largestRecord reaches every limit.
func largestRecord() *Record {
	r := sampleRecord()
	r.Geometry.Shards = MaxShards
	r.Shards = nil
	for i := range MaxShards {
		state := sampleState(0)
		state.Live = uint64(i)
		r.Shards = append(r.Shards, state)
	}
	r.Blobs, r.Retained = nil, nil
	for i := range MaxExtents {
		r.Blobs = append(r.Blobs, Extent{File: uint64(i + 1), Offset: 4096, Length: MaxBlob &^ (BlobAlign - 1), Hash: 1})
	}
	for i := range uint64(MaxRetained) {
		r.Retained = append(r.Retained, r.Generation-MaxRetained+1+i)
	}
	r.Schema = strings.Repeat("s", MaxSchema)
	return r
}

func TestRecordRoundTrip(t *testing.T) {
	bare := &Record{Geometry: sampleGeometry(), Generation: 1, Opens: 1, Retained: []uint64{1}, Shards: sampleRecord().Shards}
	for name, want := range map[string]*Record{"sample": sampleRecord(), "bare": bare, "largest": largestRecord()} {
		t.Run(name, func(t *testing.T) {
			b := marshal(t, want)
			if len(b)%PageSize != 0 || len(b) > MaxRecord {
				t.Errorf("%d bytes", len(b))
			}
			var got Record
			if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(&got, want) {
				t.Errorf("got %+v, %v", got, err)
			}
			if got.Hash() != want.Hash() || got.Hash() != le64(b, int(le32(b, recordLength))-8) {
				t.Errorf("hash %x", got.Hash())
			}
			slot := append(b, make([]byte, MaxRecord-len(b))...)
			if err := got.UnmarshalBinary(slot); err != nil {
				t.Errorf("in its slot: %v", err)
			}
		})
	}
	if n := len(marshal(t, sampleRecord())); n != PageSize {
		t.Errorf("an ordinary record has %d bytes", n)
	}
	if n := le32(marshal(t, largestRecord()), recordLength); n != 15976 {
		t.Errorf("the longest record has %d bytes, its comments say 15976", n)
	}
}

func TestRecordFlips(t *testing.T) {
	flips(marshal(t, sampleRecord()), func(i int, b []byte) {
		var r Record
		if err := r.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) || r.Generation != 0 {
			t.Fatalf("byte %d: %v", i, err)
		}
	})
}

func TestRecordTruncations(t *testing.T) {
	b := marshal(t, largestRecord())
	for n := range b {
		var r Record
		if err := r.UnmarshalBinary(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

func TestRecordNewerVersion(t *testing.T) {
	b := marshal(t, sampleRecord())
	binary.LittleEndian.PutUint16(b[recordVersion:], Version+1)
	resealRecord(b)
	var r Record
	if err := r.UnmarshalBinary(b); !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	binary.LittleEndian.PutUint16(b[recordVersion:], 0)
	resealRecord(b)
	if err := r.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("version 0: got %v", err)
	}
}

// What Validate refuses is neither written nor believed.
func TestRecordValidate(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"a bad geometry":           func(r *Record) { r.Geometry.SegmentSize = 5 },
		"generation 0":             func(r *Record) { r.Generation, r.Retained, r.Image = 0, []uint64{0}, 0 },
		"opens 0":                  func(r *Record) { r.Opens = 0 },
		"opens over 30 bits":       func(r *Record) { r.Opens = MaxOpens + 1 },
		"a later image":            func(r *Record) { r.Image = 43 },
		"places in no file":        func(r *Record) { r.PageFile = 0 },
		"places without end":       func(r *Record) { r.Places = NoPlace },
		"a long schema":            func(r *Record) { r.Schema = strings.Repeat("s", MaxSchema+1) },
		"a shard too few":          func(r *Record) { r.Shards = r.Shards[:1] },
		"a bad state":              func(r *Record) { r.Shards[1].Heads[0] = 1 << 40 },
		"grown too far":            func(r *Record) { r.Shards[1].Buckets = 64*MaxGrowth + 1 },
		"a chain without file":     func(r *Record) { r.Weak.File = 0 },
		"a chain without hash":     func(r *Record) { r.Weak.Hash = 0 },
		"a chain in the header":    func(r *Record) { r.Weak.Offset = 64 },
		"a crooked chain":          func(r *Record) { r.Weak.Offset++ },
		"too many blobs":           func(r *Record) { r.Blobs = append(largestRecord().Blobs, r.Blobs...) },
		"a blob without file":      func(r *Record) { r.Blobs[0].File = 0 },
		"a blob without hash":      func(r *Record) { r.Blobs[0].Hash = 0 },
		"a blob in the header":     func(r *Record) { r.Blobs[0].Offset = 0 },
		"a crooked blob":           func(r *Record) { r.Blobs[1].Offset++ },
		"a blob beyond all files":  func(r *Record) { r.Blobs[2].Offset = 1 << 63 },
		"an empty blob":            func(r *Record) { r.Blobs[2].Length = 0 },
		"a crooked length":         func(r *Record) { r.Blobs[2].Length++ },
		"a blob of 4 GiB":          func(r *Record) { r.Blobs[2].Length = 1<<32 - 64 },
		"blobs that overlap":       func(r *Record) { r.Blobs[0].Length += 64 },
		"nothing retained":         func(r *Record) { r.Retained = nil },
		"itself not retained":      func(r *Record) { r.Retained = r.Retained[:2] },
		"retained out of order":    func(r *Record) { r.Retained[0] = 41 },
		"retained generation 0":    func(r *Record) { r.Retained[0] = 0 },
		"too many to be retained":  func(r *Record) { r.Generation = 99; r.Retained = append(largestRecord().Retained, 99) },
		"a later one is retained":  func(r *Record) { r.Retained = append(r.Retained, 43) },
		"more entries than slots":  func(r *Record) { r.Shards[0].Entries = 1 << 30 },
		"tail before head":         func(r *Record) { r.Shards[0].Tails[1] = 0 },
		"a queue over a whole lap": func(r *Record) { r.Shards[0].Tails[1] += Lap },
	} {
		t.Run(name, func(t *testing.T) {
			r := sampleRecord()
			change(r)
			if r.Validate() == nil {
				t.Fatal("accepted")
			}
			if _, err := r.MarshalBinary(); err == nil {
				t.Error("encoded")
			}
			b, _ := r.append(nil)
			b = append(b, make([]byte, roundUp(len(b), PageSize)-len(b))...)
			var got Record
			if err := got.UnmarshalBinary(b); !errors.Is(err, ErrCorrupt) {
				t.Errorf("decoded: %v", err)
			}
		})
	}
}
