package pagefile

import (
	"bytes"
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/embercache/ember/internal/fuzzing"
)

// Whatever reads bytes of a file has a target here. What each has to show, besides
// that it does not panic: what is accepted is written again as the same bytes, so
// nothing reserved was set; what it costs is bounded by the bytes that are there.

var (
	executionsFlag = flag.Int("executions", 2000, "inputs made for each decoder")
	seedFlag       = flag.Int64("seed", 1, "of the inputs")
)

// The modes that most targets have.
const (
	raw    = iota // as it is: checksums stop most of it
	sealed        // checksums are put right first
	sealings
)

var decoders = []func(testing.TB) *fuzzing.Target{
	nameTarget, holderTarget, structTarget, fileHeaderTarget, recordTarget, ringTarget,
	blobTarget, sectionTarget, imageTarget, ghostsTarget, liveTarget,
}

func FuzzName(f *testing.F)       { nameTarget(f).Fuzz(f) }
func FuzzHolder(f *testing.F)     { holderTarget(f).Fuzz(f) }
func FuzzStruct(f *testing.F)     { structTarget(f).Fuzz(f) }
func FuzzFileHeader(f *testing.F) { fileHeaderTarget(f).Fuzz(f) }
func FuzzRecord(f *testing.F)     { recordTarget(f).Fuzz(f) }
func FuzzRing(f *testing.F)       { ringTarget(f).Fuzz(f) }
func FuzzBlob(f *testing.F)       { blobTarget(f).Fuzz(f) }
func FuzzSection(f *testing.F)    { sectionTarget(f).Fuzz(f) }
func FuzzImage(f *testing.F)      { imageTarget(f).Fuzz(f) }
func FuzzGhosts(f *testing.F)     { ghostsTarget(f).Fuzz(f) }
func FuzzLive(f *testing.F)       { liveTarget(f).Fuzz(f) }

// TestDecodersTakeAnything is all of them for a moment; with -executions, for long.
func TestDecodersTakeAnything(t *testing.T) {
	for _, target := range decoders {
		g := target(t)
		t.Run(g.Name, func(t *testing.T) {
			t.Logf("seed %d (set with -seed)", *seedFlag)
			g.Run(t, *executionsFlag, *seedFlag)
		})
	}
}

func nameTarget(testing.TB) *fuzzing.Target {
	check := func(t testing.TB, b []byte, _ byte) bool {
		kind, id, ok := ParseName(string(b))
		if ok && FileName(kind, id) != string(b) {
			t.Errorf("%q parses as %v %x, which is %q", b, kind, id, FileName(kind, id))
		}
		return ok
	}
	seeds := fuzzing.Inputs(1, []byte("pages-00000000000004d2"), []byte("weak-ffffffffffffffff"), []byte("records.0"))
	return &fuzzing.Target{Name: "FuzzName", Seeds: seeds, Modes: 1, Most: 300, Check: check}
}

// holderTarget: the text of a lock file names a process only where that number
// means something, and forges no line of a log. What we write is read as it was.
func holderTarget(testing.TB) *fuzzing.Target {
	const host, namespace = "web-1", "pid:[4026531836]"
	check := func(t testing.TB, b []byte, mode byte) bool {
		if mode == 1 {
			since := time.Unix(int64(len(b)), 5).UTC()
			b = append(b, '\n')
			b = append(b, holderText(1+len(b), host, namespace, since)...)
			e := parseHolder(b, "/d", host, namespace)
			if e.PID == 0 || e.Host != host || !e.Since.Equal(since) {
				t.Errorf("%q names %+v", b, e)
			}
			return true
		}
		e := parseHolder(b, "/d", host, namespace)
		if e.PID < 0 || e.PID != 0 && e.Host != host {
			t.Errorf("%q names process %d on %q", b, e.PID, e.Host)
		}
		if !errors.Is(e, ErrLocked) || bytes.ContainsAny([]byte(e.Error()), "\n\r\x1b\x00") {
			t.Errorf("%q says %q", b, e.Error())
		}
		return e.PID != 0
	}
	own := holderText(4711, host, namespace, time.Unix(1, 0))
	seeds := fuzzing.Inputs(2, own, holderText(1, "db\x1b[2J", namespace, time.Unix(1<<40, 0)), []byte("pid -1\nhost web-1\nns pid:[4026531836]"))
	return &fuzzing.Target{Name: "FuzzHolder", Seeds: seeds, Modes: 2, Most: lockTextMax, Check: check}
}

