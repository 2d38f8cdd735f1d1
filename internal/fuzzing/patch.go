package fuzzing

import "encoding/binary"

// A patch is 24 bits of offset, a length of one byte, and so many bytes that go
// there; a length of 0 cuts the file off at the offset. An input of patches is to a
// file of many pages what a short input is to a short one.
const patchHeader = 4

// Patch appends to dst the bytes of file with the patches of script, in order. It
// calls at for each place, as far as the file goes. Offsets are modulo the length.
func Patch(dst, file, script []byte, at func(off, n int)) []byte {
	start := len(dst)
	dst = append(dst, file...)
	for len(script) >= patchHeader && len(dst) > start {
		whole := dst[start:]
		off := int(binary.LittleEndian.Uint32(script)&(1<<24-1)) % len(whole)
		n := min(int(script[3]), len(script)-patchHeader, len(whole)-off)
		if script[3] == 0 {
			dst = dst[:start+off]
		} else {
			copy(whole[off:], script[patchHeader:patchHeader+n])
			if at != nil {
				at(off, n)
			}
		}
		script = script[patchHeader+n:]
	}
	return dst
}

// Same is the patches that change nothing in n bytes at off: where mutations begin.
func Same(file []byte, off, n int) (script []byte) {
	for end := min(off+n, len(file)); off < end; {
		k := min(end-off, 64)
		script = append(script, byte(off), byte(off>>8), byte(off>>16), byte(k))
		script = append(script, file[off:off+k]...)
		off += k
	}
	return script
}

// Short is an input of patches that cuts the file off.
func Short(off int) []byte { return []byte{byte(off), byte(off >> 8), byte(off >> 16), 0} }
