package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A form is a codec that tests can use without its type.
type form struct {
	name  string
	exact bool // what decodes is what would be stored
	// again decodes src, spoils src, and stores what came out.
	again func(src []byte) ([]byte, error)
}

func formOf[T any](c Codec[T], exact bool) form {
	return form{c.Name(), exact, func(src []byte) ([]byte, error) {
		src = bytes.Clone(src)
		v, err := c.Decode(src)
		if err != nil {
			return nil, err
		}
		for i := range src {
			src[i] ^= 0xff
		}
		return c.Append(nil, v)
	}}
}

type padded struct {
	A uint8
	B int64
	C [3]struct {
		X int16
		Y uint8
	}
	_ [3]byte
	D bool
	E complex64
	f float64
	_ [0]func()
}

type dense struct {
	A, B uint32
	C    [4]float64
	D    struct{ X, Y uint16 }
	E    [4]uint8
}

// forms are codecs of every kind. Binary's is not time.Time: of an offset with negative
// seconds Go reads another than it wrote (golang/go#78528).
func forms() []form {
	return []form{
		formOf(Bytes(), true), formOf(String(), true), formOf(Int[int](), true), formOf(Int[int32](), true),
		formOf(Int[uint64](), true), formOf(Int[uint32](), true),
		formOf(Fixed[padded](), true), formOf(Fixed[dense](), true), formOf(Fixed[bool](), true),
		formOf(JSON[map[string]any](), false), formOf(JSON[json.RawMessage](), false),
		formOf(Gob[[][]byte](), false), formOf(Gob[dense](), false),
		formOf(Binary[netip.AddrPort](), false), formOf(Versioned(Binary[netip.AddrPort](), 3), false),
	}
}

// checkForm: whatever bytes a decoder is given, it does not panic nor keep them,
// and what it takes for a value is stored and read again the same.
func checkForm(t testing.TB, f form, src []byte) (taken bool) {
	once, err := f.again(src)
	if err != nil {
		return false
	}
	if f.exact && !bytes.Equal(once, src) {
		t.Errorf("%s: %x decodes, and is stored as %x", f.name, src, once)
	}
	twice, err := f.again(once)
	if err != nil || !bytes.Equal(twice, once) {
		t.Errorf("%s: %x is stored as %x, then as %x: %v", f.name, src, once, twice, err)
	}
	return true
}

func seedsOfForms() (seeds [][]byte) {
	v4, _ := Binary[netip.AddrPort]().Append(nil, netip.MustParseAddrPort("192.0.2.1:80"))
	v6, _ := Versioned(Binary[netip.AddrPort](), 3).Append(nil, netip.MustParseAddrPort("[fe80::1%eth0]:443"))
	g, _ := Gob[[][]byte]().Append(nil, [][]byte{[]byte("a"), []byte("bc")})
	d, _ := Gob[dense]().Append(nil, dense{A: 1, D: struct{ X, Y uint16 }{2, 3}})
	p, _ := Fixed[padded]().Append(nil, padded{A: 1, B: -1, D: true, f: 2})
	return append(seeds, nil, v4, v6, g, d, p, []byte(`{"a":[1,2.5,"x"],"b":null}`), []byte{1}, []byte{2},
		[]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("\x00\x00\x00\x80\x00\x00\x00\x00"), make([]byte, 52))
}

// TestWrongLengthsDoNotDecode.
func TestWrongLengthsDoNotDecode(t *testing.T) {
	for _, f := range forms() {
		if !f.exact || f.name == "bytes" || f.name == "string" {
			continue
		}
		sizes := 0
		for n := range 200 {
			if _, err := f.again(make([]byte, n)); err == nil {
				sizes++
			}
		}
		if sizes != 1 {
			t.Errorf("%s: %d lengths decode, want one", f.name, sizes)
		}
	}
	for _, src := range []string{`{} {}`, `{"a":1}x`, ``} {
		if _, err := JSON[map[string]int]().Decode([]byte(src)); err == nil {
			t.Errorf("json: %q decodes", src)
		}
	}
	b, _ := Gob[int]().Append(nil, 7)
	for _, src := range [][]byte{append(bytes.Clone(b), 0), append(bytes.Clone(b), b...), b[:len(b)-1], nil} {
		if _, err := Gob[int]().Decode(src); err == nil {
			t.Errorf("gob: %x decodes", src)
		}
	}
}

