package cache

import (
	"errors"
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"
)

// View calls fn with the value in place, without copying. The slice is valid
// only until fn returns and must not be written or kept. fn must be short and
// must not call methods of c that write. View returns ErrNotFound on a miss, or
// what fn returned. A value whose record would exceed half a segment, of 16 to
// 256 KiB (see Options.MaxEntryBytes), does not lie in one piece: fn sees a copy.
func (c *Cache) View(key []byte, fn func(value []byte) error) error {
	return c.view(key, fn, &c.terms)
}

func (c *Cache) view(key []byte, fn func(value []byte) error, t *terms) error {
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	for {
		var r ref
		o := s.find(&r, key, hash)
		now := c.now()
		if o == hit && r.head.gone(now) {
			s.stats.passOver(r.head)
			o = miss
		}
		switch o {
		case absent:
			s.loadFor(key, hash)
			continue
		case miss:
			s.stats.misses.Add(1)
			return ErrNotFound
		}
		if r.head.large() {
			return s.viewCopy(key, hash, fn, t)
		}
		if ok, err := s.viewPinned(&r, now, fn, t); ok {
			return err
		}
	}
}

// viewPinned pins, then rechecks the number; reclaim takes the number away, then
// looks at the pins. One of the two sees the other, so a frame under fn is not
// reused.
func (s *shard) viewPinned(r *ref, now int64, fn func(value []byte) error, t *terms) (ok bool, err error) {
	pin := &s.frames.pins[r.frame]
	pin.Add(1)
	defer pin.Add(^uint32(0))
	if !r.holds() {
		return false, nil
	}
	r.use()
	if r.head.slides() {
		t.slide(s, r, now)
	}
	from := headerSize + r.head.keyLen()
	to := from + r.head.valueLen()
	err = s.show(r.rec[from:to:to], fn)
	runtime.KeepAlive(s.cache) // else its memory might be unmapped under fn
	return true, err
}

func (s *shard) viewCopy(key []byte, hash uint64, fn func(value []byte) error, t *terms) error {
	r := s.look(nil, key, hash, t, 0)
	if !r.found {
		s.stats.misses.Add(1)
		return ErrNotFound
	}
	return s.show(r.value, fn)
}

// errOther is what a view's fn returns for a value of another codec, which is no
// hit yet.
var errOther = errors.New("cache: a value of another codec")

func (s *shard) show(value []byte, fn func(value []byte) error) error {
	err := fn(value)
	if err != errOther {
		s.stats.hits.Add(1)
	}
	return err
}

// GetMany appends the values of keys to dst, in order; ends[i] is where value i
// ends in the returned slice, and -1 marks a miss. The cache misses of the keys
// overlap.
func (c *Cache) GetMany(dst []byte, ends []int, keys [][]byte) ([]byte, []int) {
	var hashes [overlap]uint64
	for len(keys) > 0 {
		n := min(len(keys), overlap)
		for i, key := range keys[:n] {
			hashes[i] = c.hash.sum(key)
		}
		c.touch(hashes[:n])
		for i, key := range keys[:n] {
			s := c.shardOf(hashes[i])
			value, o := s.quick(dst, key, hashes[i])
			ok := o == hit
			if o > miss {
				value, ok = s.get(dst, key, hashes[i], &c.terms)
			}
			if dst = value; ok {
				ends = append(ends, len(dst))
			} else {
				ends = append(ends, -1)
			}
		}
		keys = keys[n:]
	}
	return dst, ends
}

// overlap is how many keys GetMany has under way at once: about what a core can
// have outstanding of misses.
const overlap = 16

// touch asks for the buckets, then for the records, of all hashes, so that the
// processor waits for them together. It changes nothing.
func (c *Cache) touch(hashes []uint64) {
	if racing {
		return // who pins nothing may not read
	}
	var pairs [overlap][2]unsafe.Pointer
	for i, h := range hashes {
		x := &c.shardOf(h).index
		a, b := x.candidates(h, x.buckets())
		pairs[i] = [2]unsafe.Pointer{x.bucket(a), x.bucket(b)}
		fetchLines(pairs[i][0], 1)
		fetchLines(pairs[i][1], 1)
	}
	for i, h := range hashes {
		slots := matchPair(pairs[i][0], pairs[i][1], uint64(tagOf(h))<<tagShift)
		if slots == 0 {
			continue
		}
		s, at := c.shardOf(h), bits.TrailingZeros32(slots)
		w := word(atomic.LoadUint64((*uint64)(unsafe.Add(pairs[i][at/bucketSlots], 8*(at%bucketSlots)))))
		seg := &s.segments[int(w.queue())<<s.ringBits|int(w.pos()>>s.unitBits)&s.ringMask]
		off := int(w.pos()&uint32(s.unitMask)) * unitSize
		rec := s.frames.bytes(seg.frame.Load())[off:]
		fetchLines(unsafe.Pointer(unsafe.SliceData(rec)), int(s.lines.Load()))
	}
}

// EntryInfo describes a stored entry.
type EntryInfo struct {
	Size    int       // of key and value, in bytes
	Stored  time.Time // when the value was written, by a clock with steps of 5 ms
	Expires time.Time // zero: not before it is evicted
	// Stamp changes with every write of the key, and is not 0; see
	// EntryOptions.IfStamp. Two writes of the same value within one step of the
	// clock share a stamp.
	Stamp uint64
	// Stale: its time to live is over, and only GetOrLoad serves it, within
	// Freshness.StaleFor.
	Stale bool
}

// Has reports presence without counting as a use.
func (c *Cache) Has(key []byte) bool {
	_, ok := c.peek(key)
	return ok
}

// Info is Has with what is known of the entry, also of one that is Stale. It reads
// the whole value, for the stamp.
func (c *Cache) Info(key []byte) (e EntryInfo, ok bool) {
	hash := c.hash.sum(key)
	r := c.shardOf(hash).look(nil, key, hash, nil, c.terms.staleFor)
	if !r.found {
		return EntryInfo{}, false
	}
	return c.info(key, &r), true
}

func (c *Cache) info(key []byte, r *reading) EntryInfo {
	e := EntryInfo{Size: len(key) + len(r.value), Stored: c.clock.wall(r.head.stored()), Stamp: c.stamp(r), Stale: r.head.expired(c.now())}
	if r.head.expiry() != 0 {
		e.Expires = c.clock.wall(r.head.expiry())
	}
	return e
}

// peek finds key without counting.
func (c *Cache) peek(key []byte) (r ref, ok bool) {
	hash := c.hash.sum(key)
	s := c.shardOf(hash)
	for {
		var r ref
		o := s.find(&r, key, hash)
		if o == absent {
			s.loadFor(key, hash)
			continue
		}
		return r, o == hit && !r.head.gone(c.now())
	}
}
