package hitratio

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Suffix is what names of traces' files end in.
const Suffix = ".u32.gz"

// A Trace is a sequence of accesses to keys below Keys.
type Trace struct {
	Name     string
	Keys     int
	Accesses []uint32
	Solo     bool // it has keys enough for one tenant
}

// Paths lists the traces of a folder: name.u32.gz, each a gzip file of
// little-endian uint32 keys in order of access.
func Paths(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+Suffix))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("no %s in %s", "*"+Suffix, dir)
	}
	return paths, err
}

// Name is a trace's name.
func Name(path string) string { return strings.TrimSuffix(filepath.Base(path), Suffix) }

// Read reads a file. Keys become dense, in order of first use.
func Read(path string) (Trace, error) {
	tr := Trace{Name: Name(path)}
	f, err := os.Open(path)
	if err != nil {
		return tr, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return tr, fmt.Errorf("read %s: %w", path, err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return tr, fmt.Errorf("read %s: %w", path, err)
	}
	dense := make(map[uint32]uint32)
	for ; len(b) >= 4; b = b[4:] {
		key := binary.LittleEndian.Uint32(b)
		id, ok := dense[key]
		if !ok {
			id = uint32(len(dense))
			dense[key] = id
		}
		tr.Accesses = append(tr.Accesses, id)
	}
	tr.Keys = len(dense)
	return tr, nil
}

// Tenants is the trace played n times at once, each time with keys of its own and
// from another point on.
func (tr Trace) Tenants(n int) Trace {
	if n == 1 {
		return tr
	}
	all := make([]uint32, 0, n*len(tr.Accesses))
	for i := range tr.Accesses {
		for tenant := range n {
			at := (i + tenant*len(tr.Accesses)/n) % len(tr.Accesses)
			all = append(all, uint32(tenant*tr.Keys)+tr.Accesses[at])
		}
	}
	return Trace{Name: tr.Name, Keys: n * tr.Keys, Accesses: all}
}

// TenantsFor is how many tenants a trace is played as: 64 where segments are large
// beside a cache of that many entries, more where even those do not make a MiB, and
// of a long trace no more than make 4 MiB. An entry has size bytes.
func (tr Trace) TenantsFor(room, size int) int {
	if tr.Solo || room*size >= 4<<20 {
		return 1
	}
	n := 64
	for n*room*size < 1<<20 {
		n *= 2
	}
	for len(tr.Accesses) > 1_000_000 && n > 1 && n/2*room*size >= 2<<20 {
		n /= 2
	}
	return n
}
