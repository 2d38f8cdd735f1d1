package cache

import (
	"bytes"
	"encoding/binary"
	"flag"
	"testing"

	"github.com/embercache/ember/internal/fuzzing"
	"github.com/embercache/ember/pagefile"
)

// What this package itself decodes of files has a target here; the files' own
// structures have theirs in package pagefile.

var executionsFlag = flag.Int("executions", 1000, "inputs made for each decoder")

var decoders = []func(testing.TB) *fuzzing.Target{
	codecTarget, headerTarget, piecesTarget, namesTarget, limitTarget, shardTarget,
}

func FuzzDecoders(f *testing.F) { codecTarget(f).Fuzz(f) }
func FuzzHeader(f *testing.F)   { headerTarget(f).Fuzz(f) }
func FuzzPieces(f *testing.F)   { piecesTarget(f).Fuzz(f) }
func FuzzNames(f *testing.F)    { namesTarget(f).Fuzz(f) }
func FuzzLimit(f *testing.F)    { limitTarget(f).Fuzz(f) }
func FuzzShard(f *testing.F)    { shardTarget(f).Fuzz(f) }

// TestDecodersTakeAnything is all of them for a moment; with -executions, for long.
func TestDecodersTakeAnything(t *testing.T) {
	alone(t)
	for _, target := range decoders {
		g := target(t)
		t.Run(g.Name, func(t *testing.T) {
			t.Logf("seed %d (set with -seed)", *seedFlag)
			g.Run(t, *executionsFlag, *seedFlag)
		})
	}
}

// codecTarget: the mode is the codec. There is no gob of a map, see Gob; of a slice
// encoding/gob makes 10 MiB on trust.
func codecTarget(testing.TB) *fuzzing.Target {
	all := forms()
	check := func(t testing.TB, b []byte, mode byte) bool { return checkForm(t, all[mode], b) }
	seeds := fuzzing.Inputs(byte(len(all)), seedsOfForms()...)
	return &fuzzing.Target{Name: "FuzzDecoders", Seeds: seeds, Modes: byte(len(all)), Most: 4 << 10,
		Memory: func(int) int64 { return 32 << 20 }, Check: check}
}

// headerTarget: a record's header, and the record behind it. Lengths that it makes of
// a header fit an int and each other, for each size of segments (the mode), and the
// list of a large value lies within what there is.
func headerTarget(testing.TB) *fuzzing.Target {
	check := func(t testing.TB, b []byte, mode byte) bool {
		if len(b) < headerSize {
			return false
		}
		h, size := readHeader(b), 16<<10<<mode
		var again [headerSize]byte
		h.put(again[:])
		made := makeHeader(h.keyLen(), h.valueLen(), h.flags(), h.expiry(), h.stored())
		if !bytes.Equal(again[:], b[:headerSize]) || made != h {
			t.Fatalf("%x is written as %x, and made again as %x", b[:headerSize], again, made)
		}
		own, rest := h.layout(size)
		if own < 0 || rest < 0 || own > maxValue/size+1 || own == 0 && rest != h.valueLen() || rest >= size && own > 0 {
			t.Fatalf("a value of %d bytes: %d segments of its own and %d bytes", h.valueLen(), own, rest)
		}
		if n := h.units(size) * unitSize; n < headerSize+h.bodyLen(size) || n >= headerSize+h.bodyLen(size)+unitSize || h.size(size) < n {
			t.Fatalf("%d bytes in units, %d of body, %d in all", n, h.bodyLen(size), h.size(size))
		}
		list := listOf(b, h, size)
		if len(list) > len(b) || len(list) != 0 && len(list) != 8*own {
			t.Fatalf("a list of %d bytes for %d segments, in %d", len(list), own, len(b))
		}
		return h.keyLen() > 0 && h.fits(b, size)
	}
	var seeds []fuzzing.Input
	for i, c := range []struct {
		key, value int
		flags      uint8
	}{{3, 5, 0}, {65535, 0, flagAbsent}, {20, 40 << 10, flagLarge}, {1, maxValue, flagLarge | flagSliding}} {
		b := make([]byte, 200)
		makeHeader(c.key, c.value, c.flags, 1<<39, 1<<38+5).put(b)
		seeds = append(seeds, fuzzing.Input{Bytes: b, Mode: byte(i)})
	}
	return &fuzzing.Target{Name: "FuzzHeader", Seeds: seeds, Modes: 5, Most: 1 << 10, Check: check}
}

