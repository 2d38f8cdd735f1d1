package cache

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"path"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/embercache/ember/internal/crashfs"
	"github.com/embercache/ember/loader"
)

// spoil damages up to n places of fs at random: in what holds something.
func (d *directory) spoil(fs *crashfs.FS, n int) (what []string) {
	for range 1 + d.rng.Intn(n) {
		name := d.names[d.rng.Intn(len(d.names))]
		file := path.Join(worldDir, name)
		used := d.used[name]
		off := used[d.rng.Intn(len(used))]*pageSize + int64(d.rng.Intn(pageSize))
		var err error
		switch d.rng.Intn(8) {
		case 0:
			what, err = append(what, fmt.Sprintf("%s cut at %d", name, off)), fs.TruncateFile(file, off)
		case 1:
			what, err = append(what, name+" removed"), fs.Erase(file)
		default:
			what, err = append(what, fmt.Sprintf("%s flipped at %d", name, off)), fs.Flip(file, off, byte(1+d.rng.Intn(255)))
		}
		if err != nil {
			what = append(what, err.Error()) // it is gone already
		}
	}
	return what
}

// TestMuchDamage: whatever is damaged, what is left is some cut minus entries,
// and one older than what was acknowledged durable says that it may be stale.
func TestMuchDamage(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, life := range lives() {
		t.Run(string(life), func(t *testing.T) {
			d := newDirectory(t, life)
			cold, stale, older := 0, 0, 0
			for range max(fewer(fewer(400)), *damagedDirs/6) {
				fs, o := d.copied(d.fs)
				what := fmt.Sprint(d.spoil(fs, 8))
				c := openOn(t, o)
				have := d.verify(what, c)
				r := c.Recovery()
				now := slices.ContainsFunc(d.links, func(cut content) bool { return slices.Equal(have, have.only(cut)) })
				then := slices.ContainsFunc(d.older, func(cut content) bool { return slices.Equal(have, have.only(cut)) })
				switch {
				case !now && !then:
					t.Fatalf("%s: no state at a cut; from the newest: %s\nreport %+v", what, have.differs(have.only(d.links[len(d.links)-1])), r)
				case !now && !r.MayBeStale:
					t.Fatalf("%s: an older state, and the report does not say so: %+v", what, r)
				case r.Outcome == OutcomeCold && (have.entries() > 0 || r.Reason == nil):
					t.Fatalf("%s: %d entries after a cold start: %+v", what, have.entries(), r)
				case !slices.ContainsFunc(d.links, func(cut content) bool { return slices.Equal(have, cut) }) && r.Reason == nil:
					t.Fatalf("%s: no reason: %+v", what, r)
				}
				cold += oneIf(r.Outcome == OutcomeCold)
				stale += oneIf(r.MayBeStale)
				older += oneIf(!now)
				d.goOn(what, fs, c, have)
			}
			t.Logf("%d cold, %d may be stale, %d are", cold, stale, older)
		})
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// digest names all that a cache says of its entries, in whatever order.
func (have content) digest() (sum uint64) {
	for i, h := range have {
		b := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, h.value), uint64(h.expires))
		sum += maphash.Bytes(valueSeed, append(b, damageKeys[i]...))
	}
	return sum
}

// TestRecoveredTwiceIsTheSame: the same directory gives the same state, whoever
// reads it first and however, after any crash and any damage.
func TestRecoveredTwiceIsTheSame(t *testing.T) {
	alone(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	for _, spoilt := range []bool{false, true} {
		t.Run(fmt.Sprintf("damaged %v", spoilt), func(t *testing.T) {
			d := newDirectory(t, killed)
			digests := make(map[uint64]bool)
			for n := 0; n <= d.fs.Ops(); n += 1 + d.rng.Intn(2) + 4/fewer(4) - 1 {
				for _, how := range crashes(d.rng) {
					fs := d.fs.Crash(n, how.cut)
					if how.kill {
						fs = d.fs.Kill(n)
					}
					what := fmt.Sprintf("%s after %d operations", how.name, n)
					if spoilt {
						what += fmt.Sprint(d.spoil(fs, 4))
					}
					digests[d.twice(what, fs)] = true
				}
			}
			if len(digests) < 7 && fewer(4) > 1 {
				t.Errorf("no more than %d different states", len(digests))
			}
		})
	}
}

// twice recovers two copies of fs in different ways.
func (d *directory) twice(what string, fs *crashfs.FS) uint64 {
	d.t.Helper()
	loads, states := [2]uint64{}, [2]content{}
	for i := range 2 {
		one, o := d.copied(fs)
		if err := one.MkdirAll(worldDir, 0o700); err != nil {
			d.t.Fatal(err)
		}
		res, err := loader.Load(context.Background(), loader.Options{FS: one, Dir: worldDir, Positional: i == 1, Workers: 1 + 3*i})
		if err != nil {
			d.t.Fatal(err)
		}
		loads[i] = res.Digest()
		_ = res.Close()
		o.Recovery.Positional, o.Recovery.Verify = i == 1, VerifyMode(i)
		c := openOn(d.t, o)
		states[i] = contentOf(c) // the first while most of it is on file only
		drop(c)
	}
	if loads[0] != loads[1] {
		d.t.Fatalf("%s: the loader's digests are %x and %x", what, loads[0], loads[1])
	}
	if states[0].digest() != states[1].digest() {
		d.t.Fatalf("%s: the digests are %x and %x: %s", what, states[0].digest(), states[1].digest(), states[0].differs(states[1]))
	}
	return states[0].digest()
}
