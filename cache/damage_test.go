package cache

import (
	"bytes"
	"flag"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
)

var damageFull = flag.Bool("damage.full", false, "damage every byte of every page that holds something")

// under runs a law for a directory that a kill left, for one after Close, and for
// one whose rings have begun again, so that they are full of what once was true.
func under(t *testing.T, every int, law func(d *directory)) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, life := range lives() {
		t.Run(string(life), func(t *testing.T) {
			d := newDirectory(t, life)
			d.every = every
			law(d)
			t.Logf("%d times opened, %d times entries were lost, %d times the state might be stale", d.opened, d.lost, d.alarms)
			if d.lost == 0 && fewer(4) > 1 {
				t.Error("no damage cost anything")
			}
		})
	}
}

// TestDamage: damaged bytes cost entries, never time. See directory.judge.
func TestDamage(t *testing.T) {
	t.Run("every byte of every file flipped", func(t *testing.T) { under(t, 48, flipBytes) })
	t.Run("every file cut at every page", func(t *testing.T) { under(t, 48, cutFiles) })
	t.Run("every page zeroed", func(t *testing.T) { under(t, 4, zeroPages) })
	t.Run("pages swapped and duplicated", func(t *testing.T) { under(t, 8, movePages) })
	t.Run("every write to a page lost", func(t *testing.T) { under(t, 4, loseWrites) })
}

func flipBytes(d *directory) {
	for _, name := range d.names {
		before := d.opened
		for _, off := range d.offsets(name) {
			mask := byte(1) << d.rng.Intn(8)
			d.damage(fmt.Sprintf("%s at %d, bits %#x", name, off, mask), name, func(fs *crashfs.FS, name string) error {
				return fs.Flip(name, int64(off), mask)
			})
		}
		d.t.Logf("%s: %d bytes", name, d.opened-before)
	}
}

// offsets are the bytes of a file to damage: all that the newest generation is
// made of. Of what lies inside of values, in older generations, or nowhere, it is
// a few, here and there: one checksum proves it with all around it.
func (d *directory) offsets(name string) (list []int) {
	const line = 16
	b := d.files[name]
	for at := 0; at < len(b); at += line {
		used := b[at&^(pageSize-1):][:pageSize]
		var rare int
		switch blank := allZero(b[at : at+line]); {
		case blank && allZero(used):
			rare = 16 << 10
		case blank:
			rare = 64
		case !d.named(name, at):
			rare = 256
		default:
			rare = 1
		}
		rare *= map[life]int{killed: 1, closed: 16, lapped: 128}[d.life]
		if *damageFull && !allZero(used) && (d.life != lapped || d.named(name, at)) {
			rare = 1
		}
		for i := range line {
			if d.rng.Intn(rare) == 0 {
				list = append(list, at+i)
			}
		}
	}
	return list
}

func cutFiles(d *directory) {
	for _, name := range d.names {
		b := d.files[name]
		for size := len(b) - pageSize; size >= 0; size -= pageSize {
			if d.life != killed && d.rng.Intn(8) > 0 {
				continue
			}
			d.damage(fmt.Sprintf("%s cut at %d", name, size), name, func(fs *crashfs.FS, name string) error {
				return fs.TruncateFile(name, int64(size))
			})
		}
		d.damage(name+" removed", name, (*crashfs.FS).Erase)
	}
}

func zeroPages(d *directory) {
	for _, name := range d.names {
		for _, page := range d.used[name] {
			if d.life == lapped && !d.named(name, int(page)*pageSize) && d.rng.Intn(8) > 0 {
				continue
			}
			d.damage(fmt.Sprintf("page %d of %s zeroed", page, name), name, func(fs *crashfs.FS, name string) error {
				return fs.Overwrite(name, page*pageSize, zeroes[:])
			})
		}
	}
}

// movePages swaps pages of a file, or has one twice, as misdirected writes do.
func movePages(d *directory) {
	for _, name := range d.names {
		b := d.files[name]
		pages := append(slices.Clone(d.used[name]), int64(d.rng.Intn(len(b)/pageSize)), int64(len(b)/pageSize-1))
		d.rng.Shuffle(len(pages), func(i, j int) { pages[i], pages[j] = pages[j], pages[i] })
		pages = pages[:min(len(pages), map[life]int{killed: 24, closed: 24, lapped: 12}[d.life])]
		for _, from := range pages {
			for _, to := range pages {
				what := fmt.Sprintf("page %d of %s to %d", from, name, to)
				switch {
				case from == to || d.life != killed && d.rng.Intn(4) > 0:
				case from < to:
					d.damage(what+" and back", name, func(fs *crashfs.FS, name string) error {
						return fs.SwapPages(name, from, to)
					})
				case d.rng.Intn(4) == 0:
					d.damage(what+" too", name, func(fs *crashfs.FS, name string) error {
						return fs.Overwrite(name, to*pageSize, b[from*pageSize:][:pageSize])
					})
				}
			}
		}
	}
}

// loseWrites puts each page back to each of its older versions.
func loseWrites(d *directory) {
	files := make(map[string][]byte)
	for _, op := range d.fs.Log() {
		if op.Kind != crashfs.OpWrite {
			continue
		}
		name, b := path.Base(op.Path), files[op.Path]
		if grown := int(op.Off+op.Len) + pageSize; grown > len(b) {
			b = append(b, make([]byte, grown-len(b))...)
		}
		for at := op.Off &^ (pageSize - 1); at < op.Off+op.Len && d.files[name] != nil; at += pageSize {
			if d.life == lapped && d.rng.Intn(8) > 0 {
				continue
			}
			older := bytes.Clone(b[at:][:pageSize])
			d.damage(fmt.Sprintf("page %d of %s as before a write of %d bytes at %d", at/pageSize, name, op.Len, op.Off), name,
				func(fs *crashfs.FS, name string) error { return fs.Overwrite(name, at, older) })
		}
		copy(b[op.Off:], op.Data)
		files[op.Path] = b
	}
}
