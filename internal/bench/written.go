package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/maypok86/otter/v2"

	"github.com/embercache/ember/cache"
)

const (
	figPerSet   = "written over set"
	figPages    = "of it pages"
	figBlobs    = "of it blobs"
	figImages   = "of it images"
	figWeak     = "weak ring beside"
	figKernel   = "by the kernel's count, all"
	figFull     = "full generations"
	figLight    = "light generations"
	figLost     = "lost"
	figPace     = "Sets/s"
	figPercents = "written, % of the data"

	writtenRounds = 100 // generations of one percent, so that full ones are among them
)

// writtenRow is what reaches the disk for what was set.
func writtenRow(o *options) row {
	r := row{
		name:  "written",
		title: "bytes written over bytes set",
		about: "Bytes that go into page files, blobs and images over keys and values set, the weak ring beside, and write_bytes " +
			"of /proc/self/io, which has all of it. changed: so many of a million entries of 24+256 bytes are overwritten, " +
			"chosen uniformly, then there is a durable generation; the mean over many. A cache that saves itself whole saves " +
			"after each change. steady: 100,000 Sets a second of uniformly chosen keys, with what Open sets up by default, keys " +
			"and values together a part of MaxBytes (1 GiB); then every key is looked for, and what it has must be what was set last.",
		figures: []string{figPerSet, figPages, figBlobs, figImages, figWeak, figKernel, figPercents, figFull, figLight, figLost, figPace},
		chart:   []string{figPerSet}, unit: "bytes over bytes set", logarith: true, rounds: 1,
	}
	s := shape{256, 1_000_000}
	if o.Quick {
		s.entries = 10_000
	}
	for _, percent := range []int{1, 10, 100} {
		r.variants = append(r.variants, variant{
			name: fmt.Sprintf("changed=%d%%", percent), contestants: []string{"ember", "fastcache", "otter"}, reference: "fastcache",
			run: func(j *job) (figures, error) { return changedJob(j, s, percent) },
		})
	}
	for _, share := range []struct {
		name  string
		part  int64
		limit float64
	}{{"third", 3, 1.6}, {"half", 2, 2}} {
		r.variants = append(r.variants, variant{
			name: "steady/payload=" + share.name, contestants: []string{"ember"},
			goals: []goal{{figure: figPerSet, of: "ember", limit: share.limit}, {figure: figLost, of: "ember", limit: 0}},
			run:   func(j *job) (figures, error) { return steadyJob(j, share.part) },
		})
	}
	return r
}

// A changer is a cache, and what makes what was set durable.
type changer struct {
	peer
	save func() error
}

var changers = map[string]func(s sizing) (changer, error){
	"ember": func(s sizing) (changer, error) {
		o := s.ember()
		o.Durability.Interval = -1 // each generation is asked for
		p, err := openEmber(s, o)
		return changer{p, func() error {
			_, err := p.(*ember).c.Flush(context.Background())
			return err
		}}, err
	},
	"fastcache": func(s sizing) (changer, error) {
		c := fastcache.New(int(s.maxBytes()))
		path := filepath.Join(s.dir, "fastcache")
		return changer{&fastcachePeer{c}, func() error { return c.SaveToFileConcurrent(path, 0) }}, nil
	},
	"otter": func(s sizing) (changer, error) {
		c, err := otter.New(&otter.Options[string, []byte]{MaximumSize: s.maxEntries()})
		path := filepath.Join(s.dir, "otter")
		return changer{&otterPeer{c}, func() error { return otter.SaveCacheToFile(c, path) }}, err
	},
}

// changedJob overwrites a part of the entries between two durable generations.
func changedJob(j *job, s shape, percent int) (figures, error) {
	p, err := changers[j.Contestant](sizing{s, j.Dir})
	if err != nil {
		return nil, err
	}
	if err := storeRange(p.peer, s, 0, s.entries); err != nil {
		return nil, err
	}
	if err := errors.Join(p.save(), p.save()); err != nil { // the second: what the fill left to write
		return nil, err
	}
	generations := max(3, writtenRounds/percent)
	if j.Contestant != "ember" {
		generations = 1 // it is the same each time
	}
	e, _ := p.peer.(*ember)
	before, err := e.written()
	if err != nil {
		return nil, err
	}
	rng, set := rand.New(rand.NewPCG(seed, 0)), int64(0)
	key, value := make([]byte, keySize), make([]byte, s.value)
	for range generations {
		for _, i := range rng.Perm(s.entries)[:s.entries*percent/100] {
			putEntry(key, value, uint64(i), 1)
			p.set(key, value)
			set += int64(keySize + s.value)
		}
		if err := p.save(); err != nil {
			return nil, err
		}
	}
	got, err := e.since(before, float64(set))
	if err != nil {
		return nil, err
	}
	if e == nil {
		got[figPerSet] = got[figKernel]
	}
	got[figPercents] = got[figPerSet] * float64(percent)
	return got, p.close()
}

