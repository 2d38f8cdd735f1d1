package pagefile

import "io"

// maxVector is how many parts one system call takes: IOV_MAX.
const maxVector = 1024

func (f *osFile) WriteVAt(parts [][]byte, off int64) (int, error) {
	want := size(parts)
	n, err := writeParts(f.writeVector, parts, off)
	return n, wrapSpace("write "+f.Name(), int64(want), err)
}

// writeParts calls write, which may write less than all, until nothing is left.
func writeParts(write func(parts [][]byte, off int64) (int, error), parts [][]byte, off int64) (n int, err error) {
	for parts = skip(parts, 0); len(parts) > 0; {
		k, err := write(parts[:min(len(parts), maxVector)], off+int64(n))
		n += k
		switch {
		case err != nil:
			return n, err
		case k == 0:
			return n, io.ErrUnexpectedEOF
		}
		parts = skip(parts, k)
	}
	return n, nil
}

// skip cuts the first n bytes off, and parts that are empty then.
func skip(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts[0] = parts[0][n:]
	}
	return parts
}

func size(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}
