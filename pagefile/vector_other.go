//go:build !linux

package pagefile

// writeVector writes the first of parts at off.
func (f *osFile) writeVector(parts [][]byte, off int64) (int, error) {
	return f.f.WriteAt(parts[0], off)
}