// putEntry writes key and value of entry i in one of its versions. The rest of the
// value is noise, which nobody can compress.
func putEntry(key, value []byte, i uint64, version uint32) {
	putKey(key, i)
	for at := 0; at+8 <= len(value); at += 8 {
		binary.LittleEndian.PutUint64(value[at:], mixed(i<<24+uint64(version)<<16+uint64(at)))
	}
	putValue(value, key)
	binary.LittleEndian.PutUint32(value[8:], version)
}

// A writtenState is what was written so far.
type writtenState struct {
	cache.Stats
	kernel int64
}

// written is asked of a nil ember where only the kernel counts.
func (e *ember) written() (w writtenState, err error) {
	if e != nil {
		w.Stats = e.c.Stats()
	}
	w.kernel, err = diskWrites()
	return w, err
}

// since says what was written since then, over the bytes set.
func (e *ember) since(then writtenState, set float64) (figures, error) {
	now, err := e.written()
	got := figures{figKernel: float64(now.kernel-then.kernel) / set}
	if e == nil {
		return got, err
	}
	d := now.Stats.Sub(then.Stats)
	got[figPages], got[figBlobs], got[figImages] = float64(d.PageBytes)/set, float64(d.BlobBytes)/set, float64(d.ImageBytes)/set
	got[figWeak] = float64(d.WeakBytes) / set
	got[figPerSet] = got[figPages] + got[figBlobs] + got[figImages]
	got[figFull], got[figLight] = float64(d.FullGenerations), float64(d.Flushes-d.FullGenerations)
	return got, err
}

const (
	steadyBytes = 1 << 30
	steadyPace  = 100_000 // Sets a second
)

// steadyJob overwrites at a pace, with a dump each second, and looks for every
// entry at the end.
func steadyJob(j *job, part int64) (figures, error) {
	s := shape{value: 256}
	o := &cache.Options{MaxBytes: steadyBytes, Logger: warnings}
	if j.Options.Quick {
		o.MaxBytes = 16 << 20
	}
	s.entries = int(o.MaxBytes / part / int64(keySize+s.value))
	c, err := cache.Open(context.Background(), filepath.Join(j.Dir, "ember"), o)
	if err != nil {
		return nil, err
	}
	e := &ember{c: c}
	if err := storeRange(e, s, 0, s.entries); err != nil {
		return nil, err
	}
	if _, err := c.Flush(context.Background()); err != nil {
		return nil, err
	}
	before, err := e.written()
	if err != nil {
		return nil, err
	}
	versions, sets, took := e.overwrite(s, j.Options.length(10*time.Minute))
	if _, err := c.Flush(context.Background()); err != nil {
		return nil, err
	}
	got, err := e.since(before, float64(sets)*float64(keySize+s.value))
	if err != nil {
		return nil, err
	}
	got[figPace] = float64(sets) / took.Seconds()
	lost, err := e.compare(s, versions)
	got[figLost] = float64(lost)
	return got, errors.Join(err, e.close())
}

// overwrite sets entries at a pace and returns the version of each.
func (e *ember) overwrite(s shape, length time.Duration) (versions []uint32, sets int, took time.Duration) {
	versions = make([]uint32, s.entries)
	rng := rand.New(rand.NewPCG(seed, 1))
	key, value := make([]byte, keySize), make([]byte, s.value)
	began := time.Now()
	for took < length {
		for due := int(took.Seconds() * steadyPace); sets < due; sets++ {
			i := rng.Uint64N(uint64(s.entries))
			versions[i]++
			putEntry(key, value, i, versions[i])
			e.set(key, value)
		}
		time.Sleep(time.Millisecond)
		took = time.Since(began)
	}
	return versions, sets, took
}

// compare counts entries that are not there. One that is there in another version
// than its last is an error.
func (e *ember) compare(s shape, versions []uint32) (lost int, err error) {
	key, buf := make([]byte, keySize), make([]byte, 0, s.value)
	outdated := 0
	for i, want := range versions {
		putKey(key, uint64(i))
		value, ok := e.get(buf, key)
		switch {
		case !ok:
			lost++
		case !owns(key, value, s.value) || binary.LittleEndian.Uint32(value[8:]) != want:
			outdated++
		}
	}
	if outdated > 0 {
		err = fmt.Errorf("%d values are not what was set last", outdated)
	}
	return lost, err
}
