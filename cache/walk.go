package cache

import (
	"bytes"
	"iter"
)

// A walk visits the entries of a shard: each that is there from its beginning to
// its end, unchanged, exactly once. Under the lock it collects the keys of a
// piece; between pieces it holds nothing, and each key is looked up when its turn
// comes.
//
// It goes by columns. A column is a base bucket with all buckets that were split
// off from it, so a split moves entries within their column, and the cleaner
// leaves them in their slots. An entry gets into another column only when it is
// displaced: whoever does that tells the shard's walks, and a walk keeps the slots
// for which its place does not say whether their entry was visited.
type walk struct {
	s      *shard
	prefix []byte // of the keys that are wanted

	// Guarded by the shard's mu.
	next   uint32              // columns below it are done
	strays map[uint32]struct{} // slots: visited in a column that is not done, or the other way round

	keys    []byte // of the piece, one after the other
	ends    []int  // of each
	missing []absentee
	looked  int // entries, for the bound of a piece
}

// An absentee is an entry whose record is not in memory yet.
type absentee struct {
	slot uint32
	w    word
	need want
}

// A piece ends with the column in which it passes one of these.
const (
	walkEntries = 256
	walkBuckets = 512
	walkBytes   = 32 << 10
	// walkStrays is how many slots a walk keeps; then nothing is displaced until
	// its next piece.
	walkStrays = 1024
)

// All ranges over the entries, in no particular order. Both slices are valid for
// one step. It holds no lock during a step, which may use the cache in every way.
// An entry that is there all the while and is not changed is seen exactly once;
// one that is written or removed meanwhile may be seen or not, and one that is
// removed and set again may be seen twice. It counts as a use of no entry. After
// Open it reads from the files what is not in memory yet.
func (c *Cache) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		var buf []byte
		c.walk(nil, func(key []byte) bool {
			r := c.look(buf[:0], key)
			buf = r.value
			return !r.found || yield(key, r.value)
		})
	}
}

// Keys is All without the values.
func (c *Cache) Keys() iter.Seq[[]byte] {
	return func(yield func(key []byte) bool) {
		c.walk(nil, func(key []byte) bool { return !c.Has(key) || yield(key) })
	}
}

// walk calls step with each key that begins with prefix, until it answers false.
func (c *Cache) walk(prefix []byte, step func(key []byte) bool) {
	w := walk{prefix: prefix}
	for _, s := range c.shards {
		if c.closed.Load() || !w.run(s, step) {
			return
		}
	}
}

func (w *walk) run(s *shard, step func(key []byte) bool) bool {
	s.loadIndex() // an entry that is read later would be in no column
	w.enter(s)
	defer w.leave()
	for more := true; more; {
		more = w.collect()
		from := 0
		for _, end := range w.ends {
			if !step(w.keys[from:end:end]) {
				return false
			}
			from = end
		}
	}
	return true
}

func (w *walk) enter(s *shard) {
	w.s, w.next, w.strays = s, 0, make(map[uint32]struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.walks = append(s.walks, w)
}

func (w *walk) leave() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for i, other := range w.s.walks {
		if other == w {
			w.s.walks = append(w.s.walks[:i], w.s.walks[i+1:]...)
			return
		}
	}
}

// collect takes the keys of the next piece; more is false after the last. What is
// not in memory is loaded before the piece is begun again, or forgotten.
func (w *walk) collect() (more bool) {
	for {
		w.s.mu.Lock()
		more = w.collectLocked()
		w.s.mu.Unlock()
		if len(w.missing) == 0 {
			return more
		}
		for _, a := range w.missing {
			w.s.loadOrLose(a.slot, a.w, a.need)
		}
	}
}

func (w *walk) collectLocked() (more bool) {
	w.keys, w.ends, w.missing = w.keys[:0], w.ends[:0], w.missing[:0]
	w.looked = 0
	for slot := range w.strays {
		if w.column(slot) < w.next {
			w.takeLocked(slot)
		}
	}
	x := &w.s.index
	column, buckets := w.next, 0
	for column <= x.baseMask && w.looked < walkEntries && buckets < walkBuckets && len(w.keys) < walkBytes {
		for b := column; b < x.buckets(); b += x.baseMask + 1 {
			w.takeBucketLocked(b)
			buckets++
		}
		column++
	}
	if len(w.missing) == 0 {
		w.next = column
		for slot := range w.strays {
			if w.column(slot) < column {
				delete(w.strays, slot)
			}
		}
	}
	return w.next <= x.baseMask
}

func (w *walk) takeBucketLocked(bucket uint32) {
	for slot := bucket * bucketSlots; slot < (bucket+1)*bucketSlots; slot++ {
		if _, visited := w.strays[slot]; !visited {
			w.takeLocked(slot)
		}
	}
}

// takeLocked copies the key that a slot leads to.
func (w *walk) takeLocked(slot uint32) {
	s := w.s
	v := s.index.load(slot)
	if v == 0 {
		return
	}
	w.looked++
	if s.lazy.Load() != nil && !s.recordPresentLocked(v) {
		need, _ := s.wantLocked(v)
		w.missing = append(w.missing, absentee{slot, v, need})
		return
	}
	rec := s.recordAt(v.queue(), s.positionLocked(v))
	if end := headerSize + readHeader(rec).keyLen(); end <= len(rec) && bytes.HasPrefix(rec[headerSize:end], w.prefix) {
		w.keys = append(w.keys, rec[headerSize:end]...)
		w.ends = append(w.ends, len(w.keys))
	}
}

func (w *walk) column(slot uint32) uint32 { return slot / bucketSlots & w.s.index.baseMask }

// movedLocked keeps what is known of an entry that went to another slot.
func (w *walk) movedLocked(from, to uint32) {
	_, stray := w.strays[from]
	visited := (w.column(from) < w.next) != stray
	delete(w.strays, from)
	if visited == (w.column(to) < w.next) {
		delete(w.strays, to)
	} else {
		w.strays[to] = struct{}{}
	}
}

// movedLocked tells the shard's walks of an entry that went to another slot.
func (s *shard) movedLocked(from, to uint32) {
	for _, w := range s.walks {
		w.movedLocked(from, to)
	}
}

// strayingLocked reports whether a walk keeps as many slots as it may.
func (s *shard) strayingLocked() bool {
	for _, w := range s.walks {
		if len(w.strays) >= walkStrays {
			return true
		}
	}
	return false
}
