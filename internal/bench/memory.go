package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/Yiling-J/theine-go"
	"github.com/allegro/bigcache/v3"
	"github.com/coocood/freecache"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/embercache/ember/cache"
)

// tight opens caches with room for the entries of s and next to nothing else. What
// a cache allocates as it fills it may have a little more of.
var tight = map[string]func(s sizing) (peer, error){
	"ember": func(s sizing) (peer, error) {
		c, err := cache.Open(context.Background(), filepath.Join(s.dir, "ember"), &cache.Options{
			MaxBytes: max(1<<20, s.emberBytes()), Logger: warnings})
		return &ember{c: c}, err
	},
	"fastcache": func(s sizing) (peer, error) { // chunks as they fill; buckets are not even
		return &fastcachePeer{fastcache.New(s.entries * (4 + keySize + s.value) * 21 / 20)}, nil
	},
	"freecache": func(s sizing) (peer, error) {
		return &freecachePeer{freecache.NewCache(s.entries * (24 + keySize + s.value) * 21 / 20)}, nil
	},
	"bigcache": func(s sizing) (peer, error) {
		c, err := bigcache.New(context.Background(), bigcache.Config{
			Shards: 1024, LifeWindow: 24 * time.Hour, Logger: discard{},
			MaxEntriesInWindow: s.entries * 21 / 20, MaxEntrySize: 20 + keySize + s.value})
		return &bigcachePeer{c}, err
	},
	"ristretto": func(s sizing) (peer, error) {
		c, err := ristretto.NewCache(&ristretto.Config[[]byte, []byte]{IgnoreInternalCost: true,
			NumCounters: 10 * int64(s.entries), MaxCost: s.bytes(), BufferItems: 64})
		return &ristrettoPeer{c}, err
	},
	"otter": func(s sizing) (peer, error) {
		c, err := otter.New(&otter.Options[string, []byte]{MaximumSize: s.entries})
		return &otterPeer{c}, err
	},
	"theine": func(s sizing) (peer, error) {
		c, err := theine.NewBuilder[string, []byte](int64(s.entries)).Build()
		return &theinePeer{c}, err
	},
}

// emberBytes is the MaxBytes that the entries need: records with a header of 16
// bytes, in units of 16, and the 256th that Ember leaves free.
func (s sizing) emberBytes() int64 {
	record := int64(16+keySize+s.value+15) &^ 15
	return int64(math.Ceil(float64(record*int64(s.entries)) * 256 / 255 * 1.0005))
}

const (
	figBeyond  = "beyond key and value, B/entry"
	figKept    = "kept, %"
	figHeader  = "of it headers and padding"
	figInUse   = "of it index, ghosts and spare in segments"
	figGoHeap  = "of it Go's heap"
	figRest    = "of it other memory"
	figCached  = "page cache beside, B/entry"
	figDisk    = "on disk, B/entry"
	figObjects = "heap objects"
)

// memoryRow is what an entry costs beyond its key and value.
func memoryRow(o *options) row {
	r := row{
		name:  "memory",
		title: "anonymous memory beyond key and value, bytes an entry",
		about: fmt.Sprintf("A cache with just enough room is filled once with keys of %d bytes; Ember then flushes. Anonymous "+
			"memory as /proc/self/smaps_rollup has it, after what Go's heap has free was given back, less what it was before the "+
			"cache was opened, less the keys and values that are in the cache, per entry. Beside it what it is made of, and "+
			"what the page cache holds of the files, which the kernel gives up first.", keySize),
		figures: []string{figBeyond, figKept, figHeader, figInUse, figGoHeap, figRest, figCached, figDisk, figObjects},
		chart:   []string{figBeyond}, unit: "bytes an entry", rounds: 1,
	}
	for i, s := range []shape{{64, 10_000_000}, {256, 1_000_000}} {
		v := variant{name: fmt.Sprintf("entries=%dM/value=%d", s.entries/1_000_000, s.value),
			contestants: append([]string{"ember"}, ratioPeers...), reference: "fastcache"}
		if o.Quick {
			s.entries /= 1000
		}
		v.run = func(j *job) (figures, error) { return memoryJob(j, s) }
		if i == 0 {
			v.goals = []goal{{figure: figBeyond, of: "ember", limit: 42}, {figure: figBeyond, of: "ember", limit: 36}}
		}
		r.variants = append(r.variants, v)
	}
	return r
}

func memoryJob(j *job, s shape) (figures, error) {
	before, err := anonymous()
	if err != nil {
		return nil, err
	}
	heapBefore, objectsBefore := heapSize(), heapObjects()
	p, err := tight[j.Contestant](sizing{s, j.Dir})
	if err != nil {
		return nil, err
	}
	fill(p, s)
	var flushed error
	if e, ok := p.(*ember); ok {
		_, flushed = e.c.Flush(context.Background())
	}
	after, err := anonymous()
	if err := errors.Join(err, flushed); err != nil {
		return nil, err
	}
	heap, objects := heapSize()-heapBefore, heapObjects()-objectsBefore
	n := probe(p, s)
	kept := float64(max(1, n.hits))
	pairs := kept * float64(keySize+s.value)
	got := figures{
		figBeyond: (float64(after-before) - pairs) / kept, figKept: n.percent(),
		figGoHeap: float64(heap) / kept, figObjects: float64(objects),
	}
	if e, ok := p.(*ember); ok {
		if err := e.bill(got, j.Dir, float64(after-before-heap), pairs, kept); err != nil {
			return nil, err
		}
	}
	return got, errors.Join(n.err(), p.close())
}

// bill says what the memory off Go's heap is for, and what the files cost.
func (e *ember) bill(got figures, dir string, mapped, pairs, kept float64) error {
	inCache, err := cached(dir)
	if err != nil {
		return err
	}
	disk, err := onDisk(dir)
	st := e.c.Stats()
	got[figHeader] = (float64(st.Bytes) - pairs) / kept
	got[figInUse] = float64(st.ResidentBytes-st.Bytes) / kept
	got[figRest] = (mapped - float64(st.ResidentBytes)) / kept
	got[figCached], got[figDisk] = float64(inCache)/kept, float64(disk)/kept
	return err
}
