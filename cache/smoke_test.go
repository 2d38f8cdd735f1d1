package cache

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// A smoke is a tiny cache that many goroutines use at once. Keys of "own-" have
// one writer each, whose versions grow; keys of "all-" have all of them.
type smoke struct {
	t    *testing.T
	c    *Cache
	stop atomic.Bool
	ops  atomic.Int64
	last atomic.Uint64 // version given out
	wg   sync.WaitGroup
}

const smokeKeys = 1500 // of each writer

func ownKey(writer, i int) []byte { return fmt.Appendf(nil, "own-%d-%d", writer, i) }
func allKey(i int) []byte         { return fmt.Appendf(nil, "all-%d", i) }

// run starts a goroutine that repeats step until the test is over.
func (s *smoke) run(seed int64, step func(rnd *rand.Rand)) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		rnd := rand.New(rand.NewSource(seed))
		for !s.stop.Load() && !s.t.Failed() {
			step(rnd)
			s.ops.Add(1)
		}
	}()
}

// smokeSize is mostly small, seldom a few segments.
func smokeSize(rnd *rand.Rand) int {
	if rnd.Intn(40) == 0 {
		return 8000 + rnd.Intn(60000)
	}
	return rnd.Intn(900)
}

func (s *smoke) write(writer int) func(*rand.Rand) {
	return func(rnd *rand.Rand) {
		key := ownKey(writer, rnd.Intn(smokeKeys))
		if rnd.Intn(4) == 0 {
			key = allKey(rnd.Intn(smokeKeys))
		}
		switch rnd.Intn(12) {
		case 0:
			s.c.Delete(key)
			return
		case 1:
			a, b := s.last.Add(1), s.last.Add(1)
			own := ownKey(writer, rnd.Intn(smokeKeys))
			err := s.c.Batch([]BatchOp{{Key: key, Value: selfValue(key, a, smokeSize(rnd))}, {Key: own, Value: selfValue(own, b, 40)}})
			if err != nil {
				s.t.Error(err)
			}
			return
		}
		o := EntryOptions{MemoryOnly: rnd.Intn(8) == 0}
		if err := s.c.SetEntry(key, selfValue(key, s.last.Add(1), smokeSize(rnd)), o); err != nil {
			s.t.Error(err)
		}
	}
}

// seen checks one value and that a key with one writer never goes back.
func (s *smoke) seen(newest map[string]uint64, key, value []byte) {
	version, err := readSelf(key, value)
	if err != nil {
		s.t.Error(err)
		return
	}
	if before := newest[string(key)]; version < before && key[1] == 'w' {
		s.t.Errorf("key %s: version %d after %d", key, version, before)
	}
	newest[string(key)] = version
}

func (s *smoke) read(writers int) func(*rand.Rand) {
	newest := make(map[string]uint64)
	var buf []byte
	var ends []int
	return func(rnd *rand.Rand) {
		key := ownKey(rnd.Intn(writers), rnd.Intn(smokeKeys))
		if rnd.Intn(3) == 0 {
			key = allKey(rnd.Intn(smokeKeys))
		}
		switch rnd.Intn(4) {
		case 0:
			s.view(newest, key)
		case 1:
			keys := [][]byte{key, allKey(rnd.Intn(smokeKeys)), ownKey(rnd.Intn(writers), 1)}
			buf, ends = s.c.GetMany(buf[:0], ends[:0], keys)
			from := 0
			for i, end := range ends {
				if end >= 0 {
					s.seen(newest, keys[i], buf[from:end])
					from = end
				}
			}
		case 2:
			s.c.Info(key)
		default:
			var ok bool
			if buf, ok = s.c.AppendGet(buf[:0], key); ok {
				s.seen(newest, key, buf)
			}
		}
	}
}

// view looks twice: what a View shows stays as it is until it ends.
func (s *smoke) view(newest map[string]uint64, key []byte) {
	err := s.c.View(key, func(value []byte) error {
		s.seen(newest, key, value)
		time.Sleep(10 * time.Microsecond)
		s.seen(newest, key, value)
		return nil
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.t.Error(err)
	}
}

func TestNobodySeesAMixedOrOlderValue(t *testing.T) {
	for _, hash := range []string{"good", "truncated", "constant"} {
		t.Run("hash="+hash, func(t *testing.T) {
			o := testOptions(2 << 20)
			o.Shards = 2
			o.hooks.hash, o.hooks.fs = badHashes[hash], crashfs.New()
			o.Durability.Interval, o.Durability.Weak = 30*time.Millisecond, 3*time.Millisecond
			c := open(t, "/cache", o)
			s := &smoke{t: t, c: c}
			t.Logf("seed %d (set with -seed)", *seedFlag)
			const writers = 3
			for i := range writers {
				s.run(*seedFlag+int64(i), s.write(i))
				s.run(*seedFlag+int64(10+i), s.read(writers))
			}
			s.run(*seedFlag+20, func(rnd *rand.Rand) {
				time.Sleep(time.Duration(rnd.Intn(400)) * time.Millisecond)
				if err := c.Clear(); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(600 * time.Millisecond)
			s.stop.Store(true)
			s.wg.Wait()
			rnd := newRand(t)
			refill := 2000
			if racing {
				refill = 100
			}
			for range refill {
				s.write(0)(rnd)
			}
			checkInvariants(t, c)
			st := c.Stats()
			t.Logf("%d operations, %d evictions, %d durable and %d weak generations", s.ops.Load(), st.Evictions, st.Flushes, st.WeakGenerations)
			s.reopened(o, writers)
		})
	}
}

// reopened checks that what comes back is what was there.
func (s *smoke) reopened(o *Options, writers int) {
	want := make(map[string]string)
	keys := func(fn func(key []byte)) {
		for i := range smokeKeys {
			fn(allKey(i))
			for w := range writers {
				fn(ownKey(w, i))
			}
		}
	}
	keys(func(key []byte) {
		if v, ok := s.c.Get(key); ok {
			want[string(key)] = string(v)
		}
	})
	mustClose(s.t, s.c)
	c := open(s.t, "/cache", o)
	missing := 0
	keys(func(key []byte) {
		v, ok := c.Get(key)
		if was, had := want[string(key)]; ok && (!had || was != string(v)) {
			s.t.Errorf("key %s: another value after Open", key)
		} else if had && !ok {
			missing++ // it was MemoryOnly
		}
	})
	if r := c.Recovery(); r.Outcome != OutcomeWarm {
		s.t.Errorf("recovered %v: %v", r.Outcome, r.Reason)
	}
	s.t.Logf("%d of %d were for memory only", missing, len(want))
	mustClose(s.t, c)
}
