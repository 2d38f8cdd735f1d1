package main

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// A peer is a cache under test. All methods but close may be called by several
// goroutines. What get and set do beyond the cache's own call is what any user
// would have to do.
type peer interface {
	// get returns the value, in dst's memory if the cache copies; dst is empty.
	get(dst, key []byte) (value []byte, ok bool)
	// set stores copies; false: the cache refused.
	set(key, value []byte) bool
	// close also reports what went wrong before.
	close() error
}

// A viewer shows values in place.
type viewer interface {
	view(key []byte, look func(value []byte)) bool
}

// A batcher has a call for many keys. Value i ends at ends[i]; -1: a miss.
type batcher interface {
	getMany(dst []byte, ends []int, keys [][]byte) ([]byte, []int)
}

// A settler stores in the background; settle waits until all is in.
type settler interface{ settle() }

// A finisher has something to do once it is filled, before it is measured.
type finisher interface{ filled() error }

// A sizing is the room that every contestant gets: twice the data, each entry
// with a header of 32 bytes, in the terms that each cache has.
type sizing struct {
	shape
	dir string // of files, for who has some
}

const headerRoom = 32

// maxBytes is for caches that are bounded by bytes.
func (s sizing) maxBytes() int64 { return 2 * (s.bytes() + int64(s.entries)*headerRoom) }

// maxEntries is for caches that count entries.
func (s sizing) maxEntries() int { return 2 * s.entries }

// makers open the contestants.
var makers = map[string]func(s sizing) (peer, error){
	"ember":        newEmber,
	"ember-memory": newEmberMemory,
	"ember-still":  newEmberStill,
	"ember-view":   newEmber,
	"ember-fulls":  newEmberFulls,
	"fastcache":    newFastcache,
	"floor":        newFloor,
	"freecache":    newFreecache,
	"bigcache":     newBigcache,
	"ristretto":    newRistretto,
	"otter":        newOtter,
	"theine":       newTheine,
}

// everyone is who takes part in a row on operations, Ember first.
var everyone = []string{"ember", "ember-memory", "fastcache", "freecache", "bigcache", "ristretto", "otter", "theine"}

// openFull opens the job's contestant and stores all entries.
func openFull(j *job, s shape) (peer, error) {
	open := makers[strings.TrimSuffix(j.Contestant, "-saves")]
	if open == nil {
		return nil, fmt.Errorf("no contestant %q", j.Contestant)
	}
	p, err := open(sizing{s, j.Dir})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", j.Contestant, err)
	}
	fill(p, s)
	if f, ok := p.(finisher); ok {
		if err := f.filled(); err != nil {
			return nil, fmt.Errorf("fill %s: %w", j.Contestant, err)
		}
	}
	return p, nil
}

// fill stores every entry once, on all cores.
func fill(p peer, s shape) {
	var wg sync.WaitGroup
	workers := runtime.NumCPU()
	for w := range workers {
		wg.Go(func() {
			key, value := make([]byte, keySize), make([]byte, s.value)
			for i := w; i < s.entries; i += workers {
				putKey(key, uint64(i))
				putValue(value, key)
				p.set(key, value)
				if i>>10 != (i+workers)>>10 {
					settle(p)
				}
			}
		})
	}
	wg.Wait()
	settle(p)
}

func settle(p peer) {
	if s, ok := p.(settler); ok {
		s.settle()
	}
}

// A presence is how many of all entries a cache has.
type presence struct{ hits, misses, wrong int }

// probe looks for every entry.
func probe(p peer, s shape) (n presence) {
	key, buf := make([]byte, keySize), make([]byte, 0, s.value)
	for i := range s.entries {
		putKey(key, uint64(i))
		n.note(key, s.value)(p.get(buf[:0], key))
	}
	return n
}

func (n *presence) note(key []byte, size int) func(value []byte, ok bool) {
	return func(value []byte, ok bool) {
		switch {
		case !ok:
			n.misses++
		case !owns(key, value, size):
			n.wrong++
		default:
			n.hits++
		}
	}
}

func (n presence) percent() float64 {
	return 100 * float64(n.hits) / float64(max(n.hits+n.misses+n.wrong, 1))
}

// err is not nil if a value was not its key's.
func (n presence) err() error {
	if n.wrong > 0 {
		return fmt.Errorf("%d values of another key, or damaged", n.wrong)
	}
	return nil
}