// TestAppendKeepsWhatIsThere: a codec appends, with room behind dst and without.
func TestAppendKeepsWhatIsThere(t *testing.T) {
	for _, dst := range [][]byte{nil, []byte("front"), append(make([]byte, 0, 1000), "front"...)} {
		appended[[]byte](t, dst, Bytes(), []byte("v"))
		appended(t, dst, String(), "v")
		appended(t, dst, Int[int32](), -5)
		appended(t, dst, Int[uint](), math.MaxUint)
		appended(t, dst, Fixed[padded](), padded{A: 1, B: math.MinInt64, D: true, E: complex(1, -2), f: math.Inf(1)})
		appended(t, dst, Fixed[dense](), dense{A: 1, C: [4]float64{1, 2, 3, 4}, E: [4]uint8{5, 6, 7, 8}})
		appended(t, dst, JSON[map[string]int](), map[string]int{"a": 1})
		appended(t, dst, Gob[dense](), dense{B: 9})
		appended(t, dst, Binary[time.Time](), time.Unix(1, 2).UTC())
		appended(t, dst, Versioned(String(), 0), "v")
	}
}

func appended[T any](t *testing.T, dst []byte, c Codec[T], v T) {
	t.Helper()
	b, err := c.Append(dst, v)
	if err != nil || !bytes.HasPrefix(b, dst) {
		t.Fatalf("%s: Append gives %x, %v", c.Name(), b, err)
	}
	got, err := c.Decode(b[len(dst):])
	if err != nil || !reflect.DeepEqual(any(got), any(v)) {
		t.Errorf("%s: got %v, %v, want %v", c.Name(), got, err, v)
	}
}

// TestCodecsHaveStableNamesAndForms: both lie in files.
func TestCodecsHaveStableNamesAndForms(t *testing.T) {
	stored := func(b []byte, err error) string {
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("%x", b)
	}
	for _, tt := range []struct{ name, wantName, form, wantForm string }{
		{Bytes().Name(), "bytes", stored(Bytes().Append(nil, []byte{1, 2})), "0102"},
		{String().Name(), "string", stored(String().Append(nil, "ab")), "6162"},
		{JSON[int]().Name(), "json", stored(JSON[[]int]().Append(nil, []int{1, 2})), "5b312c325d"},
		{Gob[int]().Name(), "gob", stored(Gob[int]().Append(nil, 7)), "0304000e"},
		{Binary[time.Time]().Name(), "binary", "", ""},
		{Int[int32]().Name(), "int", stored(Int[int32]().Append(nil, -2)), "feffffffffffffff"},
		{Int[uint64]().Name(), "uint", stored(Int[uint64]().Append(nil, 258)), "0201000000000000"},
		{Versioned(Versioned(JSON[int](), 2), 10).Name(), "json/v2/v10", "", ""},
		{
			Fixed[struct {
				A uint8
				B int
				_ uint16
				C [2]bool
			}]().Name(), "fixed:05aa441933fd11c1", stored(Fixed[struct {
				A uint8
				B int
				_ uint16
				C [2]bool
			}]().Append(nil, struct {
				A uint8
				B int
				_ uint16
				C [2]bool
			}{A: 9, B: -1, C: [2]bool{false, true}})), "09ffffffffffffffff00000001",
		},
	} {
		if tt.name != tt.wantName || tt.form != tt.wantForm {
			t.Errorf("got %s and %s, want %s and %s", tt.name, tt.form, tt.wantName, tt.wantForm)
		}
	}
}

// TestIntegersThatDoNotFitDoNotDecode.
func TestIntegersThatDoNotFitDoNotDecode(t *testing.T) {
	for _, v := range []int64{0, -1, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, math.MinInt32 - 1, math.MaxInt64} {
		b, _ := Int[int64]().Append(nil, v)
		got, err := Int[int32]().Decode(b)
		if fits := int64(int32(v)) == v; fits != (err == nil) || fits && int64(got) != v {
			t.Errorf("%d as int32: %d, %v", v, got, err)
		}
	}
	for _, v := range []uint64{0, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint64} {
		b, _ := Int[uint64]().Append(nil, v)
		got, err := Int[uint32]().Decode(b)
		if fits := uint64(uint32(v)) == v; fits != (err == nil) || fits && uint64(got) != v {
			t.Errorf("%d as uint32: %d, %v", v, got, err)
		}
	}
}

// A described has every kind, and no int: encoding/binary stores it in the form
// that Fixed promises.
type described struct {
	A bool
	B int8
	C uint64
	D int16
	E [3]uint32
	_ int32
	F [2]struct {
		G float32
		_ [5]uint8
		H complex128
	}
	I complex64
	J [2][3]uint16
	K struct{ L int64 }
}

// fill makes every byte of the value random, but for bools.
func randomDescribed(rng *rand.Rand) (v described) {
	v = described{A: rng.Intn(2) == 0, B: int8(rng.Int()), C: rng.Uint64(), D: int16(rng.Int())}
	v.I, v.K.L = complex(rng.Float32(), -rng.Float32()), rng.Int63()
	for i := range v.E {
		v.E[i] = rng.Uint32()
	}
	for i := range v.F {
		v.F[i].G, v.F[i].H = rng.Float32(), complex(rng.NormFloat64(), rng.NormFloat64())
		for j := range v.J[i] {
			v.J[i][j] = uint16(rng.Int())
		}
	}
	return v
}

