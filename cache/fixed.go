package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"reflect"
	"unsafe"
)

// Fixed stores pointer-free values of fixed size (numbers, bools, arrays, structs
// of them) in little-endian order, the same on every platform: fields one after
// the other without padding, int, uint and uintptr in 64 bits, blank fields as
// zeroes. It panics if T is not such a type.
//
// Its name carries a hash of the layout: the kinds, the lengths and the names of
// fields, in order, but not the names of types. Who changes one of them has
// another codec. Where memory has the stored form, a value is copied as it is.
func Fixed[T any]() Codec[T] {
	t := reflect.TypeFor[T]()
	l, err := layoutOf(t, sameForm)
	if err != nil {
		panic(fmt.Sprintf("cache: Fixed of %v: %v", t, err))
	}
	sum := sha256.Sum256([]byte(l.text))
	return &fixed[T]{fixedLayout: l, name: fmt.Sprintf("fixed:%x", sum[:8])}
}

type fixed[T any] struct {
	fixedLayout
	name string
}

func (f *fixed[T]) Name() string { return f.name }

func (f *fixed[T]) Append(dst []byte, v T) ([]byte, error) {
	p := unsafe.Pointer(&v)
	if f.whole {
		return append(dst, unsafe.Slice((*byte)(p), f.size)...), nil
	}
	n := len(dst)
	if cap(dst)-n < f.size {
		dst = append(make([]byte, 0, 2*n+f.size), dst...)
	}
	dst = dst[:n+f.size]
	encodeSteps(f.steps, dst[n:], p)
	return dst, nil
}

func (f *fixed[T]) Decode(src []byte) (v T, err error) {
	if len(src) != f.size {
		return v, fmt.Errorf("decode %s: %d bytes, want %d", f.name, len(src), f.size)
	}
	p := unsafe.Pointer(&v)
	if f.whole {
		copy(unsafe.Slice((*byte)(p), f.size), src)
		return v, nil
	}
	if _, ok := decodeSteps(f.steps, src, p); !ok {
		return *new(T), fmt.Errorf("decode %s: a bool, a blank field or an integer is out of range", f.name)
	}
	return v, nil
}

// sameForm: numbers lie in memory as they are stored, but for int, uint and
// uintptr of 32 bits.
var sameForm = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// A fixedLayout is how values of a type are stored.
type fixedLayout struct {
	steps []fixedStep
	size  int    // stored, in bytes
	whole bool   // it is the form in memory
	text  string // that the name is a hash of
}

// A fixedStep stores one stretch of memory.
type fixedStep struct {
	kind stepKind
	off  uintptr // in memory, from the start of the value or element
	n    int     // bytes stored; of stepArray: elements

	stride uintptr     // stepArray: from one element to the next
	elem   []fixedStep // stepArray
}

type stepKind uint8

const (
	stepCopy stepKind = iota // as it is in memory
	step16                   // of big-endian memory
	step32
	step64
	stepInt  // int of 32 bits or big-endian
	stepUint // uint or uintptr
	stepBool // 0 or 1
	stepZero // a blank field; off is not used
	stepArray
)

// layoutOf plans for t; same is sameForm, but for tests.
func layoutOf(t reflect.Type, same bool) (l fixedLayout, err error) {
	l.text, l.size, err = l.add(t, 0, same)
	l.whole = len(l.steps) == 1 && l.steps[0].kind == stepCopy && l.steps[0].n == int(t.Size())
	return l, err
}

// add appends the steps for a value of type t at off, and returns its text and
// stored size.
func (l *fixedLayout) add(t reflect.Type, off uintptr, same bool) (text string, size int, err error) {
	text, size = t.Kind().String(), int(t.Size())
	switch t.Kind() {
	case reflect.Bool:
		l.steps = append(l.steps, fixedStep{kind: stepBool, off: off, n: 1})
	case reflect.Int8, reflect.Uint8, reflect.Int16, reflect.Uint16, reflect.Int32, reflect.Uint32,
		reflect.Int64, reflect.Uint64, reflect.Float32, reflect.Float64:
		l.number(off, size, same)
	case reflect.Complex64, reflect.Complex128:
		l.number(off, size/2, same)
		l.number(off+uintptr(size/2), size/2, same)
	case reflect.Int:
		l.word(stepInt, off, same && size == 8)
		size = 8
	case reflect.Uint, reflect.Uintptr:
		l.word(stepUint, off, same && size == 8)
		size = 8
	case reflect.Array:
		return l.array(t, off, same)
	case reflect.Struct:
		return l.fields(t, off, same)
	default:
		err = fmt.Errorf("a %s has no fixed form", text)
	}
	return text, size, err
}

func (l *fixedLayout) number(off uintptr, size int, same bool) {
	if same || size == 1 {
		l.copy(off, size)
		return
	}
	kind := map[int]stepKind{2: step16, 4: step32, 8: step64}[size]
	l.steps = append(l.steps, fixedStep{kind: kind, off: off, n: size})
}