// structTarget: the parts that other structures are made of, by mode.
func structTarget(testing.TB) *fuzzing.Target {
	again := [...]func(b []byte) ([]byte, error){
		func(b []byte) ([]byte, error) {
			g, err := parseGeometry(fill(b, geometrySize))
			return g.append(nil), err
		},
		func(b []byte) ([]byte, error) {
			s, err := parseSegment(fill(b, segmentSize))
			return s.append(nil), err
		},
		func(b []byte) ([]byte, error) {
			s, err := parseState(fill(b, stateSize))
			return s.append(nil), err
		},
	}
	check := func(t testing.TB, b []byte, mode byte) bool {
		got, err := again[mode](b)
		if want := fill(b, len(got)); err == nil && !bytes.Equal(got, want) {
			t.Errorf("structure %d: %x is accepted as %x", mode, want, got)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("structure %d: %v is not ErrCorrupt", mode, err)
		}
		return err == nil
	}
	segment := sampleSection(0).Segments[2]
	seeds := []fuzzing.Input{{Bytes: sampleGeometry().append(nil), Mode: 0}, {Bytes: segment.append(nil), Mode: 1}, {Bytes: sampleState(0).append(nil), Mode: 2}}
	return &fuzzing.Target{Name: "FuzzStruct", Seeds: seeds, Modes: byte(len(again)), Most: stateSize, Check: check}
}

// fill is the first n bytes of b, with zeroes for what is missing.
func fill(b []byte, n int) []byte {
	whole := make([]byte, n)
	copy(whole, b)
	return whole
}

func fileHeaderTarget(testing.TB) *fuzzing.Target {
	check := func(t testing.TB, b []byte, mode byte) bool {
		block := fill(b, FileHeaderBlock)
		if mode == sealed {
			resealFileHeader(block)
		}
		var h FileHeader
		if err := h.UnmarshalBinary(block); err != nil {
			return refused(t, err)
		}
		if again, err := h.MarshalBinary(); err != nil || !bytes.Equal(again, block) {
			t.Errorf("accepted bytes that are not those of %+v: %v", h, err)
		}
		return true
	}
	var list [][]byte
	for kind := KindPages; kind <= KindWeak; kind++ {
		h := sampleHeader()
		h.Kind = kind
		list = append(list, h.append(nil))
	}
	return &fuzzing.Target{Name: "FuzzFileHeader", Seeds: fuzzing.Inputs(sealings, list...), Modes: sealings, Most: 128, Check: check}
}

// refused wants the error of a decoder to say whether the bytes are damaged or new.
// It returns false.
func refused(t testing.TB, err error) (taken bool) {
	t.Helper()
	if errors.Is(err, ErrCorrupt) == errors.Is(err, ErrVersion) {
		t.Errorf("%v: neither damaged nor newer, or both", err)
	}
	return false
}

// recordTarget: a record is given without its padding.
func recordTarget(tb testing.TB) *fuzzing.Target {
	check := func(t testing.TB, b []byte, mode byte) bool {
		if mode == sealed {
			resealRecord(b)
		}
		b = fill(b, roundUp(len(b), PageSize))
		var r Record
		if err := r.UnmarshalBinary(b); err != nil {
			return refused(t, err)
		}
		if again, err := r.MarshalBinary(); err != nil || !bytes.HasPrefix(b, again) {
			t.Errorf("accepted bytes that are not those of %+v: %v", r, err)
		}
		if r.Hash() != le64(b, int(le32(b, recordLength))-8) {
			t.Errorf("hash %x is not the checksum", r.Hash())
		}
		return true
	}
	bare := &Record{Geometry: sampleGeometry(), Generation: 1, Opens: 1, Retained: []uint64{1}, Shards: sampleRecord().Shards}
	unpadded := func(r *Record) []byte {
		b := marshal(tb, r)
		return b[:le32(b, recordLength)]
	}
	seeds := fuzzing.Inputs(sealings, unpadded(sampleRecord()), unpadded(bare))
	return &fuzzing.Target{Name: "FuzzRecord", Seeds: seeds, Modes: sealings, Most: MaxRecord, Check: check}
}