// TestFixedIsWhatBinaryWriteWrites, by copying and number by number, as where the
// memory has another order.
func TestFixedIsWhatBinaryWriteWrites(t *testing.T) {
	rng := newRand(t)
	slow, err := layoutOf(reflect.TypeFor[described](), false)
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		v := randomDescribed(rng)
		var want bytes.Buffer
		if err := binary.Write(&want, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*fixed[described]{
			"copied": Fixed[described]().(*fixed[described]), "by number": {fixedLayout: slow},
		} {
			got, _ := c.Append(nil, v)
			if !bytes.Equal(got, want.Bytes()) {
				t.Fatalf("%s: stored as %x, want %x", name, got, want.Bytes())
			}
			if back, err := c.Decode(got); err != nil || back != v {
				t.Fatalf("%s: got %+v, %v, want %+v", name, back, err, v)
			}
		}
	}
}

// TestWordsHave64Bits also where they are stored number by number.
func TestWordsHave64Bits(t *testing.T) {
	type words struct {
		A int
		B uint
		C uintptr
	}
	slow, _ := layoutOf(reflect.TypeFor[words](), false)
	v := words{-5, 6, 7}
	want, _ := Fixed[words]().Append(nil, v)
	c := fixed[words]{fixedLayout: slow}
	got, _ := c.Append(nil, v)
	if back, err := c.Decode(got); len(got) != 24 || !bytes.Equal(got, want) || err != nil || back != v {
		t.Errorf("stored as %x, want %x; back as %v, %v", got, want, back, err)
	}
}

func TestFixedRefusesWhatItDidNotWrite(t *testing.T) {
	b, _ := Fixed[padded]().Append(nil, padded{})
	refused := 0
	for i := range b {
		b[i] = 2
		if _, err := Fixed[padded]().Decode(b); err != nil {
			refused++
		}
		b[i] = 0
	}
	if refused != 4 { // the bool, and three blank bytes
		t.Errorf("%d bytes may not be 2, want 4", refused)
	}
}

func TestFixedOfAPointerPanics(t *testing.T) {
	for name, make := range map[string]func(){
		"string":    func() { Fixed[string]() },
		"slice":     func() { Fixed[[]int]() },
		"time":      func() { Fixed[time.Time]() },
		"in array":  func() { Fixed[[2]struct{ M map[int]int }]() },
		"blank":     func() { Fixed[struct{ _ *int }]() },
		"interface": func() { Fixed[any]() },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "has no fixed form") {
					t.Errorf("%s: recovered %v", name, r)
				}
			}()
			make()
		}()
	}
}

// TestLayoutsHaveNames: what changes the meaning of bytes changes the name.
func TestLayoutsHaveNames(t *testing.T) {
	type celsius float64
	names := map[string]string{}
	for what, name := range map[string]string{
		"A, B":       Fixed[struct{ A, B int32 }]().Name(),
		"B, A":       Fixed[struct{ B, A int32 }]().Name(),
		"unsigned":   Fixed[struct{ A, B uint32 }]().Name(),
		"an array":   Fixed[struct{ A [2]int32 }]().Name(),
		"longer":     Fixed[struct{ A [3]int32 }]().Name(),
		"blank":      Fixed[struct{ A, _ int32 }]().Name(),
		"a float":    Fixed[float64]().Name(),
		"in a field": Fixed[struct{ F float64 }]().Name(),
	} {
		if other, ok := names[name]; ok {
			t.Errorf("%s and %s have the same name", what, other)
		}
		names[name] = what
	}
	if Fixed[celsius]().Name() != Fixed[float64]().Name() {
		t.Error("a type's name is in the codec's")
	}
}

func TestVersionedRefusesMisuse(t *testing.T) {
	for _, c := range []Codec[string]{Versioned(String(), -1), Versioned[string](nil, 1), Versioned(Versioned(String(), -1), 1)} {
		_, appendErr := c.Append(nil, "v")
		_, decodeErr := c.Decode([]byte("v"))
		if misuse(c) == nil || !errors.Is(appendErr, misuse(c)) || !errors.Is(decodeErr, misuse(c)) {
			t.Errorf("%q: %v, %v, %v", c.Name(), misuse(c), appendErr, decodeErr)
		}
	}
	if err := misuse(Versioned(String(), 0)); err != nil {
		t.Error(err)
	}
}

func BenchmarkFixed(b *testing.B) {
	b.Run("form=whole", func(b *testing.B) { benchCodec(b, Fixed[dense](), dense{A: 1}) })
	b.Run("form=steps", func(b *testing.B) { benchCodec(b, Fixed[padded](), padded{A: 1}) })
}

func benchCodec[T any](b *testing.B, c Codec[T], v T) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf, _ = c.Append(buf[:0], v)
		if _, err := c.Decode(buf); err != nil {
			b.Fatal(err)
		}
	}
}