func (l *fixedLayout) word(kind stepKind, off uintptr, same bool) {
	if same {
		l.copy(off, 8)
		return
	}
	l.steps = append(l.steps, fixedStep{kind: kind, off: off, n: 8})
}

// copy goes on with the step before if memory does.
func (l *fixedLayout) copy(off uintptr, n int) {
	if i := len(l.steps) - 1; i >= 0 && l.steps[i].kind == stepCopy && l.steps[i].off+uintptr(l.steps[i].n) == off {
		l.steps[i].n += n
		return
	}
	l.steps = append(l.steps, fixedStep{kind: stepCopy, off: off, n: n})
}

func (l *fixedLayout) array(t reflect.Type, off uintptr, same bool) (text string, size int, err error) {
	if t.Len() == 0 {
		return "[0]", 0, nil // of whatever
	}
	elem, err := layoutOf(t.Elem(), same)
	if elem.whole {
		l.copy(off, elem.size*t.Len())
	} else if elem.size > 0 {
		l.steps = append(l.steps, fixedStep{kind: stepArray, off: off, n: t.Len(), stride: t.Elem().Size(), elem: elem.steps})
	}
	return fmt.Sprintf("[%d]%s", t.Len(), elem.text), elem.size * t.Len(), err
}

func (l *fixedLayout) fields(t reflect.Type, off uintptr, same bool) (text string, size int, err error) {
	text = "struct{"
	for i := range t.NumField() {
		f := t.Field(i)
		into := l
		if f.Name == "_" {
			into = new(fixedLayout) // for its size
		}
		fieldText, n, err := into.add(f.Type, off+f.Offset, same)
		if err != nil {
			return "", 0, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if f.Name == "_" && n > 0 {
			l.steps = append(l.steps, fixedStep{kind: stepZero, n: n})
		}
		text += f.Name + " " + fieldText + ";"
		size += n
	}
	return text + "}", size, nil
}

// encodeSteps stores the value at p and returns what is left of dst.
func encodeSteps(steps []fixedStep, dst []byte, p unsafe.Pointer) []byte {
	for i := range steps {
		s := &steps[i]
		at := unsafe.Add(p, s.off)
		switch s.kind {
		case stepCopy:
			copy(dst[:s.n], unsafe.Slice((*byte)(at), s.n))
		case step16:
			binary.LittleEndian.PutUint16(dst, *(*uint16)(at))
		case step32:
			binary.LittleEndian.PutUint32(dst, *(*uint32)(at))
		case step64:
			binary.LittleEndian.PutUint64(dst, *(*uint64)(at))
		case stepInt:
			binary.LittleEndian.PutUint64(dst, uint64(*(*int)(at)))
		case stepUint:
			binary.LittleEndian.PutUint64(dst, uint64(*(*uint)(at)))
		case stepBool:
			dst[0] = *(*byte)(at)
		case stepZero:
			clear(dst[:s.n])
		case stepArray:
			for j := range s.n {
				dst = encodeSteps(s.elem, dst, unsafe.Add(at, uintptr(j)*s.stride))
			}
			continue
		}
		dst = dst[s.n:]
	}
	return dst
}

// decodeSteps fills the value at p, which is zero, and returns what is left of
// src; false for what encodeSteps does not write.
func decodeSteps(steps []fixedStep, src []byte, p unsafe.Pointer) (rest []byte, ok bool) {
	for i := range steps {
		s := &steps[i]
		at := unsafe.Add(p, s.off)
		ok = true
		switch s.kind {
		case stepCopy:
			copy(unsafe.Slice((*byte)(at), s.n), src[:s.n])
		case step16:
			*(*uint16)(at) = binary.LittleEndian.Uint16(src)
		case step32:
			*(*uint32)(at) = binary.LittleEndian.Uint32(src)
		case step64:
			*(*uint64)(at) = binary.LittleEndian.Uint64(src)
		case stepInt:
			ok = decodeInt(at, src)
		case stepUint:
			ok = decodeUint(at, src)
		case stepBool:
			ok = src[0] <= 1
			*(*bool)(at) = src[0] == 1
		case stepZero:
			ok = onlyZeroes(src[:s.n])
		case stepArray:
			for j := 0; j < s.n && ok; j++ {
				src, ok = decodeSteps(s.elem, src, unsafe.Add(at, uintptr(j)*s.stride))
			}
			if ok {
				continue
			}
		}
		if !ok {
			return nil, false
		}
		src = src[s.n:]
	}
	return src, true
}

func decodeInt(at unsafe.Pointer, src []byte) bool {
	v := int64(binary.LittleEndian.Uint64(src))
	*(*int)(at) = int(v)
	return int64(int(v)) == v
}

func decodeUint(at unsafe.Pointer, src []byte) bool {
	v := binary.LittleEndian.Uint64(src)
	*(*uint)(at) = uint(v)
	return uint64(uint(v)) == v
}

func onlyZeroes(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
