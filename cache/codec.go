package cache

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
)

// A Codec turns values into bytes and back. Its methods may be called from
// several goroutines at once, and must not depend on anything but their
// arguments.
//
// Name, with its version, is stored with every value, and with every key in front
// of it: 1 to 255 bytes that stand for the form of the bytes and must change with
// it. See [TypedOptions] for what happens to values of another name.
//
// A codec for keys must give equal keys the same bytes, in every process, and
// others other bytes, or one is served the other's value. So [Gob] of structs is
// none, nor is [JSON] of strings that are not UTF-8, or of fields that it leaves out.
type Codec[T any] interface {
	// Append appends v to dst. What dst holds must stay in front of it.
	Append(dst []byte, v T) ([]byte, error)
	// Decode must not keep src, nor change it, and fails for what Append does not
	// write, as far as it can tell.
	Decode(src []byte) (T, error)
	Name() string
}

// Bytes stores byte strings as they are. Decode copies. A nil slice comes back
// empty.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst []byte, v []byte) ([]byte, error) { return append(dst, v...), nil }
func (bytesCodec) Decode(src []byte) ([]byte, error)           { return append([]byte{}, src...), nil }
func (bytesCodec) Name() string                                { return "bytes" }

// String stores strings as they are.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) Append(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
func (stringCodec) Decode(src []byte) (string, error)           { return string(src), nil }
func (stringCodec) Name() string                                { return "string" }

// JSON stores values by encoding/json. Its name says nothing of T: wrap it in
// [Versioned] and count on when what T means to JSON changes.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	b, err := json.Marshal(&v)
	return append(dst, b...), err
}

func (jsonCodec[T]) Decode(src []byte) (v T, err error) {
	err = json.Unmarshal(src, &v)
	return v, err
}

func (jsonCodec[T]) Name() string { return "json" }

// Gob stores values by encoding/gob, each with the description of its type:
// fields may come and go. It is the largest and slowest, and encoding/gob believes
// what bytes say of the size of a map: with maps it is not for a directory that
// others may write to.
func Gob[T any]() Codec[T] { return gobCodec[T]{} }

type gobCodec[T any] struct{}

func (gobCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	err := gob.NewEncoder(b).Encode(&v)
	return b.Bytes(), err
}

func (gobCodec[T]) Decode(src []byte) (v T, err error) {
	r := bytes.NewReader(src)
	if err = gob.NewDecoder(r).Decode(&v); err == nil && r.Len() != 0 {
		err = fmt.Errorf("decode gob: %d bytes follow the value", r.Len())
	}
	return v, err
}

func (gobCodec[T]) Name() string { return "gob" }

// Int stores integers in 8 bytes, little-endian. Signed types share one form and
// unsigned ones another, so a type may become wider or narrower: a stored integer
// that does not fit T does not decode.
func Int[T ~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64]() Codec[T] { return intCodec[T]{} }

type intCodec[T ~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64] struct{}

func (intCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(dst, uint64(v)), nil
}

func (intCodec[T]) Decode(src []byte) (T, error) {
	if len(src) != 8 {
		return 0, fmt.Errorf("decode integer: %d bytes, want 8", len(src))
	}
	u := binary.LittleEndian.Uint64(src)
	v := T(u)
	if uint64(v) != u {
		return 0, fmt.Errorf("decode integer: %#x does not fit %T", u, v)
	}
	return v, nil
}

func (intCodec[T]) Name() string {
	if ^T(0) < 0 {
		return "int"
	}
	return "uint"
}

// Binary uses the type's own AppendBinary and UnmarshalBinary. As with [JSON],
// the name says nothing of the type.
func Binary[T any, P interface {
	*T
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}]() Codec[T] {
	return binaryCodec[T, P]{}
}

type binaryCodec[T any, P interface {
	*T
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}] struct{}

func (binaryCodec[T, P]) Append(dst []byte, v T) ([]byte, error) { return P(&v).AppendBinary(dst) }

func (binaryCodec[T, P]) Decode(src []byte) (v T, err error) {
	err = P(&v).UnmarshalBinary(src)
	return v, err
}

func (binaryCodec[T, P]) Name() string { return "binary" }

// Versioned gives codec another version, for example when a struct changed: its
// name is codec's with "/v" and version. A negative version, or a nil codec, is
// refused by [Of], and neither stores nor reads anything.
func Versioned[T any](codec Codec[T], version int) Codec[T] {
	v := versioned[T]{Codec: codec}
	switch {
	case codec == nil:
		v.err = errors.New("cache: Versioned of no codec")
	case version < 0:
		v.err = fmt.Errorf("cache: Versioned: version %d is negative", version)
	default:
		v.name = fmt.Sprintf("%s/v%d", codec.Name(), version)
		v.err = misuse(codec)
	}
	return v
}

type versioned[T any] struct {
	Codec[T]
	name string
	err  error // why it cannot be used
}

func (v versioned[T]) Name() string { return v.name }

func (v versioned[T]) Append(dst []byte, x T) ([]byte, error) {
	if v.err != nil {
		return dst, v.err
	}
	return v.Codec.Append(dst, x)
}

func (v versioned[T]) Decode(src []byte) (x T, err error) {
	if v.err != nil {
		return x, v.err
	}
	return v.Codec.Decode(src)
}

func (v versioned[T]) misuse() error { return v.err }

// misuse is why a codec cannot be used, if it knows.
func misuse(codec any) error {
	if m, ok := codec.(interface{ misuse() error }); ok {
		return m.misuse()
	}
	return nil
}