// piecesTarget: the bytes of a segment that are not home, 8 bytes each of offset and
// length, after the fill. Only what a piece covers passes for there.
func piecesTarget(testing.TB) *fuzzing.Target {
	const size = 16 << 10
	frame, data := make([]byte, size), bytes.Repeat([]byte{1}, size)
	check := func(t testing.TB, b []byte, _ byte) bool {
		fill := int(binary.LittleEndian.Uint32(fillTo(b, 4)) % (size + 1))
		var pieces []pagefile.Piece
		for b = b[min(len(b), 4):]; len(b) >= 8; b = b[8:] {
			n := binary.LittleEndian.Uint32(b[4:]) % (size + 1)
			pieces = append(pieces, pagefile.Piece{Number: 1, Offset: binary.LittleEndian.Uint32(b), Bytes: data[:n]})
		}
		clear(frame)
		complete := copyPieces(frame, pieces, fill)
		for page := range size / pageSize {
			used := frame[min(page*pageSize, fill):min((page+1)*pageSize, fill)]
			if complete>>page&1 != 0 && bytes.IndexByte(used, 0) >= 0 {
				t.Fatalf("page %d of %d bytes passes for there, after %d pieces", page, fill, len(pieces))
			}
		}
		if complete>>(size/pageSize) != 0 {
			t.Fatalf("pages %b of %d", complete, size/pageSize)
		}
		return complete != 0
	}
	pieces := func(words ...uint32) (b []byte) {
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	seeds := fuzzing.Inputs(1, pieces(size, 0, size), pieces(5000, 0, 4096, 4096, 904), pieces(9000, 4096, 4096, 12000, 10), pieces(size, 8192, 100, 8292, 8092))
	return &fuzzing.Target{Name: "FuzzPieces", Seeds: seeds, Modes: 1, Most: 256, Check: check}
}

func fillTo(b []byte, n int) []byte {
	return append(bytes.Clone(b[:min(len(b), n)]), make([]byte, n)...)[:n]
}

// namesTarget: what stands before keys and values of views.
func namesTarget(testing.TB) *fuzzing.Target {
	check := func(t testing.TB, b []byte, _ byte) bool {
		name, rest, ok := cutName(b)
		if ok && !bytes.Equal(append(appendName(nil, name), rest...), b) {
			t.Errorf("%x begins with %q, then %x", b, name, rest)
		}
		if want := len(b) > 0 && len(b) > int(b[0]); ok != want {
			t.Errorf("%x begins with a name: %v, want %v", b, ok, want)
		}
		return ok
	}
	seeds := fuzzing.Inputs(1, nil, []byte{0}, appendName(appendName(nil, "users"), "string"), appendName(nil, string(make([]byte, maxName))))
	return &fuzzing.Target{Name: "FuzzNames", Seeds: seeds, Modes: 1, Most: 1 << 10, Check: check}
}

// limitTarget: the mode is the file in which a system says how much memory there is.
// What it says more, or nonsense, is no limit, and never one below what another says.
func limitTarget(testing.TB) *fuzzing.Target {
	files := [...]string{"meminfo", "cgroup", "memory.max", "memory/memory.limit_in_bytes", "a/memory.max"}
	check := func(t testing.TB, b []byte, mode byte) bool {
		system := []string{"meminfo", "MemTotal: 16777216 kB\n", "cgroup", "0::/a\n4:memory:/a\n"}
		limit, by := memoryLimit(machineWith(append(system, files[mode], string(b))...))
		if limit < 0 || (limit == 0) != (by == "") {
			t.Errorf("%s of %q: a limit of %d by %q", files[mode], b, limit, by)
		}
		if mode > 1 && limit > 16*gib {
			t.Errorf("%s of %q: a limit of %d, over what the machine has", files[mode], b, limit)
		}
		return by != ""
	}
	seeds := fuzzing.Inputs(byte(len(files)), []byte("max\n"), []byte("536870912\n"), []byte("-1"), []byte("9223372036854775807"),
		[]byte("MemTotal: 99 kB\n"), []byte("MemTotal: 9223372036854775807 kB"), []byte("0::/a/../../b\n4:cpu,memory:/x"))
	return &fuzzing.Target{Name: "FuzzLimit", Seeds: seeds, Modes: byte(len(files)), Most: 256, Check: check}
}
