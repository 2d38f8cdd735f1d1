package main

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// A trace is a sequence of accesses to keys below keys.
type trace struct {
	name     string
	keys     int
	accesses []uint32
	solo     bool // it has keys enough for one tenant
}

// A stream is a synthetic trace: accesses to keys whose frequency falls with their
// rank to the power of -alpha, and between them, if scan is not 0, scans of keys
// that come once: as long as that, after as many others.
type stream struct {
	alpha float64
	scan  int
}

var streams = []stream{{0.8, 0}, {0.99, 0}, {1.1, 0}, {0.99, 20_000}}

func (s stream) name() string {
	if s.scan > 0 {
		return fmt.Sprintf("zipf-%v-scans", s.alpha)
	}
	return fmt.Sprintf("zipf-%v", s.alpha)
}

// draw makes the trace, always the same one.
func (s stream) draw(keys, n int) trace {
	rng := rand.New(rand.NewPCG(uint64(keys), math.Float64bits(s.alpha)))
	sums, sum := make([]float64, keys), 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -s.alpha)
		sums[i] = sum
	}
	tr := trace{name: s.name(), keys: keys, accesses: make([]uint32, 0, n), solo: true}
	rank := rng.Perm(keys)
	for i := range n {
		if s.scan > 0 && i/s.scan%2 == 1 {
			tr.accesses = append(tr.accesses, uint32(tr.keys))
			tr.keys++
			continue
		}
		r := sort.SearchFloat64s(sums, rng.Float64()*sum)
		tr.accesses = append(tr.accesses, uint32(rank[min(r, keys-1)]))
	}
	return tr
}

// tracePaths lists the traces of a folder: name.u32.gz, each a gzip file of
// little-endian uint32 keys in order of access.
func tracePaths(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+traceSuffix))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("no %s in %s", "*"+traceSuffix, dir)
	}
	return paths, err
}

const traceSuffix = ".u32.gz"

func traceName(path string) string { return strings.TrimSuffix(filepath.Base(path), traceSuffix) }

// readTrace reads a file. Keys become dense, in order of first use.
func readTrace(path string) (trace, error) {
	tr := trace{name: traceName(path)}
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
		tr.accesses = append(tr.accesses, id)
	}
	tr.keys = len(dense)
	return tr, nil
}

// tenants is the trace played n times at once, each time with keys of its own and
// from another point on.
func (tr trace) tenants(n int) trace {
	if n == 1 {
		return tr
	}
	all := make([]uint32, 0, n*len(tr.accesses))
	for i := range tr.accesses {
		for tenant := range n {
			at := (i + tenant*len(tr.accesses)/n) % len(tr.accesses)
			all = append(all, uint32(tenant*tr.keys)+tr.accesses[at])
		}
	}
	return trace{name: tr.name, keys: n * tr.keys, accesses: all}
}

// tenantsFor is how many tenants a trace is played as: 64 where segments are large
// beside a cache of that many entries, more where even those do not make a MiB, and
// of a long trace no more than make 4 MiB.
func (tr trace) tenantsFor(room int) int {
	if tr.solo || room*ratioEntry >= 4<<20 {
		return 1
	}
	n := 64
	for n*room*ratioEntry < ratioLeast {
		n *= 2
	}
	for len(tr.accesses) > 1_000_000 && n > 1 && n/2*room*ratioEntry >= 2<<20 {
		n /= 2
	}
	return n
}
